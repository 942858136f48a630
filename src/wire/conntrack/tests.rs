//! Entries as a kernel wrote them, and an encoder that is not the decoder's twin.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::wire::netlink::Writer;

const fn hex<const N: usize>(text: &str) -> [u8; N] {
    let text = text.as_bytes();
    assert!(text.len() == 2 * N);
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = digit(text[2 * at]) << 4 | digit(text[2 * at + 1]);
        at += 1;
    }
    bytes
}

const fn digit(letter: u8) -> u8 {
    if letter.is_ascii_digit() { letter - b'0' } else { letter - b'a' + 10 }
}

// Payloads (what follows `struct nlmsghdr`) that Linux 6.18 sent, with nf_conntrack_acct and nf_conntrack_timestamp on.

/// 10.9.0.1:4003 to 10.96.0.10:80, answered by 10.9.0.2:8080.
pub(crate) const TCP_ENTRY: &[u8] = &hex::<268>(
    "020000003400018014000180080001000a090001080002000a60000a1c0002800500010006000000060002000fa3000006000300005000\
     003400028014000180080001000a090002080002000a0900011c0002800500010006000000060002001f900000060003000fa300000800\
     0300000001ae080008000000000008000c002db5845a08000b0000000001080007000006977f300004802c000180050001000300000005\
     0002000a000000050003000a000000060004002300000006000500230000001c0009800c00010000000000000000020c00020000000000\
     000000701c000a800c00010000000000000000010c000200000000000000003c100014800c00010018eaf8087b09bb4f",
);

/// 10.9.0.1:4002 to 10.9.0.2:8080; zone 9 for the original direction alone.
const ZONE_OF_ONE_DIRECTION: &[u8] = &hex::<276>(
    "020000003c00018014000180080001000a090001080002000a0900021c0002800500010006000000060002000fa20000060003001f9000\
     0006000300000900003400028014000180080001000a090002080002000a0900011c0002800500010006000000060002001f9000000600\
     03000fa20000080003000000018e080008000000000008000c007cb69bba08000b00000000010800070000069780300004802c00018005\
     00010003000000050002000a000000050003000a000000060004002300000006000500230000001c0009800c0001000000000000000003\
     0c00020000000000000000a91c000a800c00010000000000000000020c0002000000000000000070100014800c00010018eaf8087b06f6\
     71",
);

/// 10.9.0.1:4000 to 10.9.0.2:5353 by UDP, unanswered, in zone 7.
const ZONE_OF_BOTH: &[u8] = &hex::<228>(
    "020000003400018014000180080001000a090001080002000a0900021c0002800500010011000000060002000fa000000600030014e900\
     003400028014000180080001000a090002080002000a0900011c00028005000100110000000600020014e90000060003000fa000000600\
     1200000700000800030000000188080008000000000008000c00f3bc9ab808000b0000000001080007000000001c1c0009800c00010000\
     000000000000010c00020000000000000000801c000a800c00010000000000000000000c0002000000000000000000100014800c000100\
     18eaf8083d97238c",
);

/// An echo from 10.9.0.1 to 10.9.0.2 and its answer.
const ICMP_ENTRY: &[u8] = &hex::<236>(
    "020000003c00018014000180080001000a090001080002000a090002240002800500010001000000060004005af1000005000500080000\
     0005000600000000003c00028014000180080001000a090002080002000a090001240002800500010001000000060004005af100000500\
     0500000000000500060000000000080003000000018a080008000000000008000c00e712867008000b0000000001080007000000001c1c\
     0009800c00010000000000000000010c00020000000000000000541c000a800c00010000000000000000010c0002000000000000000054\
     100014800c00010018eaf8083dd8f2a2",
);

/// An echo from fd09::1 to fd09::2 and its answer.
const ICMPV6_ENTRY: &[u8] = &hex::<284>(
    "0a000000540001802c00018014000300fd09000000000000000000000000000114000400fd090000000000000000000000000002240002\
     80050001003a000000060007005af2000005000800800000000500090000000000540002802c00018014000300fd090000000000000000\
     00000000000214000400fd09000000000000000000000000000124000280050001003a000000060007005af20000050008008100000005\
     00090000000000080003000000018a080008000000000008000c00ddcda6e908000b0000000001080007000000001d1c0009800c000100\
     00000000000000010c00020000000000000000681c000a800c00010000000000000000010c0002000000000000000068100014800c0001\
     0018eaf8083e16055e",
);

