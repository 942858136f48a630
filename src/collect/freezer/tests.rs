use prost::Message as _;

use super::*;
use crate::clock::SECOND;
use crate::collect::snapshot::Snapshotter;
use crate::config::{self, Command};
use crate::export::dakr::schema::SendNetworkTrafficMetricsRequest;
use crate::flow::{Connection, ConnectionKey, Counts, Ends, Reading, Traffic, protocol};
use crate::names::Names;
use crate::snapshot::SnapshotsByKind;
use crate::source::Sweep;
use crate::stats::{DnsLost, Lost, Stats};

const SITE: Addr = Addr::from_v4([198, 51, 100, 7]);

fn client(n: u8) -> Addr {
    Addr::from_v4([10, 244, 1, n])
}

fn at(seconds: u64) -> Now {
    Now { mono_ns: seconds * SECOND, wall_ns: (1_790_000_000 + seconds) * SECOND }
}

pub(in crate::collect) struct Bench {
    pub(in crate::collect) pipeline: Pipeline,
    pub(in crate::collect) freezer: Freezer,
    names: Arc<Names>,
    stats: Arc<Stats>,
}

pub(in crate::collect) fn bench() -> Bench {
    let flags = ["-standalone", "-local-cidrs=10.244.1.0/24"].map(Into::into);
    let environment = |name: &str| match name {
        "NODE_NAME" | "CLUSTER_TOKEN" => Some("a".into()),
        "DAKR_URL" => Some("http://dakr.test".into()),
        _ => None,
    };
    let Ok(Command::Run(config)) = config::parse(flags, environment, None) else { panic!("they are well") };
    let stats = Arc::<Stats>::default();
    let names = Arc::new(Names::new(Arc::clone(&stats), true));
    let mut pipeline = Pipeline::new(&config, 1_024, 1);
    pipeline.set_names(Arc::clone(&names));
    pipeline.begin_sweep();
    pipeline.end_sweep(&Sweep { complete: true, ..Sweep::default() }, at(0));
    let freezer = Freezer::new(Sender { node_name: "a".into(), cluster_id: String::new() });
    Bench { pipeline, freezer, names, stats }
}

impl Bench {
    /// `client` asks for the site by `name`.
    fn ask(&self, n: u8, name: &str, hash: u64) {
        self.names.learn(client(n), name, hash, &[(SITE, 60)], at(1).mono_ns);
    }

    /// A connection of `client` to the site that has carried so many bytes.
    pub(in crate::collect) fn carry(&mut self, n: u8, bytes: u64) {
        self.carry_asked(n, SITE, bytes);
    }

    /// The same by a service, whose backend the site is.
    fn carry_asked(&mut self, n: u8, asked: Addr, bytes: u64) {
        let key = ConnectionKey {
            src: client(n),
            dst: asked,
            sport: 40_000,
            dport: 443,
            ct_zone: 0,
            protocol: protocol::TCP,
            family: 4,
            realm: 0,
        };
        let connection = Connection {
            key,
            backend: SITE,
            backend_port: 443,
            ends: Ends::Originator,
            reading: Reading::Increment,
            id: 0,
            start_ns: 0,
            traffic: Traffic { orig: Counts { bytes, packets: 1 }, reply: Counts::ZERO },
            more: None,
            cgroup: 0,
        };
        self.pipeline.record(&connection, at(2));
        self.pipeline.end_drain(at(2));
    }

    fn freeze(&mut self, max_items: u32) -> Vec<SendNetworkTrafficMetricsRequest> {
        let batch = self.freezer.freeze(&mut self.pipeline, max_items, at(3));
        let messages = batch.map(|batch| batch.messages).unwrap_or_default();
        messages.iter().map(|m| SendNetworkTrafficMetricsRequest::decode(&m.body[..]).expect("well formed")).collect()
    }

    fn settle(&mut self, first: u32, count: u32, verdict: Verdict) {
        self.freezer.settle_lookups(&self.pipeline, first, count, verdict);
    }

    /// Lookups that are pending, acknowledged, undelivered.
    fn books(&self) -> [u64; 3] {
        let undelivered = self.stats.dns_lost[DnsLost::Undelivered as usize].get();
        [self.stats.dns_pending.get(), self.stats.dns_acknowledged.get(), undelivered]
    }
}

