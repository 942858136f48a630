//! What a cgroup is called on a host without pods: a systemd unit or a container, by the names of its directories.
//!
//! ```text
//! unit       system.slice/nginx.service    user.slice/user-1000.slice/session-3.scope    openrc.nginx
//! container  system.slice/docker-<id>.scope    machine.slice/libpod-<id>.scope    docker/<id>    lxc.payload.web
//! ```
//!
//! Below slices the outermost unit names everything in it. A container counts more than the unit that it runs in (a
//! user's Podman). What runs in a container belongs to it, whatever init system it has. An id of 64 digits is cut to
//! 12, as container tools show it.

use std::sync::Arc;

/// Digits of a container's id, and how many are shown.
const ID_DIGITS: usize = 64;
const ID_SHOWN: usize = 12;

const UNIT: &str = "unit/";
const CONTAINER: &str = "container/";

/// A unit or a container: `unit/nginx.service`, `container/docker-3fa2b1c4d5e6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group(pub Arc<str>);

impl Group {
    /// `unit` or `container`.
    pub fn kind(&self) -> &'static str {
        if self.0.starts_with(CONTAINER) { "container" } else { "unit" }
    }

    /// Its name, of printable ASCII.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

/// The group of a directory. `above`: that of the directory around it, which is called `folder`.
pub(super) fn named(above: Option<&Arc<str>>, folder: &[u8], name: &[u8]) -> Option<Arc<str>> {
    if above.is_some_and(|above| above.starts_with(CONTAINER)) {
        return above.cloned();
    }
    container(folder, name).or_else(|| above.cloned()).or_else(|| unit(name))
}

fn unit(name: &[u8]) -> Option<Arc<str>> {
    let is_unit = [&b".service"[..], b".scope", b".socket"].iter().any(|kind| name.ends_with(kind));
    (is_unit || name.starts_with(b"openrc.")).then(|| text(UNIT, &[name]))
}

fn container(folder: &[u8], name: &[u8]) -> Option<Arc<str>> {
    let scope = name.strip_suffix(b".scope");
    let base = scope.unwrap_or(name);
    if base.starts_with(b"lxc.payload.") || scope.is_some() && base.starts_with(b"machine-") {
        return Some(text(CONTAINER, &[base]));
    }
    let (before, id) = base.split_at_checked(base.len().checked_sub(ID_DIGITS)?)?;
    let shown = id.get(..ID_SHOWN).filter(|_| id.iter().all(u8::is_ascii_hexdigit))?;
    // With the driver cgroupfs the runtime is the folder.
    let runtime = if before.is_empty() { [folder, b"-"] } else { [before, b""] };
    Some(text(CONTAINER, &[runtime[0], runtime[1], shown]))
}

/// A text of printable ASCII; other bytes as systemd writes them. A directory's name has at most 255 bytes.
fn text(kind: &str, parts: &[&[u8]]) -> Arc<str> {
    let mut out = kind.to_owned();
    for byte in parts.iter().copied().flatten() {
        match byte {
            b'!'..=b'~' => out.push(char::from(*byte)),
            _ => out += &format!("\\x{byte:02x}"),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests;
