use std::net::IpAddr;

use proptest::prelude::*;

use super::lines::{Head, Line, LineError, MAX_BYTES, Wrong, parse, parse_line};
use super::names::{Learner, MAX_PLACES, MAX_SERVICES, Names, Place, TooMany};
use super::table::{Builder, MAX_RANGES, Said};
use super::*;
use crate::flow::Cidr;

fn addr(text: &str) -> Addr {
    text.parse::<IpAddr>().expect("a literal").into()
}

fn cidr(text: &str) -> Cidr {
    lines::range_of(text).expect("a literal")
}

/// A topology of a node in zone `a1` of region `a`.
fn topology(text: &str) -> Topology {
    let mut learner = Learner::new(Names::default());
    let own = learner.place("a1", "a").expect("room");
    let parsed = parse(text, &mut learner, &[own]).unwrap_or_else(|error| panic!("{error}"));
    Topology::new(Arc::new(parsed.table), Arc::new(learner.finish()), own)
}

fn wrong(text: &str) -> LineError {
    parse(text, &mut Learner::new(Names::default()), &[]).expect_err("it must be refused")
}

fn scope(topology: &Topology, text: &str, is_in_cluster: bool) -> Scope {
    topology.charge(addr(text), false, is_in_cluster).way.scope()
}

#[test]
fn scopes_follow_from_zone_and_region() {
    let topology = topology(
        "10.0.1.0/24 zone=a1 region=a\n\
         10.0.2.0/24 zone=a2 region=a\n\
         10.1.0.0/16 zone=b1 region=b\n\
         10.2.0.0/16 region=b\n\
         10.3.0.0/16 region=a\n\
         10.4.0.0/16 zone=x9\n\
         10.5.0.0/16 zone=b1\n\
         10.6.0.0/16 zone=a1\n\
         10.7.0.0/16 scope=cross_region zone=a1\n\
         10.8.0.0/16 via=peering\n\
         198.51.100.0/24 service=mirror\n",
    );
    let inside = |text| scope(&topology, text, true);
    assert_eq!(inside("10.0.1.9"), Scope::Zone);
    assert_eq!(inside("10.0.2.9"), Scope::Region);
    assert_eq!(inside("10.1.2.9"), Scope::CrossRegion);
    assert_eq!(inside("10.2.2.9"), Scope::CrossRegion);
    assert_eq!(inside("10.3.2.9"), Scope::Unknown, "the zone is not known");
    assert_eq!(inside("10.4.2.9"), Scope::Unknown, "another zone, of a region that is not known");
    assert_eq!(inside("10.5.2.9"), Scope::CrossRegion, "another line says the region of this zone");
    assert_eq!(inside("10.6.2.9"), Scope::Zone);
    assert_eq!(inside("10.7.2.9"), Scope::CrossRegion, "what is said goes before what follows");
    assert_eq!(inside("10.8.2.9"), Scope::Unknown);
    assert_eq!(topology.charge(addr("10.8.2.9"), false, true).way.via(), Via::Peering);
    let mirror = topology.charge(addr("198.51.100.1"), false, false);
    assert_eq!((mirror.way.scope(), topology.names().service(mirror.way.service())), (Scope::Internet, "mirror"));
    let other = topology.charge(addr("10.5.0.1"), false, true);
    assert_eq!((topology.names().zone(other.place), topology.names().region(other.place)), ("b1", "b"));
}

/// In the order of the sources: lines, the own node, the ranges of the cluster.
#[test]
fn without_a_line_the_cluster_decides() {
    let topology = Topology::default();
    assert_eq!(scope(&topology, "203.0.113.1", false), Scope::Internet);
    assert_eq!(scope(&topology, "10.0.0.1", true), Scope::Unknown);
    assert_eq!(scope(&topology, "2001:db8::1", false), Scope::Internet);
    for near in ["169.254.169.254", "fe80::1"] {
        assert_eq!(scope(&topology, near, true), Scope::Node, "{near}");
        assert_eq!(scope(&topology, near, false), Scope::Node, "{near}");
    }
    for of_many in ["224.0.0.251", "239.1.1.1", "255.255.255.255", "ff02::fb"] {
        assert_eq!(scope(&topology, of_many, false), Scope::Unknown, "{of_many}");
    }
}

