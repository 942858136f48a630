//! Remembers by tuple who opened each flow and whose socket it is, because a drain removes that from the maps.
//!
//! The first of these that exists decides who opened the flow:
//!
//! 1. a SYN or INIT;
//! 2. a listener on the local port;
//! 3. the direction of the first packet, if the flow began after the attach;
//! 4. the lower port, which is a guess and counted as one.
//!
//! Against a known opener a SYN counts only once it is answered. The table is bounded: a new entry replaces the one that
//! has been idle the longest, and that is counted. It knows no maps, pods or rows.

mod persist;

use super::tuple::{Counted, Tuple};
use crate::aged::Aged;
use crate::clock::SECOND;
use crate::flow::protocol;
use crate::source::translation::Translation;
use crate::table::entry;

/// Roles of UDP flows end as conntrack's entries do (nf_conntrack_udp_timeout, _udp_timeout_stream).
const UDP_IDLE_NS: u64 = 30 * SECOND;
const UDP_STREAM_IDLE_NS: u64 = 120 * SECOND;
/// nf_conntrack_generic_timeout.
const OTHER_IDLE_NS: u64 = 600 * SECOND;
/// A flow without a SYN that first shows this soon after the attach may be older than the attach.
const MAYBE_OLDER_NS: u64 = UDP_IDLE_NS;

/// What is known of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    pub tuple: Tuple,
    /// Id of the local socket's cgroup; 0 if unknown.
    pub cgroup: u64,
    /// When it was last drained, monotonic.
    last_ns: u64,
    mark: u32,
    /// The local end is the originator.
    pub opened_by_local: bool,
    /// Both directions were seen.
    pub replied: bool,
    /// Guessed from the ports.
    pub guessed: bool,
    /// Times that conntrack was asked and did not know it.
    unknown: u8,
    /// Number of the last whole dump when conntrack was found to count this; 0 if it never was, or is not read beside.
    pub found_at_dump: u32,
    /// The result of the conntrack lookup.
    pub translation: Option<Translation>,
}

entry!(Role { tuple: Tuple });

impl Role {
    /// Whether conntrack's timeout is over, so that a packet now starts a new flow with the old tuple. TCP and
    /// SCTP say themselves when they begin anew.
    fn has_expired(&self, now_ns: u64) -> bool {
        let idle = now_ns.saturating_sub(self.last_ns);
        match self.tuple.protocol {
            protocol::TCP | protocol::SCTP => false,
            protocol::UDP => idle > if self.replied { UDP_STREAM_IDLE_NS } else { UDP_IDLE_NS },
            _ => idle > OTHER_IDLE_NS,
        }
    }
}

/// Times that conntrack is asked about a flow that it does not know yet.
const ASK_MAX: u8 = 3;

/// A role and its slot in the table.
#[derive(Clone, Copy, Debug)]
pub struct KnownRole {
    pub role: Role,
    /// `None` in a table without room for one flow.
    slot: Option<u32>,
    /// Conntrack has not been asked often enough.
    pub is_open: bool,
    is_new: bool,
}

/// The roles of all flows in use.
pub struct RoleTable {
    table: Aged<Role>,
    attached_ns: u64,
    guessed: u64,
    evicted: u64,
}

/// How a flow's opener was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opener {
    local: bool,
    guessed: bool,
}

impl RoleTable {
    /// For at most `capacity` flows; `attached_ns` is when counting began, monotonic.
    pub fn new(capacity: u32, attached_ns: u64) -> RoleTable {
        RoleTable { table: Aged::with_capacity(capacity), attached_ns, guessed: 0, evicted: 0 }
    }

    /// Flows that are known.
    pub fn len(&self) -> u32 {
        self.table.len()
    }

    /// Roles guessed from the ports, since the start.
    pub fn guessed(&self) -> u64 {
        self.guessed
    }

