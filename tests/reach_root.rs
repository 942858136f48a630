//! How DAKR is reached through the name servers, proxies and certificates of the field: the real transport against dnsmasq,
//! unbound, tinyproxy, squid and openssl, each test in network and mount namespaces of its own. Go's answers are the control
//! where Go is installed.

#[path = "reach_root/certificates.rs"]
mod certificates;
#[path = "support/go.rs"]
mod go;
#[path = "reach_root/names.rs"]
mod names;
#[path = "reach_root/proxies.rs"]
mod proxies;
#[path = "reach_root/stage.rs"]
mod stage;
