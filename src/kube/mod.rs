//! The pods of this node, from the Kubernetes API.

pub mod client;
pub mod credentials;
pub mod decode;
pub mod exec;
pub mod index;
pub mod kubeconfig;
mod lenient;
mod time;
mod tls;
pub mod watch;
mod workload;