    /// Roles that left for new ones, since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The role of a flow that was just drained.
    pub fn settle(&mut self, tuple: &Tuple, counted: &Counted, now_ns: u64) -> KnownRole {
        if let Some(slot) = self.table.find(tuple) {
            self.table.renew(slot);
            if let Some(role) = self.table.get_mut(slot) {
                let anew = begins_anew(role, counted) || role.has_expired(now_ns);
                if anew {
                    let opener = decide(tuple, counted, self.attached_ns, now_ns);
                    role.opened_by_local = opener.local;
                    role.guessed = opener.guessed;
                    role.replied = false;
                    role.unknown = 0;
                    role.found_at_dump = 0;
                    role.translation = None;
                }
                // Where a TCP socket is gone the kernel answers from a socket of its own, in the root cgroup. So the
                // owner of the handshake stays. Other protocols have no handshake, so the newest socket is the owner.
                if anew || tuple.protocol != protocol::TCP || role.cgroup == 0 {
                    role.cgroup = counted.cgroup;
                }
                role.replied |= !counted.tx.is_zero() && !counted.rx.is_zero();
                role.last_ns = now_ns;
                let is_open = role.translation.is_none() && role.unknown < ASK_MAX;
                return KnownRole { role: *role, slot: Some(slot), is_open, is_new: anew };
            }
        }
        let opener = decide(tuple, counted, self.attached_ns, now_ns);
        let role = Role {
            tuple: *tuple,
            cgroup: counted.cgroup,
            last_ns: now_ns,
            mark: 0,
            opened_by_local: opener.local,
            replied: !counted.tx.is_zero() && !counted.rx.is_zero(),
            guessed: opener.guessed,
            unknown: 0,
            found_at_dump: 0,
            translation: None,
        };
        if self.table.is_full()
            && let Some(oldest) = self.table.oldest()
            && self.table.remove(oldest).is_some()
        {
            self.evicted += 1;
        }
        let slot = self.table.insert(role).ok();
        KnownRole { role, slot, is_open: true, is_new: true }
    }

    /// Counts the flow if it is new and its opener, after all that could be asked, a guess.
    pub fn count_guess(&mut self, settled: &KnownRole) {
        self.guessed += (settled.is_new && settled.role.guessed) as u64;
    }

    /// Stores the result of a conntrack lookup, also an empty one, so that it is not repeated.
    pub fn translate(&mut self, settled: &mut KnownRole, translation: Option<Translation>) {
        let role = &mut settled.role;
        match translation {
            Some(found) => {
                role.opened_by_local = found.opened_by_local;
                role.guessed = false;
                role.translation = translation;
            }
            None => role.unknown += 1,
        }
        if let Some(kept) = settled.slot.and_then(|slot| self.table.get_mut(slot)) {
            kept.opened_by_local = role.opened_by_local;
            kept.guessed = role.guessed;
            kept.unknown = role.unknown;
            kept.found_at_dump = role.found_at_dump;
            kept.translation = role.translation;
        }
    }
}

/// Whether a handshake says that a new flow has the name of a known one. Anybody can send one SYN: until it is answered
/// it does not turn round who opened the flow.
fn begins_anew(role: &Role, counted: &Counted) -> bool {
    let (asked_again, turned) = match role.opened_by_local {
        true => (counted.opened_by_local, counted.answered_remote),
        false => (counted.opened_by_remote, counted.answered_local),
    };
    asked_again || turned
}

/// Decides who opened a flow from the evidence of its entry.
fn decide(tuple: &Tuple, counted: &Counted, attached_ns: u64, now_ns: u64) -> Opener {
    let known = |local| Opener { local, guessed: false };
    if counted.opened_by_local != counted.opened_by_remote {
        return known(counted.opened_by_local);
    }
    if counted.answered_local != counted.answered_remote {
        return known(counted.answered_local);
    }
    // Both at once (RFC 9293 3.5, simultaneous open), or the local end of no ports to compare.
    if counted.opened_by_local || tuple.local_port == tuple.remote_port {
        return known(counted.first_is_tx);
    }
    let by_port = tuple.local_port > tuple.remote_port;
    match tuple.protocol {
        // Without its SYN it began before the attach.
        protocol::TCP if counted.listens => known(false),
        protocol::TCP | protocol::SCTP => Opener { local: by_port, guessed: true },
        _ if now_ns.saturating_sub(attached_ns) > MAYBE_OLDER_NS => known(counted.first_is_tx),
        // The first packet since the attach need not be the flow's first.
        _ => Opener { local: by_port, guessed: by_port != counted.first_is_tx },
    }
}

#[cfg(test)]
mod tests;