#[test]
fn the_own_node_is_exact_and_yields_only_to_a_line_for_one_address() {
    let topology = topology(
        "10.0.0.0/8 zone=a2 region=a\n10.0.0.7 scope=region\n10.0.0.8 zone=a2\n169.254.0.0/16 scope=internet via=vpn\n",
    );
    let own = |text| topology.charge(addr(text), true, true);
    assert_eq!(own("10.0.0.6").way.scope(), Scope::Node);
    assert_eq!(topology.names().zone(own("10.0.0.6").place), "a1");
    assert_eq!(own("10.0.0.7").way.scope(), Scope::Region);
    assert_eq!(own("10.0.0.8").way.scope(), Scope::Node, "where a pod is published one by one, it is still here");
    assert_eq!(scope(&topology, "169.254.1.1", true), Scope::Internet, "a line goes before what is local by nature");
}

#[test]
fn a_node_that_does_not_know_where_it_is_knows_no_distance() {
    let mut learner = Learner::new(Names::default());
    let parsed = parse("10.0.0.0/8 zone=a1 region=a\n", &mut learner, &[]).expect("it is well");
    let topology = Topology::new(Arc::new(parsed.table), Arc::new(learner.finish()), 0);
    assert_eq!(scope(&topology, "10.1.1.1", true), Scope::Unknown);
}

#[test]
fn distances_need_both_ends() {
    let place = |zone, region| Place { zone, region };
    let cases = [
        (place(1, 9), place(1, 9), Scope::Zone),
        (place(1, 9), place(2, 9), Scope::Region),
        (place(1, 9), place(1, 8), Scope::CrossRegion),
        (place(1, 9), place(0, 8), Scope::CrossRegion),
        (place(1, 9), place(0, 9), Scope::Unknown),
        (place(1, 0), place(1, 9), Scope::Zone),
        (place(1, 0), place(2, 9), Scope::Unknown),
        (place(0, 9), place(1, 9), Scope::Unknown),
        (place(0, 0), place(1, 9), Scope::Unknown),
        (place(0, 0), place(0, 0), Scope::Unknown),
    ];
    for (one, other, scope) in cases {
        assert_eq!((one.distance_to(other), other.distance_to(one)), (scope, scope), "{one:?} {other:?}");
    }
}

#[test]
fn the_longest_range_wins_wherever_it_stands() {
    let topology = topology(
        "10.1.2.0/24 service=c\n10.0.0.0/8 service=a\n10.1.0.0/16 service=b\n0.0.0.0/0 service=all\n\
         10.1.2.3 service=d\n2001:db8::/32 service=six\n2001:db8:1::/48 service=seven\n::/0 service=allsix\n",
    );
    let service = |text| {
        let charge = topology.charge(addr(text), false, false);
        topology.names().service(charge.way.service()).to_owned()
    };
    let cases = [
        ("10.1.2.3", "d"),
        ("10.1.2.4", "c"),
        ("10.1.3.0", "b"),
        ("10.2.0.0", "a"),
        ("10.255.255.255", "a"),
        ("9.255.255.255", "all"),
        ("255.255.255.255", "all"),
        ("0.0.0.0", "all"),
        ("2001:db8:1::9", "seven"),
        ("2001:db8:2::9", "six"),
        ("ffff::", "allsix"),
        ("::", "allsix"),
    ];
    for (text, expected) in cases {
        assert_eq!(service(text), expected, "{text}");
    }
}

#[test]
fn a_way_is_two_bytes_and_back() {
    for scope in Scope::ALL {
        for via in Via::ALL {
            for service in [0, 1, 255] {
                let way = Way::new(scope, via, service);
                assert_eq!((way.scope(), way.via(), way.service()), (scope, via, service));
                assert_eq!(Way::from_number(way.number()), Some(way));
            }
        }
    }
    assert_eq!((Way::from_number(7 << 8), Way::from_number(1 << 14)), (None, None));
}

