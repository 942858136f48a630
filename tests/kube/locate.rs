//! What it asks of the API server to know where a node is: nothing where labels tell it, one GET of the own node else. The
//! requests and bytes of a thousand agents, beside the arithmetic of `docs/cost.md`.

use std::sync::Arc;

use netmon::clock::{self, SECOND};
use netmon::kube::client::{Client, Timeouts};
use netmon::kube::stopper::Stopper;
use netmon::locate::own::{Asked, NodeQuestion};
use netmon::locate::{Locator, Own, Settings};
use netmon::topology::names::Names;

use crate::fake_kube::{FakeKube, answer, json};
use crate::harness::endpoint;

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
    let settings = Settings { file: Some("/nowhere".into()), labels, fallback: Own::default() };
    Locator::new(settings, Names::default(), Arc::default())
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
