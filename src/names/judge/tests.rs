use super::*;
use crate::clock::SECOND;
use crate::names::Origin;
use crate::stats::DnsLost;

const CLIENT: Addr = Addr::from_v4([10, 0, 0, 1]);
const OTHER: Addr = Addr::from_v4([10, 0, 0, 2]);
const SERVER: Addr = Addr::from_v4([10, 0, 0, 53]);
const SITE: Addr = Addr::from_v4([192, 0, 2, 7]);

struct Bench {
    judge: Judge,
    names: Arc<Names>,
    stats: Arc<Stats>,
}

fn bench(keeps_lookups: bool) -> Bench {
    let stats = Arc::<Stats>::default();
    let names = Arc::new(Names::new(Arc::clone(&stats), keeps_lookups));
    Bench { judge: Judge::new(Arc::clone(&names), Arc::clone(&stats)), names, stats }
}

fn at(seconds: u64) -> u64 {
    seconds * SECOND
}

/// A question for A records, or its answer with these addresses.
fn message(id: u8, name: &str, flags: u16, addresses: &[[u8; 4]]) -> Vec<u8> {
    let mut out = vec![0, id];
    for word in [flags, 1, addresses.len() as u16, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend(label.bytes());
    }
    out.extend([0, 0, 1, 0, 1]);
    for address in addresses {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        out.extend(address);
    }
    out
}

fn seen(payload: &[u8], is_answer: bool) -> Captured<'_> {
    Captured {
        client: CLIENT,
        server: SERVER,
        client_port: 40_000,
        server_port: 53,
        protocol: protocol::UDP,
        cgroup: 7,
        is_answer,
        payload,
        length: payload.len() as u32,
    }
}

impl Bench {
    fn ask(&mut self, id: u8, name: &str) {
        self.judge.take(&seen(&message(id, name, 0x0100, &[]), false), at(0));
    }

    fn answer(&mut self, id: u8, name: &str, addresses: &[[u8; 4]]) {
        self.judge.take(&seen(&message(id, name, 0x8180, addresses), true), at(1));
    }

    fn name(&self, client: Addr) -> Option<(String, Origin)> {
        let found = self.names.find(SITE, at(2), &mut [client].into_iter(), &|asked, _| asked == client);
        found.map(|(text, origin)| (text.to_string(), origin))
    }

    /// Lookups, folded, and skipped for (malformed, unasked, truncated, segmented, empty).
    fn books(&self) -> (u64, u64, [u64; 5]) {
        let skipped = std::array::from_fn(|n| self.stats.dns_skipped[n].get());
        (self.stats.dns_lookups.get(), self.stats.dns_folded.get(), skipped)
    }
}

#[test]
fn an_answer_gives_its_client_a_name_and_the_window_a_lookup() {
    let mut b = bench(true);
    b.ask(1, "Www.Shop.Test");
    b.answer(1, "www.shop.test", &[[192, 0, 2, 7], [192, 0, 2, 8]]);
    b.answer(1, "www.shop.test", &[[192, 0, 2, 7]]);
    b.ask(2, "www.shop.test");
    b.answer(2, "www.shop.test", &[[192, 0, 2, 9]]);
    assert_eq!(b.books(), (1, 2, [0; 5]), "a repeat and a second answer are folded");
    assert_eq!(b.name(CLIENT), Some(("www.shop.test".into(), Origin::Own)));
    assert_eq!(b.name(OTHER), Some(("www.shop.test".into(), Origin::Node)));
    let mut lookups = Vec::new();
    b.names.take_lookups(&mut |lookup| lookups.push(lookup));
    assert_eq!(lookups.len(), 1);
    assert_eq!((lookups[0].client, &*lookups[0].name, lookups[0].addresses.len()), (CLIENT, "www.shop.test", 3));
    assert_eq!(lookups[0].answered_mono_ns, at(1));
    assert_eq!(b.stats.dns_pending.get(), 1);
    b.names.put_back(lookups.remove(0));
    assert_eq!((b.stats.dns_pending.get(), b.stats.dns_acknowledged.get()), (1, 0));
    b.names.take_lookups(&mut |_| {});
    b.names.acknowledge();
    assert_eq!((b.stats.dns_pending.get(), b.stats.dns_acknowledged.get()), (0, 1));
}