#[test]
fn every_bad_line_is_named() {
    let cases: [(&str, u32, &str); 25] = [
        ("", 1, "empty"),
        ("10.0.0.0/8 zone=a\n10.0.0.0/33 zone=b\n", 2, "no range"),
        ("10.0.0/8 zone=a\n", 1, "no range"),
        ("10.0.0.0/+8 zone=a\n", 1, "no range"),
        ("10.0.0.0/ zone=a\n", 1, "no range"),
        ("fd00::/129 zone=a\n", 1, "no range"),
        ("::ffff:10.0.0.0/104 zone=a\n", 1, "write it as IPv4"),
        ("::ffff:a00:1 zone=a\n", 1, "write it as IPv4"),
        ("# one\n\n10.0.0.1/8 zone=a\n", 3, "is 10.0.0.0/8 meant?"),
        ("fd00::1/8 zone=a\n", 1, "is fd00::/8 meant?"),
        ("10.0.0.0/8\n", 1, "nothing is said of 10.0.0.0/8"),
        ("10.0.0.0/8 # zone=a\n", 1, "nothing is said"),
        ("10.0.0.0/8 zone\n", 1, "\"zone\" is not understood"),
        ("10.0.0.0/8 zones=a\n", 1, "\"zones=a\" is not understood"),
        ("10.0.0.0/8 Zone=a\n", 1, "not understood"),
        ("10.0.0.0/8 zone=a zone=a\n", 1, "zone= stands there twice"),
        ("10.0.0.0/8 scope=zone scope=zone\n", 1, "scope= stands there twice"),
        ("10.0.0.0/8 via=nat via=nat\n", 1, "via= stands there twice"),
        ("10.0.0.0/8 zone=\n", 1, "zone=\"\": want 1 to 63"),
        ("10.0.0.0/8 service=a\"b\n", 1, "service=\"a\\\"b\": want 1 to 63"),
        ("10.0.0.0/8 scope=overlay\n", 1, "want node, zone, region, cross_region, internet"),
        ("10.0.0.0/8 via=none\n", 1, "want nat, lb, privatelink, peering, tgw, vpn, interconnect"),
        ("10.0.0.0/8 zone=us-east-1a\n10.1.0.0/16 zone=us-east-1", 2, "cut"),
        ("10.0.0.0/8 zone=a\n# between\n10.0.0.0/8 zone=b\n", 3, "another line says something else of 10.0.0.0/8"),
        ("10.0.0.0/8 zone=a\n10.0.0.0/8 zone=a via=nat\n10.2.0.0/16 zone=a\n", 2, "something else"),
    ];
    for (text, line, says) in cases {
        let error = wrong(text);
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(error.to_string().contains(says), "{text:?}: {error}");
        assert!(!error.to_string().contains(char::is_control), "{text:?}: {error}");
    }
    let long = format!("10.0.0.0/8 zone={}\n", "x".repeat(64));
    assert!(matches!(wrong(&long).wrong, Wrong::Value("zone", _)));
    assert!(matches!(wrong(&format!("{}\n", "y".repeat(100_000))).wrong, Wrong::Range(text) if text.len() <= 80));
}

#[test]
fn what_is_only_unusual_is_taken() {
    let crlf =
        topology("# from elsewhere\r\n10.0.0.0/8 zone=a2 region=a\r\n\r\n\t10.1.0.0/16\tzone=b1 region=b # near\r\n");
    assert_eq!(scope(&crlf, "10.2.0.1", true), Scope::Region);
    assert_eq!(scope(&crlf, "10.1.0.1", true), Scope::CrossRegion);
    assert_eq!(topology("10.0.0.0/8 zone=a\n10.0.0.0/8 zone=a\n").ranges(), 1, "the same twice");
    assert_eq!(topology("# nothing\n").ranges(), 0);
}

