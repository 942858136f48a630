//! One list, then watches.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use netmon::health::Status;
use netmon::stats::KubeSkip;

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
    let selector = "spec.nodeName%3Dnode-1";
    let unfinished = format!("{selector}%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed");
    assert!(requests[0].target.starts_with("/api/v1/pods?"));
    assert_eq!(requests[0].param("fieldSelector"), Some(unfinished.as_str()));
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
    assert_eq!(kube.woken.load(Ordering::Relaxed) as u64, kube.published.generation());
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

#[test]
fn events_move_owners_as_they_come() {
    let (send, chunks) = crossbeam_channel::unbounded::<Vec<u8>>();
    let server = FakeKube::start(move |request| match request.watch {
        false => json(&list(&[one()], "1")),
        true => vec![Part::Bytes(WATCH_HEAD.to_vec()), Part::Stream(chunks.clone())],
    });
    let kube = Running::start(&server.url());
    wait_until("the list", || kube.name("10.0.0.1").is_some());

    // Three events in one chunk, blank lines between; then one event in three chunks, cut in awkward places.
    let reused = pod("web-3", &uid(3), "10.0.0.1");
    let lines = format!("{}\n\n{}{}", event("ADDED", &two(), "2"), bookmark("3"), event("DELETED", &one(), "4"));
    send.send(lines.into_bytes()).expect("open");
    wait_until("the second pod", || kube.name("10.0.0.2").is_some());
    assert_eq!(kube.name("10.0.0.1").as_deref(), Some("web-1"), "for two minutes more");
    let line = event("ADDED", &reused, "5").into_bytes();
    for piece in [&line[..1], &line[1..line.len() / 2], &line[line.len() / 2..]] {
        send.send(piece.to_vec()).expect("open");
    }
    wait_until("the reuse", || kube.name("10.0.0.1").as_deref() == Some("web-3"));
    // The end of a pod that lost its address before.
    let mut cleared = two();
    cleared.status = None;
    send.send(event("DELETED", &cleared, "6").into_bytes()).expect("open");
    send.send(event("SHOUTED", &one(), "7").into_bytes()).expect("open");
    send.send(b"{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{}}}\n".to_vec()).expect("open");
    send.send(event("ADDED", &pod("web-4", &uid(4), "10.0.0.2"), "8").into_bytes()).expect("open");
    wait_until("the other reuse", || kube.name("10.0.0.2").as_deref() == Some("web-4"));
    assert_eq!(kube.stats.kube_skipped[KubeSkip::UnknownType as usize].get(), 1);
    assert_eq!(kube.stats.kube_skipped[KubeSkip::NoPod as usize].get(), 1);
    drop(send);
    wait_until("the next watch", || server.counts() == (1, 2));
    assert_eq!(server.requests()[2].param("resourceVersion"), Some("8"));
}

#[test]
fn a_compressed_list_is_read_and_is_small_on_the_wire() {
    let pods: Vec<_> = (1..=110).map(crate::fake_kube::fixtures::full_pod).collect();
    let plain = list(&pods, "1");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&plain).expect("in memory");
    let packed = encoder.finish().expect("in memory");
    assert!(packed.len() * 8 < plain.len());
    let server = FakeKube::start(move |request| match request.watch {
        false => answer("200 OK", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", &packed),
        true => watch_open(&[]),
    });
    let kube = Running::start(&server.url());
    wait_until("all pods", || kube.index().pods().len() == 110);
    assert!(kube.index().pods().iter().all(|pod| pod.workload.as_ref().is_some_and(|w| &*w.name == "web")));
}

#[test]
fn a_compressed_watch_is_read_though_not_asked_for() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(event("ADDED", &one(), "2").as_bytes()).expect("in memory");
    let packed = encoder.finish().expect("in memory");
    let server = FakeKube::start(move |request| match request.watch {
        false => json(&list(&[], "1")),
        true => answer("200 OK", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", &packed),
    });
    let kube = Running::start(&server.url());
    wait_until("the pod", || kube.name("10.0.0.1").is_some());
}