#[test]
fn spoofed_and_malformed_answers_change_nobodys_names() {
    let mut b = bench(true);
    b.ask(1, "www.shop.test");
    let lie = message(1, "www.shop.test", 0x8180, &[[192, 0, 2, 7]]);
    let whole = seen(&lie, true);
    for spoofed in [
        Captured { server: OTHER, ..whole },
        Captured { client: OTHER, ..whole },
        Captured { client_port: 40_001, ..whole },
        Captured { server_port: 5353, ..whole },
    ] {
        b.judge.take(&spoofed, at(1));
    }
    b.answer(2, "www.shop.test", &[[192, 0, 2, 7]]);
    b.answer(1, "www.bank.test", &[[192, 0, 2, 7]]);
    assert_eq!(b.books(), (0, 0, [0, 6, 0, 0, 0]));
    b.judge.take(&seen(&lie[..11], true), at(1));
    b.judge.take(&seen(&message(1, "www.shop.test", 0x0100, &[[192, 0, 2, 7]]), true), at(1));
    let mut circle = lie.clone();
    // The owner of the record becomes a pointer to itself.
    let owner = lie.len() - 16;
    circle[owner..owner + 2].copy_from_slice(&(0xc000 | owner as u16).to_be_bytes());
    b.judge.take(&seen(&circle, true), at(1));
    assert_eq!(b.books(), (0, 0, [3, 6, 0, 0, 0]));
    assert_eq!(b.name(CLIENT), None);
    b.judge.take(&whole, at(1));
    assert_eq!(b.books(), (1, 0, [3, 6, 0, 0, 0]), "the genuine answer is believed all the same");
    b.judge.take(&whole, at(20));
    assert_eq!(b.books().2[1], 7, "too late");
}

#[test]
fn answers_without_addresses_are_empty_or_truncated() {
    let mut b = bench(true);
    for (id, flags) in [(1, 0x8180), (2, 0x8183), (3, 0x8380)] {
        b.ask(id, "www.shop.test");
        let addresses: &[[u8; 4]] = if id == 2 { &[[192, 0, 2, 7]] } else { &[] };
        b.judge.take(&seen(&message(id, "www.shop.test", flags, addresses), true), at(1));
    }
    assert_eq!(b.books(), (0, 0, [0, 0, 1, 0, 2]));
    assert_eq!(b.name(CLIENT), None);
}

#[test]
fn of_a_tcp_segment_whole_messages_are_read_and_each_is_counted() {
    let mut b = bench(true);
    let framed = |messages: &[Vec<u8>]| {
        let mut out = Vec::new();
        for message in messages {
            out.extend((message.len() as u16).to_be_bytes());
            out.extend(message);
        }
        out
    };
    let tcp = |payload, is_answer| Captured { protocol: protocol::TCP, ..seen(payload, is_answer) };
    let questions = framed(&[message(1, "a.test", 0x0100, &[]), message(2, "b.test", 0x0100, &[])]);
    b.judge.take(&tcp(&questions, false), at(0));
    let answers = framed(&[
        message(1, "a.test", 0x8180, &[[192, 0, 2, 7]]),
        message(2, "b.test", 0x8180, &[[192, 0, 2, 8]]),
        message(3, "c.test", 0x8180, &[[192, 0, 2, 9]]),
    ]);
    b.judge.take(&tcp(&answers[..answers.len() - 1], true), at(1));
    assert_eq!(b.books(), (2, 0, [0, 0, 0, 1, 0]));
    assert_eq!(b.stats.dns_answers.get(), 2, "beside the one that the programs count");
    b.judge.take(&tcp(&answers[answers.len() - 1..], true), at(1));
    assert_eq!((b.books(), b.stats.dns_answers.get()), ((2, 0, [0, 0, 0, 2, 0]), 2));
}

