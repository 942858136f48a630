//! Our writer against the golden bytes of a reference serialiser, and against prost.

use std::net::IpAddr;

use proptest::prelude::*;
use prost::Message as _;

use super::super::schema::{NetworkTrafficItem, ReportHealthRequest, SendNetworkTrafficMetricsRequest};
use super::*;
use crate::flow::Counts;

macro_rules! golden {
    ($file:literal) => {
        &include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/dakr/", $file))[..]
    };
}

fn addr(text: &str) -> Addr {
    text.parse::<IpAddr>().expect("an address").into()
}

fn time_ns(time: &Option<prost_types::Timestamp>) -> u64 {
    let time = time.as_ref().expect("always written");
    time.seconds as u64 * crate::clock::SECOND + time.nanos as u64
}

/// What prost read, written by us.
fn rewritten(request: &SendNetworkTrafficMetricsRequest) -> Vec<u8> {
    let header = Header {
        cluster_id: &request.cluster_id,
        node_name: &request.node_name,
        operator_version: request.operator_version.as_deref(),
        operator_commit: request.operator_commit.as_deref(),
    };
    let mut out = Vec::new();
    begin(&mut out, &header);
    for i in &request.items {
        item(
            &mut out,
            &Item {
                local: addr(&i.src_ip),
                remote: addr(&i.dst_ip),
                pod_name: &i.src_pod_name,
                pod_namespace: &i.src_pod_namespace,
                protocol: i.protocol as u8,
                port: i.dst_port as u16,
                counts: TxRx {
                    tx: Counts { bytes: i.tx_bytes as u64, packets: i.tx_packets as u64 },
                    rx: Counts { bytes: i.rx_bytes as u64, packets: i.rx_packets as u64 },
                },
                timestamp_ns: time_ns(&i.timestamp),
            },
        );
    }
    for lookup in &request.dns_lookups {
        dns_lookup(
            &mut out,
            &DnsLookup {
                client: addr(&lookup.client_ip),
                domain: &lookup.domain,
                resolved: &lookup.resolved_ips.iter().map(|a| addr(a)).collect::<Vec<_>>(),
                timestamp_ns: time_ns(&lookup.timestamp),
                pod_name: &lookup.src_pod_name,
                pod_namespace: &lookup.src_pod_namespace,
            },
        );
    }
    for (address, name) in &request.ip2domain {
        domain(&mut out, addr(address), name);
    }
    end(&mut out, &header);
    out
}

#[test]
fn requests_equal_the_golden_bytes() {
    for bytes in [golden!("traffic_basic.bin"), golden!("traffic_200_flows.bin"), golden!("traffic_presence.bin")] {
        let request = SendNetworkTrafficMetricsRequest::decode(bytes).expect("golden");
        assert_eq!(rewritten(&request), bytes);
    }
}

#[test]
fn numbers_at_their_limits_equal_the_golden_bytes() {
    // Its largest timestamp lies beyond 64 bits of nanoseconds, and it has a team and a mapped address: the fields are
    // written one level below `Item`.
    let bytes = golden!("traffic_limits.bin");
    let request = SendNetworkTrafficMetricsRequest::decode(bytes).expect("golden");
    let mut out = Vec::new();
    string(&mut out, 1, request.cluster_id.as_bytes());
    string(&mut out, 2, request.team_id.as_bytes());
    string(&mut out, 3, request.node_name.as_bytes());
    for i in &request.items {
        let time = i.timestamp.as_ref().expect("always written");
        item_fields(
            &mut out,
            [i.src_ip.as_bytes(), i.dst_ip.as_bytes(), i.src_pod_name.as_bytes(), i.src_pod_namespace.as_bytes()],
            [
                i.protocol as u64,
                i.dst_port as u64,
                i.tx_bytes as u64,
                i.rx_bytes as u64,
                i.tx_packets as u64,
                i.rx_packets as u64,
            ],
            (time.seconds as u64, time.nanos as u64),
        );
    }
    let rest = SendNetworkTrafficMetricsRequest {
        dns_lookups: request.dns_lookups.clone(),
        ip2domain: request.ip2domain.clone(),
        ..Default::default()
    };
    out.extend(rewritten(&rest));
    assert_eq!(out, bytes);
}

