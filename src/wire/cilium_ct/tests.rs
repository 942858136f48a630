//! Entries as nine releases of Cilium wrote them, by the letters that name them; what is to become of each.

use proptest::prelude::*;

use super::*;
use crate::flow::Addr;

/// A key and a value in hexadecimal; blanks stand where the fields of a value end.
pub fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let digit = |b: u8| (b as char).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn entry((key, value): (&str, &str)) -> Entry {
    parse(&bytes(key), &bytes(value)).expect("an entry")
}

fn addr(text: &str) -> Addr {
    text.parse::<std::net::IpAddr>().expect("a literal").into()
}

type Fixture = (&'static str, &'static str);

const A1: Fixture = (
    "0a0001170a0002221f90b26e0600",
    "0a00000000000000 cd81010000000000 0c00000000000000 800d000000000000 00db0100 1000 0000 0000 1a 1a 3d6b0000 9e860100 9e860100",
);
const A2: Fixture = (
    "0a0001170a0002221f90b26e0601",
    "0c00000000000000 800d000000000000 0a00000000000000 cd81010000000000 00db0100 1004 0000 0000 1a 1a 3d6b0000 9e860100 9e860100",
);
const A3: Fixture = (
    "0a602bd10a000117b27000500604",
    "0000000000000000 0700000000000000 0000000000000000 0000000000000000 00db0100 1000 0005 0000 12 00 00000000 9e860100 00000000",
);
const A4: Fixture = (
    "0a0001170a000222000000000102",
    "0000000000000000 0000000000000000 0100000000000000 4a00000000000000 dc860100 1000 0000 0000 02 00 3d6b0000 74850100 00000000",
);
const A5: Fixture = (
    "0a0001170a0000350035cf841100",
    "0100000000000000 a100000000000000 0100000000000000 5b00000000000000 dc860100 4000 0004 0000 00 00 3d6b0000 9f860100 9f860100",
);
const A6: Fixture = (
    "cb0071090a00011720fbc8220601",
    "8403000000000000 683c010000000000 dc05000000000000 200b200000000000 00db0100 1000 0000 0000 1a 1a 02000000 9f860100 9f860100",
);
const A7: Fixture = (
    "cb0071090a0003071f90c8280600",
    "3200000000000000 60ea000000000000 3000000000000000 0410000000000000 00db0100 3000 0009 0200 1a 1a 02000000 9f860100 9f860100",
);
const B1: Fixture = (
    "0a0001170a0002221f90b26e0600",
    "0000000000000000 0000000000000000 1600000000000000 4d8f010000000000 e0a50100 1000 0000 0000 1a 1a 3d6b0000 9e860100 9e860100",
);
const B2: Fixture = (
    "0a0001170a0002221f90b26e0601",
    "0000000000000000 0000000000000000 1600000000000000 4d8f010000000000 e0a50100 1004 0000 0000 1a 1a 3d6b0000 9e860100 9e860100",
);
const B3: Fixture = (
    "0a602bd10a000117b27000500604",
    "0000000000000000 0700000000000000 0c00000000000000 800d000000000000 e0a50100 1000 0005 0000 12 00 00000000 9e860100 00000000",
);
const B4: Fixture = (
    "0a0001170a0002221f90b26e0600",
    "0000000000000000 0000000000000000 0000000000000000 0000000000000000 e0a50100 1000 0000 0000 1a 1a 3d6b0000 9e860100 9e860100",
);
const B6: Fixture = (
    "0a0001170a00012a18ebc3500601",
    "0000000000000000 0000000000000000 2800000000000000 2823000000000000 e0a50100 1000 0000 0000 1a 1a 3d6b0000 9f860100 9f860100",
);
const B7: Fixture = (
    "fd000010024400010000000000000017fd0000100244000200000000000000221f90b26e0600",
    "0000000000000000 0000000000000000 1600000000000000 0591010000000000 e0a50100 1000 0000 0000 1a 1a 3d6b0000 9e860100 9e860100",
);
const C1: Fixture = (
    "cb0071090a0001171f90c8640600",
    "0000000000000000 00000000c633640a 1e00000000000000 6009000000000000 e0a50100 9000 0000 0050 12 00 02000000 9f860100 00000000",
);
const C2: Fixture = (
    "20010db8000000000000000000000009fd0000100244000100000000000000171f90c8640600",
    "20010db8ffff0000 0000000000000010 1e00000000000000 b80b000000000000 e0a50100 9000 0000 0050 12 00 0a000000 9f860100 00000000",
);