/// 70,000 ranges are refused, and in the line that is too many; 65,536 are taken, with as many repeated.
#[test]
fn the_table_has_a_bound() {
    let line = |n: u32| format!("10.{}.{}.{} zone=a\n", n >> 16, n >> 8 & 255, n & 255);
    let many: String = (0..70_000).map(line).collect();
    let error = wrong(&many);
    assert_eq!((error.line, error.wrong), (MAX_RANGES as u32 + 1, Wrong::Ranges));
    let fitting: String = (0..MAX_RANGES as u32).chain(0..MAX_RANGES as u32).map(line).collect();
    let topology = topology(&fitting);
    assert_eq!(topology.ranges(), MAX_RANGES);
    assert!(topology.table.bytes() <= MAX_RANGES * 24);
    assert_eq!(
        topology.charge(addr("10.0.255.255"), false, true).place,
        topology.charge(addr("10.0.0.0"), false, true).place
    );
    assert_eq!(scope(&topology, "10.1.0.0", true), Scope::Unknown, "the first that is not there");
    assert!(many.len() < MAX_BYTES);
}

#[test]
fn names_have_bounds_of_their_own() {
    let services: String = (0..300).map(|n| format!("10.0.{}.{} service=s{n}\n", n / 256, n % 256)).collect();
    let error = wrong(&services);
    assert_eq!((error.line, error.wrong), (MAX_SERVICES as u32, Wrong::Names(TooMany::Services)));
    let zones: String = (0..5_000).map(|n| format!("10.0.{}.{} zone=z{n}\n", n / 256, n % 256)).collect();
    let error = wrong(&zones);
    assert_eq!((error.line, error.wrong), (MAX_PLACES as u32, Wrong::Names(TooMany::Places)));
}

#[test]
fn numbers_stay_when_another_text_comes() {
    let mut learner = Learner::new(Names::default());
    parse("10.0.0.0/8 zone=a region=r service=s\n", &mut learner, &[]).expect("it is well");
    let before = learner.finish();
    let mut learner = Learner::new(before.clone());
    parse("10.0.0.0/8 zone=b region=r service=t\n10.1.0.0/16 zone=a region=r\n", &mut learner, &[])
        .expect("it is well");
    let after = learner.finish();
    assert_eq!(
        (after.zone(1), after.region(1), after.service(1)),
        (before.zone(1), before.region(1), before.service(1))
    );
    assert_eq!(after.zone(2), "b");
    assert_eq!((after.zone(999), after.service(99)), ("", ""));
}

#[test]
fn a_name_that_one_line_alone_bears_is_told() {
    let mut learner = Learner::new(Names::default());
    let own = learner.place("us-east-1a", "us-east-1").expect("room");
    let text = "10.0.0.0/16 zone=us-east-1a region=us-east-1\n\
                10.1.0.0/16 zone=us-east1b region=us-east-1\n\
                10.2.0.0/16 zone=us-east-1c region=us-east-1\n\
                10.3.0.0/16 zone=us-east-1c region=us-east1\n";
    let parsed = parse(text, &mut learner, &[own]).expect("it is well");
    assert_eq!(parsed.lonely, [(2, "us-east1b".to_owned()), (4, "us-east1".to_owned())]);
}

#[test]
fn a_published_text_says_whether_it_is_whole() {
    let head = Head { generation: 17, ranges: 2 };
    let text = format!("{head}\n10.0.0.0/24 zone=a\n10.0.1.0/24 zone=b\n");
    let parsed = parse(&text, &mut Learner::new(Names::default()), &[]).expect("it is well");
    assert_eq!(parsed.head, Some(head));
    let cut = format!("{head}\n10.0.0.0/24 zone=a\n");
    assert_eq!(wrong(&cut), LineError { line: 2, wrong: Wrong::Count(2, 1) });
    assert_eq!(wrong(&format!("{head}\n")).wrong, Wrong::Count(2, 0));
    let newer = text.replace("topology 1 ", "topology 2 ");
    assert_eq!(wrong(&newer), LineError { line: 1, wrong: Wrong::Version("2".to_owned()) });
    assert_eq!(wrong("# zxporter-netmon topology 1 generation x\n").wrong, Wrong::Cut);
    let own = parse("10.0.0.0/24 zone=a\n", &mut Learner::new(Names::default()), &[]).expect("it is well");
    assert_eq!(own.head, None);
}

