//! Finds the pod of a host socket by its cgroup, or the unit or container on a host without pods. An address cannot distinguish hostNetwork pods, and is known too late
//! when it changes its owner.
//!
//! The cgroup id is part of the record (ebpf), or is read from the host's sockets (other modes). It is never guessed: if
//! it is unknown the address decides, and a node's address belongs to the host.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::cgroup::{CgroupTree, Holds, Member};
use super::sockets::{HostSockets, SocketKey};
use super::{Pod, PodIndex};
use crate::flow::{Addr, Connection, Ends};

/// Directories that one call of the walk reads; a node with 500 pods has some 3,000.
const DIRECTORIES: usize = 16_384;
/// Walks between two sweeps that do not wait for the end of one: nothing waits on a host without pods.
const AT_ONCE: u8 = 4;

#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    Pod(&'a Arc<Pod>),
    /// A unit or a container, as [`super::group::Group`] has it.
    Group(&'a str),
    Nobodys,
    /// A pod that is not in the index yet, or a cgroup that is not found yet.
    NotYet,
}

/// An end of a connection with a host socket.
#[derive(Clone, Copy, Debug)]
pub struct HostEnd {
    pub socket: SocketKey,
    answers: bool,
}

impl HostEnd {
    /// The originator's end of a connection, or the responder's.
    pub fn of(c: &Connection, end: Ends) -> HostEnd {
        let answers = end == Ends::Responder;
        let (client, asked) = ((c.key.src, c.key.sport), (c.key.dst, c.key.dport));
        let (own, other) = if answers { ((c.backend, c.backend_port), client) } else { (client, asked) };
        let socket = SocketKey {
            protocol: c.key.protocol,
            local: own.0,
            local_port: own.1,
            remote: other.0,
            remote_port: other.1,
        };
        HostEnd { socket, answers }
    }
}

/// The cgroups and sockets of this node.
pub struct SocketOwners {
    tree: CgroupTree,
    sockets: Option<HostSockets>,
    /// Walks that are left until the next sweep.
    at_once: u8,
    /// Whether a cgroup of a known pod was found.
    some_found: bool,
    /// Generation of the pods for which a walk was asked when none was found.
    sought: u64,
    none_found: bool,
}

impl SocketOwners {
    /// Reads the cgroup2 tree at `cgroup_fs`. `with_sockets`: whether to read sockets too, because the source reports no
    /// cgroups.
    ///
    /// # Errors
    /// If the kernel has no socket diagnostics.
    pub fn open(cgroup_fs: &Path, holds: Holds, with_sockets: bool) -> io::Result<SocketOwners> {
        let sockets = if with_sockets { Some(HostSockets::open()?) } else { None };
        let mut tree = CgroupTree::new(cgroup_fs, holds);
        tree.step(DIRECTORIES);
        Ok(SocketOwners { tree, sockets, at_once: AT_ONCE, some_found: false, sought: 0, none_found: false })
    }

    /// What the cgroups are: without pods nobody waits for a name.
    pub fn holds(&self) -> Holds {
        self.tree.holds()
    }

    /// Reads the host's sockets after a sweep. This read or the previous one contains every socket of the sweep, except
    /// those that opened and closed in between.
    ///
    /// # Errors
    /// The kernel's error; `Unsupported` if no socket has a cgroup (before Linux 5.8), because this process has a socket.
    pub fn look(&mut self) -> io::Result<()> {
        judged(self.sockets.as_mut().map(HostSockets::look))
    }

    /// The same between two sweeps: a socket that closes before the next one is known by it.
    ///
    /// # Errors
    /// As [`SocketOwners::look`].
    pub fn glance(&mut self) -> io::Result<()> {
        judged(self.sockets.as_mut().map(HostSockets::glance))
    }

    /// Searches requested cgroups after a sweep. Returns whether it decided about some.
    pub fn walk(&mut self) -> bool {
        self.at_once = AT_ONCE;
        self.tree.wants_walk() && self.tree.step(DIRECTORIES)
    }

    /// Whether pods run, and the tree has no cgroup of any: then it is another's tree, or pods have theirs in cgroup v1.
    /// Asks for a walk before it says so.
    pub fn finds_no_pod(&mut self, pods: &PodIndex) -> bool {
        if self.some_found || !pods.some_run() {
            return false;
        }
        if self.tree.uids().any(|uid| pods.by_cgroup_uid(uid).is_some()) {
            (self.some_found, self.none_found) = (true, false);
        } else if self.sought != pods.generation {
            self.sought = pods.generation;
            self.tree.want_walk();
        } else if !self.tree.wants_walk() {
            self.none_found = true;
        }
        self.none_found
    }

    /// Where the cgroups of pods are looked for.
    pub fn root(&self) -> &Path {
        self.tree.root()
    }

    /// The cgroup of the socket at a host end, from the last two reads.
    pub fn cgroup_of(&self, end: &HostEnd) -> Option<u64> {
        self.sockets.as_ref().and_then(|sockets| sockets.cgroup_of(end.socket, end.answers))
    }

    /// Whether a socket of this host listens there, from the last two reads.
    pub fn listens(&self, protocol: u8, local: Addr, local_port: u16) -> bool {
        self.sockets.as_ref().is_some_and(|sockets| sockets.listens(protocol, local, local_port))
    }

    /// Whether the host's sockets are read.
    pub fn looks(&self) -> bool {
        self.sockets.is_some()
    }

    pub fn whose<'a>(&'a mut self, cgroup: u64, pods: &'a PodIndex) -> Whose<'a> {
        let holds = self.tree.holds();
        if holds == Holds::Groups && self.at_once > 0 && matches!(self.tree.member(cgroup), Member::NotYet) {
            self.at_once -= 1;
            self.tree.decide();
        }
        match (self.tree.member(cgroup), holds) {
            (Member::Of(uid), Holds::Pods) => pods.by_cgroup_uid(uid).map_or(Whose::NotYet, Whose::Pod),
            (Member::Of(group), Holds::Groups) => Whose::Group(group),
            (Member::OfNone, _) => Whose::Nobodys,
            (Member::NotYet, _) => Whose::NotYet,
        }
    }
}

fn judged(read: Option<io::Result<usize>>) -> io::Result<()> {
    match read {
        Some(Ok(0)) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel reports no cgroup of sockets (needs Linux 5.8)"))
        }
        Some(Err(error)) => Err(error),
        _ => Ok(()),
    }
}