#[test]
fn heartbeats_equal_the_golden_bytes() {
    for bytes in [golden!("report_health.bin"), golden!("report_health_startup.bin")] {
        let request = ReportHealthRequest::decode(bytes).expect("golden");
        let status = |n| [Status::Unspecified, Status::Healthy, Status::Degraded, Status::Unhealthy][n as usize];
        let names = ["dakr_transport", "ebpf_tracer", "monitor", "pod_cache"];
        let components: Vec<ComponentState> = request
            .components
            .iter()
            .map(|c| ComponentState {
                name: names.into_iter().find(|n| *n == c.name).expect("a name of ours"),
                status: status(c.status),
                message: c.message.clone(),
                metadata: c.metadata.clone().into_iter().collect(),
            })
            .collect();
        let mut out = Vec::new();
        heartbeat(
            &mut out,
            &Heartbeat {
                cluster_id: &request.cluster_id,
                version: &request.version,
                overall: status(request.overall_status),
                components: &components,
                uptime_since_ns: time_ns(&request.uptime_since),
                commit: &request.commit,
            },
        );
        assert_eq!(out, bytes);
    }
}

#[test]
fn answers_are_read() {
    assert_eq!(processed_count(golden!("traffic_response.bin")), Some(2));
    assert_eq!(collect_now(golden!("report_health_response_collect_now.bin")), Some(true));
    assert_eq!(processed_count(&[]), Some(0));
    assert_eq!(collect_now(&[]), Some(false));
    assert_eq!(processed_count(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Some(-1));
    // A field that a later version may add is skipped; the last of a repeated one stands; a string is no number.
    assert_eq!(processed_count(&[0x12, 1, b'x', 0x08, 1, 0x08, 7]), Some(7));
    assert_eq!(processed_count(&[0x0a, 1, b'x']), None);
    assert_eq!(processed_count(&[0x08]), None);
}

#[test]
fn addresses_are_written_as_the_standard_library_writes_them() {
    for text in [
        "0.0.0.0",
        "1.20.255.9",
        "255.255.255.255",
        "::",
        "::1",
        "2001:db8::ff00:42:8329",
        "ffff:eeee:dddd:cccc:bbbb:aaaa:9999:8888",
        "::1.2.3.4",
        "64:ff9b::1.2.3.4",
    ] {
        let address = addr(text);
        assert_eq!(AddrText::new(address).bytes(), address.to_string().as_bytes());
    }
}

fn any_addr() -> impl Strategy<Value = Addr> {
    prop_oneof![any::<[u8; 4]>().prop_map(Addr::from_v4), any::<[u8; 16]>().prop_map(Addr::from_v6)]
}

prop_compose! {
    fn any_counts()(bytes in any::<u64>(), packets in any::<u64>()) -> Counts {
        Counts { bytes, packets }
    }
}

proptest! {
    #[test]
    fn any_item_is_read_by_prost_as_it_was_put_in(
        (local, remote) in (any_addr(), any_addr()),
        (pod_name, pod_namespace) in (".{0,253}", ".{0,63}"),
        (protocol, port) in (any::<u8>(), any::<u16>()),
        (tx, rx) in (any_counts(), any_counts()),
        timestamp_ns in any::<u64>(),
    ) {
        let put = Item { local, remote, pod_name: &pod_name, pod_namespace: &pod_namespace, protocol, port,
            counts: TxRx { tx, rx }, timestamp_ns };
        let mut out = Vec::new();
        item(&mut out, &put);
        let request = SendNetworkTrafficMetricsRequest::decode(&out[..]).expect("protobuf");
        let limit = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let expected = NetworkTrafficItem {
            src_ip: local.to_string(), dst_ip: remote.to_string(),
            src_pod_name: pod_name.clone(), src_pod_namespace: pod_namespace.clone(),
            protocol: protocol.into(), dst_port: port.into(),
            tx_bytes: limit(tx.bytes), rx_bytes: limit(rx.bytes),
            tx_packets: limit(tx.packets), rx_packets: limit(rx.packets),
            timestamp: Some(prost_types::Timestamp {
                seconds: (timestamp_ns / 1_000_000_000) as i64, nanos: (timestamp_ns % 1_000_000_000) as i32 }),
        };
        prop_assert_eq!(&request.items[..], &[expected][..]);
        // And byte for byte what prost writes.
        prop_assert_eq!(request.encode_to_vec(), out);
    }
}
