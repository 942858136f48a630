//! `topology publish` against a scripted API server that keeps one ConfigMap: when it writes, what, and what two of them do.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use netmon::clock::{self, Now, SECOND};
use netmon::flow::{Addr, Cidr};
use netmon::kube::client::{Client, Timeouts};
use netmon::kube::config_map::Place;
use netmon::kube::places::Places;
use netmon::kube::stopper::Stopper;
use netmon::locate::{Locator, Own, Settings};
use netmon::tools::publish::{Pods, Publisher};
use netmon::topology::cluster::{Node, Placed};
use netmon::topology::names::Names;
use serde_json::{Value, json};

use crate::fake_kube::{FakeKube, Request, answer};
use crate::harness::endpoint;

/// The ConfigMap, its version, and how often it was written.
#[derive(Default)]
struct Kept {
    map: Option<Value>,
    version: u64,
    writes: usize,
    refuse: Option<&'static str>,
}

fn said(status: &str, body: &Value) -> Vec<crate::fake_kube::Part> {
    answer(status, "Content-Type: application/json\r\n", body.to_string().as_bytes())
}

fn refused(status: &str) -> Vec<crate::fake_kube::Part> {
    let code: u16 = status[..3].parse().expect("a code");
    said(status, &json!({"kind": "Status", "code": code, "message": "so it is"}))
}

fn respond(kept: &mut Kept, request: &Request) -> Vec<crate::fake_kube::Part> {
    if let Some(status) = kept.refuse {
        return refused(status);
    }
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    match (request.method.as_str(), &mut kept.map) {
        ("GET", None) => refused("404 Not Found"),
        ("GET", Some(map)) => said("200 OK", map),
        ("POST", Some(_)) => refused("409 Conflict"),
        ("POST", None) => {
            kept.map = Some(body);
            written(kept, "201 Created")
        }
        ("PATCH", Some(map)) => {
            if body["metadata"]["resourceVersion"] != map["metadata"]["resourceVersion"] {
                return refused("409 Conflict");
            }
            for field in ["data", "binaryData"] {
                for (key, value) in body[field].as_object().expect("both are told") {
                    if !map[field].is_object() {
                        map[field] = json!({});
                    }
                    let values = map[field].as_object_mut().expect("made");
                    match value.is_null() {
                        true => values.remove(key),
                        false => values.insert(key.clone(), value.clone()),
                    };
                }
            }
            written(kept, "200 OK")
        }
        _ => refused("405 Method Not Allowed"),
    }
}

fn written(kept: &mut Kept, status: &str) -> Vec<crate::fake_kube::Part> {
    kept.version += 1;
    kept.writes += 1;
    let map = kept.map.as_mut().expect("there");
    map["metadata"]["resourceVersion"] = json!(kept.version.to_string());
    said(status, map)
}

struct Cluster {
    server: FakeKube,
    kept: Arc<Mutex<Kept>>,
    places: Places,
}

impl Cluster {
    fn start() -> Cluster {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let script = Arc::clone(&kept);
        let server = FakeKube::start(move |request| respond(&mut script.lock().expect("not poisoned"), request));
        Cluster { server, kept, places: Places::default() }
    }

    fn publisher(&self, pods: Pods) -> Publisher {
        let place = Place { namespace: "devzero".to_owned(), name: "topology".to_owned(), key: "topology".to_owned() };
        let client = Client::new(endpoint(&self.server.url()), "", Timeouts::default(), Arc::new(Stopper::default()));
        Publisher::new(client, place, None, pods)
    }

    /// Nodes 0 to `count`, each with a range, all in zones of one region.
    fn nodes(&self, count: u32, zone: &str) {
        let node = |n: u32| {
            let range = Cidr::new(Addr::from_v4((0x0a00_0000 | n << 9).to_be_bytes()), 24).expect("one");
            (
                format!("n{n}").into(),
                Node { zone: zone.into(), region: "r1".into(), ranges: vec![range], addresses: vec![] },
            )
        };
        self.places.lock().replace_nodes((0..count).map(node));
    }

    fn writes(&self) -> usize {
        self.kept.lock().expect("not poisoned").writes
    }

    /// The file as the kubelet would mount it.
    fn mounted(&self) -> Vec<u8> {
        let kept = self.kept.lock().expect("not poisoned");
        let map = kept.map.as_ref().expect("published");
        match (map["data"]["topology"].as_str(), map["binaryData"]["topology"].as_str()) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(packed)) => STANDARD.decode(packed).expect("base64"),
            both => panic!("{both:?}"),
        }
    }
}