fn survey(fixtures: &[Fixture]) -> Survey {
    let mut survey = Survey::default();
    fixtures.iter().for_each(|fixture| survey.note(&entry(*fixture)));
    survey
}

/// Bytes as they stand in the map: (packets, bytes) from the originator and from the responder.
fn traffic(fixture: Fixture, layout: Layout) -> ((u64, u64), (u64, u64)) {
    let Traffic { orig, reply } = entry(fixture).connection(layout, 1).traffic;
    ((orig.packets, orig.bytes), (reply.packets, reply.bytes))
}

#[test]
fn the_key_of_a_conversation_is_the_one_that_cilium_has() {
    for (key, value) in [A1, A2, A3, A5, A6, A7, B1, B2, B3, B6, B7, C1] {
        let e = entry((key, value));
        let stands =
            OneWay { src: e.src, dst: e.dst, sport: e.sport, dport: e.dport, protocol: e.protocol, family: e.family };
        // A SERVICE entry stands as the answer would.
        let way = if e.kind == Kind::Service { stands.reversed() } else { stands };
        assert_eq!(super::key(e.kind, &way, &mut [0; KEY6_BYTES]), bytes(key), "{key}");
    }
    assert_eq!((entry(A3).backend_id(), entry(B3).backend_id(), entry(A1).backend_id()), (Some(7), Some(7), None));
}

proptest! {
    #[test]
    fn counters_are_of_possible_size_by_products_as_by_a_quotient(
        packets in prop_oneof![0..20u64, any::<u64>(), 1u64 << 39..1u64 << 41],
        factor in prop_oneof![0..20u64, (1u64 << 20) - 2..(1u64 << 20) + 3],
        more in 0..20u64,
    ) {
        let first = Counts { packets, bytes: packets.wrapping_mul(factor).wrapping_add(more) };
        let quotient = first.bytes.checked_div(packets).unwrap_or(0);
        let expected = (1..1 << 40).contains(&packets) && (FRAME_HEADER_BYTES..=1 << 20).contains(&quotient);
        prop_assert_eq!(Entry { first, ..entry(A1) }.has_received(), expected);
    }
}

#[test]
fn an_out_entry_speaks_for_its_originator() {
    let c = entry(A1).connection(Layout::Split, 7);
    assert_eq!((c.key.src, c.key.sport), (addr("10.0.1.23"), 45_678));
    assert_eq!((c.backend, c.backend_port, c.key.protocol), (addr("10.0.2.34"), 8080, 6));
    assert_eq!(
        (c.ends, c.reading, c.key.realm),
        (Ends::Originator, Reading::Partial { split: Split::Known, header_bytes: 14 }, 14)
    );
    assert_eq!(traffic(A1, Layout::Split), ((12, 3456), (10, 98_765)));
    let udp = entry(A5).connection(Layout::Split, 7);
    assert_eq!((udp.backend_port, udp.key.sport, udp.ends), (53, 53_124, Ends::Originator));
    assert_eq!(traffic(A5, Layout::Split), ((1, 91), (1, 161)));
}

#[test]
fn an_in_entry_speaks_for_its_responder() {
    let c = entry(A6).connection(Layout::Split, 7);
    assert_eq!((c.key.src, c.backend, c.backend_port), (addr("203.0.113.9"), addr("10.0.1.23"), 8443));
    assert_eq!((c.ends, c.key.realm), (Ends::Responder, 15));
    assert_eq!(traffic(A6, Layout::Split), ((900, 81_000), (1500, 2_100_000)));
    assert_eq!(traffic(A2, Layout::Split), traffic(A1, Layout::Split), "both ends see the same connection");
    assert_eq!(entry(A2).connection(Layout::Split, 7).key.src, entry(A1).connection(Layout::Split, 7).key.src);
}

