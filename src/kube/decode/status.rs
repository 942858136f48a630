//! The fields of a status that are stored: addresses of a pod or a node, and what a pod's containers say.

use std::net::IpAddr;

use serde::de::MapAccess;

use crate::flow::Addr;
use crate::kube::lenient::{self, Lenient, Text, skip, value};
use crate::kube::time::rfc3339_ns;

/// Addresses and ranges of an object that are stored. Dual stack needs two; further ones are ignored.
pub(super) const ADDRESSES_MAX: usize = 8;

/// Of a pod or a node.
#[derive(Debug, Default)]
pub(super) struct ObjectStatus {
    pub(super) phase: Text,
    pub(super) start_time: Text,
    pub(super) host_ip: Text,
    pod_ip: Text,
    pod_ips: Vec<Addr>,
    pub(super) node_addresses: Vec<Addr>,
    pub(super) containers: Containers,
}

/// What the states of a pod's containers say together.
#[derive(Debug, Default)]
pub(super) struct Containers {
    pub(super) ran_ns: Option<u64>,
    pub(super) ended_ns: Option<u64>,
    pub(super) some_run: bool,
    pub(super) some_told: bool,
}

impl Containers {
    fn add(&mut self, container: &Container) {
        let ns = |text: &Text| text.0.as_deref().and_then(rfc3339_ns);
        let Container { state: State { running, terminated }, last: State { terminated: last, .. } } = container;
        for began in [running, terminated, last].into_iter().filter_map(|span| ns(&span.started)) {
            self.ran_ns = Some(self.ran_ns.map_or(began, |ran| ran.min(began)));
        }
        self.ended_ns = self.ended_ns.max(ns(&terminated.finished));
        self.some_told = true;
        self.some_run |= running.started.0.is_some();
    }
}

#[derive(Default)]
struct Container {
    state: State,
    last: State,
}

impl Lenient for Container {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "state" => self.state = value(map)?,
            "lastState" => self.last = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct State {
    running: Span,
    terminated: Span,
}

impl Lenient for State {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "running" => self.running = value(map)?,
            "terminated" => self.terminated = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Span {
    started: Text,
    finished: Text,
}

impl Lenient for Span {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "startedAt" => self.started = value(map)?,
            "finishedAt" => self.finished = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl Lenient for ObjectStatus {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "phase" => self.phase = value(map)?,
            "startTime" => self.start_time = value(map)?,
            "hostIP" => self.host_ip = value(map)?,
            "podIP" => self.pod_ip = value(map)?,
            "podIPs" => {
                self.pod_ips.clear();
                lenient::each(map, |pod_ip: PodIp| push_address(&mut self.pod_ips, &pod_ip.ip))?;
            }
            "addresses" => {
                self.node_addresses.clear();
                lenient::each(map, |of_node: NodeAddress| {
                    if of_node.kind.0.as_deref() == Some("InternalIP") {
                        push_address(&mut self.node_addresses, &of_node.address);
                    }
                })?;
            }
            "containerStatuses" | "initContainerStatuses" => {
                lenient::each(map, |container: Container| self.containers.add(&container))?;
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl ObjectStatus {
    pub(super) fn into_addresses(mut self) -> Vec<Addr> {
        push_address(&mut self.pod_ips, &self.pod_ip);
        self.pod_ips
    }
}

fn push_address(addresses: &mut Vec<Addr>, text: &Text) {
    if let Some(addr) = address(text)
        && addresses.len() < ADDRESSES_MAX
        && !addresses.contains(&addr)
    {
        addresses.push(addr);
    }
}

pub(super) fn address(text: &Text) -> Option<Addr> {
    let addr = Addr::from(text.0.as_deref()?.parse::<IpAddr>().ok()?);
    (!addr.is_unspecified() && !addr.is_loopback()).then_some(addr)
}

#[derive(Default)]
struct PodIp {
    ip: Text,
}

impl Lenient for PodIp {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "ip" => self.ip = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct NodeAddress {
    kind: Text,
    address: Text,
}

impl Lenient for NodeAddress {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "type" => self.kind = value(map)?,
            "address" => self.address = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}
