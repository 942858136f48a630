//! What is made of what a server sends, and of what no server should send.

use std::net::IpAddr;

use k8s_openapi::ListableResource;
use k8s_openapi::api::core::v1 as full;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::flow::Addr;

fn listed(body: &[u8]) -> (Result<List, ReadError>, Vec<PodView>, usize) {
    let (mut pods, mut bad) = (Vec::new(), 0);
    let list = read_list(body, |pod| match pod {
        Some(pod) => pods.push(pod),
        None => bad += 1,
    });
    (list, pods, bad)
}

fn events(body: &[u8]) -> Vec<Result<Event, ReadError>> {
    Events::new(body).collect()
}

fn list_of(items: &str) -> Vec<u8> {
    format!(r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"5"}},"items":{items}}}"#)
        .into_bytes()
}

fn pod_json(uid: &str) -> String {
    format!(r#"{{"metadata":{{"name":"n","namespace":"ns","uid":"{uid}"}},"status":{{"podIP":"10.0.0.1"}}}}"#)
}

#[test]
fn a_list_is_read_whatever_the_order_of_its_keys() {
    let item = pod_json("u");
    for body in [
        format!(r#"{{"kind":"PodList","metadata":{{"resourceVersion":"5"}},"items":[{item}]}}"#),
        format!(r#"{{"items":[{item}],"metadata":{{"resourceVersion":"5"}},"more":{{}},"kind":"PodList"}}"#),
    ] {
        let (list, pods, bad) = listed(body.as_bytes());
        assert_eq!(list.expect("a list"), List { version: "5".to_owned(), more: None });
        assert_eq!((pods.len(), bad), (1, 0));
        assert_eq!(pods[0].addresses, [Addr::from_v4([10, 0, 0, 1])]);
    }
}

#[test]
fn what_is_no_list_is_refused_by_its_kind() {
    for (body, word) in [
        (r#"{"kind":"Status","metadata":{},"status":"Failure"}"#, "Status"),
        (r#"{"kind":"Table","metadata":{"resourceVersion":"5"},"rows":[]}"#, "Table"),
        (r#"{"metadata":{"resourceVersion":"5"},"items":[]}"#, "without kind"),
        (r#"{"kind":"PodList","metadata":{},"items":[]}"#, "without resourceVersion"),
        ("[]", "without kind"),
        ("\u{feff}{}", ""),
        ("<html>", ""),
        (r#"{"kind":"PodList","metadata":{"resourceVersion":"5"}} trailing"#, "trailing"),
    ] {
        match listed(body.as_bytes()).0 {
            Err(ReadError::Unreadable(why)) => assert!(why.contains(word), "{body}: {why}"),
            other => panic!("{body}: {other:?}"),
        }
    }
    assert!(matches!(listed(br#"{"kind":"PodList","items":["#).0, Err(ReadError::CutShort)));
    assert!(matches!(listed(b"").0, Err(ReadError::CutShort)));
}

#[test]
fn lists_that_are_null_or_empty_are_empty() {
    for items in ["null", "[]", "{}", "5"] {
        let (list, pods, bad) = listed(&list_of(items));
        assert!(list.is_ok());
        assert_eq!((pods.len(), bad), (0, 0));
    }
}

#[test]
fn a_bad_item_is_skipped_and_the_rest_is_kept() {
    let bad = [
        "null",
        "5",
        "\"pod\"",
        "[]",
        "{}",
        r#"{"metadata":null}"#,
        r#"{"metadata":{"name":"n","namespace":"ns"}}"#,
        r#"{"metadata":{"name":5,"namespace":"ns","uid":"u"}}"#,
        r#"{"metadata":{"name":"n","namespace":"ns","uid":""}}"#,
        r#"{"kind":"Node","metadata":{"name":"n","namespace":"ns","uid":"u"}}"#,
    ];
    for item in bad {
        let (list, pods, skipped) = listed(&list_of(&format!("[{},{item},{}]", pod_json("a"), pod_json("b"))));
        assert!(list.is_ok(), "{item}");
        assert_eq!((pods.len(), skipped), (2, 1), "{item}");
    }
}

#[test]
fn fields_of_a_wrong_type_are_no_fields() {
    let odd = r#"{"metadata":{"name":"n","namespace":"ns","uid":"u","labels":[],"annotations":7,"ownerReferences":{"a":1}},
        "spec":{"hostNetwork":"true","nodeName":{}},"status":{"phase":["Failed"],"podIP":10,"podIPs":{"ip":"10.0.0.1"},"startTime":1}}"#;
    let (list, pods, bad) = listed(&list_of(&format!("[{odd}]")));
    assert!(list.is_ok());
    assert_eq!(bad, 0);
    let expected = PodView { uid: "u".into(), namespace: "ns".into(), name: "n".into(), ..PodView::default() };
    assert_eq!(pods, [expected]);
}

#[test]
fn addresses_are_those_that_are_addresses_each_once() {
    let pod = r#"{"metadata":{"name":"n","namespace":"ns","uid":"u"},"status":{"podIP":"10.0.0.1","podIPs":
        [{"ip":"10.0.0.1"},{"ip":"fd00::1"},{"ip":"10.0.0.1"},{"ip":"nonsense"},{"ip":""},{"ip":null},null,{"ip":"0.0.0.0"},
        {"ip":"127.0.0.1"},{"ip":"10.0.0.01"},{}]}}"#;
    let (_, pods, _) = listed(&list_of(&format!("[{pod}]")));
    let v6 = Addr::from("fd00::1".parse::<IpAddr>().expect("an address"));
    assert_eq!(pods[0].addresses, [Addr::from_v4([10, 0, 0, 1]), v6]);
}

#[test]
fn the_last_of_repeated_keys_counts() {
    let pod = r#"{"metadata":{"name":"a","uid":"x"},"metadata":{"name":"n","namespace":"ns","uid":"u","uid":"v"},
        "status":{"podIP":"10.0.0.1"},"status":{"phase":"Succeeded"}}"#;
    let (_, pods, _) = listed(&list_of(&format!("[{pod}]")));
    assert_eq!((pods[0].uid.as_str(), pods[0].terminal, pods[0].addresses.len()), ("v", true, 0));
}

#[test]
fn five_megabytes_of_annotation_and_depth_two_hundred_are_skipped() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let long = "x".repeat(5 << 20);
    let line = format!(
        r#"{{"type":"ADDED","object":{{"metadata":{{"annotations":{{"a":"{long}","b":{deep}}},"managedFields":{deep},
        "name":"n","namespace":"ns","uid":"u","resourceVersion":"9"}},"extra":{deep}}}}}"#
    );
    let read = events(line.as_bytes());
    assert_eq!(read.len(), 1);
    assert!(matches!(&read[0], Ok(Event::Changed { version: Some(version), object: Some(_) }) if version == "9"));
}