/// The DESTROY of fd09::1:4001 to fd09::2:53.
const UDP_END: &[u8] = &hex::<276>(
    "0a0000004c0001802c00018014000300fd09000000000000000000000000000114000400fd0900000000000000000000000000021c0002\
     800500010011000000060002000fa1000006000300003500004c0002802c00018014000300fd0900000000000000000000000000021400\
     0400fd0900000000000000000000000000011c00028005000100110000000600020000350000060003000fa1000008000c00b9cbfaf508\
     00030000000388080007000000001c1c0009800c00010000000000000000010c000200000000000000003a1c000a800c00010000000000\
     000000000c00020000000000000000001c0014800c00010018eaf8083d99d8870c00020018eaf8087f4e7c6f0c001b0018eaf8087f4e7d\
     ba",
);

/// An entry to encode. Addresses: source and destination of the original, then of the reply direction.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub v4: Option<[[u8; 4]; 4]>,
    pub v6: Option<[[u8; 16]; 4]>,
    pub family: u8,
    pub protocol: u8,
    /// Ports in the order of the addresses.
    pub ports: [u16; 4],
    pub status: Option<u32>,
    /// Original packets and bytes, reply packets and bytes.
    pub counters: Option<[u64; 4]>,
    /// Counters of 32 bits, as old kernels wrote them.
    pub narrow: bool,
    pub id: Option<u32>,
    pub ct_zone: Option<u16>,
}

impl Default for Entry {
    fn default() -> Entry {
        Entry {
            v4: Some([[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 2], [10, 0, 0, 1]]),
            v6: None,
            family: AF_INET,
            protocol: protocol::TCP,
            ports: [1_000, 80, 80, 1_000],
            status: Some(0x18e),
            counters: Some([1, 60, 1, 52]),
            narrow: false,
            id: Some(7),
            ct_zone: None,
        }
    }
}

impl Entry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.message(MESSAGE_NEW, 0, 0);
        w.raw(&[self.family, 0, 0, 0]);
        for (direction, at) in [(1, 0), (2, 2)] {
            w.nested(direction, |w| {
                w.nested(1, |w| {
                    for end in 0..2 {
                        if let Some(v4) = &self.v4 {
                            w.attribute(1 + end as u16, &v4[at + end]);
                        }
                        if let Some(v6) = &self.v6 {
                            w.attribute(3 + end as u16, &v6[at + end]);
                        }
                    }
                });
                w.nested(2, |w| {
                    w.attribute(1, &[self.protocol]);
                    w.attribute(2, &self.ports[at].to_be_bytes());
                    w.attribute(3, &self.ports[at + 1].to_be_bytes());
                });
            });
        }
        if let Some(ct_zone) = self.ct_zone {
            w.attribute(18, &ct_zone.to_be_bytes());
        }
        if let Some(status) = self.status {
            w.attribute(3, &status.to_be_bytes());
        }
        if let Some(counters) = self.counters {
            for (direction, at) in [(9, 0), (10, 2)] {
                w.nested(direction, |w| {
                    for which in 0..2 {
                        let n = counters[at + which];
                        if self.narrow {
                            w.attribute(3 + which as u16, &(n as u32).to_be_bytes());
                        } else {
                            w.attribute(1 + which as u16, &n.to_be_bytes());
                        }
                    }
                });
            }
        }
        if let Some(id) = self.id {
            w.attribute(12, &id.to_be_bytes());
        }
        w.finish().split_off(16)
    }
}

fn live(payload: &[u8]) -> Record {
    parse(payload, Reading::Live).expect("well formed")
}

fn addr(text: &str) -> Addr {
    text.parse::<IpAddr>().expect("a literal").into()
}

fn counts(packets: u64, bytes: u64) -> Counts {
    Counts { bytes, packets }
}

#[test]
fn a_translated_connection_names_who_was_asked_and_who_answers() {
    let record = live(TCP_ENTRY);
    let c = record.connection;
    assert_eq!((c.key.src, c.key.sport), (addr("10.9.0.1"), 4003));
    assert_eq!((c.key.dst, c.key.dport), (addr("10.96.0.10"), 80));
    assert_eq!((c.backend, c.backend_port), (addr("10.9.0.2"), 8080));
    assert_eq!((c.key.protocol, c.key.family, c.key.ct_zone, c.key.realm), (protocol::TCP, 4, 0, 0));
    assert_eq!((c.ends, c.reading, c.id, c.cgroup), (Ends::Both, Reading::Live, 0x2db5_845a, 0));
    assert_eq!(c.traffic, Traffic { orig: counts(2, 112), reply: counts(1, 60) });
    assert_eq!(c.start_ns, 0x18ea_f808_7b09_bb4f);
    assert!(record.has_counters);
    assert_eq!(record.status, 0x1ae);
}