#[test]
fn the_host_is_one_client_whatever_loopback_address_it_asks_from() {
    let mut b = bench(false);
    let loopback = Addr::from_v4([127, 0, 0, 1]);
    let v6 = Addr::from(std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST));
    for client in [loopback, v6] {
        b.judge.take(&Captured { client, ..seen(&message(1, "a.test", 0x0100, &[]), false) }, at(0));
        b.judge.take(&Captured { client, ..seen(&message(1, "a.test", 0x8180, &[[192, 0, 2, 7]]), true) }, at(1));
    }
    assert_eq!(b.name(crate::names::LOOPBACK), Some(("a.test".into(), Origin::Own)));
    assert_eq!(b.stats.dns_names.get(), 1);
    assert_eq!(b.books(), (1, 1, [0; 5]));
    let mut shown = 0;
    b.names.each_lookup(&mut |_| shown += 1);
    b.names.take_lookups(&mut |_| panic!("without a DAKR nobody takes them"));
    let lost = b.stats.dns_lost[DnsLost::NoDakr as usize].get();
    assert_eq!((shown, lost, b.stats.dns_pending.get()), (1, 1, 0), "they are shown until the window ends");
}

#[test]
fn a_record_of_the_programs_is_read_at_its_offsets() {
    let mut bytes = vec![0u8; 56];
    bytes[10..12].fill(0xff);
    bytes[12..16].copy_from_slice(&[10, 0, 0, 53]);
    bytes[26..28].fill(0xff);
    bytes[28..32].copy_from_slice(&[10, 0, 0, 1]);
    bytes[32..34].copy_from_slice(&53u16.to_be_bytes());
    bytes[34..36].copy_from_slice(&40_000u16.to_be_bytes());
    bytes[36..38].copy_from_slice(&3u16.to_ne_bytes());
    bytes[40..44].copy_from_slice(&5u32.to_ne_bytes());
    (bytes[44], bytes[45]) = (protocol::UDP, 1);
    bytes[48..56].copy_from_slice(&7u64.to_ne_bytes());
    assert_eq!(Captured::read(&bytes), None, "the payload is not there");
    bytes.extend([7, 8, 9, 0, 0]);
    let captured = Captured::read(&bytes).expect("a record");
    assert_eq!(captured, Captured { length: 5, ..seen(&[7, 8, 9], true) });
    assert!(captured.is_cut());
    bytes[45] = 0;
    let question = Captured::read(&bytes).expect("a record");
    assert_eq!((question.client, question.client_port, question.server), (SERVER, 53, CLIENT), "as it was sent");
}

#[test]
fn f15_the_loopback_of_a_pod_is_another_client_than_the_hosts() {
    let mut b = bench(true);
    b.judge.set_askers(Some(Box::new(|cgroup| match cgroup {
        1 => crate::names::LOOPBACK,
        2 => crate::names::loopback_of("pod"),
        _ => crate::names::loopback_of(""),
    })));
    let own = crate::names::loopback_of("pod");
    assert_ne!(own, crate::names::loopback_of(""));
    let of = |cgroup, payload, is_answer| Captured {
        client: Addr::from_v4([127, 0, 0, 1]),
        cgroup,
        ..seen(payload, is_answer)
    };
    let (question, answer) = (message(1, "liar.test", 0x0100, &[]), message(1, "liar.test", 0x8180, &[[192, 0, 2, 7]]));
    b.judge.take(&of(2, &question, false), at(0));
    b.judge.take(&of(1, &answer, true), at(1));
    assert_eq!(b.names.inner().table.len(), 0, "another's answer is none");
    b.judge.take(&of(2, &answer, true), at(1));
    assert_eq!(b.name(own), Some(("liar.test".into(), Origin::Own)));
    assert_eq!(b.name(crate::names::LOOPBACK), Some(("liar.test".into(), Origin::Node)), "said to be another's");
    let (question, answer) = (message(1, "host.test", 0x0100, &[]), message(1, "host.test", 0x8180, &[[192, 0, 2, 7]]));
    b.judge.take(&of(1, &question, false), at(2));
    b.judge.take(&of(1, &answer, true), at(2));
    assert_eq!(b.name(crate::names::LOOPBACK), Some(("host.test".into(), Origin::Own)));
    assert_eq!(b.name(own), Some(("liar.test".into(), Origin::Own)));
}
