use proptest::prelude::*;

use super::*;

/// A message as Linux 6 writes it: 10.0.0.1:443 with 192.0.2.7:50000, in cgroup 0x1_0000_0002.
fn message() -> Vec<u8> {
    let mut bytes = vec![AF_INET, 1, 0, 0];
    bytes.extend(443u16.to_be_bytes());
    bytes.extend(50_000u16.to_be_bytes());
    bytes.extend([10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.resize(MESSAGE_BYTES, 0);
    // INET_DIAG_SHUTDOWN (8), one byte and padding, then the cgroup.
    bytes.extend([5, 0, 8, 0, 3, 0, 0, 0]);
    bytes.extend([12, 0, 21, 0]);
    bytes.extend(0x1_0000_0002u64.to_ne_bytes());
    bytes
}

#[test]
fn a_socket_is_read_with_its_cgroup() {
    let expected = Socket {
        local: Addr::from_v4([10, 0, 0, 1]),
        local_port: 443,
        remote: Addr::from_v4([192, 0, 2, 7]),
        remote_port: 50_000,
        cgroup: 0x1_0000_0002,
    };
    assert_eq!(read(&message()), Ok(expected));
    assert_eq!(read(&message()[..MESSAGE_BYTES]), Ok(Socket { cgroup: 0, ..expected }));
    for cut in 0..MESSAGE_BYTES {
        assert_eq!(read(&message()[..cut]), Err(Malformed));
    }
    let mut other = message();
    other[0] = 1;
    assert_eq!(read(&other), Err(Malformed), "no family of ours");
}

#[test]
fn the_request_has_the_kernels_size() {
    let request = dump_request(Vec::new(), 6, protocol::UDP, 9);
    assert_eq!(request.len(), 16 + 56);
    assert_eq!(request[16..20], [AF_INET6, protocol::UDP, 0, 0]);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..140)) {
        let _ = read(&bytes);
    }
}