#[test]
fn a_zone_is_that_of_the_entry_or_of_the_original_direction() {
    assert_eq!(live(ZONE_OF_BOTH).connection.key.ct_zone, 7);
    assert_eq!(live(ZONE_OF_ONE_DIRECTION).connection.key.ct_zone, 9);
}

#[test]
fn icmp_has_an_id_and_a_type_where_others_have_ports_and_no_backend_port() {
    let v4 = live(ICMP_ENTRY).connection;
    assert_eq!((v4.key.sport, v4.key.dport, v4.backend_port), (0x5af1, 8 << 8, 0));
    assert_eq!(v4.traffic, Traffic { orig: counts(1, 84), reply: counts(1, 84) });
    let v6 = live(ICMPV6_ENTRY).connection;
    assert_eq!((v6.key.sport, v6.key.dport, v6.backend_port), (0x5af2, 128 << 8, 0));
    assert_eq!((v6.key.protocol, v6.key.family, v6.backend), (protocol::ICMPV6, 6, addr("fd09::2")));
}

#[test]
fn an_end_tells_its_final_counters() {
    let record = parse(UDP_END, Reading::Ended).expect("well formed");
    assert_eq!(record.status & STATUS_DYING, STATUS_DYING);
    let c = record.connection;
    assert_eq!((c.reading, c.key.src, c.key.sport), (Reading::Ended, addr("fd09::1"), 4001));
    assert_eq!((c.backend, c.backend_port), (addr("fd09::2"), 53));
    assert_eq!(c.traffic, Traffic { orig: counts(1, 58), reply: Counts::ZERO });
}

#[test]
fn counters_are_as_wide_as_the_kernel_writes_them() {
    let wide = Entry { counters: Some([u64::MAX, u64::MAX - 1, 1 << 63, 0]), ..Entry::default() };
    let traffic = live(&wide.encode()).connection.traffic;
    assert_eq!(traffic, Traffic { orig: counts(u64::MAX, u64::MAX - 1), reply: counts(1 << 63, 0) });
    let narrow = Entry { counters: Some([1, 2, 3, u64::from(u32::MAX)]), narrow: true, ..Entry::default() };
    let traffic = live(&narrow.encode()).connection.traffic;
    assert_eq!(traffic, Traffic { orig: counts(1, 2), reply: counts(3, u64::from(u32::MAX)) });
}

#[test]
fn without_counters_the_record_says_so() {
    let record = live(&Entry { counters: None, ..Entry::default() }.encode());
    assert!(!record.has_counters);
    assert!(record.connection.traffic.is_zero());
}

#[test]
fn what_has_no_ports_has_no_backend_port() {
    let port_of = |protocol| live(&Entry { protocol, ..Entry::default() }.encode()).connection.backend_port;
    assert_eq!((port_of(protocol::SCTP), port_of(protocol::UDP)), (80, 80));
    assert_eq!((port_of(protocol::GRE), port_of(protocol::ESP)), (0, 0), "a GRE key is no port");
}

#[test]
fn an_address_of_another_family_is_malformed() {
    let v6 = Some([[0xfd; 16]; 4]);
    let refused = [
        Entry { family: AF_INET6, ..Entry::default() },
        Entry { family: 7, ..Entry::default() },
        Entry { v6, ..Entry::default() },
        Entry { v4: None, ..Entry::default() },
    ];
    for entry in refused {
        assert_eq!(parse(&entry.encode(), Reading::Live), Err(Malformed), "{entry:?}");
    }
    live(&Entry { v4: None, v6, family: AF_INET6, ..Entry::default() }.encode());
}

#[test]
fn an_entry_cut_anywhere_is_malformed_or_lacks_what_was_cut() {
    for payload in [TCP_ENTRY, ICMPV6_ENTRY, UDP_END] {
        let whole = live(payload);
        for len in 0..payload.len() {
            if let Ok(cut) = parse(&payload[..len], Reading::Live) {
                assert_eq!(cut.connection.key.src, whole.connection.key.src, "cut at {len}");
                assert_eq!(cut.connection.backend, whole.connection.backend, "cut at {len}");
            }
        }
    }
}