fn at(seconds: u64) -> Now {
    Now { mono_ns: seconds * SECOND, ..clock::now() }
}

/// What an agent makes of what is mounted: ranges, or none where it refuses.
fn agent(name: &str, bytes: &[u8]) -> usize {
    let path = std::env::temp_dir().join(format!("netmon-publish-{name}-{}", std::process::id()));
    std::fs::write(&path, bytes).expect("ours");
    let settings = Settings { file: Some(path.clone()), ..Settings::default() };
    let mut locator = Locator::new(settings, Names::default(), Arc::default());
    locator.set_node(Own::default());
    let ranges = locator.look().map_or(0, |topology| topology.ranges());
    std::fs::remove_file(path).expect("ours");
    ranges
}

#[test]
fn it_writes_what_changed_and_at_most_once_a_minute() {
    let cluster = Cluster::start();
    let mut publisher = cluster.publisher(Pods::Never);
    publisher.turn(at(1), &cluster.places);
    assert!(cluster.server.requests().is_empty(), "the nodes are not known yet");
    cluster.places.lock().replace_nodes([].into_iter());
    publisher.turn(at(2), &cluster.places);
    assert!(cluster.server.requests().is_empty(), "a cluster without nodes is an API server in trouble");
    cluster.nodes(3, "z1");
    publisher.turn(at(3), &cluster.places);
    assert_eq!((cluster.writes(), agent("changed", &cluster.mounted())), (1, 3));
    let first = String::from_utf8(cluster.mounted()).expect("plain");
    for second in (4..600).step_by(10) {
        publisher.turn(at(second), &cluster.places);
    }
    assert_eq!((cluster.writes(), cluster.server.requests().len()), (1, 2), "nothing changed, nothing is asked");
    cluster.nodes(4, "z1");
    publisher.turn(at(600), &cluster.places);
    cluster.nodes(5, "z1");
    publisher.turn(at(659), &cluster.places);
    assert_eq!(cluster.writes(), 2, "within a minute");
    publisher.turn(at(660), &cluster.places);
    assert_eq!((cluster.writes(), agent("changed", &cluster.mounted())), (3, 5));
    let last = String::from_utf8(cluster.mounted()).expect("plain");
    let generation = |text: &str| text.split(' ').nth(5).and_then(|word| word.parse::<u64>().ok()).expect("a head");
    assert!(generation(&last) > generation(&first), "{last}");
    // Somebody removes it.
    cluster.kept.lock().expect("not poisoned").map = None;
    publisher.turn(at(1_259), &cluster.places);
    assert_eq!(cluster.writes(), 3, "not looked at yet");
    publisher.turn(at(1_260), &cluster.places);
    assert_eq!((cluster.writes(), agent("changed", &cluster.mounted())), (4, 5));
}

#[test]
fn two_of_them_write_what_one_would() {
    let cluster = Cluster::start();
    let (mut one, mut other) = (cluster.publisher(Pods::Never), cluster.publisher(Pods::Never));
    for (round, zone) in ["z1", "z2", "z3"].iter().enumerate() {
        cluster.nodes(10, zone);
        one.turn(at(100 * (round as u64 + 1)), &cluster.places);
        other.turn(at(100 * (round as u64 + 1) + 1), &cluster.places);
        assert_eq!(cluster.writes(), round + 1);
    }
    // Both read before either writes: the second is told so, and looks again a minute later.
    let conflict = Arc::clone(&cluster.kept);
    cluster.server.script(move |request| {
        let mut kept = conflict.lock().expect("not poisoned");
        if request.method == "PATCH" {
            kept.version += 1;
            let version = kept.version.to_string();
            kept.map.as_mut().expect("there")["metadata"]["resourceVersion"] = json!(version);
        }
        respond(&mut kept, request)
    });
    cluster.nodes(11, "z3");
    one.turn(at(500), &cluster.places);
    assert_eq!(cluster.writes(), 3, "overtaken");
    let kept = Arc::clone(&cluster.kept);
    cluster.server.script(move |request| respond(&mut kept.lock().expect("not poisoned"), request));
    one.turn(at(560), &cluster.places);
    assert_eq!(cluster.writes(), 4);
}

