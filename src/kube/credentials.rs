//! Where the API server is and how we show who we are: in a cluster by the service account, else by a kubeconfig.
//!
//! Files are read when they are needed, not once: tokens are rewritten by the kubelet about every hour, certificate
//! authorities now and then. Nothing here talks to the network. Secrets appear in no message and in no `Debug`.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::exec::Plugin;

/// Where the kubelet puts a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Tokens and certificates are a few kilobytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// An API server and our credentials for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `https://host:port`, perhaps with a path, without a trailing slash.
    pub url: String,
    /// Where this was found, for messages: `in-cluster` or the kubeconfig's path.
    pub origin: String,
    /// Roots that the server's certificate is checked against; `None` is the system's.
    pub ca: Option<Material>,
    /// The server's certificate is not checked at all.
    pub insecure: bool,
    /// Client certificate and key.
    pub client: Option<(Material, Material)>,
    /// What goes into the `Authorization` header.
    pub auth: Auth,
    /// HTTP proxy. The environment's proxies are never used for the API server: their exceptions know no ranges, so
    /// the cluster's service range cannot be excepted.
    pub proxy: Option<String>,
}

/// PEM text, in place or in a file.
#[derive(Clone)]
pub enum Material {
    /// The text itself.
    Text(Vec<u8>),
    /// A file, read anew each time.
    File(PathBuf),
}

impl Material {
    /// The text.
    pub fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Material::Text(text) => Ok(text.clone()),
            Material::File(path) => read_file(path),
        }
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Material::Text(_) => f.write_str("Text"),
            Material::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// A secret text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How we authenticate, beside a client certificate.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Not at all.
    Anonymous,
    /// By this token.
    Token(Secret),
    /// By the token in this file.
    TokenFile(PathBuf),
    /// By what this program prints.
    Plugin(Plugin),
}

/// Why no API server is known.
#[derive(Debug, PartialEq, Eq)]
pub enum CredentialsError {
    /// Neither in a cluster nor with a kubeconfig.
    Nowhere,
    /// The environment names a server that is none.
    Environment(String),
    /// A kubeconfig that cannot be used: which and why.
    Kubeconfig(PathBuf, String),
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialsError::Nowhere => f.write_str(
                "cannot find an API server: not in a cluster (no KUBERNETES_SERVICE_HOST) and no kubeconfig \
                 (give -metrics-kubeconfig, or -standalone to run without Kubernetes)",
            ),
            CredentialsError::Environment(why) => write!(f, "cannot use KUBERNETES_SERVICE_HOST and _PORT: {why}"),
            CredentialsError::Kubeconfig(path, why) => write!(f, "cannot use kubeconfig {}: {why}", path.display()),
        }
    }
}

impl std::error::Error for CredentialsError {}

/// Finds the API server: the kubeconfig if one is given, else the cluster we run in, else `~/.kube/config`.
/// `env` looks up the environment.
pub fn discover(kubeconfig: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Endpoint, CredentialsError> {
    if let Some(path) = kubeconfig {
        return from_kubeconfig(path);
    }
    if let Some(endpoint) = in_cluster(env, Path::new(SERVICE_ACCOUNT))? {
        return Ok(endpoint);
    }
    match env("HOME").map(|home| Path::new(&home).join(".kube/config")).filter(|path| path.exists()) {
        Some(path) => from_kubeconfig(&path),
        None => Err(CredentialsError::Nowhere),
    }
}

fn from_kubeconfig(path: &Path) -> Result<Endpoint, CredentialsError> {
    super::kubeconfig::load(path).map_err(|why| CredentialsError::Kubeconfig(path.to_owned(), why))
}

/// The server as the environment of a pod names it; `None` outside a cluster. The files need not be there yet.
pub fn in_cluster(
    env: &dyn Fn(&str) -> Option<String>,
    service_account: &Path,
) -> Result<Option<Endpoint>, CredentialsError> {
    let Some(host) = env("KUBERNETES_SERVICE_HOST").filter(|host| !host.is_empty()) else { return Ok(None) };
    let port = env("KUBERNETES_SERVICE_PORT").filter(|port| !port.is_empty()).unwrap_or_else(|| "443".to_owned());
    let port: u16 = port.parse().map_err(|_| CredentialsError::Environment(format!("port {port:?}")))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let host = match bare.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V6(v6)) => format!("[{v6}]"),
        Ok(std::net::IpAddr::V4(v4)) => v4.to_string(),
        Err(_) if bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') => bare.to_owned(),
        Err(_) => return Err(CredentialsError::Environment(format!("host {host:?}"))),
    };
    Ok(Some(Endpoint {
        url: format!("https://{host}:{port}"),
        origin: "in-cluster".to_owned(),
        ca: Some(Material::File(service_account.join("ca.crt"))),
        insecure: false,
        client: None,
        auth: Auth::TokenFile(service_account.join("token")),
        proxy: None,
    }))
}

/// Reads a small file whole. It is opened anew each time: a projected volume changes by exchanging a symbolic link.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        std::fs::File::open(path)?.take(FILE_MAX_BYTES + 1).read_to_end(&mut content)?;
        Ok(content)
    };
    match read() {
        Ok(content) if content.len() as u64 > FILE_MAX_BYTES => Err(format!("{} is larger than 1 MiB", path.display())),
        Ok(content) => Ok(content),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// A token as it may stand in a header: white space around it trimmed, none within, ASCII only.
pub fn checked_token(text: &[u8], from: &str) -> Result<Secret, String> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(format!("the token of {from} is empty"));
    }
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err(format!("the token of {from} holds white space or characters that are not ASCII"));
    }
    Ok(Secret(String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_cluster_is_found_by_its_environment() {
        let endpoint = |pairs| in_cluster(&env(pairs), Path::new("/sa")).map(|found| found.map(|found| found.url));
        assert_eq!(endpoint(&[]), Ok(None));
        assert_eq!(
            endpoint(&[("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "6443")]),
            Ok(Some("https://10.96.0.1:6443".to_owned()))
        );
        for host in ["fd00::1", "[fd00::1]"] {
            let pairs: &'static [(&str, &str)] = vec![("KUBERNETES_SERVICE_HOST", host)].leak();
            assert_eq!(endpoint(pairs), Ok(Some("https://[fd00::1]:443".to_owned())));
        }
        assert_eq!(
            endpoint(&[("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")]),
            Ok(Some("https://kubernetes.default.svc:443".to_owned()))
        );
        assert!(endpoint(&[("KUBERNETES_SERVICE_HOST", "a b")]).is_err());
        assert!(endpoint(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "x")]).is_err());
    }

    #[test]
    fn nowhere_says_the_way_out() {
        let error = discover(None, &env(&[("HOME", "/nonexistent")])).expect_err("nothing is there").to_string();
        assert!(error.contains("-metrics-kubeconfig") && error.contains("-standalone"), "{error}");
    }

    #[test]
    fn a_token_that_would_break_the_header_is_refused() {
        assert_eq!(checked_token(b" abc.def-_\n", "x"), Ok(Secret("abc.def-_".to_owned())));
        for bad in [&b""[..], b"\n", b"a\r\nX-Evil: 1", b"a b", "t\u{f6}ken".as_bytes(), b"\xff\xfe"] {
            let error = checked_token(bad, "the file").expect_err("no token");
            assert!(!error.contains("Evil"), "a token appears in no message");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Auth::Token(Secret("hush".to_owned()))), "Token(Secret)");
        assert_eq!(format!("{:?}", Material::Text(b"hush".to_vec())), "Text");
    }
}
