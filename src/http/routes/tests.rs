use super::*;
use crate::health::Component;
use crate::http::request::{Parsed, parse};
use crate::http::response::PAGE;
use serde_json::{Value, json};

fn context(allow: &str) -> Context {
    let range = |text: &str| {
        let (addr, prefix) = text.split_once('/').expect("a literal");
        let addr: std::net::IpAddr = addr.parse().expect("a literal");
        Cidr::new(addr.into(), prefix.parse().expect("a literal")).expect("a literal")
    };
    Context {
        node_name: "node-a".into(),
        metrics_format: MetricsFormat::Prometheus,
        readers: if allow.is_empty() { Readers::Everyone } else { Readers::Of(allow.split(',').map(range).collect()) },
        cluster: vec![range("10.0.0.0/8")],
        hosts: vec!["node-a.example".into(), "metrics.example".into()],
        labels: Labels::default(),
        given: Vec::new(),
        stats: Arc::default(),
        health: Arc::default(),
        pulse: Arc::new(Pulse::new(0, SECOND)),
        snapshots: Arc::default(),
        end: Arc::default(),
    }
}

fn from(addr: std::net::IpAddr) -> Peer {
    Peer { addr: addr.into(), is_this_host: false }
}

/// Status line, head and body of the answer to a GET, with an empty snapshot where one is wanted.
fn get(context: &Context, target: &str, peer: &str, mono_ns: u64) -> (String, String) {
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let Parsed::Whole(request) = parse(head.as_bytes()) else { panic!("{target}") };
    let peer: std::net::IpAddr = peer.parse().expect("a literal");
    let response = match context.route(&request, from(peer), Now { mono_ns, wall_ns: 0 }) {
        Answer::Now(response) => response,
        Answer::Snapshot(wanted) => context.show(wanted, Some(Arc::default())),
    };
    let mut out = Vec::new();
    let mut body = response.write_head(&mut out, false, false);
    while !body.is_done() {
        body.fill(&mut out, usize::MAX);
    }
    let text = String::from_utf8(out).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

#[test]
fn health_has_the_incumbents_body() {
    let context = context("");
    context.health.set(Component::Monitor, Status::Healthy, "collecting");
    context.health.set(Component::DakrTransport, Status::Degraded, "say \"why\"");
    context.health.note(Component::DakrTransport, "a", "b");
    let (head, body) = get(&context, "/healthz", "10.0.0.1", 0);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nX-Content-Type-Options: nosniff"));
    let want = json!({
        "components": {
            "monitor": {"Status": 1, "Message": "collecting", "Metadata": {}},
            "dakr_transport": {"Status": 2, "Message": "say \"why\"", "Metadata": {"a": "b"}},
        },
        "status": "degraded",
    });
    assert_eq!(serde_json::from_str::<Value>(&body).expect("JSON"), want);
    context.pulse.cycle_completed(0, SECOND);
    let (head, body) = get(&context, "/healthz", "10.0.0.1", 20 * SECOND);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["error"], "the collector is stuck: no completed cycle for 20 s");
    assert_eq!(body["status"], "unhealthy");
}

#[test]
fn readiness_begins_with_a_sweep_and_ends_with_the_stop() {
    let context = context("");
    let status = || get(&context, "/readyz", "10.0.0.1", 60 * SECOND).0[9..12].to_owned();
    assert_eq!(status(), "503");
    context.pulse.sweep_completed();
    assert_eq!(status(), "200", "a collector that is stuck is a matter of /healthz");
    context.pulse.stopping();
    assert_eq!(status(), "503");
}

#[test]
fn the_history_is_told_to_those_who_may_read() {
    let context = context("10.0.0.0/8");
    assert_eq!(get(&context, "/history", "10.0.0.1", 0).1, "[]");
    for n in [1, 2] {
        let mut by_class = [crate::flow::TxRx::ZERO; Class::ALL.len()];
        by_class[Class::Inside as usize] = crate::ledger::bytes_only(n * 40, n);
        by_class[Class::Outside as usize] = crate::ledger::bytes_only(n * 60, 0);
        context.snapshots.history.note(n * 5 * SECOND, &by_class);
    }
    let (head, body) = get(&context, "/history", "10.0.0.1", 0);
    assert!(head.contains("application/json"), "{head}");
    assert_eq!(body, "[[5000,100,1],[10000,200,2]]");
    let asked = |query: &str| get(&context, &format!("/history?{query}"), "10.0.0.1", 0);
    assert_eq!(asked("class=outside").1, "[[5000,60,0],[10000,120,0]]");
    assert_eq!(asked("class=inside&after=10000").1, "[[10000,80,2]]");
    assert_eq!(asked("class=multicast&after=10001").1, "[]");
    for query in ["class=", "class=inner", "after=-1", "after=x", "by=class", "class"] {
        let (head, body) = asked(query);
        assert!(head.contains("400") && Class::WORDS.iter().all(|class| body.contains(class)), "{query}");
    }
    assert!(get(&context, "/history", "192.0.2.1", 0).0.contains("403"));
}

