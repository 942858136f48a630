use super::*;
use crate::flow::{Connection, ConnectionKey, Ends, Traffic};
use crate::source::ebpf::roles::RoleTable;
use crate::source::ebpf::tuple::Counted;

fn addr(last: u8) -> Addr {
    Addr::from_v4([10, 0, 0, last])
}

/// Client 1 asks the service 9:80; backend 2:8080 answers to the masquerading address 5.
fn entry() -> conntrack::Record {
    let key = ConnectionKey {
        src: addr(1),
        dst: addr(9),
        sport: 40_000,
        dport: 80,
        ct_zone: 0,
        protocol: protocol::TCP,
        family: 4,
        realm: 0,
    };
    conntrack::Record {
        connection: Connection {
            key,
            backend: addr(2),
            backend_port: 8080,
            ends: Ends::Both,
            reading: Reading::Live,
            id: 1,
            start_ns: 0,
            traffic: Traffic::ZERO,
            more: None,
            cgroup: 0,
        },
        status: 0,
        has_counters: true,
        tcp_state: 3,
        tcp_flags: 0x23,
    }
}

fn way(src: Addr, sport: u16, dst: Addr, dport: u16) -> OneWay {
    OneWay { src, dst, sport, dport, protocol: protocol::TCP, family: 4 }
}

#[test]
fn each_end_finds_its_role_by_the_direction_that_it_sent_or_received() {
    let client = translation(&entry(), &way(addr(1), 40_000, addr(9), 80), true);
    assert!(client.opened_by_local);
    assert_eq!((client.backend, client.backend_port, client.dst), (addr(2), 8080, addr(9)));
    let server = translation(&entry(), &way(addr(2), 8080, addr(5), 40_000), true);
    assert!(!server.opened_by_local);
    assert_eq!(server.src, addr(1));
    // The client is a socket of the host, which sends as 5 after masquerading.
    let masqueraded = translation(&entry(), &way(addr(2), 8080, addr(5), 40_000), false);
    assert!(masqueraded.opened_by_local);
    assert_eq!(masqueraded.src, addr(1));
    let redirected = translation(&entry(), &way(addr(1), 40_000, addr(9), 80), false);
    assert!(!redirected.opened_by_local);
}

/// Knows 9:80 as a service of 2:8080, and 8:80 as one whose backend is forgotten.
struct Two;

impl Services for Two {
    fn begin_sweep(&mut self) {}
    fn look_up(&mut self, sent: &OneWay, opened_by_local: Option<bool>) -> Answer {
        let plain = Translation::plain(sent, opened_by_local != Some(false));
        match sent.dst {
            dst if dst == addr(9) => Answer::Service(Translation { backend: addr(2), backend_port: 8080, ..plain }),
            dst if dst == addr(8) => Answer::Lost,
            _ => Answer::Plain(plain),
        }
    }
    fn may_have_sent(&self, client: Addr) -> bool {
        client == addr(7)
    }
    fn trouble(&self) -> &str {
        "trouble"
    }
}

/// The flow of a socket of 1.
fn role(remote: Addr, remote_port: u16, opened_by_local: bool) -> Role {
    role_of(addr(1), remote, remote_port, opened_by_local)
}

fn role_of(local: Addr, remote: Addr, remote_port: u16, opened_by_local: bool) -> Role {
    let tuple =
        Tuple { local, remote, local_port: 40_000, remote_port, protocol: protocol::TCP, flags: 0, family: 4, zero: 0 };
    let counted = Counted { opened_by_local, opened_by_remote: !opened_by_local, ..Counted::default() };
    RoleTable::new(4, 0).settle(&tuple, &counted, 0).role
}

#[test]
fn services_are_asked_where_there_is_no_conntrack() {
    let mut resolver = Resolver::open().expect("rtnetlink");
    resolver.give_up_conntrack();
    let asked = role(addr(9), 80, true);
    assert!(!resolver.is_worth_it(&asked, 0), "nobody is left to ask");
    resolver.consult(Box::new(Two));
    assert!(resolver.is_worth_it(&asked, 0));
    let found = resolver.look_up(&asked, 0).expect("no conntrack is asked").expect("a service");
    assert_eq!((found.dst, found.backend, found.backend_port), (addr(9), addr(2), 8080));
    assert!(resolver.is_service(&asked.tuple) && resolver.is_worth_it(&asked, 0));

    let lost = role(addr(8), 80, true);
    assert_eq!(resolver.look_up(&lost, 0).expect("no conntrack is asked"), None);
    assert!(resolver.is_service(&lost.tuple), "it stays known as one");

    let plain = role(addr(3), 80, true);
    let found = resolver.look_up(&plain, 0).expect("no conntrack is asked").expect("it is plain");
    assert_eq!((found.backend, found.backend_port), (addr(3), 80));
    assert!(!resolver.is_service(&plain.tuple) && !resolver.is_worth_it(&plain, 0), "trusted for a minute");
    assert!(resolver.is_worth_it(&plain, PLAIN_NS));

    // Of what others opened, only what services may have sent.
    assert!(resolver.is_worth_it(&role(addr(7), 50_000, false), 0));
    let mut others = role(addr(6), 50_000, false);
    others.replied = true;
    assert!(!resolver.is_worth_it(&others, 0));
    // The socket of a flow that goes one way may have the other under another name (F32).
    others.replied = false;
    assert!(resolver.is_worth_it(&others, 0));
    assert_eq!(resolver.trouble(), "trouble");
}

/// Knows 9:80 as a service for every client but 1.
struct ForSome;

impl Services for ForSome {
    fn begin_sweep(&mut self) {}
    fn look_up(&mut self, sent: &OneWay, opened_by_local: Option<bool>) -> Answer {
        let plain = Translation::plain(sent, opened_by_local != Some(false));
        match sent.src == addr(1) {
            true => Answer::Plain(plain),
            false => Answer::Service(Translation { backend: addr(2), ..plain }),
        }
    }
    fn may_have_sent(&self, _: Addr) -> bool {
        false
    }
    fn trouble(&self) -> &str {
        ""
    }
}

#[test]
fn f33_what_is_plain_for_one_client_is_not_plain_for_another() {
    let mut resolver = Resolver::open().expect("rtnetlink");
    resolver.give_up_conntrack();
    resolver.consult(Box::new(ForSome));
    let one = role(addr(9), 80, true);
    let other = role_of(addr(4), addr(9), 80, true);
    assert_eq!(resolver.look_up(&one, 0).expect("not asked").expect("plain").backend, addr(9));
    assert!(!resolver.is_worth_it(&one, 1), "trusted, for this client");
    assert!(resolver.is_worth_it(&other, 1));
    assert_eq!(resolver.look_up(&other, 1).expect("not asked").expect("translated").backend, addr(2));
    // From now on every client is asked for, the first one too.
    assert!(resolver.is_worth_it(&one, 2));
}

#[test]
fn where_conntrack_knows_nothing_again_and_again_services_alone_are_asked_for_a_minute() {
    let mut resolver = Resolver::open().expect("rtnetlink");
    resolver.misses = MISSES_MAX - 1;
    resolver.given_up = true;
    let miss = role(addr(3), 80, true);
    assert_eq!(resolver.look_up(&miss, 5).expect("not asked"), None);
    resolver.given_up = false;
    assert!(!resolver.is_worth_it(&miss, 6), "paused");
    resolver.consult(Box::new(Two));
    assert!(resolver.is_worth_it(&role(addr(9), 80, true), 6));
    assert!(resolver.is_worth_it(&miss, 5 + PAUSE_NS));
}
