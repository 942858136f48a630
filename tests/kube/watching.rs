//! One list, then watches.

use std::time::Duration;

use netmon::health::Status;

use crate::fake_kube::fixtures::{bookmark, error_event, event, list, pod, status, uid};
use crate::fake_kube::{FakeKube, Part, WATCH_HEAD, answer, chunk, json, watch_of, watch_open};
use crate::harness::{Running, wait_until};

fn one() -> k8s_openapi::api::core::v1::Pod {
    pod("web-1", &uid(1), "10.0.0.1")
}

fn two() -> k8s_openapi::api::core::v1::Pod {
    pod("web-2", &uid(2), "10.0.0.2")
}

#[test]
fn asks_for_this_nodes_pods_from_the_servers_cache() {
    let server = FakeKube::start(|request| match request.watch {
        false => json(&list(&[one()], "7")),
        true => watch_open(&[]),
    });
    let kube = Running::start(&server.url());
    wait_until("a watch", || server.counts() == (1, 1));
    wait_until("the pod", || kube.name("10.0.0.1").as_deref() == Some("web-1"));
    let requests = server.requests();
    let selector = "spec.nodeName%3Dnode-1%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed";
    assert!(requests[0].target.starts_with("/api/v1/pods?"));
    assert_eq!(requests[0].param("fieldSelector"), Some(selector));
    assert_eq!(requests[0].param("resourceVersion"), Some("0"), "from the cache, not from etcd");
    assert_eq!(requests[0].param("limit"), None, "a limit would go to etcd");
    assert_eq!(requests[0].accept_encoding, "gzip");
    assert_eq!(requests[1].param("fieldSelector"), Some(selector));
    assert_eq!(requests[1].param("resourceVersion"), Some("7"));
    assert_eq!(requests[1].param("allowWatchBookmarks"), Some("true"));
    assert_eq!(requests[1].accept_encoding, "", "compression would hide that the connection lives");
    let seconds: u32 = requests[1].param("timeoutSeconds").expect("given").parse().expect("a number");
    assert!((180..230).contains(&seconds), "{seconds}");
    assert_eq!(server.connections(), 1, "the connection of the list is used for the watch");

    let pod = kube.owner("10.0.0.1").expect("known");
    assert_eq!((&*pod.namespace, &*pod.uid), ("shop", uid(1).as_str()));
    let workload = pod.workload.as_ref().expect("of a Deployment");
    assert_eq!((&*workload.kind, &*workload.name), ("Deployment", "web"));
    kube.wait_for_state(Status::Healthy, "informer synced");
    assert!(kube.index().synced);
    assert!(kube.stop() < Duration::from_secs(1), "a blocked watch ends at once");
}

#[test]
fn one_list_then_watches_over_ten_disconnects() {
    let server = FakeKube::start(|request| match (request.watch, request.of_kind) {
        (false, _) => json(&list(&[one()], "100")),
        (true, 10) => watch_open(&[event("MODIFIED", &one(), "200"), event("ADDED", &two(), "201")]),
        // In turn: a clean end, an end within a chunk, a reset.
        (true, n) => {
            let line = match n % 2 {
                0 => bookmark(&(101 + n).to_string()),
                _ => event("MODIFIED", &one(), &(101 + n).to_string()),
            };
            match n % 3 {
                0 => watch_of(&[line]),
                1 => {
                    let head = [WATCH_HEAD, &chunk(line.as_bytes()), b"ff\r\n{\"type\":\"MOD"].concat();
                    vec![Part::Bytes(head), Part::Pause(Duration::from_millis(20)), Part::Reset]
                }
                _ => {
                    let head = [WATCH_HEAD, &chunk(line.as_bytes())].concat();
                    vec![Part::Bytes(head), Part::Pause(Duration::from_millis(20)), Part::Reset]
                }
            }
        }
    });
    let kube = Running::start(&server.url());
    wait_until("the second pod", || kube.name("10.0.0.2").as_deref() == Some("web-2"));
    assert_eq!(server.counts(), (1, 11));
    let versions: Vec<String> = server
        .requests()
        .iter()
        .filter(|request| request.watch)
        .map(|request| request.param("resourceVersion").expect("given").to_owned())
        .collect();
    let expected: Vec<String> = (100..=110).map(|version| version.to_string()).collect();
    assert_eq!(versions, expected, "each watch goes on where the last one was");
    assert_eq!(kube.name("10.0.0.1").as_deref(), Some("web-1"));
    assert_eq!(kube.stats.kube_failures.get(), 0, "a watch that ends is no trouble");
}

#[test]
fn a_version_that_is_gone_is_listed_anew_in_both_shapes() {
    for shape in 0..4 {
        let server = FakeKube::start(move |request| match (request.watch, request.of_kind) {
            (false, 0) => json(&list(&[one()], "5")),
            (false, _) => json(&list(&[two()], "9")),
            (true, 0) => match shape {
                0 => {
                    let body = status(Some(410), Some("Expired"), "too old resource version: 5 (8)").to_string();
                    answer("410 Gone", "Content-Type: application/json\r\n", body.as_bytes())
                }
                1 => watch_of(&[error_event(Some(410), Some("Expired"), "too old resource version: 5 (8)")]),
                2 => watch_of(&[error_event(None, Some("Expired"), "The resourceVersion is too old")]),
                _ => watch_of(&[error_event(None, Some("Gone"), "")]),
            },
            (true, _) => watch_open(&[]),
        });
        let kube = Running::start(&server.url());
        wait_until("the second list", || kube.name("10.0.0.2").is_some() && server.counts() == (2, 2));
        let requests = server.requests();
        let lists: Vec<_> = requests.iter().filter(|request| !request.watch).collect();
        assert_eq!(lists[1].param("resourceVersion"), Some("5"), "no going back in time, shape {shape}");
        assert_eq!(requests[3].param("resourceVersion"), Some("9"));
        let gone = kube.index().by_uid(&uid(1)).cloned();
        assert!(gone.is_some(), "remembered for its last bytes");
        assert_eq!(kube.index().pods().len(), 2);
    }
}
