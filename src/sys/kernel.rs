//! Which kernel runs.

/// The release of the running kernel, like `6.1.0-28-cloud-amd64`; empty where it cannot be read.
pub fn release() -> String {
    nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// Major and minor number of a release like `6.1.0-28-cloud-amd64`.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_compared_by_number() {
        assert_eq!(version("6.1.0-28-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert_eq!(version("unknown"), None);
        assert!(version("5.9.1").expect("numbers") < (5, 10));
    }
}