#[test]
fn by_default_this_host_and_the_cluster_may_read() {
    let mut context = Context { readers: Readers::Near, ..context("") };
    let may = |context: &Context, addr: &str, is_this_host| {
        let addr: std::net::IpAddr = addr.parse().expect("a literal");
        context.may_read(Peer { addr: addr.into(), is_this_host })
    };
    assert!(may(&context, "10.1.2.3", false) && may(&context, "203.0.113.9", true));
    assert!(!may(&context, "203.0.113.9", false));
    let (status, body) = get(&context, "/flows", "203.0.113.9", 0);
    assert!(status.contains("403") && body.contains("-metrics-allow everyone"), "{body}");
    context.cluster = Vec::new();
    assert!(!may(&context, "10.1.2.3", false), "on a bare host nobody else");
}

#[test]
fn who_is_not_allowed_sees_the_probes_only() {
    let context = context("10.0.0.0/8,fd00::/8");
    let status = |target: &str, peer: &str| get(&context, target, peer, 0).0[9..12].to_owned();
    for target in ["/", "/flows", "/metrics", "/else"] {
        assert_eq!(status(target, "192.0.2.1"), "403", "{target}");
        assert_eq!(status(target, "2001:db8::1"), "403", "{target}");
    }
    assert_eq!(status("/healthz", "192.0.2.1"), "200");
    assert_eq!(status("/readyz", "192.0.2.1"), "503");
    assert_eq!(status("/metrics", "10.1.1.1"), "200");
    assert_eq!(status("/metrics", "::ffff:10.1.1.1"), "200", "a dual-stack socket shows IPv4 so");
    assert_eq!(status("/metrics", "fd00::1"), "200");
}

#[test]
fn paths_are_exact() {
    let context = context("");
    for target in ["/flows/", "/Flows", "/%66lows", "/../flows", "/flows%00", "//", "/favicon.ico"] {
        let (head, body) = get(&context, target, "10.0.0.1", 0);
        assert!(head.starts_with("HTTP/1.1 404 "), "{target}: {head}");
        assert!(body.contains("/metrics"), "the list of what there is");
    }
    assert!(get(&context, "/flows?limit=3", "10.0.0.1", 0).0.starts_with("HTTP/1.1 200 "));
    assert!(get(&context, "/?x", "10.0.0.1", 0).0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_question_that_cannot_be_answered_is_refused_with_what_can() {
    let context = context("");
    let (head, body) = get(&context, "/flows?limit=x", "10.0.0.1", 0);
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert_eq!(body, "limit cannot be \"x\": want 1 to 100000\n");
    let (head, body) = get(&context, "/flows?by=owner&format=csv", "10.0.0.1", 0);
    assert!(head.contains("Content-Type: text/csv"), "{head}");
    assert_eq!(body, "owner,rows,tx_bytes,rx_bytes,tx_rate,rx_rate\n");
}

#[test]
fn metrics_come_in_the_format_that_is_asked_for() {
    let kind = |format: MetricsFormat, accept: &str| {
        let context = Context { metrics_format: format, ..context("") };
        let head = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
        let Parsed::Whole(request) = parse(head.as_bytes()) else { panic!("{accept}") };
        match context.route(&request, from(std::net::Ipv4Addr::UNSPECIFIED.into()), Now::default()) {
            Answer::Snapshot(wanted) => context.show(wanted, Some(Arc::default())).content_type,
            Answer::Now(response) => panic!("{response:?}"),
        }
    };
    assert_eq!(kind(MetricsFormat::Prometheus, "*/*"), prometheus::CONTENT_TYPE);
    assert_eq!(kind(MetricsFormat::Prometheus, "application/json"), JSON);
    assert_eq!(kind(MetricsFormat::Json, "*/*"), JSON);
    assert_eq!(kind(MetricsFormat::Json, "text/plain;version=0.0.4"), prometheus::CONTENT_TYPE);
}

#[test]
fn without_a_snapshot_there_are_no_rows_but_counters() {
    let context = context("");
    let missing = context.show(Wanted::new(Show::Flows(None)), None);
    assert!(missing.status.starts_with("503"), "an empty list would be a lie");
    assert_eq!(context.show(Wanted::new(Show::Metrics), None).status, "200 OK");
}

#[test]
fn chunks_make_up_the_same_bytes() {
    let rows = vec![
        crate::snapshot::RowView {
            name: 0,
            owner: 0,
            remote_owner: None,
            port: 1,
            protocol: 6,
            direction: crate::flow::Direction::Inbound,
            class: crate::flow::Class::Inside,
            way: crate::topology::Way::UNKNOWN,
            place: 0,
            is_sum: false,
            source: crate::config::SourceKind::Netfilter,
            local: Addr::UNSPECIFIED_V4,
            remote: Addr::UNSPECIFIED_V6,
            unsettled: crate::flow::TxRx::ZERO,
            total: crate::flow::TxRx::ZERO,
            more: crate::flow::Further::ZERO,
            is_estimated: false,
            changed_wall_ns: 0,
            rate: [0.0; 2],
        };
        50
    ];
    let snapshot = Arc::new(Snapshot { rows, ..Snapshot::default() });
    let render = |chunks: bool, piece: usize| {
        let response = context("").show(Wanted::new(Show::Flows(None)), Some(Arc::clone(&snapshot)));
        let mut head = Vec::new();
        let mut body = response.write_head(&mut head, false, chunks);
        let mut whole = Vec::new();
        while !body.is_done() {
            let mut out = Vec::new();
            body.fill(&mut out, piece);
            whole.extend_from_slice(&out);
        }
        assert!(body.snapshot().is_none(), "the snapshot is let go");
        whole
    };
    let plain = render(false, 1000);
    let chunked = render(true, 1000);
    let mut rest = &chunked[..];
    let mut joined = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((at, length))) = httparse::parse_chunk_size(rest) else { panic!("no chunk") };
        let end = at + length as usize;
        joined.extend_from_slice(&rest[at..end]);
        assert_eq!(&rest[end..end + 2], b"\r\n");
        rest = &rest[end + 2..];
        if length == 0 {
            break;
        }
    }
    assert!(rest.is_empty());
    assert_eq!(joined, plain);
    assert!(serde_json::from_slice::<Value>(&plain).is_ok());
}