fn entries() -> impl Strategy<Value = Entry> {
    let v4 = any::<[[u8; 4]; 4]>();
    let v6 = any::<[[u8; 16]; 4]>();
    let protocol = prop_oneof![Just(6u8), Just(17), Just(132), any::<u8>()];
    let options = (any::<Option<u32>>(), any::<Option<[u64; 4]>>(), any::<Option<u32>>(), any::<Option<u16>>());
    (any::<bool>(), v4, v6, protocol, any::<[u16; 4]>(), options).prop_map(
        |(is_v4, v4, v6, protocol, ports, (status, counters, id, ct_zone))| Entry {
            v4: is_v4.then_some(v4),
            v6: (!is_v4).then_some(v6),
            family: if is_v4 { AF_INET } else { AF_INET6 },
            protocol,
            ports,
            status,
            counters,
            narrow: false,
            id,
            ct_zone,
        },
    )
}

/// The values of an entry's attributes of these kinds.
fn values(payload: &[u8], kinds: [u16; 2]) -> Vec<Vec<u8>> {
    let attributes = Attributes::of(&payload[GENERIC_HEADER..]).map(|attribute| attribute.expect("whole"));
    attributes.filter(|attribute| kinds.contains(&attribute.kind)).map(|attribute| attribute.value.to_vec()).collect()
}

const TUPLES: [u16; 2] = [attribute::TUPLE_ORIG, attribute::TUPLE_REPLY];
const COUNTERS: [u16; 2] = [attribute::COUNTERS_ORIG, attribute::COUNTERS_REPLY];

#[test]
fn what_the_kernel_usually_writes_is_read_without_a_walk() {
    for entry in [TCP_ENTRY, UDP_END] {
        for value in values(entry, TUPLES) {
            assert_eq!(usual::tuple(&value), tuple(&value).ok());
            assert!(usual::tuple(&value).is_some());
        }
        for value in values(entry, COUNTERS) {
            assert_eq!(Ok(usual::counts(&value)), super::counts(&value));
            assert!(usual::counts(&value).is_some());
        }
    }
    assert!(values(ICMP_ENTRY, TUPLES).iter().all(|value| usual::tuple(value).is_none()));
}

proptest! {
    #[test]
    fn what_is_read_without_a_walk_is_what_the_walk_reads(
        entry in prop::sample::select(vec![TCP_ENTRY, UDP_END, ICMP_ENTRY, ZONE_OF_ONE_DIRECTION]),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        for (kinds, is_tuple) in [(TUPLES, true), (COUNTERS, false)] {
            for mut value in values(entry, kinds) {
                for (place, byte) in &changes {
                    *place.get_mut(value.as_mut_slice()) = *byte;
                }
                if is_tuple && let Some(read) = usual::tuple(&value) {
                    prop_assert_eq!(Ok(read), tuple(&value));
                }
                if !is_tuple && let Some(read) = usual::counts(&value) {
                    prop_assert_eq!(Ok(Some(read)), super::counts(&value));
                }
            }
        }
    }

    #[test]
    fn what_an_encoder_writes_is_read(entry in entries()) {
        let record = live(&entry.encode());
        let c = record.connection;
        let address = |at: usize| entry.v4.map_or_else(
            || Addr::from_v6(entry.v6.expect("one of them")[at]),
            |v4| Addr::from_v4(v4[at]),
        );
        prop_assert_eq!((c.key.src, c.key.dst, c.backend), (address(0), address(1), address(2)));
        prop_assert_eq!((c.key.sport, c.key.dport), (entry.ports[0], entry.ports[1]));
        prop_assert_eq!(c.key.ct_zone, entry.ct_zone.unwrap_or(0));
        prop_assert_eq!(record.status, entry.status.unwrap_or(0));
        prop_assert_eq!(c.id, entry.id.unwrap_or(0));
        prop_assert_eq!(record.has_counters, entry.counters.is_some());
        let [op, ob, rp, rb] = entry.counters.unwrap_or_default();
        prop_assert_eq!(c.traffic, Traffic { orig: counts(op, ob), reply: counts(rp, rb) });
    }

    #[test]
    fn a_changed_entry_is_read_or_refused(
        entry in entries(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = entry.encode();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = parse(&bytes, Reading::Live);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes, Reading::Ended);
    }
}
