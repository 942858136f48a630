//! DAKR's messages as an independent protobuf implementation (prost) reads and writes them, derived by hand from
//! `tests/golden/dakr/netmon.proto`. What the tests hold our own writer against.

#![allow(missing_docs, dead_code)]

use std::collections::BTreeMap;

use prost_types::Timestamp;

#[derive(Clone, PartialEq, prost::Message)]
pub struct NetworkTrafficItem {
    #[prost(string, tag = "1")]
    pub src_ip: String,
    #[prost(string, tag = "2")]
    pub dst_ip: String,
    #[prost(string, tag = "3")]
    pub src_pod_name: String,
    #[prost(string, tag = "4")]
    pub src_pod_namespace: String,
    #[prost(int32, tag = "5")]
    pub protocol: i32,
    #[prost(int32, tag = "6")]
    pub dst_port: i32,
    #[prost(int64, tag = "7")]
    pub tx_bytes: i64,
    #[prost(int64, tag = "8")]
    pub rx_bytes: i64,
    #[prost(int64, tag = "9")]
    pub tx_packets: i64,
    #[prost(int64, tag = "10")]
    pub rx_packets: i64,
    #[prost(message, optional, tag = "11")]
    pub timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct DnsLookupItem {
    #[prost(string, tag = "1")]
    pub client_ip: String,
    #[prost(string, tag = "2")]
    pub domain: String,
    #[prost(string, repeated, tag = "3")]
    pub resolved_ips: Vec<String>,
    #[prost(message, optional, tag = "4")]
    pub timestamp: Option<Timestamp>,
    #[prost(string, tag = "5")]
    pub src_pod_name: String,
    #[prost(string, tag = "6")]
    pub src_pod_namespace: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SendNetworkTrafficMetricsRequest {
    #[prost(string, tag = "1")]
    pub cluster_id: String,
    #[prost(string, tag = "2")]
    pub team_id: String,
    #[prost(string, tag = "3")]
    pub node_name: String,
    #[prost(message, repeated, tag = "4")]
    pub items: Vec<NetworkTrafficItem>,
    #[prost(message, repeated, tag = "5")]
    pub dns_lookups: Vec<DnsLookupItem>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub ip2domain: BTreeMap<String, String>,
    #[prost(string, optional, tag = "7")]
    pub operator_version: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub operator_commit: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SendNetworkTrafficMetricsResponse {
    #[prost(int32, tag = "1")]
    pub processed_count: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ComponentHealth {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(int32, tag = "2")]
    pub status: i32,
    #[prost(string, tag = "3")]
    pub message: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub metadata: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ReportHealthRequest {
    #[prost(string, tag = "1")]
    pub cluster_id: String,
    #[prost(int32, tag = "2")]
    pub operator_type: i32,
    #[prost(string, tag = "3")]
    pub version: String,
    #[prost(int32, tag = "4")]
    pub overall_status: i32,
    #[prost(message, repeated, tag = "5")]
    pub components: Vec<ComponentHealth>,
    #[prost(message, optional, tag = "6")]
    pub uptime_since: Option<Timestamp>,
    #[prost(string, tag = "7")]
    pub commit: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ReportHealthResponse {
    #[prost(bool, tag = "1")]
    pub collect_now: bool,
}
