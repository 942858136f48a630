//! What it asks of the API server to know where nodes are: nothing where labels tell it, one GET of the own node else, and
//! a list and a watch of all nodes where that is wanted. The requests and bytes of a thousand agents for each
//! `-topology-source`, beside the arithmetic of `docs/cost.md`.

use std::sync::Arc;

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::unbounded;
use netmon::clock::{self, SECOND};
use netmon::config::TopologySource;
use netmon::kube::client::{Client, Followed, Timeouts};
use netmon::kube::places::Places;
use netmon::kube::stopper::Stopper;
use netmon::kube::{self, Kube};
use netmon::locate::own::{Asked, NodeQuestion};
use netmon::locate::{Locator, Own, Settings};
use netmon::topology::names::Names;

use crate::fake_kube::{FakeKube, Part, WATCH_HEAD, answer, chunk, json};
use crate::harness::{endpoint, pace, wait_until};

const AGENTS: usize = 1_000;
/// A node is 20 to 30 KB: images and conditions, mostly.
const NODE_BYTES: usize = 25_000;

fn node() -> Vec<u8> {
    let images = "x".repeat(NODE_BYTES - 180);
    let labels = r#"{"topology.kubernetes.io/zone":"z1","topology.kubernetes.io/region":"r1"}"#;
    format!(r#"{{"kind":"Node","metadata":{{"name":"n","labels":{labels}}},"status":{{"images":["{images}"]}}}}"#)
        .into_bytes()
}

fn question(url: &str, node: usize) -> NodeQuestion {
    let name = format!("node-{node}");
    NodeQuestion::new(Client::new(endpoint(url), &name, Timeouts::default(), Arc::new(Stopper::default())), &name)
}

fn locator(labels: Own) -> Locator {
    of_source(TopologySource::None, labels)
}

fn of_source(source: TopologySource, labels: Own) -> Locator {
    let settings = Settings { file: Some("/nowhere".into()), source, labels, ..Settings::default() };
    Locator::new(settings, Names::default(), Arc::default())
}

/// A node as large as it was said to be, and as its kubelet writes it every five minutes.
fn full_node(number: usize, zone: &str) -> String {
    let images = "x".repeat(20_000 - 400);
    format!(
        r#"{{"metadata":{{"name":"node-{number}","uid":"{number}","resourceVersion":"7","labels":
        {{"topology.kubernetes.io/zone":"{zone}","topology.kubernetes.io/region":"r1"}}}},
        "spec":{{"podCIDR":"10.1.{number}.0/24","podCIDRs":["10.1.{number}.0/24"]}},
        "status":{{"images":["{images}"],"addresses":[{{"type":"InternalIP","address":"192.168.0.{number}"}}]}}}}"#
    )
    .replace('\n', "")
}