#[test]
fn lookups_are_shown_until_they_are_acknowledged() {
    let mut b = bench();
    let (snapshots, mut snapshotter) = (SnapshotsByKind::default(), Snapshotter::default());
    let mut shown = |b: &Bench| {
        snapshots.flows.ask();
        snapshotter.publish(&snapshots, &b.pipeline, &b.freezer, u64::MAX, || at(4));
        let snapshot = snapshots.flows.latest().expect("it is there");
        let names: Vec<String> = snapshot.lookups.iter().map(|lookup| lookup.name.to_string()).collect();
        (names, snapshot.resolved.len())
    };
    b.ask(1, "first.test", 1);
    assert_eq!(shown(&b), (vec!["first.test".to_owned()], 1));
    b.freeze(10);
    b.ask(2, "second.test", 2);
    assert_eq!(shown(&b), (vec!["first.test".to_owned(), "second.test".to_owned()], 2));
    b.settle(0, 1, Verdict::Acknowledged);
    assert_eq!(shown(&b), (vec!["second.test".to_owned()], 1));
}

/// What is scraped all day would else keep a copy of each row resident.
#[test]
fn what_metrics_is_made_of_has_no_rows() {
    let mut b = bench();
    b.ask(1, "first.test", 1);
    b.carry(1, 100);
    let (both, mut snapshotter) = (SnapshotsByKind::default(), Snapshotter::default());
    both.metrics.ask();
    snapshotter.publish(&both, &b.pipeline, &b.freezer, u64::MAX, || at(4));
    let metrics = both.metrics.latest().expect("it is there");
    assert!(both.flows.latest().is_none(), "nobody asked");
    both.flows.ask();
    snapshotter.publish(&both, &b.pipeline, &b.freezer, u64::MAX, || at(5));
    let flows = both.flows.latest().expect("it is there");
    assert_eq!((flows.taken, metrics.taken), (at(5), at(4)));
    assert!(!flows.rows.is_empty() && !flows.lookups.is_empty());
    assert_eq!((metrics.rows.capacity(), metrics.lookups.capacity(), metrics.names.capacity()), (0, 0, 0));
    assert!(!metrics.series.is_empty() && metrics.series.len() == flows.series.len());
}

#[test]
fn names_go_with_the_items_that_they_are_of_and_the_larger_item_decides() {
    let mut b = bench();
    b.ask(1, "small.test", 1);
    b.ask(2, "large.test", 2);
    b.carry(1, 100);
    b.carry(2, 900);
    let messages = b.freeze(1);
    assert_eq!(messages.len(), 2);
    let name = |at: usize| messages[at].ip2domain.get("198.51.100.7").map(String::as_str);
    assert_eq!((name(0), name(1)), (Some("small.test"), Some("large.test")));
    let lookups: Vec<_> =
        messages.iter().map(|m| m.dns_lookups.iter().map(|l| &*l.domain).collect::<Vec<_>>()).collect();
    assert_eq!(lookups, [["small.test"], ["large.test"]], "spread, never copied");

    let mut b = bench();
    b.ask(1, "small.test", 1);
    b.ask(2, "large.test", 2);
    b.carry(1, 100);
    b.carry(2, 900);
    let messages = b.freeze(10);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].ip2domain.get("198.51.100.7").map(String::as_str), Some("large.test"));
}

#[test]
fn a_services_name_is_no_name_of_its_backend() {
    let mut b = bench();
    let service = Addr::from_v4([10, 96, 0, 10]);
    b.names.learn(client(1), "service.test", 1, &[(service, 60)], at(1).mono_ns);
    b.carry_asked(1, service, 100);
    let row = b.pipeline.rows().iter_named().find_map(|(row, name)| Some((row.key.remote, name?.text.to_string())));
    assert_eq!(row, Some((SITE, "service.test".to_owned())));
    let messages = b.freeze(10);
    assert_eq!((messages.len(), messages[0].ip2domain.len(), messages[0].dns_lookups.len()), (1, 0, 1));
}

