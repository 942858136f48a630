//! One message of a dump of sockets: what follows `struct nlmsghdr`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::wire::sock_diag::read;

/// `sizeof(struct inet_diag_msg)`.
const MESSAGE_BYTES: usize = 72;

fuzz_target!(|bytes: &[u8]| {
    let Ok(socket) = read(bytes) else { return };
    assert!(bytes.len() >= MESSAGE_BYTES);
    assert_eq!(socket.local_port.to_be_bytes(), bytes[4..6]);
    assert_eq!(socket.remote_port.to_be_bytes(), bytes[6..8]);
    assert!(socket.cgroup == 0 || bytes.len() >= MESSAGE_BYTES + 12, "a cgroup stands in an attribute");
});
