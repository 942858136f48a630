use super::*;

/// The controller is a family of its own, of a number that never changes.
#[test]
fn a_family_is_found_by_its_name() {
    let socket = RequestSocket::open(Socket::Generic).expect("a socket");
    assert_eq!(number_of(&socket, b"nlctrl\0").expect("there"), 16);
    let error = number_of(&socket, b"no-such-one\0").expect_err("none of that name");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

/// What does not fit stays in the kernel: nothing behind the buffer is written, and the next datagram is the next.
#[test]
fn f38_of_an_answer_only_the_head_is_received() {
    let socket = RequestSocket::open(Socket::Generic).expect("a socket");
    let mut place = [0xee; HEAD_BYTES + 64];
    for _ in 0..2 {
        socket.send(&genetlink::number_of(b"nlctrl\0")).expect("sent");
        let len = socket.receive_head(&mut place[..HEAD_BYTES]).expect("a head");
        assert_eq!(len, HEAD_BYTES);
        assert!(place[HEAD_BYTES..].iter().all(|byte| *byte == 0xee));
        assert_eq!(&place[4..6], &16_u16.to_ne_bytes());
    }
}
