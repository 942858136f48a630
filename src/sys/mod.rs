//! Where the program meets the kernel: descriptors, signals, sockets. The only hand-written `unsafe` is in here.

pub mod poll;
pub mod signals;
pub mod waker;