#[test]
fn the_head_of_an_answer_promises_what_the_body_keeps() {
    let context = context("");
    let (head, body) = get(&context, "/", "10.0.0.1", 0);
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    assert!(head.contains("\r\nContent-Security-Policy: default-src 'none'; "));
    assert!(body.len() <= 30 * 1024, "the page is small: {}", body.len());
    let answer = context.show(Wanted::new(Show::Flows(None)), Some(Arc::default()));
    let mut out = Vec::new();
    let body = answer.write_head(&mut out, true, true);
    assert!(body.is_done(), "HEAD has no body");
    assert!(String::from_utf8(out).expect("UTF-8").contains("\r\nTransfer-Encoding: chunked\r\n"));
}

#[test]
fn the_policy_lets_in_what_the_page_brings_and_nothing_else() {
    let page = std::str::from_utf8(PAGE).expect("UTF-8");
    for tag in ["script", "style"] {
        assert_eq!(page.matches(&format!("<{tag}")).count(), 1, "one {tag}");
        let text = page.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")));
        let source = format!("{tag}-src 'sha256-{}';", base64(&sha256(text.expect("a whole element").0.as_bytes())));
        assert!(PAGE_POLICY.contains(&source), "the page has changed: the policy needs {source}");
    }
    assert!(!page.contains(" style=") && !page.contains(" onclick="), "the policy forbids these");
    assert!(!page.contains("http://www.w3.org/1999") && !page.contains("https://"), "nothing comes from elsewhere");
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("a TLS 1.3 suite");
    suite.common.hash_provider.hash(bytes).as_ref().to_vec()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |three: &[u8], n: usize| {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        if n <= three.len() { char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize]) } else { '=' }
    };
    bytes.chunks(3).flat_map(|three| (0..4).map(move |n| digit(three, n))).collect()
}

/// A page of a stranger's whose name points here (DNS rebinding) reads nothing; probes tell nobody's traffic.
#[test]
fn f22_only_names_of_this_agent_are_answered() {
    let context = context("");
    for ours in ["10.0.0.7", "[fd00::1]:8081", "localhost:8081", "node-a", "NODE-A.example", "metrics.example.:80"] {
        let (head, _) = get(&context, &format!("http://{ours}/flows"), "10.0.0.1", 0);
        assert!(head.starts_with("HTTP/1.1 200"), "{ours}: {head}");
    }
    for theirs in
        ["evil.example", "evil.example:8081", "node-a.evil.example", "localhost.evil.example", "10.0.0.7.evil.example"]
    {
        for path in ["/flows", "/", "/metrics"] {
            let (head, body) = get(&context, &format!("http://{theirs}{path}"), "127.0.0.1", 0);
            assert!(head.starts_with("HTTP/1.1 421") && body.contains("-metrics-hosts"), "{theirs}: {head}");
        }
        assert!(!get(&context, &format!("http://{theirs}/healthz"), "127.0.0.1", 0).0.starts_with("HTTP/1.1 421"));
    }
}
