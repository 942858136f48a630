//! Where the nodes of a cluster are, and the ranges that follow from it. A node's pod ranges and addresses lie in its
//! zone. So does a pod that no range of its node holds.
//!
//! Knows no API server. Where two nodes of different zones claim one range, nothing is said of it.

use std::collections::BTreeMap;

use super::join::join;
use super::table::MAX_RANGES;
use crate::flow::{Addr, Cidr};

/// Where a node is, and which addresses are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its zone; empty where it is not known.
    pub zone: Box<str>,
    /// Its region; empty where it is not known.
    pub region: Box<str>,
    /// Those of its pods.
    pub ranges: Vec<Cidr>,
    /// Its own.
    pub addresses: Vec<Addr>,
}

/// A pod: on which node, and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The node's name.
    pub node: Box<str>,
    /// The pod's addresses, none of a pod on its node's network.
    pub addresses: Vec<Addr>,
}

/// Ranges, each with the number of its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Neighbours of one place are joined.
    pub ranges: Vec<(Cidr, u16)>,
    /// Zone and region, by number.
    pub places: Vec<(Box<str>, Box<str>)>,
}

/// More ranges or places than a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

/// Nodes by name, pods by uid.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    nodes: BTreeMap<Box<str>, Node>,
    pods: BTreeMap<Box<str>, Placed>,
    /// Whether the nodes were listed.
    pub has_nodes: bool,
    /// Whether the pods were listed.
    pub has_pods: bool,
}

impl Cluster {
    /// Replaces all nodes. Whether anything is other than before.
    pub fn replace_nodes(&mut self, nodes: impl Iterator<Item = (Box<str>, Node)>) -> bool {
        let nodes: BTreeMap<_, _> = nodes.collect();
        let is_other = !self.has_nodes || self.nodes != nodes;
        self.has_nodes = true;
        self.nodes = nodes;
        is_other
    }

    /// Replaces all pods. Whether anything is other than before.
    pub fn replace_pods(&mut self, pods: impl Iterator<Item = (Box<str>, Placed)>) -> bool {
        let pods: BTreeMap<_, _> = pods.collect();
        let is_other = !self.has_pods || self.pods != pods;
        self.has_pods = true;
        self.pods = pods;
        is_other
    }

    /// A node as it is now. Whether anything is other than before.
    pub fn set_node(&mut self, name: &str, node: Node) -> bool {
        if self.nodes.get(name) == Some(&node) {
            return false;
        }
        self.nodes.insert(name.into(), node);
        true
    }

    /// A pod as it is now. Whether anything is other than before.
    pub fn set_pod(&mut self, uid: &str, pod: Placed) -> bool {
        if self.pods.get(uid) == Some(&pod) {
            return false;
        }
        self.pods.insert(uid.into(), pod);
        true
    }

    /// A node is gone. Whether it was known.
    pub fn remove_node(&mut self, name: &str) -> bool {
        self.nodes.remove(name).is_some()
    }

    /// A pod is gone. Whether it was known.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        self.pods.remove(uid).is_some()
    }

    /// Nodes that are known.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Pods that are known.
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Whether the nodes alone do not tell where the pods are: one of them has no ranges.
    pub fn needs_pods(&self) -> bool {
        self.nodes.values().any(|node| node.ranges.is_empty())
    }

    /// The ranges that follow.
    ///
    /// # Errors
    /// [`TooMuch`], where they are more than a table holds.
    pub fn ranges(&self) -> Result<Found, TooMuch> {
        let mut places: Vec<(&str, &str)> =
            self.nodes.values().map(place_of).filter(|place| *place != ("", "")).collect();
        places.sort_unstable();
        places.dedup();
        let number = |node: &Node| {
            places
                .binary_search(&place_of(node))
                .map_or(Ok(None), |at| u16::try_from(at).map(Some).map_err(|_| TooMuch))
        };
        // None: two places are told of it.
        let mut told: BTreeMap<(Addr, u8), Option<u16>> = BTreeMap::new();
        let mut tell = |range: Cidr, place: Option<u16>| {
            let place_before = told.entry((range.first(), range.prefix())).or_insert(place);
            if *place_before != place {
                *place_before = None;
            }
        };
        for node in self.nodes.values() {
            let place = number(node)?;
            node.ranges.iter().for_each(|range| tell(*range, place));
            node.addresses.iter().filter_map(single).for_each(|range| tell(range, place));
        }
        for pod in self.pods.values() {
            let Some(node) = self.nodes.get(&pod.node) else { continue };
            let place = number(node)?;
            let is_elsewhere = |addr: &&Addr| !node.ranges.iter().any(|range| range.contains(**addr));
            pod.addresses.iter().filter(is_elsewhere).filter_map(single).for_each(|range| tell(range, place));
        }
        let clear = told.iter().filter_map(|((first, prefix), place)| Some((Cidr::new(*first, *prefix)?, (*place)?)));
        let ranges = join(clear);
        if ranges.len() > MAX_RANGES {
            return Err(TooMuch);
        }
        let places = places.into_iter().map(|(zone, region)| (zone.into(), region.into())).collect();
        Ok(Found { ranges, places })
    }
}

fn single(addr: &Addr) -> Option<Cidr> {
    Cidr::new(*addr, if addr.is_v4() { 32 } else { 128 })
}

fn place_of(node: &Node) -> (&str, &str) {
    (&node.zone, &node.region)
}

#[cfg(test)]
mod tests;