#[test]
fn service_and_related_entries_are_told() {
    let kinds = [A3, A4, B3].map(|fixture| entry(fixture).kind);
    assert_eq!(kinds, [Kind::Service, Kind::Related, Kind::Service]);
}

#[test]
fn what_passes_through_speaks_for_nobody_here() {
    for fixture in [A7, C1, C2] {
        assert_eq!(entry(fixture).connection(Layout::Split, 1).ends, Ends::Neither);
    }
}

#[test]
fn a_sum_stands_as_sent_by_the_local_end() {
    assert_eq!(traffic(B1, Layout::Sum), ((22, 102_221), (0, 0)));
    assert_eq!(traffic(B2, Layout::Sum), ((0, 0), (22, 102_221)));
    assert_eq!(traffic(B6, Layout::Sum), ((0, 0), (40, 9000)));
    let c = entry(B7).connection(Layout::Sum, 1);
    assert_eq!((c.key.src, c.backend), (addr("fd00:10:244:1::17"), addr("fd00:10:244:2::22")));
    assert_eq!(
        (c.reading, c.traffic.orig.bytes, c.key.family),
        (Reading::Partial { split: Split::Unknown, header_bytes: 14 }, 102_661, 6)
    );
    assert_eq!(
        entry(B1).connection(Layout::Unknown, 1).reading,
        Reading::Partial { split: Split::Undecided, header_bytes: 14 }
    );
}

#[test]
fn an_address_is_never_taken_for_counters() {
    for layout in [Layout::Unknown, Layout::Split, Layout::Sum, Layout::SumAfterSplit] {
        assert_eq!(traffic(C1, layout), ((30, 2400), (0, 0)));
        assert_eq!(traffic(C2, layout), ((30, 3000), (0, 0)));
    }
    // From 1.20 on such an address stands in pods' own entries too, which no flag marks.
    let (key, value) = C2;
    let unmarked = value.replace("e0a50100 9000", "e0a50100 1000");
    assert_eq!(entry((key, &unmarked)).connection(Layout::Split, 1).traffic.reply, Counts::ZERO);
}

#[test]
fn the_layout_is_told_by_what_the_entries_hold() {
    let told = |fixtures: &[Fixture]| survey(fixtures).layout(Layout::Unknown);
    assert_eq!(told(&[]), Layout::Unknown);
    for fixture in [A1, A2, A5, A6] {
        assert_eq!(told(&[fixture]), Layout::Split);
    }
    for fixture in [B1, B2, B4, B6, B7] {
        assert_eq!(told(&[fixture]), Layout::Sum, "{}", fixture.0);
    }
    assert_eq!(told(&[C1]), Layout::Unknown, "forward packets of a load balancer tell nothing");
    assert_eq!(told(&[A1, B6]), Layout::SumAfterSplit, "who makes new entries decides");
}

#[test]
fn an_upgrade_in_place_changes_the_label_and_recounts_nothing() {
    assert_eq!(survey(&[A1]).layout(Layout::Split), Layout::Split);
    let after = survey(&[A1, B6]).layout(Layout::Split);
    assert_eq!(after, Layout::SumAfterSplit);
    assert_eq!(traffic(A1, after), traffic(A1, Layout::Split), "what an older Cilium received stands still");
    assert_eq!(survey(&[A1]).layout(after), Layout::Split, "back again");
    assert_eq!(survey(&[B6]).layout(after), Layout::SumAfterSplit, "those that are left are not counted anew");
    assert_eq!(survey(&[A1, B6]).layout(Layout::Sum), Layout::Sum);
}

#[test]
fn a_reply_that_is_being_counted_is_no_proof_of_a_sum() {
    // Cilium notes that it heard the peer before it counts the packet.
    let (key, value) = A1;
    let torn = value.replace("0a00000000000000 cd81010000000000", "0000000000000000 0000000000000000");
    assert_eq!(survey(&[(key, torn.leak())]).layout(Layout::Split), Layout::Split);
}

