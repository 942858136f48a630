//! Decides which source counts each local end in mode `auto`, so that every byte is counted by exactly one (rule 21).
//!
//! | local end | counts |
//! | --- | --- |
//! | an address that sockets of this kernel have | the programs |
//! | another address, once it has sent what no kernel sends by itself | conntrack |
//! | the node's own, where conntrack has the tuple | conntrack |
//! | the node's own, where it does not | the programs, until the tuple's end |
//! | any end of ICMP, and what is forwarded | conntrack |
//!
//! Packets of a socket pass the programs before they leave its network namespace, and a sweep reads conntrack first. So
//! an address whose packets conntrack shows and the programs, read after it, do not has no socket here. An address that
//! only received proves nothing: what conntrack says of it waits (rule 8).
//!
//! A choice is made at a sweep alone and sticks. It changes where a source goes blind: then what conntrack carried in
//! that sweep, less what the programs did, is lost by its reason. Pure: knows neither sources nor rows.

mod kept;

use self::kept::{Cgroup, Claim, Ended, Known, Of, place};
use crate::aged::Aged;
use crate::flow::{Addr, Counts, Direction, Ends, Traffic, TxRx, protocol};
use crate::table::Table;

/// Addresses of this node with connections.
const ADDRESSES: u32 = 4_096;
/// Tuples of the node's own that the programs count.
const CLAIMS: u32 = 16_384;
/// Tuples of the node's own that conntrack counts, with the cgroups of their sockets.
const CGROUPS: u32 = 65_536;
/// Tuples of the node's own whose entries ended since the last sweep.
const ENDED: u32 = 65_536;
/// More than the kernel sends for a socket that it does not have: a reset, or an acknowledgement in TIME_WAIT.
const SOCKETLESS: Counts = Counts { bytes: 160, packets: 4 };

/// Who counts an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Programs,
    Conntrack,
    /// Not decided yet.
    Open,
}

/// Where an end of a connection is, as far as the address tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address of the node.
    Node,
    /// An address that is known to be of this node: a pod's, or of `-local-cidrs`.
    Here,
    /// Any other.
    Unknown,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub addr: Addr,
    pub place: Place,
}

/// What conntrack's record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The ends that are left to it.
    pub ends: Ends,
    /// Whether the programs count the other end.
    pub beside: bool,
    /// Whether one of the ends is not decided yet.
    pub open: bool,
}

/// A connection as its socket on the node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeTuple {
    pub local: Addr,
    pub remote: Addr,
    pub local_port: u16,
    pub remote_port: u16,
    pub protocol: u8,
}

/// An increment of conntrack's, and when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// In this sweep, for the first time.
    Now(Traffic),
    /// It waits since then, maybe with others of its kind.
    Before(Traffic),
}

/// Whether conntrack has a tuple of the node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Has {
    /// A dump has shown it.
    Shown,
    /// It was asked for it, ahead of the next dump.
    Found,
    Not,
}

/// What is done with the programs' record of an end of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfNode {
    /// It counts.
    Counts,
    /// Conntrack counts the same.
    Elsewhere,
    /// Conntrack counted a part of it before it lost the tuple: the rest cannot be told from what came after.
    Rest(TxRx),
}

/// The choices.
pub struct Arbiter {
    known: Table<Known>,
    claims: Aged<Of<Claim>>,
    cgroups: Aged<Of<Cgroup>>,
    ended: Table<Of<Ended>>,
    /// Those of the sweep before: what reached a socket late is told with the next buffer.
    ended_before: Table<Of<Ended>>,
    /// An end found no place in `ended` in this sweep, so that any tuple may have ended.
    any_ended: bool,
    /// The programs do not run any more.
    blind: bool,
    /// What is counted later than this, monotonic, conntrack counts.
    blind_from_ns: u64,
    /// In this sweep, and in the one before: something was left to conntrack that its dump had not shown yet. Then what an
    /// entry adds at its end may be that, and is not to be compared with what the programs say later.
    ahead: [bool; 2],
    sweeping: bool,
    /// What nobody could attribute since the last [`Arbiter::end_sweep`].
    rest: TxRx,
}

impl Default for Arbiter {
    fn default() -> Arbiter {
        Arbiter {
            known: Table::with_capacity(ADDRESSES),
            claims: Aged::with_capacity(CLAIMS),
            cgroups: Aged::with_capacity(CGROUPS),
            ended: Table::with_capacity(ENDED),
            ended_before: Table::with_capacity(ENDED),
            any_ended: false,
            blind: false,
            blind_from_ns: u64::MAX,
            ahead: [false; 2],
            sweeping: false,
            rest: TxRx::ZERO,
        }
    }
}

impl Arbiter {
    /// What a record of conntrack counts of the ends in `ends`; `counted_ns` is when it was read, monotonic.
    pub fn share(&mut self, ends: Ends, of: [End; 2], protocol: u8, read: Read, counted_ns: u64) -> Share {
        let mut share = Share { ends, beside: false, open: false };
        if is_icmp(protocol) || counted_ns > self.blind_from_ns {
            return share;
        }
        let both = [(Ends::Originator, Direction::Outbound), (Ends::Responder, Direction::Inbound)];
        for ((end, direction), End { addr, place }) in both.into_iter().zip(of) {
            if place == Place::Node || !ends.has(end) {
                continue;
            }
            match self.conntrack_at(addr, place, read, direction) {
                By::Programs => {
                    share.ends = share.ends.without(end);
                    share.beside = true;
                }
                By::Conntrack => {}
                By::Open => share.open = true,
            }
        }
        share
    }

