//! Bytes to words: what the kernel and peers send, read at offsets. No I/O, no allocation, no unsafe, and no panic
//! whatever the bytes: every reader here has a fuzz target (`fuzz/targets`).

pub mod cilium_backend;
pub mod cilium_ct;
pub mod cilium_ipcache;
pub mod conntrack;
pub mod dns;
pub mod genetlink;
pub mod netlink;
pub mod nftables;
pub mod protobuf;
pub mod recording;
pub mod rtnetlink;
pub mod sock_diag;
pub mod x509;

/// Bytes that cannot be what they say. Nobody can act on more detail, so there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[cfg(test)]
mod tests;
