//! Whose a socket of this node is, by its cgroup: what an address cannot say of pods in the host's network, and says
//! too late of an address that changed hands.
//!
//! The id of a cgroup comes with the record (ebpf) or from a look at the host's own sockets (other modes). Never a
//! guess: what is not known is left to the address, and a node's address is the host's.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::cgroup::{CgroupTree, Member};
use super::sockets::{HostSockets, SocketKey};
use super::{Pod, PodIndex};
use crate::flow::{Connection, Ends};

/// Directories that one walk looks into at a time; a node with 500 pods has some 3,000.
const DIRECTORIES: usize = 16_384;

#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    Pod(&'a Arc<Pod>),
    NoPod,
    /// A pod's that the index does not name yet, or a cgroup that is not found yet.
    NotYet,
}

/// An end of a connection that is the host's own.
#[derive(Clone, Copy, Debug)]
pub struct HostEnd {
    socket: SocketKey,
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
}

impl SocketOwners {
    /// Reads the cgroup2 tree at `cgroup_fs`. `with_sockets` where the source does not tell cgroups.
    ///
    /// # Errors
    /// If the kernel has no socket diagnostics.
    pub fn open(cgroup_fs: &Path, with_sockets: bool) -> io::Result<SocketOwners> {
        let sockets = if with_sockets { Some(HostSockets::open()?) } else { None };
        let mut tree = CgroupTree::new(cgroup_fs);
        tree.step(DIRECTORIES);
        Ok(SocketOwners { tree, sockets })
    }

    /// After a sweep: looks at the host's sockets. What the sweep saw is there, or was at the look before, but for what
    /// opened and closed in between.
    ///
    /// # Errors
    /// What the kernel says; `Unsupported` if it does not tell cgroups (before Linux 5.8), for this process has a
    /// socket at least.
    pub fn look(&mut self) -> io::Result<()> {
        match self.sockets.as_mut().map(HostSockets::look) {
            Some(Ok(0)) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the kernel reports no cgroup of sockets (needs Linux 5.8)",
            )),
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// After a sweep: looks for cgroups that were asked for. Whether that decided about some.
    pub fn walk(&mut self) -> bool {
        self.tree.wants_walk() && self.tree.step(DIRECTORIES)
    }

    /// The cgroup of the socket at an end of the host's, as the last two looks know it.
    pub fn cgroup_of(&self, end: &HostEnd) -> Option<u64> {
        self.sockets.as_ref().and_then(|sockets| sockets.cgroup_of(end.socket, end.answers))
    }

    /// Whether cgroups of the host's sockets are known by looking.
    pub fn looks(&self) -> bool {
        self.sockets.is_some()
    }

    pub fn whose<'a>(&mut self, cgroup: u64, pods: &'a PodIndex) -> Whose<'a> {
        match self.tree.member(cgroup) {
            Member::Pod(uid) => pods.by_cgroup_uid(uid).map_or(Whose::NotYet, Whose::Pod),
            Member::NoPod => Whose::NoPod,
            Member::NotYet => Whose::NotYet,
        }
    }
}