#[test]
fn a_list_in_pages_is_read_to_its_end() {
    let server = FakeKube::start(move |request| match (request.watch, request.param("continue")) {
        (true, _) => watch_open(&[]),
        (false, None) => page(&[one()], Some("next/1")),
        (false, Some("next%2F1")) => page(&[two()], Some("next/2")),
        (false, Some(_)) => page(&[pod("web-3", &uid(3), "10.0.0.3")], None),
    });
    fn page(pods: &[k8s_openapi::api::core::v1::Pod], more: Option<&str>) -> Vec<Part> {
        let mut body: serde_json::Value = serde_json::from_slice(&list(pods, "6")).expect("JSON");
        if let Some(more) = more {
            body["metadata"]["continue"] = more.into();
        }
        json(body.to_string().as_bytes())
    }
    let kube = Running::start(&server.url());
    wait_until("all three", || kube.index().pods().len() == 3);
    wait_until("the watch", || server.counts() == (3, 1));
    assert_eq!(server.requests()[3].param("resourceVersion"), Some("6"));
    assert_eq!(server.requests()[1].param("resourceVersion"), None, "a continued list has its version already");
}

#[test]
fn a_watch_without_chunks_ends_with_the_connection() {
    let server = FakeKube::start(move |request| match (request.watch, request.of_kind) {
        (false, _) => json(&list(&[], "1")),
        (true, 0) => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n".to_vec();
            vec![
                Part::Bytes([head, event("ADDED", &one(), "2").into_bytes()].concat()),
                Part::Bytes(Vec::new()),
                Part::Reset,
            ]
        }
        (true, _) => watch_open(&[]),
    });
    let kube = Running::start(&server.url());
    wait_until("the pod", || kube.name("10.0.0.1").is_some());
    wait_until("the next watch", || server.counts() == (1, 2));
}

#[test]
fn stops_in_every_state_within_a_second() {
    // In the first wait; in a list that does not come; in one that stops half way; in a watch; in a back-off.
    for state in 0..5 {
        let server = FakeKube::start(move |request| match (state, request.watch) {
            (1, false) => vec![Part::Hang],
            (2, false) => {
                vec![
                    Part::Bytes(
                        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{".to_vec(),
                    ),
                    Part::Hang,
                ]
            }
            (4, _) => answer("503 Service Unavailable", "Retry-After: 300\r\n", b""),
            (_, false) => json(&list(&[one()], "1")),
            (_, true) => watch_open(&[]),
        });
        let kube = Running::start(&server.url());
        match state {
            0 => {}
            1 | 2 | 4 => wait_until("a list", || server.counts().0 == 1),
            _ => wait_until("a watch", || server.counts().1 == 1),
        }
        crate::fake_kube::pause_for(Duration::from_millis(20));
        assert!(kube.stop() < Duration::from_secs(1), "state {state}");
    }
}

#[test]
fn f10_a_job_that_goes_from_pending_to_its_end_in_one_event_is_named() {
    let mut pending = one();
    pending.status = None;
    let mut done = one();
    if let Some(status) = &mut done.status {
        status.phase = Some("Succeeded".to_owned());
    }
    let server = FakeKube::start(move |request| match request.watch {
        false => json(&list(&[], "7")),
        // With the phase in its selector a server would say DELETED here, with the object as it was before.
        true if request.target.contains("phase") => {
            watch_open(&[event("ADDED", &pending, "8"), event("DELETED", &pending, "9")])
        }
        true => watch_open(&[event("ADDED", &pending, "8"), event("MODIFIED", &done, "9")]),
    });
    let kube = Running::start(&server.url());
    wait_until("the job", || kube.name("10.0.0.1").as_deref() == Some("web-1"));
}