#[test]
fn an_endless_event_or_list_is_cut() {
    let endless = |head: &'static str| head.as_bytes().chain(io::repeat(b'x'));
    let read = Events::new(endless(r#"{"type":"ADDED","object":{"metadata":{"annotations":{"a":""#)).next();
    assert!(matches!(read, Some(Err(ReadError::Read(error))) if error.kind() == io::ErrorKind::FileTooLarge));
    let list = read_list(endless(r#"{"kind":"PodList","items":[""#), |_| {});
    assert!(matches!(list, Err(ReadError::Read(error)) if error.kind() == io::ErrorKind::FileTooLarge));
}

#[test]
fn the_budget_is_per_event() {
    let line = format!(r#"{{"type":"BOOKMARK","object":{{"metadata":{{"x":"{}"}}}}}}"#, "y".repeat(6 << 20));
    assert_eq!(events(line.repeat(4).as_bytes()).into_iter().filter(Result::is_ok).count(), 4);
}

#[test]
fn many_events_at_once_blank_lines_and_unknown_types() {
    let body = format!(
        "\n\n{{\"type\":\"ADDED\",\"object\":{}}}\r\n  \n{{\"object\":{},\"type\":\"MODIFIED\"}}{{\"type\":\"SHOUTED\",\"object\":{{\"metadata\":\
         {{\"resourceVersion\":\"8\"}}}}}}\n{{}}\n{{\"type\":\"DELETED\",\"object\":null}}\n\n",
        pod_json("a"),
        pod_json("b")
    );
    let read: Vec<Event> = events(body.as_bytes()).into_iter().map(|event| event.expect("readable")).collect();
    assert_eq!(read.len(), 5);
    assert!(matches!(&read[0], Event::Changed { object: Some(pod), .. } if pod.uid == "a"));
    assert!(matches!(&read[1], Event::Changed { object: Some(pod), .. } if pod.uid == "b"));
    assert_eq!(read[2], Event::Unknown { version: Some("8".to_owned()) });
    assert_eq!(read[3], Event::Unknown { version: None });
    assert_eq!(read[4], Event::Deleted { version: None, object: None });
}

#[test]
fn every_cut_of_a_stream_is_an_end_or_a_cut_never_an_event_that_was_not_sent() {
    let one = format!("{{\"type\":\"ADDED\",\"object\":{}}}\n", pod_json("a"));
    let body = one.repeat(2);
    for cut in 0..body.len() {
        let read = events(&body.as_bytes()[..cut]);
        let whole = read.iter().filter(|event| event.is_ok()).count();
        assert_eq!(whole, (cut + 1) / one.len(), "cut at {cut}");
        let rest = read.last().is_some_and(Result::is_err);
        assert_eq!(rest, !matches!(cut % one.len(), 0) && cut % one.len() != one.len() - 1, "cut at {cut}");
        if let Some(Err(error)) = read.last() {
            assert!(matches!(error, ReadError::CutShort), "cut at {cut}: {error:?}");
        }
    }
}

#[test]
fn errors_and_bookmarks() {
    let body = r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"70","creationTimestamp":null},"spec":{"containers":null},"status":{}}}
{"type":"ERROR","object":{"kind":"Status","metadata":{},"status":"Failure","message":"too old","reason":"Expired","code":410,
"details":{"retryAfterSeconds":7,"causes":[{"reason":"ResourceVersionTooLarge","message":"m"}]}}}"#;
    let read: Vec<Event> = events(body.as_bytes()).into_iter().map(|event| event.expect("readable")).collect();
    assert_eq!(read[0], Event::Bookmark { version: Some("70".to_owned()) });
    let Event::Error(status) = &read[1] else { panic!("{:?}", read[1]) };
    assert_eq!((status.code, status.reason.as_deref()), (Some(410), Some("Expired")));
    assert_eq!(status.details.as_ref().and_then(|details| details.retry_after_seconds), Some(7));
    assert!(is_too_large(status));
}

fn arb_text() -> impl Strategy<Value = Option<String>> {
    prop_oneof![Just(None), "[a-z0-9.-]{1,20}".prop_map(Some), "\\PC{0,20}".prop_map(Some)]
}

fn arb_ip() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|b| IpAddr::from(b).to_string()),
        any::<[u8; 16]>().prop_map(|b| IpAddr::from(b).to_string()),
        "[0-9a-f:.]{0,12}",
    ]
}