fn node_list(nodes: &[String]) -> Vec<u8> {
    format!(r#"{{"kind":"NodeList","metadata":{{"resourceVersion":"7"}},"items":[{}]}}"#, nodes.join(",")).into_bytes()
}

fn node_event(kind: &str, node: &str) -> Vec<u8> {
    format!("{{\"type\":\"{kind}\",\"object\":{node}}}\n").into_bytes()
}

fn follow(url: &str, name: &str) -> (Kube, Arc<Places>) {
    let places = Arc::new(Places::default());
    let settings = kube::Settings {
        endpoint: endpoint(url),
        node_name: name.to_owned(),
        pace: pace(),
        timeouts: Timeouts::default(),
    };
    let kept = Arc::clone(&places);
    let wake = Box::new(|| ());
    (kube::spawn_places(settings, Followed::Nodes, kept, Arc::default(), wake).expect("a thread"), places)
}

fn zone(places: &Places, name: &str) -> String {
    places.lock().node(name).map(|node| node.zone.to_string()).unwrap_or_default()
}

#[test]
fn nodes_are_followed_by_label_and_by_replacement() {
    let (events, watched) = unbounded::<Vec<u8>>();
    let listed = node_list(&[full_node(1, "z1"), full_node(2, "z2")]);
    let server = FakeKube::start(move |request| match request.watch {
        false => json(&listed),
        true => vec![Part::Bytes(WATCH_HEAD.to_vec()), Part::Stream(watched.clone())],
    });
    let (kube, places) = follow(&server.url(), "node-1");
    wait_until("the list", || places.lock().has_nodes);
    assert_eq!((zone(&places, "node-1"), zone(&places, "node-2")), ("z1".to_owned(), "z2".to_owned()));
    let send = |kind: &str, node: String| events.send(node_event(kind, &node)).expect("watched");
    let before = places.generation();
    send("MODIFIED", full_node(1, "z1"));
    send("MODIFIED", full_node(2, "z3"));
    wait_until("a new label", || zone(&places, "node-2") == "z3");
    wait_until("to be told of it", || places.generation() == before + 1);
    send("DELETED", full_node(1, "z1"));
    wait_until("a node to go", || places.lock().nodes() == 1);
    send("ADDED", full_node(1, "z4"));
    wait_until("its replacement", || zone(&places, "node-1") == "z4");
    let ranges = places.lock().ranges().expect("few").ranges.len();
    assert_eq!(ranges, 4, "a range and an address each");
    let requests = server.requests();
    assert!(requests[0].target.starts_with("/api/v1/nodes?") && !requests[0].target.contains("fieldSelector"));
    kube.stop(std::time::Duration::from_secs(1));
}

/// 1,000 agents that list and watch N nodes take 1,000 requests of each kind, and N nodes each time in full, packed as
/// the server packs; and N nodes again whenever the kubelets write. For 5,000 of both that makes 500 GB and 1.7 GB/s.
#[test]
fn a_thousand_agents_that_watch_nodes_cost_what_the_arithmetic_says() {
    const NODES: usize = 2;
    let nodes: Vec<String> = (1..=NODES).map(|n| full_node(n, "z1")).collect();
    let (list, writes) = (node_list(&nodes), nodes.iter().map(|node| node_event("MODIFIED", node)));
    let writes: Vec<u8> = writes.flat_map(|event| chunk(&event)).collect();
    let sent = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let sums = Arc::clone(&sent);
    let server = FakeKube::start(move |request| match request.watch {
        false => {
            sums.0.fetch_add(list.len() as u64, Ordering::Relaxed);
            json(&list)
        }
        true => {
            // Each kubelet writes once; nothing of it that matters changed.
            sums.1.fetch_add(writes.len() as u64, Ordering::Relaxed);
            vec![Part::Bytes(WATCH_HEAD.to_vec()), Part::Bytes(writes.clone()), Part::Hang]
        }
    });
    for agents in (0..AGENTS).collect::<Vec<_>>().chunks(50) {
        let running: Vec<_> = agents.iter().map(|n| follow(&server.url(), &format!("node-{n}"))).collect();
        let watches = agents.last().expect("fifty") + 1;
        wait_until("all watches", || server.counts().1 == watches);
        for (kube, places) in running {
            assert_eq!((places.lock().nodes(), places.generation()), (NODES, 1), "what is as before is told to nobody");
            kube.stop(std::time::Duration::from_secs(1));
        }
    }
    assert_eq!(server.counts(), (AGENTS, AGENTS), "one list and one watch each");
    let (listed, watched) = (sent.0.load(Ordering::Relaxed), sent.1.load(Ordering::Relaxed));
    let a_node = listed / (AGENTS * NODES) as u64;
    println!("{AGENTS} agents, {NODES} nodes: {listed} bytes of lists, {watched} of one write of each node");
    assert!((19_500..20_500).contains(&a_node), "{a_node} bytes a node");
    let first_fill = 5_000 * 5_000 * a_node;
    assert!((480_000_000_000..=520_000_000_000).contains(&first_fill), "{first_fill}");
    // Every five minutes.
    let steady = 5_000 * 5_000 * (watched / (AGENTS * NODES) as u64) / 300;
    assert!((1_600_000_000..=1_800_000_000).contains(&steady), "{steady}");
    let small = 300 * 300 * (watched / (AGENTS * NODES) as u64) / 300;
    assert!((5_500_000..=6_500_000).contains(&small), "{small}");
}

#[test]
fn a_thousand_agents_ask_once_each_or_not_at_all() {
    let body = node();
    let size = body.len();
    let server = FakeKube::start(move |_| json(&body));
    let mut bytes = 0;
    for node in 0..AGENTS {
        let mut locator = locator(Own::default());
        assert!(locator.asks_for_node());
        let mut question = question(&server.url(), node);
        let now = clock::now();
        let Asked::Told(own) = question.ask_if_due(now) else { panic!("no answer") };
        assert_eq!((own.zone.as_str(), own.region.as_str()), ("z1", "r1"));
        locator.set_node(own);
        bytes += size;
    }
    let requests = server.requests();
    assert_eq!(requests.len(), AGENTS, "one each");
    assert!(requests.iter().enumerate().all(|(n, request)| request.target == format!("/api/v1/nodes/node-{n}")));
    assert_eq!(server.counts().1, 0, "and no watch");
    // 100 to 150 MB for 5,000 agents.
    let of_5000 = bytes * 5_000 / AGENTS;
    assert!((100_000_000..=150_000_000).contains(&of_5000), "{of_5000}");

    let labelled = Own { zone: "z1".to_owned(), region: "r1".to_owned() };
    let asking = (0..AGENTS).filter(|_| locator(labelled.clone()).asks_for_node()).count();
    assert_eq!(asking, 0, "where labels tell it");
    // Routes are the kernel's: the question about the own node is all there is. Among all nodes the own one is told.
    assert!(of_source(TopologySource::Routes, Own::default()).asks_for_node());
    assert!(!of_source(TopologySource::Routes, labelled).asks_for_node());
    assert!(!of_source(TopologySource::Nodes, Own::default()).asks_for_node());
    assert!(!Locator::new(Settings::default(), Names::default(), Arc::default()).asks_for_node(), "without a table");
}

#[test]
fn what_is_forbidden_is_not_asked_again_and_what_failed_a_minute_later() {
    let refusing = FakeKube::start(|_| {
        answer(
            "403 Forbidden",
            "Content-Type: application/json\r\n",
            br#"{"kind":"Status","code":403,"message":"no nodes"}"#,
        )
    });
    let mut forbidden = question(&refusing.url(), 1);
    assert!(matches!(forbidden.ask_if_due(clock::now()), Asked::Never(why) if why.contains("no nodes")));

    let failing = FakeKube::start(|request| match request.number {
        0 => answer("503 Service Unavailable", "", b""),
        _ => json(&node()),
    });
    let mut question = question(&failing.url(), 2);
    let mut now = clock::now();
    assert_eq!(question.ask_if_due(now), Asked::NotYet);
    now.mono_ns += 59 * SECOND;
    assert_eq!(question.ask_if_due(now), Asked::NotYet);
    assert_eq!(failing.requests().len(), 1);
    now.mono_ns += SECOND;
    assert!(matches!(question.ask_if_due(now), Asked::Told(_)));
}