    fn conntrack_at(&mut self, addr: Addr, place: Place, read: Read, direction: Direction) -> By {
        let (carried, earlier) = match read {
            Read::Now(traffic) => (traffic.seen_by(direction), TxRx::ZERO),
            Read::Before(traffic) => (TxRx::ZERO, traffic.seen_by(direction)),
        };
        let spoke = carried.tx.bytes > SOCKETLESS.bytes || carried.tx.packets > SOCKETLESS.packets;
        if let Some(known) = self.known.find(&addr).and_then(|slot| self.known.get_mut(slot)) {
            known.conntrack += carried;
            known.spoke |= spoke;
            return known.by;
        }
        if place == Place::Unknown || self.blind {
            return By::Conntrack;
        }
        // Read while nobody knew whose the address is. The programs have shown nothing of it since.
        let spoke = spoke || has_payload(addr, earlier);
        let fresh = Known { addr, mark: 0, by: By::Open, spoke, pod: 0, conntrack: carried, programs: TxRx::ZERO };
        // Of an address without a place conntrack counts what it sees, and the programs nothing.
        if self.known.insert(fresh).is_err() { By::Conntrack } else { By::Open }
    }

    /// Whether a record of the programs counts at an address that is not the node's.
    pub fn programs_count(&mut self, addr: Addr, protocol: u8, carried: TxRx) -> bool {
        if is_icmp(protocol) || self.blind_from_ns != u64::MAX {
            return false;
        }
        if let Some(known) = self.known.find(&addr).and_then(|slot| self.known.get_mut(slot)) {
            known.programs += carried;
            if known.by == By::Open {
                known.by = By::Programs;
            }
            return known.by == By::Programs;
        }
        let by = By::Programs;
        let fresh = Known { addr, mark: 0, by, spoke: false, pod: 0, conntrack: TxRx::ZERO, programs: carried };
        self.known.insert(fresh).is_ok()
    }

    /// What is done with the programs' record of an end of the node.
    pub fn programs_at_node(&mut self, tuple: &NodeTuple, has: Has, carried: TxRx) -> OfNode {
        if is_icmp(tuple.protocol) {
            return OfNode::Elsewhere;
        }
        if let Some(slot) = self.claims.find(tuple) {
            self.claims.renew(slot);
            if let Some(claim) = self.claims.get_mut(slot) {
                claim.what.used = true;
            }
            return OfNode::Counts;
        }
        match has {
            Has::Shown => {
                self.ahead[0] |= !self.sweeping;
                return OfNode::Elsewhere;
            }
            Has::Found => {
                self.ahead[0] = true;
                return OfNode::Elsewhere;
            }
            Has::Not => {}
        }
        let mut rest = None;
        for table in [&mut self.ended, &mut self.ended_before] {
            if let Some(ended) = table.find(tuple).and_then(|slot| table.get_mut(slot)) {
                let left = rest.unwrap_or(carried);
                let Ended(counted) = &mut ended.what;
                rest = Some(if self.ahead == [false; 2] { left - *counted } else { left });
                *counted = *counted - left;
            }
        }
        if let Some(rest) = rest {
            self.rest += rest;
            return OfNode::Rest(rest);
        }
        if self.any_ended {
            self.rest += carried;
            return OfNode::Rest(carried);
        }
        place(&mut self.claims, *tuple, Claim { used: true, over: false });
        OfNode::Counts
    }

    /// The programs saw a socket of the node with this cgroup; 0 is none.
    pub fn note_cgroup(&mut self, tuple: &NodeTuple, cgroup: u64) {
        if cgroup == 0 {
            return;
        }
        if let Some(slot) = self.cgroups.find(tuple) {
            self.cgroups.renew(slot);
            if let Some(known) = self.cgroups.get_mut(slot) {
                known.what = Cgroup(cgroup);
            }
            return;
        }
        place(&mut self.cgroups, *tuple, Cgroup(cgroup));
    }

    /// The cgroup of a socket of the node.
    pub fn cgroup_of(&self, tuple: &NodeTuple) -> Option<u64> {
        self.cgroups.find(tuple).and_then(|slot| self.cgroups.get(slot)).map(|known| known.what.0)
    }

    /// Whether the programs count an end of the node, so that conntrack's record of it does not.
    pub fn is_claimed(&mut self, tuple: &NodeTuple) -> bool {
        let claim = if self.claims.len() > 0 { self.claims.find(tuple) } else { None };
        let claim = claim.and_then(|slot| self.claims.get_mut(slot));
        claim.map(|claim| claim.what.used = true).is_some()
    }