fn arb_node() -> impl Strategy<Value = Option<String>> {
    prop_oneof![Just(Some("node-1".to_owned())), arb_text()]
}

fn arb_state() -> impl Strategy<Value = Option<full::ContainerState>> {
    let time = || prop::option::of(0i64..4_000_000_000).prop_map(|s| s.map(time));
    let running = time().prop_map(|started_at| full::ContainerState {
        running: Some(full::ContainerStateRunning { started_at }),
        ..full::ContainerState::default()
    });
    let terminated = (time(), time()).prop_map(|(started_at, finished_at)| full::ContainerState {
        terminated: Some(full::ContainerStateTerminated { started_at, finished_at, ..Default::default() }),
        ..full::ContainerState::default()
    });
    prop::option::of(prop_oneof![running, terminated, Just(full::ContainerState::default())])
}

fn time(second: i64) -> Time {
    Time(Timestamp::from_second(second).expect("in range"))
}

prop_compose! {
    fn arb_pod()(
        (name, namespace, uid, version) in (arb_text(), arb_text(), arb_text(), arb_text()),
        owners in prop::collection::vec((prop_oneof![Just(Some("Node".to_owned())), arb_text()], arb_node(), any::<Option<bool>>()), 0..3),
        (labels, annotations) in (prop::collection::btree_map(prop_oneof![Just("pod-template-hash".to_owned()), "[a-z/]{1,40}"], "\\PC{0,30}", 0..4),
            prop::collection::btree_map(prop_oneof![Just("kubernetes.io/config.hash".to_owned()), Just("kubernetes.io/config.mirror".to_owned()), "\\PC{1,40}"],
                prop_oneof![Just("a1b2".to_owned()), "\\PC{0,90}"], 0..4)),
        states in prop::collection::vec((arb_state(), arb_state()), 0..3),
        (node, host, phase) in (arb_node(), any::<Option<bool>>(), prop_oneof![Just(None), Just(Some("Running".to_owned())), Just(Some("Failed".to_owned())), Just(Some("Succeeded".to_owned()))]),
        (host_ip, ip, ips, start) in (prop::option::of(arb_ip()), prop::option::of(arb_ip()), prop::option::of(prop::collection::vec(arb_ip(), 0..4)), prop::option::of(0i64..4_000_000_000)),
    ) -> full::Pod {
        full::Pod {
            metadata: ObjectMeta {
                name, namespace, uid, resource_version: version,
                owner_references: Some(owners.into_iter().map(|(kind, name, controller)| OwnerReference {
                    api_version: "apps/v1".to_owned(), kind: kind.unwrap_or_default(), name: name.unwrap_or_default(),
                    uid: "o".to_owned(), controller, block_owner_deletion: None,
                }).collect()),
                labels: Some(labels), annotations: Some(annotations),
                ..ObjectMeta::default()
            },
            spec: Some(full::PodSpec { node_name: node, host_network: host, ..full::PodSpec::default() }),
            status: Some(full::PodStatus {
                phase, host_ip, pod_ip: ip, pod_ips: ips.map(|ips| ips.into_iter().map(|ip| full::PodIP { ip }).collect()),
                start_time: start.map(time),
                container_statuses: Some(states.iter().cloned().map(|(state, last_state)| full::ContainerStatus {
                    state, last_state, ..full::ContainerStatus::default() }).collect()),
                ..full::PodStatus::default()
            }),
        }
    }
}

