//! An API server that fails: what the agent does, what it says, and that it forgets nothing.

use std::time::Duration;

use netmon::health::Status;
use netmon::kube::watch::WatchPace;
use netmon::kube::{self, Outlets, Settings};

use crate::fake_kube::fixtures::{error_event, event, list, pod, status, uid};
use crate::fake_kube::{FakeKube, Part, answer, json, watch_of, watch_open};
use crate::harness::{Running, endpoint, pace, timeouts, wait_until};

fn one() -> k8s_openapi::api::core::v1::Pod {
    pod("web-1", &uid(1), "10.0.0.1")
}

fn refused(code: &str, body: &serde_json::Value) -> Vec<Part> {
    answer(code, "Content-Type: application/json\r\n", body.to_string().as_bytes())
}

/// Lists that fail in each way, the words that health says of them, and that all is well afterwards.
#[test]
fn every_refusal_of_a_list_is_named_and_survived() {
    type Answer = fn() -> Vec<Part>;
    let rows: &[(&str, Answer)] = &[
        ("RBAC: pods is forbidden", || {
            refused("403 Forbidden", &status(Some(403), Some("Forbidden"), "pods is forbidden: User \"x\" cannot list"))
        }),
        ("credentials: the server refuses our token", || {
            refused("401 Unauthorized", &status(Some(401), Some("Unauthorized"), "Unauthorized"))
        }),
        ("server: status 500: boom", || refused("500 Internal Server Error", &status(Some(500), None, "boom"))),
        ("server: status 503", || {
            answer("503 Service Unavailable", "Content-Type: text/plain\r\n", b"apiserver starting")
        }),
        ("server: status 502", || {
            answer("502 Bad Gateway", "Content-Type: text/html\r\n", b"<html>bad gateway</html>")
        }),
        ("overload: the server is overloaded", || {
            answer("429 Too Many Requests", "Content-Type: text/plain\r\nRetry-After: 0\r\n", b"Too many requests")
        }),
        ("overload: the server is overloaded", || {
            answer("429 Too Many Requests", "Retry-After: soon\r\n", b"Too many requests")
        }),
        ("overload: the server is overloaded", || answer("429 Too Many Requests", "Retry-After: -1\r\n", b"")),
        ("overload: the server is overloaded", || {
            answer("429 Too Many Requests", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n", b"")
        }),
        ("refused: status 404", || answer("404 Not Found", "", b"404 page not found")),
        ("refused: status 302", || answer("302 Found", "Location: http://127.0.0.1:1/elsewhere\r\n", b"")),
        ("answer: text/html instead of JSON", || {
            answer("200 OK", "Content-Type: text/html\r\n", b"<html>login</html>")
        }),
        ("answer: kind Table instead of a list", || {
            json(br#"{"kind":"Table","metadata":{"resourceVersion":"1"},"rows":[]}"#)
        }),
        ("answer: kind Status instead of a list", || json(br#"{"kind":"Status","metadata":{},"status":"Success"}"#)),
        ("answer: ", || json(b"\xef\xbb\xbf{}")),
        ("answer: ", || json(br#"{"kind":"PodList","metadata":{"name":"#)),
        ("network: ", || vec![Part::Reset]),
        ("network: ", Vec::new),
        ("network: ", || vec![Part::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())]),
        ("network: ", || {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            vec![Part::Bytes([&head[..], b"fffffffffffffffff\r\n{"].concat())]
        }),
    ];
    for (words, failing) in rows {
        let server = FakeKube::start(move |request| match (request.watch, request.of_kind) {
            (false, 0..=2) => failing(),
            (false, _) => json(&list(&[one()], "1")),
            (true, _) => watch_open(&[]),
        });
        // Slow enough that the trouble can be seen.
        let kube =
            Running::start_with(endpoint(&server.url()), WatchPace { backoff_ns: 100_000_000, ..pace() }, timeouts());
        if words.starts_with("answer: ") && words.len() == 8 {
            kube.wait_for_state(Status::Degraded, "no pods known yet");
        } else {
            kube.wait_for_state(Status::Degraded, words);
        }
        assert!(!kube.index().synced);
        kube.wait_for_state(Status::Healthy, "informer synced");
        wait_until("the pod", || kube.name("10.0.0.1").is_some());
        assert!(kube.stats.kube_failures.get() >= 3, "{words}");
        let secrets = kube.state().message;
        assert!(!secrets.contains("Bearer"));
    }
}

#[test]
fn trouble_with_watches_keeps_the_pods_and_lists_nothing() {
    for shape in 0..5 {
        let server = FakeKube::start(move |request| match (request.watch, request.of_kind) {
            (false, _) => json(&list(&[one()], "1")),
            (true, 0..=2) => match shape {
                0 => {
                    answer("429 Too Many Requests", "Retry-After: 0\r\n", b"Too many requests, please try again later.")
                }
                1 => watch_of(&[error_event(Some(429), Some("TooManyRequests"), "slow down")]),
                2 => watch_of(&[error_event(Some(500), Some("InternalError"), "etcd")]),
                3 => watch_of(&[error_event(Some(403), Some("Forbidden"), "no watch")]),
                _ => answer("500 Internal Server Error", "", b"strconv.ParseUint: parsing"),
            },
            (true, _) => watch_open(&[event("ADDED", &pod("web-2", &uid(2), "10.0.0.2"), "2")]),
        });
        let kube = Running::start(&server.url());
        wait_until("the second pod", || kube.name("10.0.0.2").is_some());
        assert_eq!(server.counts(), (1, 4), "shape {shape}");
        assert!(server.requests()[1..].iter().all(|request| request.param("resourceVersion") == Some("1")));
        assert_eq!(kube.name("10.0.0.1").as_deref(), Some("web-1"));
        kube.wait_for_state(Status::Healthy, "informer synced");
    }
}

#[test]
fn unreadable_watches_end_in_a_list() {
    for shape in 0..3 {
        let server = FakeKube::start(move |request| match (request.watch, request.of_kind) {
            (false, 0) => json(&list(&[one()], "1")),
            (false, _) => json(&list(&[pod("web-2", &uid(2), "10.0.0.2")], "9")),
            (true, 0..=2) => match shape {
                0 => answer("200 OK", "Content-Type: text/html\r\n", b"<html>"),
                1 => watch_of(&["not JSON\n".to_owned()]),
                _ => watch_of(&["{\"type\":\"ADDED\",\"object\":{]".to_owned()]),
            },
            (true, _) => watch_open(&[]),
        });
        let kube = Running::start(&server.url());
        wait_until("the second list", || kube.name("10.0.0.2").is_some());
        wait_until("its watch", || server.counts() == (2, 4));
    }
}

#[test]
fn never_ending_silence_is_noticed_and_ends_in_a_list() {
    let server = FakeKube::start(move |request| match (request.watch, request.of_kind) {
        (false, 0) => json(&list(&[one()], "1")),
        (false, _) => json(&list(&[pod("web-2", &uid(2), "10.0.0.2")], "9")),
        (true, _) => watch_open(&[]),
    });
    let mut short = timeouts();
    short.watch_read = Duration::from_millis(300);
    let kube = Running::start_with(endpoint(&server.url()), pace(), short);
    wait_until("the second list", || kube.name("10.0.0.2").is_some());
    let metadata = kube.state().metadata;
    assert!(metadata.contains(&("listed_again".to_owned(), "silence".to_owned())), "{metadata:?}");
}

#[test]
fn a_version_of_the_future_is_asked_of_the_quorum_once() {
    let server = FakeKube::start(move |request| match (request.watch, request.of_kind) {
        (false, 0) => json(&list(&[one()], "900")),
        (false, 1) => {
            let mut body = status(Some(504), Some("Timeout"), "Too large resource version: 900, current: 12");
            body["details"] = serde_json::json!({
                "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
                "retryAfterSeconds": 1
            });
            refused("504 Gateway Timeout", &body)
        }
        (false, _) => json(&list(&[pod("web-2", &uid(2), "10.0.0.2")], "12")),
        (true, 0) => watch_of(&[error_event(Some(410), Some("Expired"), "")]),
        (true, _) => watch_open(&[]),
    });
    let kube = Running::start(&server.url());
    wait_until("the third list", || kube.name("10.0.0.2").is_some());
    wait_until("its watch", || server.counts() == (3, 2));
    let versions: Vec<Option<String>> =
        server.requests().iter().filter(|r| !r.watch).map(|r| r.param("resourceVersion").map(str::to_owned)).collect();
    assert_eq!(versions, [Some("0".to_owned()), Some("900".to_owned()), None]);
    assert_eq!(server.requests().last().expect("some").param("resourceVersion"), Some("12"));
}

#[test]
fn a_server_that_is_down_is_asked_with_growing_waits_and_found_when_it_is_up() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound").port()
    };
    let kube = Running::start(&format!("http://127.0.0.1:{port}"));
    kube.wait_for_state(Status::Degraded, "network: ");
    wait_until("several tries", || kube.stats.kube_lists.get() > 5);
    assert!(!kube.index().synced);
    let tries = kube.stats.kube_lists.get();
    crate::fake_kube::pause_for(Duration::from_millis(300));
    assert!(kube.stats.kube_lists.get() - tries <= 4, "the longest wait is 300 ms here, at least half of it is kept");
    assert!(kube.stop() < Duration::from_secs(1));
}

#[test]
fn an_empty_node_is_doubted_in_a_cluster_only() {
    let server = FakeKube::start(|request| match request.watch {
        false => json(&list(&[], "1")),
        true => watch_open(&[]),
    });
    let outside = Running::start(&server.url());
    outside.wait_for_state(Status::Healthy, "informer synced");
    let inside = crate::fake_kube::fixtures::scratch("empty-node");
    std::fs::write(inside.path().join("token"), "t\n").expect("writable");
    let mut endpoint = endpoint(&server.url());
    endpoint.origin = "in-cluster".to_owned();
    endpoint.auth = netmon::kube::endpoint::Auth::TokenFile(inside.path().join("token"));
    let inside = Running::start_with(endpoint, pace(), timeouts());
    inside.wait_for_state(Status::Degraded, "is NODE_NAME right?");
}

#[test]
fn a_node_without_name_is_refused() {
    let outlets = Outlets {
        published: Default::default(),
        health: Default::default(),
        stats: Default::default(),
        wake: Box::new(|| {}),
    };
    let settings = Settings {
        endpoint: endpoint("http://127.0.0.1:1"),
        node_name: String::new(),
        pace: pace(),
        timeouts: timeouts(),
    };
    let error = kube::spawn(settings, outlets).err().expect("refused").to_string();
    assert!(error.contains("NODE_NAME is empty"), "{error}");
}

#[test]
fn f8_a_server_that_is_not_there_is_named_in_no_librarys_words() {
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("bound"))
    };
    let kube = Running::start_with(endpoint(&url), pace(), timeouts());
    kube.wait_for_state(Status::Degraded, &format!("network: connection refused ({url})"));
    let kube = Running::start_with(endpoint("http://nowhere.invalid:6443"), pace(), timeouts());
    kube.wait_for_state(Status::Degraded, "network: cannot resolve nowhere.invalid: ");
}