    /// Conntrack's entry of an end of the node has ended; `counted` is what it added since the last record of it.
    pub fn entry_ended(&mut self, tuple: NodeTuple, counted: TxRx) {
        if let Some(claim) = self.claims.find(&tuple).and_then(|slot| self.claims.get_mut(slot)) {
            // Packets of its end may be in neither account yet.
            claim.what = Claim { used: true, over: true };
        } else {
            match self.ended.find(&tuple).and_then(|slot| self.ended.get_mut(slot)) {
                Some(known) => known.what.0 += counted,
                None => self.any_ended |= self.ended.insert(Of::new(tuple, Ended(counted))).is_err(),
            }
        }
    }

    /// The programs do not run any more: from the end of this sweep on conntrack counts everything. What waits from before
    /// keeps its source.
    pub fn go_blind(&mut self) {
        self.blind = true;
    }

    /// A sweep begins.
    pub fn begin_sweep(&mut self) {
        self.sweeping = true;
    }

    /// An address is another pod's now: what is known of it was of the one before. `pod` numbers the pod that has an
    /// address, 0 where nobody has it.
    pub fn follow_pods(&mut self, pod: impl Fn(Addr) -> u64) {
        for slot in self.known.slots() {
            let Some(known) = self.known.get_mut(slot) else { continue };
            let now = pod(known.addr);
            let is_another = known.pod != 0 && now != 0 && known.pod != now;
            known.pod = if now == 0 { known.pod } else { now };
            if is_another {
                self.known.remove(slot);
            }
        }
    }

    /// Whether ends that were heard since the last sweep take so much room that there may be none for the next ones.
    pub fn is_filling(&self) -> bool {
        self.ended.len() > ENDED / 2
    }

    /// Ends a sweep at `now_ns`, monotonic: decides what is open. `whole`: both sources were read to the end, and the
    /// programs lost nothing. Returns what nobody could attribute since the last sweep.
    pub fn end_sweep(&mut self, whole: bool, now_ns: u64) -> TxRx {
        let mut rest = std::mem::take(&mut self.rest);
        let changes = self.blind && whole && self.blind_from_ns == u64::MAX;
        if changes {
            self.blind_from_ns = now_ns;
        }
        for slot in self.known.slots() {
            let Some(known) = self.known.get_mut(slot) else { continue };
            if changes && known.by == By::Programs {
                rest += known.conntrack - known.programs;
            }
            if known.by == By::Open && whole && (self.blind || known.spoke) {
                known.by = By::Conntrack;
            }
            (known.conntrack, known.programs, known.spoke) = (TxRx::ZERO, TxRx::ZERO, false);
        }
        self.sweeping = false;
        self.ahead = [false, self.ahead[0] || !whole];
        if whole {
            self.forget_ended();
            self.end_claims();
        }
        rest
    }

    fn forget_ended(&mut self) {
        std::mem::swap(&mut self.ended, &mut self.ended_before);
        self.ended_before.iter_mut().for_each(|ended| ended.what = Ended(TxRx::ZERO));
        if !self.ended.is_empty() {
            for slot in self.ended.slots() {
                self.ended.remove(slot);
            }
        }
        self.any_ended = false;
    }

    /// A claim ends with its tuple, once neither account moves any more: before, what one has counted the other would
    /// count again.
    fn end_claims(&mut self) {
        for slot in self.claims.slots() {
            let Some(claim) = self.claims.get_mut(slot) else { continue };
            let is_over = claim.what.over && !claim.what.used;
            claim.what.used = false;
            if is_over {
                self.claims.remove(slot);
            }
        }
    }

    /// The node's own ends that the programs count, with their remote ends.
    pub fn claimed(&self) -> impl Iterator<Item = (Addr, Addr)> {
        self.claims.by_age().map(|claim| (claim.tuple.local, claim.tuple.remote))
    }

    /// Whether the programs count an address that is not the node's.
    pub fn counts_by_programs(&self, addr: Addr, protocol: u8) -> bool {
        !is_icmp(protocol) && self.blind_from_ns == u64::MAX && self.chosen(addr) == Some(By::Programs)
    }

    /// Who counts an address; `None` where nothing was seen of it.
    pub fn chosen(&self, addr: Addr) -> Option<By> {
        self.known.find(&addr).and_then(|slot| self.known.get(slot)).map(|known| known.by)
    }

    /// Addresses that the programs count, those that conntrack counts, and those that are open.
    pub fn tally(&self) -> [u32; 3] {
        let count = |by| self.known.iter().filter(|(_, known)| known.by == by).count();
        [By::Programs, By::Conntrack, By::Open].map(|by| u32::try_from(count(by)).unwrap_or(u32::MAX))
    }
}

/// Whether many packets are more than the resets that the kernel sends for ports without a socket.
fn has_payload(addr: Addr, carried: TxRx) -> bool {
    let reset = if addr.is_v4() { 40 } else { 60 };
    carried.tx.bytes > SOCKETLESS.bytes && carried.tx.bytes > reset * carried.tx.packets
}

/// The kernel answers echo requests itself, with no socket.
fn is_icmp(of: u8) -> bool {
    of == protocol::ICMP || of == protocol::ICMPV6
}

#[cfg(test)]
mod tests;
