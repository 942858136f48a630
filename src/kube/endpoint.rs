//! An API server and our credentials for it.

use std::path::PathBuf;

use super::exec::Plugin;
use super::secret::{Material, Secret};

/// An API server and our credentials for it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `https://host:port`, perhaps with a path, without a trailing slash.
    pub url: String,
    /// Origin of these settings, for messages: `in-cluster` or the kubeconfig's path.
    pub origin: String,
    /// Roots that the server's certificate is checked against; `None` is the system's.
    pub ca: Option<Material>,
    /// The server's certificate is not checked at all.
    pub insecure: bool,
    /// Client certificate and key.
    pub client: Option<(Material, Material)>,
    /// The source of the `Authorization` header.
    pub auth: Auth,
    /// HTTP proxy, of the kubeconfig. The environment's proxies are for DAKR. A pod that has them seldom excepts the
    /// cluster's addresses, so our requests to the API server would go through the proxy.
    pub proxy: Option<String>,
}

/// The form of authentication, besides a client certificate.
#[derive(Clone, Debug)]
pub enum Auth {
    Anonymous,
    Token(Secret),
    TokenFile(PathBuf),
    /// By the output of this program.
    Plugin(Plugin),
}

#[cfg(test)]
mod tests;
