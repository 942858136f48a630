use proptest::prelude::*;

use super::*;
use crate::wire::netlink::Messages;

/// What an answer of a family holds.
fn answer(family: u16, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    request(family, 0, 0, fill)
}

fn payload(answer: &[u8]) -> &[u8] {
    Messages::of(answer).next().expect("one").expect("well formed").payload
}

#[test]
fn f38_wireguards_port_is_read_from_a_head_without_its_key() {
    let whole = answer(33, |w| {
        w.attribute(WGDEVICE_A_LISTEN_PORT, &4444_u16.to_ne_bytes());
        w.attribute(7, &[0; 4]);
        w.attribute(3, &[0xaa; 32]);
    });
    let head = &whole[..HEAD_BYTES];
    assert_eq!(listening_port(head, 33), Some(4444));
    assert!(!head.contains(&0xaa));
    assert_eq!(listening_port(head, 34), None, "another family's");
    assert_eq!(listening_port(&head[..HEAD_BYTES - 1], 33), None);
    let of = |kind: u16, value: &[u8]| listening_port(&answer(33, |w| w.attribute(kind, value)), 33);
    assert_eq!(of(WGDEVICE_A_LISTEN_PORT, &[0; 2]), None, "none is chosen");
    assert_eq!(of(7, &[1; 4]), None, "another attribute");
}

#[test]
fn f38_a_port_of_packets_within_udp_is_read() {
    let found = answer(34, |w| {
        w.attribute(2, &[2]);
        w.attribute(FOU_ATTR_PORT, &5555_u16.to_be_bytes());
    });
    assert_eq!(receiving_port(payload(&found)), Some(5555));
    assert_eq!(receiving_port(payload(&answer(34, |w| w.attribute(2, &[2])))), None);
}

#[test]
fn a_family_has_a_number() {
    let found = answer(CONTROL, |w| {
        w.attribute(CTRL_ATTR_FAMILY_NAME, Family::Fou.name());
        w.attribute(CTRL_ATTR_FAMILY_ID, &34_u16.to_ne_bytes());
    });
    assert_eq!(number(payload(&found)), Some(34));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = (number(&bytes), listening_port(&bytes, 0), receiving_port(&bytes));
    }
}
