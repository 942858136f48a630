//! The same against a real API server, where there is one: `NETMON_TEST_KUBECONFIG` names a kubeconfig,
//! `NETMON_TEST_API` a URL that is asked instead of the kubeconfig's (alone: without credentials, as `kubectl proxy`
//! takes it), `NETMON_TEST_NODE` a node with pods. Without them the scripted server stands in for it.

use std::path::Path;

use netmon::health::Status;
use netmon::kube::client::Timeouts;
use netmon::kube::credentials::{Endpoint, discover};
use netmon::kube::watch::Pace;
use netmon::kube::{Outlets, Settings, spawn};

use crate::fake_kube::fixtures::{bookmark, full_pod, list};
use crate::fake_kube::{FakeKube, json, watch_open};
use crate::harness::{endpoint, wait_until};

#[test]
fn lists_and_watches_and_owns_addresses() {
    let scripted = FakeKube::start(|request| match request.watch {
        false => json(&list(&(1..=30).map(full_pod).collect::<Vec<_>>(), "70")),
        true => watch_open(&[bookmark("71")]),
    });
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (config, url) = (variable("NETMON_TEST_KUBECONFIG"), variable("NETMON_TEST_API"));
    let node_name = match config.is_some() || url.is_some() {
        true => variable("NETMON_TEST_NODE").expect("NETMON_TEST_NODE beside the API server"),
        false => "node-1".to_owned(),
    };
    let mut endpoint: Endpoint = match config {
        Some(path) => discover(Some(Path::new(&path)), &|_| None).expect("a usable kubeconfig"),
        None => endpoint(&scripted.url()),
    };
    endpoint.url = url.unwrap_or(endpoint.url);
    let outlets = Outlets {
        published: Default::default(),
        health: Default::default(),
        stats: Default::default(),
        wake: Box::new(|| {}),
    };
    let (published, health, stats) = (outlets.published.clone(), outlets.health.clone(), outlets.stats.clone());
    let pace = Pace { start_delay_ns: 0, ..Pace::default() };
    let kube = spawn(Settings { endpoint, node_name, pace, timeouts: Timeouts::default() }, outlets).expect("a thread");
    wait_until("pods", || published.get().synced && stats.kube_watches.get() == 1);
    let index = published.get();
    assert!(!index.is_empty(), "the node has pods");
    for tenure in index.tenures() {
        assert!(!tenure.pod.host_network);
        let owner = index.owner_of(tenure.addr, netmon::clock::now().wall_ns).expect("somebody has it");
        assert!(index.by_uid(&owner.uid).is_some());
    }
    assert_eq!(stats.kube_lists.get(), 1);
    assert_eq!(health.overall(), Status::Healthy);
    assert!(kube.stop(std::time::Duration::from_secs(1)));
}
