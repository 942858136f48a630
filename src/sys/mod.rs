//! Where the program meets the kernel: descriptors, signals, sockets, maps. The only hand-written `unsafe` is in here.

pub mod addresses;
pub mod bpf;
pub mod netlink;
pub mod options;
pub mod poll;
pub mod privileges;
pub mod signals;
#[cfg(all(target_env = "musl", panic = "abort"))]
mod unwind;
pub mod waker;