#[test]
fn lookups_are_sent_without_items_and_obey_the_verdicts() {
    let mut b = bench();
    (0..5).for_each(|n| b.ask(n, "a.test", 1));
    let messages = b.freeze(2);
    assert_eq!(messages.iter().map(|m| m.dns_lookups.len()).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(messages[2].dns_lookups[0].client_ip, "10.244.1.4");
    assert_eq!(b.books(), [5, 0, 0], "what is under way is pending");
    b.settle(0, 2, Verdict::Acknowledged);
    b.settle(2, 2, Verdict::Merge);
    b.settle(4, 1, Verdict::Drop(Lost::Refused));
    b.settle(0, u32::MAX, Verdict::Merge);
    assert_eq!(b.books(), [2, 2, 1], "what is settled is not settled again");
    let again = b.freeze(10);
    let answered: Vec<_> = again[0].dns_lookups.iter().map(|l| l.timestamp.as_ref().map(|t| t.seconds)).collect();
    assert_eq!(answered, [Some(1_790_000_001); 2], "the time of the answer, not of the freeze");
    b.settle(0, u32::MAX, Verdict::Acknowledged);
    assert_eq!(b.books(), [0, 4, 1]);
    assert!(b.freeze(10).is_empty());
}

#[test]
fn sixteen_thousand_lookups_fit_messages_of_bounded_size() {
    let mut b = bench();
    for hash in 0..16_384 {
        b.ask(1, "some.test", hash);
    }
    let batch = b.freezer.freeze(&mut b.pipeline, 5_000, at(3)).expect("lookups");
    assert!(batch.messages.len() >= 4 && batch.messages.iter().all(|m| m.body.len() <= MAX_BODY_BYTES));
    let sent: usize = batch
        .messages
        .iter()
        .map(|m| SendNetworkTrafficMetricsRequest::decode(&m.body[..]).expect("well formed").dns_lookups.len())
        .sum();
    let lost = b.stats.dns_lost[DnsLost::LookupsFull as usize].get();
    assert_eq!(sent as u64 + lost, 16_384);
}

#[test]
fn f11_item_times_follow_the_wall_clock_and_never_repeat() {
    let steps = [0i64, 5, -5, 3_600, -3_600, -1, 86_400 * 365 * 20, -86_400 * 365 * 20, -2, -2, -2, 7];
    let mut b = bench();
    let (mut set_by, mut seen) = (0, std::collections::HashSet::new());
    // The very times of before come again, as often as the clock is set back to them.
    for round in 0..60u64 {
        set_by += steps[round as usize % steps.len()];
        if round % 7 == 0 {
            let mut out = Vec::new();
            b.freezer.persist(&mut out);
            b.freezer = Freezer::new(Sender { node_name: "a".into(), cluster_id: String::new() });
            b.freezer.restore(&mut In(&out)).expect("as it was written");
        }
        b.carry(1, 100);
        let mut now = at(round);
        now.wall_ns = now.wall_ns.checked_add_signed(set_by * 1_000_000_000).expect("in range");
        let batch = b.freezer.freeze(&mut b.pipeline, 10, now).expect("an item");
        let message = SendNetworkTrafficMetricsRequest::decode(&batch.messages[0].body[..]).expect("well formed");
        let time = message.items[0].timestamp.as_ref().expect("a time");
        let item_ns = time.seconds as u64 * SECOND + time.nanos as u64;
        assert!(seen.insert(item_ns), "{item_ns} twice, in round {round}");
        assert!(item_ns.abs_diff(now.wall_ns) <= SECOND + MS, "round {round}: {item_ns} at {}", now.wall_ns);
        let (rows, ledger, _) = b.pipeline.books();
        rows.settle(0, u32::MAX, Verdict::Acknowledged, ledger);
    }
}

#[test]
fn f15_no_pod_names_what_another_one_talks_to() {
    let mut b = bench();
    b.ask(1, "liar.test", 1);
    b.carry(2, 900);
    let name = b.pipeline.rows().iter_named().find_map(|(_, name)| name.map(|name| name.origin));
    assert_eq!(name, Some(Origin::Node), "it is shown as another's");
    assert!(b.freeze(10)[0].ip2domain.is_empty());
}