/// The same view, taken from the full types.
fn expected(pod: &full::Pod) -> Option<PodView> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (meta, spec, status) = (&pod.metadata, pod.spec.as_ref()?, pod.status.as_ref()?);
    let mut addresses: Vec<Addr> = Vec::new();
    let ips = status.pod_ips.iter().flatten().map(|pod_ip| &pod_ip.ip).chain(&status.pod_ip);
    for ip in ips.filter_map(|text| text.parse::<IpAddr>().ok()).map(Addr::from) {
        if !ip.is_loopback() && !ip.is_unspecified() && !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    let controller = meta
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true) && !owner.kind.is_empty() && !owner.name.is_empty());
    let ns = |Time(at): &Time| at.as_second() as u64 * crate::clock::SECOND;
    let statuses = || status.container_statuses.iter().flatten();
    let states = || statuses().flat_map(|s| [&s.state, &s.last_state]).flatten();
    let running = statuses().filter_map(|s| s.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    let ended = states().filter_map(|state| state.terminated.as_ref()?.started_at.as_ref());
    let began = running.clone().chain(ended).map(ns);
    let terminated = statuses().filter_map(|s| s.state.as_ref()?.terminated.as_ref());
    let some_run = running.clone().next().is_some();
    let pick = |map: &Option<std::collections::BTreeMap<String, String>>, key| given(&map.as_ref()?.get(key).cloned());
    Some(PodView {
        uid: given(&meta.uid)?,
        namespace: given(&meta.namespace)?,
        name: given(&meta.name)?,
        controller: controller.cloned(),
        template_hash: pick(&meta.labels, "pod-template-hash"),
        static_uid: pick(&meta.annotations, "kubernetes.io/config.hash").filter(|hash| {
            let mirror = pick(&meta.annotations, "kubernetes.io/config.mirror");
            let of_node = |owner: &OwnerReference| owner.kind == "Node" && Some(&owner.name) == spec.node_name.as_ref();
            mirror.as_ref() == Some(hash) && controller.is_some_and(of_node)
        }),
        node_name: given(&spec.node_name),
        host_network: spec.host_network == Some(true),
        terminal: matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")),
        addresses,
        started_ns: status.start_time.as_ref().map(ns),
        host_ip: status
            .host_ip
            .as_ref()
            .and_then(|ip| ip.parse::<IpAddr>().ok())
            .map(Addr::from)
            .filter(|ip| !ip.is_loopback() && !ip.is_unspecified()),
        ran_ns: began.clone().min(),
        is_silent: statuses().next().is_some() && began.min().is_none(),
        ended_ns: terminated.filter_map(|t| t.finished_at.as_ref().map(ns)).max().filter(|_| !some_run),
    })
}

proptest! {
    #[test]
    fn the_view_is_what_the_full_types_say(pods in prop::collection::vec(arb_pod(), 0..4)) {
        let body = serde_json::to_vec(&k8s_openapi::List { items: pods.clone(), metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta {
            resource_version: Some("5".to_owned()), ..Default::default() } }).expect("JSON");
        let (list, views, bad) = listed(&body);
        prop_assert!(list.is_ok());
        let wanted: Vec<PodView> = pods.iter().filter_map(expected).collect();
        prop_assert_eq!(bad, pods.len() - wanted.len());
        prop_assert_eq!(views, wanted);
        for pod in &pods {
            let line = serde_json::json!({ "type": "MODIFIED", "object": pod }).to_string();
            let version = pod.metadata.resource_version.clone().filter(|version| !version.is_empty());
            let read: Vec<Event> = events(line.as_bytes()).into_iter().map(|event| event.expect("readable")).collect();
            prop_assert_eq!(read, vec![Event::Changed { version, object: expected(pod) }]);
        }
    }

    #[test]
    fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = listed(&body);
        let _ = events(&body).len();
        let _ = read_status(&body);
    }

    #[test]
    fn any_change_of_a_byte_is_survived(pod in arb_pod(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut line = serde_json::json!({ "type": "MODIFIED", "object": pod }).to_string().into_bytes();
        let at = at.index(line.len());
        line[at] = byte;
        let _ = events(&line).len();
        let _ = listed(&list_of(&String::from_utf8_lossy(&line)));
    }
}