#[test]
fn an_older_entry_of_a_sum_does_not_outlive_a_downgrade() {
    let (key, value) = B6;
    let old = (key, &*value.replace("9f860100 9f860100", "00000100 00000100").leak());
    assert_eq!(survey(&[A1, old]).layout(Layout::SumAfterSplit), Layout::Split);
}

#[test]
fn accounting_that_is_off_shows_in_entries_of_today() {
    assert!(entry(B4).is_silent() && !entry(B1).is_silent());
    assert_eq!(survey(&[]).accounting(), Accounting::Unknown);
    assert_eq!(survey(&[B4]).accounting(), Accounting::Off);
    assert_eq!(survey(&[B1]).accounting(), Accounting::On);
    assert_eq!(survey(&[B4, B1]).accounting(), Accounting::Partly);
    // Switched on since: what was made before stays at 0 until its next packet.
    let (key, value) = B4;
    let old = (key, &*value.replace("9e860100 9e860100", "00860100 00860100").leak());
    assert_eq!(survey(&[old, B1]).accounting(), Accounting::On);
    // An unanswered SYN in the split layout.
    let (key, value) = A2;
    let unanswered = value.replace("0a00000000000000 cd81010000000000 00db", "0000000000000000 0000000000000000 00db");
    assert_eq!(survey(&[(key, unanswered.leak())]).accounting(), Accounting::On);
}

#[test]
fn a_pod_that_reaches_itself_through_a_service_stands_at_both_ends() {
    // 169.254.42.1 -> 10.0.1.23, lb_loopback.
    let value = A1.1.replace("00db0100 1000", "00db0100 1800");
    for (flags, ends) in [("00", Ends::Originator), ("01", Ends::Responder)] {
        let key = format!("a9fe2a010a0001171f90b26e06{flags}");
        let c = entry((&key, &value)).connection(Layout::Split, 1);
        assert_eq!((c.key.src, c.backend, c.ends), (addr("10.0.1.23"), addr("10.0.1.23"), ends));
        assert_eq!(survey(&[(&*key.leak(), &*value.clone().leak())]).layout(Layout::Unknown), Layout::Split);
    }
}

#[test]
fn icmp_has_no_port() {
    let key = A1.0.replace("1f90b26e0600", "0000b26e0100");
    let c = entry((&key, A1.1)).connection(Layout::Split, 1);
    assert_eq!((c.backend_port, c.key.sport), (0, 45_678));
    let key = A1.0.replace("1f90b26e0600", "b26e00000100");
    assert_eq!(entry((&key, A1.1)).connection(Layout::Split, 1).backend_port, 0);
}

#[test]
fn frames_lose_their_header_and_never_fall_below_zero() {
    let frames = Traffic { orig: Counts { bytes: 3456, packets: 12 }, reply: Counts { bytes: 10, packets: 1 } };
    let cut = frames.without_headers(14);
    assert_eq!((cut.orig, cut.reply), (Counts { bytes: 3288, packets: 12 }, Counts { bytes: 0, packets: 1 }));
}

#[test]
fn other_sizes_and_no_protocol_are_refused() {
    let (key, value) = (bytes(A1.0), bytes(A1.1));
    for cut in 0..key.len() {
        assert!(parse(&key[..cut], &value).is_err());
    }
    for cut in 0..value.len() {
        assert!(parse(&key, &value[..cut]).is_err());
    }
    assert!(parse(&[&key[..], &key[..]].concat(), &value).is_err());
    assert!(parse(&[0; KEY4_BYTES], &value).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        key in proptest::collection::vec(any::<u8>(), KEY6_BYTES),
        value in proptest::collection::vec(any::<u8>(), VALUE_BYTES),
        v4: bool,
        map: u32,
    ) {
        let key = if v4 { &key[..KEY4_BYTES] } else { &key[..] };
        if let Ok(entry) = parse(key, &value) {
            let mut survey = Survey::default();
            survey.note(&entry);
            for before in [Layout::Unknown, Layout::Split, Layout::Sum, Layout::SumAfterSplit] {
                let c = entry.connection(survey.layout(before), map);
                prop_assert!(c.traffic.without_headers(14).orig.bytes <= c.traffic.orig.bytes);
            }
            survey.accounting();
        }
    }
}