/// Agents keep what is mounted; the next one goes on where the last one was, whatever its clock says.
#[test]
fn none_for_a_day_does_no_harm() {
    let cluster = Cluster::start();
    cluster.nodes(3, "z1");
    cluster.publisher(Pods::Never).turn(at(1), &cluster.places);
    let file = std::env::temp_dir().join(format!("netmon-publish-day-{}", std::process::id()));
    std::fs::write(&file, cluster.mounted()).expect("ours");
    let settings = Settings { file: Some(file.clone()), ..Settings::default() };
    let mut locator = Locator::new(settings, Names::default(), Arc::default());
    assert_eq!(locator.look().map(|topology| topology.ranges()), Some(3));
    // A day of looks at a file that stays as it is.
    assert!((0..86_400 / 10).all(|_| locator.look().is_none()));
    assert_eq!(locator.topology().ranges(), 3);
    let year_ns = 365 * 86_400 * SECOND;
    let behind = Now { mono_ns: 86_400 * SECOND, wall_ns: clock::now().wall_ns.saturating_sub(year_ns) };
    cluster.nodes(4, "z1");
    cluster.publisher(Pods::Never).turn(behind, &cluster.places);
    assert_eq!(cluster.writes(), 2);
    std::fs::write(&file, cluster.mounted()).expect("ours");
    assert_eq!(locator.look().map(|topology| topology.ranges()), Some(4), "no older than the one in use");
    std::fs::remove_file(file).expect("ours");
}

#[test]
fn a_long_one_is_packed_and_a_short_one_is_not() {
    let cluster = Cluster::start();
    let mut publisher = cluster.publisher(Pods::Never);
    cluster.nodes(5_000, "z1");
    publisher.turn(at(1), &cluster.places);
    let packed = cluster.mounted();
    assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() < 40_000, "{} bytes", packed.len());
    assert_eq!(agent("packed", &packed), 5_000);
    cluster.nodes(50, "z1");
    publisher.turn(at(61), &cluster.places);
    assert!(cluster.mounted().starts_with(b"# zxporter-netmon topology 1 generation "));
    cluster.nodes(5_000, "z2");
    publisher.turn(at(121), &cluster.places);
    assert_eq!(agent("packed", &cluster.mounted()), 5_000, "the key stands in one of both only");
}

#[test]
fn pods_are_waited_for_where_a_node_has_no_range() {
    let cluster = Cluster::start();
    let mut publisher = cluster.publisher(Pods::Auto);
    cluster.nodes(2, "z1");
    assert!(!publisher.needs_pods(&cluster.places));
    let bare = Node { zone: "z2".into(), region: "r1".into(), ranges: vec![], addresses: vec![] };
    cluster.places.lock().set_node("bare", bare);
    assert!(publisher.needs_pods(&cluster.places) && !cluster.publisher(Pods::Never).needs_pods(&cluster.places));
    publisher.turn(at(1), &cluster.places);
    assert_eq!(cluster.writes(), 0, "a part of it would take away what was published before");
    let pod = Placed { node: "bare".into(), addresses: vec![Addr::from_v4([10, 200, 0, 9])] };
    cluster.places.lock().replace_pods([("1".into(), pod)].into_iter());
    publisher.turn(at(2), &cluster.places);
    assert!(String::from_utf8(cluster.mounted()).expect("plain").contains("\n10.200.0.9/32 zone=z2 region=r1\n"));
}

#[test]
fn what_fails_is_tried_again_a_minute_later() {
    let cluster = Cluster::start();
    let mut publisher = cluster.publisher(Pods::Never);
    cluster.nodes(2, "z1");
    for (second, status) in [(1, "403 Forbidden"), (61, "503 Service Unavailable"), (121, "401 Unauthorized")] {
        cluster.kept.lock().expect("not poisoned").refuse = Some(status);
        publisher.turn(at(second), &cluster.places);
        let asked = cluster.server.requests().len();
        publisher.turn(at(second + 59), &cluster.places);
        assert_eq!((cluster.server.requests().len(), cluster.writes()), (asked, 0), "{status}");
    }
    cluster.kept.lock().expect("not poisoned").refuse = None;
    publisher.turn(at(181), &cluster.places);
    assert_eq!(cluster.writes(), 1);
    // What somebody else wrote there, or harmed, is written anew.
    cluster.kept.lock().expect("not poisoned").map.as_mut().expect("there")["data"]["topology"] = json!("nonsense");
    publisher.turn(at(782), &cluster.places);
    assert_eq!((cluster.writes(), agent("again", &cluster.mounted())), (2, 2));
}
