//! Where the program meets the kernel: descriptors, signals, sockets, maps. The only hand-written `unsafe` is in here.

#[cfg(target_env = "musl")]
mod absent;
pub mod addresses;
pub mod bpf;
pub mod cgroup;
pub mod kernel;
pub mod landlock;
pub mod links;
pub mod netlink;
pub mod options;
pub mod poll;
pub mod privileges;
pub mod process;
pub mod programs;
pub mod routes;
pub mod signals;
pub mod small_file;
pub mod terminal;
pub mod tunnels;
pub mod waker;