#[test]
fn a_line_is_written_as_it_is_read() {
    let text = "2001:db8::/32 zone=a1 region=a scope=cross_region via=interconnect service=aws-s3";
    let line = parse_line(text).expect("it is well").expect("a range");
    assert_eq!(line.to_string(), text);
    let least = Line { range: cidr("10.0.0.0/8"), scope: None, via: Via::Nat, zone: "", region: "", service: "" };
    assert_eq!(least.to_string(), "10.0.0.0/8 via=nat");
}

/// Ranges that are nested in each other often.
fn ranges() -> impl Strategy<Value = Vec<(Cidr, u16)>> {
    let v4 = (any::<u32>(), 0u8..=32).prop_map(|(bits, prefix)| {
        let few = bits & 0x8181_8181;
        Cidr::new(Addr::from_v4(few.to_be_bytes()), prefix).expect("within 32")
    });
    let v6 = (any::<u128>(), 0u8..=128).prop_filter_map("no mapped addresses", |(bits, prefix)| {
        let few = bits & 0x8181_0000_8000_0001_8000_0000_0000_8181;
        Cidr::new(Addr::from_number(few), prefix).filter(|range| !range.is_v4())
    });
    proptest::collection::vec((prop_oneof![v4, v6], 1u16..4_000), 0..120)
}

proptest! {
    #[test]
    fn a_look_up_is_a_linear_search_for_the_longest(ranges in ranges(), more in proptest::collection::vec(any::<u128>(), 40)) {
        let mut builder = Builder::default();
        let mut kept: Vec<(Cidr, u16)> = Vec::new();
        for (range, place) in ranges {
            if kept.iter().all(|(other, _)| *other != range) {
                kept.push((range, place));
                let said = Said { scope: None, via: Via::None, service: 7, place, is_single: false };
                prop_assert_eq!(builder.add(range, said), Ok(()));
            }
        }
        let table = builder.finish().expect("each once");
        prop_assert_eq!(table.len(), kept.len());
        let borders = kept.iter().flat_map(|(range, _)| {
            let first = range.first().number();
            [first, first.wrapping_sub(1), first.wrapping_add(1)]
        });
        let anywhere = more.iter().flat_map(|n| [n & 0x8181_0000_8000_0001_8000_0000_0000_8181, 0xffff_0000_0000 | n & 0x8181_8181]);
        for number in borders.chain(anywhere).collect::<Vec<_>>() {
            let addr = Addr::from_number(number);
            let expected = kept.iter().filter(|(range, _)| range.contains(addr)).max_by_key(|(range, _)| range.prefix());
            let found = table.find(addr);
            prop_assert_eq!(found.map(|said| said.place), expected.map(|(_, place)| *place), "{}", addr);
            let single = expected.map(|(range, _)| range.prefix() == if range.is_v4() { 32 } else { 128 });
            prop_assert_eq!(found.map(|said| said.is_single), single);
        }
    }

    #[test]
    fn joining_changes_no_answer(ranges in ranges()) {
        let few: Vec<(Cidr, u16)> = ranges.into_iter().map(|(range, place)| (range, place % 3)).collect();
        let joined = join::join(few.iter().copied());
        prop_assert!(joined.len() <= few.len());
        let find = |all: &[(Cidr, u16)], addr| {
            // Of equal ranges the first counts.
            let holding = all.iter().rev().filter(|(range, _)| range.contains(addr));
            holding.max_by_key(|(range, _)| range.prefix()).map(|(_, place)| *place)
        };
        for (range, _) in &few {
            let first = range.first().number();
            for number in [first, first.wrapping_sub(1), first.wrapping_add(1), first | 0x81] {
                let addr = Addr::from_number(number);
                prop_assert_eq!(find(&joined, addr), find(&few, addr), "{}", addr);
            }
        }
    }

    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,200}\n?") {
        let _ = parse(&text, &mut Learner::new(Names::default()), &[]);
    }
}
