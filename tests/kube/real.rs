//! The same against a real API server, where there is one: `NETMON_TEST_KUBECONFIG` names a kubeconfig,
//! `NETMON_TEST_API` a URL that is asked instead of the kubeconfig's (alone: without credentials, as `kubectl proxy`
//! takes it), `NETMON_TEST_NODE` a node with pods. Without them the scripted server stands in for it. What changes
//! pods, and restarts the server, is a program that `NETMON_TEST_CHANGE` names; `script/apiserver` sets all of them.

use std::path::Path;
use std::process::Command;

use netmon::flow::Addr;
use netmon::health::Status;
use netmon::kube::Settings;
use netmon::kube::client::Timeouts;
use netmon::kube::credentials::discover;
use netmon::kube::endpoint::Endpoint;
use netmon::kube::watch::WatchPace;

use crate::fake_kube::fixtures::{bookmark, full_pod, list};
use crate::fake_kube::{FakeKube, json, watch_open};
use crate::harness::{Running, endpoint, pace, wait_until};

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The server that the environment names, and the node.
fn real() -> Option<(Endpoint, String)> {
    let (config, url) = (variable("NETMON_TEST_KUBECONFIG"), variable("NETMON_TEST_API"));
    let mut endpoint = match (&config, &url) {
        (None, None) => return None,
        (Some(path), _) => discover(Some(Path::new(path)), &|_| None).expect("a usable kubeconfig"),
        (None, Some(url)) => endpoint(url),
    };
    endpoint.url = url.unwrap_or(endpoint.url);
    Some((endpoint, variable("NETMON_TEST_NODE").expect("NETMON_TEST_NODE beside the API server")))
}

#[test]
fn lists_and_watches_and_owns_addresses() {
    let scripted = FakeKube::start(|request| match request.watch {
        false => json(&list(&(1..=30).map(full_pod).collect::<Vec<_>>(), "70")),
        true => watch_open(&[bookmark("71")]),
    });
    let (endpoint, node_name) = real().unwrap_or_else(|| (endpoint(&scripted.url()), "node-1".to_owned()));
    let pace = WatchPace { start_delay_ns: 0, ..WatchPace::default() };
    let kube = Running::of(Settings { endpoint, node_name, pace, timeouts: Timeouts::default() });
    wait_until("pods", || kube.index().synced && kube.stats.kube_watches.get() == 1);
    let index = kube.index();
    assert!(!index.pods().is_empty(), "the node has pods");
    for tenure in index.tenures() {
        assert!(!tenure.pod.host_network);
        let owner = index.owner_of(tenure.addr, netmon::clock::now().mono_ns).expect("somebody has it");
        assert!(index.by_uid(&owner.uid).is_some());
    }
    assert_eq!(kube.stats.kube_lists.get(), 1);
    assert_eq!(kube.health.overall(), Status::Healthy);
    kube.stop();
}

/// Asks for a change of the cluster and waits until it is made.
fn change(words: &str) {
    let program = variable("NETMON_TEST_CHANGE").expect("NETMON_TEST_CHANGE: a program that changes pods");
    let made = Command::new("sh").args(["-c", &format!("{program} {words}")]).status().expect("a shell");
    assert!(made.success(), "{words}");
}

#[test]
#[ignore = "not without a real API server: script/apiserver"]
fn follows_pods_that_come_and_go_and_a_restart() {
    let (endpoint, node_name) = real().expect("NETMON_TEST_KUBECONFIG or NETMON_TEST_API");
    // Quick to come back, and in no other haste: what is not told for a while is no reason to list.
    let WatchPace { start_delay_ns, backoff_ns, backoff_max_ns, .. } = pace();
    let pace = WatchPace { start_delay_ns, backoff_ns, backoff_max_ns, ..WatchPace::default() };
    let kube = Running::of(Settings { endpoint, node_name, pace, timeouts: Timeouts::default() });
    wait_until("a watch", || kube.index().synced && kube.stats.kube_watches.get() == 1);
    let of = |ip: &str| kube.name(ip).unwrap_or_default();

    // An address that goes from a pod that ended to the next one.
    change("create first 10.1.9.9");
    wait_until("the first pod", || of("10.1.9.9") == "first");
    change("finish first");
    let over = |ip: std::net::IpAddr| {
        kube.index()
            .tenures()
            .iter()
            .filter(|tenure| tenure.addr == Addr::from(ip))
            .all(|tenure| tenure.ended_ns != u64::MAX)
    };
    wait_until("its end", || over([10, 1, 9, 9].into()));
    change("create second 10.1.9.9");
    wait_until("the second pod", || of("10.1.9.9") == "second");
    change("delete second");
    wait_until("its end", || over([10, 1, 9, 9].into()));
    assert_eq!((kube.stats.kube_lists.get(), kube.stats.kube_failures.get()), (1, 0));

    // A server that begins anew knows no old version: one more list, and the watch goes on from there.
    change("restart");
    change("create third 10.1.9.10");
    wait_until("the third pod", || of("10.1.9.10") == "third");
    assert_eq!(kube.stats.kube_lists.get(), 2, "{:?} after {} watches", kube.state(), kube.stats.kube_watches.get());
    kube.wait_for_state(Status::Healthy, "");
    kube.stop();
    for name in ["first", "third"] {
        change(&format!("delete {name}"));
    }
}
