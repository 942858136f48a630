//! Finds the API server: in a cluster by the service account, else by a kubeconfig.
//!
//! Nothing here talks to the network.

use std::fmt;
use std::path::{Path, PathBuf};

use super::endpoint::{Auth, Endpoint};
use super::secret::Material;

/// Where the kubelet puts a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
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

/// Finds the API server: the kubeconfig if one is given, by flag or `KUBECONFIG`, else the cluster we run in, else
/// `~/.kube/config`.
/// `env` looks up the environment.
pub fn discover(kubeconfig: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Endpoint, CredentialsError> {
    if let Some(path) = kubeconfig {
        return from_kubeconfig(path);
    }
    if let Some(list) = env("KUBECONFIG").filter(|list| !list.is_empty()) {
        return from_environment(&list);
    }
    if let Some(endpoint) = in_cluster(env, Path::new(SERVICE_ACCOUNT))? {
        return Ok(endpoint);
    }
    match env("HOME").map(|home| Path::new(&home).join(".kube/config")).filter(|path| path.exists()) {
        Some(path) => from_kubeconfig(&path),
        None => Err(CredentialsError::Nowhere),
    }
}

/// `KUBECONFIG`: paths separated by colons, of which those that are not there are passed over, as by kubectl.
fn from_environment(list: &str) -> Result<Endpoint, CredentialsError> {
    let paths: Vec<&Path> = list.split(':').filter(|path| !path.is_empty()).map(Path::new).collect();
    let there: Vec<&Path> = paths.iter().copied().filter(|path| path.exists()).collect();
    match (there.as_slice(), paths.first()) {
        ([one], _) | ([], Some(one)) => from_kubeconfig(one),
        ([first, ..], _) => {
            let why = "KUBECONFIG names several files, which are not merged here (kubectl config view --flatten does)";
            Err(CredentialsError::Kubeconfig(first.to_path_buf(), why.to_owned()))
        }
        ([], None) => Err(CredentialsError::Nowhere),
    }
}

fn from_kubeconfig(path: &Path) -> Result<Endpoint, CredentialsError> {
    super::kubeconfig::load(path).map_err(|why| CredentialsError::Kubeconfig(path.to_owned(), why))
}

/// The namespace of the pod that this runs in.
pub fn own_namespace() -> Option<String> {
    let text = super::secret::read_file(&Path::new(SERVICE_ACCOUNT).join("namespace")).ok()?;
    String::from_utf8(text).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
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

#[cfg(test)]
mod tests;