fn node_of(json: &str) -> Option<NodeView> {
    let body = format!(r#"{{"kind":"NodeList","metadata":{{"resourceVersion":"5"}},"items":[{json}]}}"#);
    let mut nodes = Vec::new();
    read_objects(&mut body.as_bytes(), full::Node::LIST_KIND, &mut |object| nodes.push(object.into_node()))
        .expect("a list");
    nodes.pop().expect("one item")
}

#[test]
fn a_node_is_its_labels_ranges_and_internal_addresses() {
    let node = node_of(
        r#"{"metadata":{"name":"n1","labels":{"topology.kubernetes.io/zone":"z1","topology.kubernetes.io/region":"r1"}},
            "spec":{"podCIDR":"10.1.0.0/24","podCIDRs":["10.1.0.0/24","fd00:1::/64","10.1.0.1/24","x",null]},
            "status":{"addresses":[{"type":"Hostname","address":"n1"},{"type":"InternalIP","address":"192.168.0.1"},
            {"type":"ExternalIP","address":"203.0.113.1"},{"type":"InternalIP","address":"nonsense"}],"images":[{"names":["x"]}]}}"#,
    )
    .expect("a node");
    assert_eq!((node.name.as_str(), node.zone.as_str(), node.region.as_str()), ("n1", "z1", "r1"));
    let ranges: Vec<String> = node.ranges.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["10.1.0.0/24", "fd00:1::/64"]);
    assert_eq!(node.addresses, [Addr::from_v4([192, 168, 0, 1])], "what is outside is no zone's");
    let bare = node_of(r#"{"metadata":{"name":"n2"},"spec":null,"status":5}"#).expect("a node");
    assert_eq!(bare, NodeView { name: "n2".to_owned(), ..NodeView::default() });
    assert_eq!(node_of(r#"{"metadata":{}}"#), None);
    assert_eq!(node_of(r#"{"kind":"Pod","metadata":{"name":"n"}}"#), None);
    let pods = br#"{"kind":"PodList","metadata":{"resourceVersion":"5"},"items":[]}"#;
    let refused = read_objects(&mut &pods[..], full::Node::LIST_KIND, &mut |_| {});
    assert!(matches!(refused, Err(ReadError::Unreadable(why)) if why.contains("PodList instead of a list (NodeList)")));
}

#[test]
fn f14_only_a_mirror_of_its_node_names_a_static_pods_cgroups() {
    let static_uid = |annotations: &str, owner: &str| {
        let pod = format!(
            r#"{{"metadata":{{"name":"n","namespace":"ns","uid":"u","annotations":{{{annotations}}},"ownerReferences":[{owner}]}},
               "spec":{{"nodeName":"node-1"}}}}"#
        );
        listed(&list_of(&format!("[{pod}]"))).1[0].static_uid.clone()
    };
    let hash = r#""kubernetes.io/config.hash":"h""#;
    let mirror = r#""kubernetes.io/config.hash":"h","kubernetes.io/config.mirror":"h""#;
    let node = r#"{"kind":"Node","name":"node-1","controller":true}"#;
    assert_eq!(static_uid(mirror, node).as_deref(), Some("h"), "as the kubelet writes it");
    assert_eq!(static_uid(hash, node), None, "the hash alone");
    assert_eq!(static_uid(hash, ""), None);
    assert_eq!(static_uid(mirror, ""), None, "nobody controls it");
    assert_eq!(static_uid(mirror, r#"{"kind":"ReplicaSet","name":"node-1","controller":true}"#), None);
    assert_eq!(static_uid(mirror, r#"{"kind":"Node","name":"node-2","controller":true}"#), None, "another node's");
    assert_eq!(static_uid(mirror, r#"{"kind":"Node","name":"node-1"}"#), None, "an owner that does not control it");
    let other = r#""kubernetes.io/config.hash":"h","kubernetes.io/config.mirror":"g""#;
    assert_eq!(static_uid(other, node), None);
}
