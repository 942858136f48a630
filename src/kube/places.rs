//! The nodes of the cluster, or all its pods, as a [`Store`] that fills a [`Cluster`] which others read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::client::Followed;
use super::decode::Object;
use super::reflector::Store;
use crate::clock::Now;
use crate::stats::KubeSkip;
use crate::topology::cluster::{Cluster, Node, Placed};

/// Nodes that are kept: three times what Kubernetes is made for.
const NODES_MAX: usize = 15_000;
/// Pods that are kept.
const PODS_MAX: usize = 450_000;

/// A [`Cluster`] that several threads know.
#[derive(Debug, Default)]
pub struct Places {
    // Held for a change, or for the making of ranges; never across I/O.
    cluster: Mutex<Cluster>,
    generation: AtomicU64,
}

impl Places {
    /// How often it changed, without a lock.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// As it is now.
    pub fn lock(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Fills the nodes or the pods of a [`Places`].
pub struct PlaceStore {
    places: Arc<Places>,
    is_of_nodes: bool,
    /// Of the list that is being read.
    nodes: Vec<(Box<str>, Node)>,
    pods: Vec<(Box<str>, Placed)>,
    changed: bool,
    wake: Box<dyn Fn() + Send>,
}

impl PlaceStore {
    pub fn new(followed: &Followed, places: Arc<Places>, wake: Box<dyn Fn() + Send>) -> PlaceStore {
        let is_of_nodes = *followed == Followed::Nodes;
        PlaceStore { places, is_of_nodes, nodes: Vec::new(), pods: Vec::new(), changed: false, wake }
    }
}

fn node(object: Object) -> Result<(Box<str>, Node), KubeSkip> {
    let view = object.into_node().ok_or(KubeSkip::NoPod)?;
    let place =
        Node { zone: view.zone.into(), region: view.region.into(), ranges: view.ranges, addresses: view.addresses };
    Ok((view.name.into(), place))
}

/// None where the pod has no place: it is not on a node yet, or it ended.
fn pod(object: Object) -> Result<(Box<str>, Option<Placed>), KubeSkip> {
    let view = object.into_pod().ok_or(KubeSkip::NoPod)?;
    let addresses = if view.host_network { Vec::new() } else { view.addresses };
    let node = view.node_name.filter(|_| !view.terminal && !addresses.is_empty());
    Ok((view.uid.into(), node.map(|node| Placed { node: node.into(), addresses })))
}

impl Store for PlaceStore {
    fn begin(&mut self) {
        self.nodes.clear();
        self.pods.clear();
    }

    fn listed(&mut self, object: Object) -> Result<(), KubeSkip> {
        if self.nodes.len() >= NODES_MAX || self.pods.len() >= PODS_MAX {
            return Err(KubeSkip::TooMany);
        }
        if self.is_of_nodes {
            self.nodes.push(node(object)?);
        } else if let (uid, Some(placed)) = pod(object)? {
            self.pods.push((uid, placed));
        }
        Ok(())
    }

    fn complete(&mut self, _: Now) -> u64 {
        let mut cluster = self.places.lock();
        self.changed |= match self.is_of_nodes {
            true => cluster.replace_nodes(self.nodes.drain(..)),
            false => cluster.replace_pods(self.pods.drain(..)),
        };
        0
    }

    fn changed(&mut self, _: Now, object: Object) -> Result<(), KubeSkip> {
        let mut cluster = self.places.lock();
        let is_full = if self.is_of_nodes { cluster.nodes() >= NODES_MAX } else { cluster.pods() >= PODS_MAX };
        self.changed |= if self.is_of_nodes {
            let (name, node) = node(object)?;
            if is_full && cluster.node(&name).is_none() {
                return Err(KubeSkip::TooMany);
            }
            cluster.set_node(&name, node)
        } else {
            match pod(object)? {
                (_, Some(_)) if is_full => return Err(KubeSkip::TooMany),
                (uid, Some(placed)) => cluster.set_pod(&uid, placed),
                (uid, None) => cluster.remove_pod(&uid),
            }
        };
        Ok(())
    }

    fn gone(&mut self, _: Now, object: Object) -> Result<(), KubeSkip> {
        let mut cluster = self.places.lock();
        self.changed |= match self.is_of_nodes {
            true => cluster.remove_node(&node(object)?.0),
            false => cluster.remove_pod(&pod(object)?.0),
        };
        Ok(())
    }

    fn forget(&mut self, _: Now) {}

    fn living(&self) -> usize {
        let cluster = self.places.lock();
        if self.is_of_nodes { cluster.nodes() } else { cluster.pods() }
    }

    fn publish(&mut self) {
        if std::mem::take(&mut self.changed) {
            self.places.generation.fetch_add(1, Ordering::Release);
            (self.wake)();
        }
    }
}
