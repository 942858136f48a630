//! Gathers the facts that decide the rows of an increment; [`place`](super::place) decides.

use super::Pipeline;
use super::place::{Attribution, end_with_socket, may_be_a_pods};
use crate::clock::Now;
use crate::collect::ct_zone::Part;
use crate::flow::protocol::TCP;
use crate::flow::{Connection, ConnectionKey, Direction, Ends, Reading, Split, Traffic};
use crate::owner::socket_owners::HostEnd;
use crate::owner::waiting::Exchange;
use crate::stats::{Skip, Unattributed};

impl Pipeline {
    /// The moment by which a connection had begun: conntrack's time stamp, or the sweep that saw it first. The sweep is
    /// asked only where one of its addresses has changed hands. A pod cannot go on with another's TCP connection; of
    /// other protocols it may use the same ports.
    pub(super) fn began_ns(&self, c: &Connection) -> Option<u64> {
        if c.start_ns != 0 {
            return self.wall_clock.mono_of(c.start_ns);
        }
        let pods = self.local.pods();
        let is_asked_for = c.key.protocol == TCP && c.reading != Reading::Increment && pods.some_changed_hands();
        let changed_hands = is_asked_for && [c.key.src, c.backend].iter().any(|addr| pods.has_changed_hands(*addr));
        changed_hands.then(|| self.baselines.began_by_ns(&c.key)).flatten()
    }

    pub(super) fn has_local_end(&mut self, c: &Connection, now: Now) -> bool {
        let at = now.mono_ns;
        self.local.owner_of(c.key.src, at, &mut self.owners).is_some()
            || self.local.owner_of(c.backend, at, &mut self.owners).is_some()
    }

    /// What of a record counts, by its zone (rule 7).
    pub(super) fn part_of(&mut self, c: &Connection, now: Now) -> Part {
        if self.ct_zone.is_alone(c.key.ct_zone) {
            return Part::All;
        }
        let (local, classes, waits) = (&self.local, &self.policy.classes, self.policy.waits);
        let is_or_may_be = |addr| {
            !local.is_host(addr) && (local.is_known(addr, now.mono_ns) || waits && may_be_a_pods(local, classes, addr))
        };
        let may_be_pods = is_or_may_be(c.key.src) || is_or_may_be(c.backend);
        let baselines = &self.baselines;
        self.ct_zone.part(c, may_be_pods, |ct_zone| baselines.follows(&ConnectionKey { ct_zone, ..c.key }))
    }

    /// The ends that a record covers in its zone.
    fn in_zone(&self, c: &Connection) -> Ends {
        let mut ends = c.ends;
        for (end, addr) in [(Ends::Originator, c.key.src), (Ends::Responder, c.backend)] {
            ends = match self.part {
                Part::Pods if self.local.is_host(addr) => ends.without(end),
                Part::Node if !self.local.is_host(addr) => ends.without(end),
                Part::All | Part::Pods | Part::Node | Part::Nothing => ends,
            };
        }
        ends
    }

    /// Counts an increment of a partial source. Entries without a pod's end are skipped, because the source has them only
    /// for some connections.
    pub(super) fn count_entry(&mut self, c: &Connection, traffic: Traffic, now: Now) {
        let own = if c.ends == Ends::Responder { c.backend } else { c.key.src };
        if self.local.is_host(own) {
            self.skipped.add(Skip::HostPartial);
        } else if c.ends != Ends::Neither {
            self.count(c, traffic, false, None, now);
        } else if self.has_local_end(c, now) || self.baselines.follows(&c.key.of_responder()) {
            self.skipped.add(Skip::Covered);
        } else {
            self.ledger.leave_unattributed(Unattributed::NoLocalEnd, traffic.seen_by(Direction::Outbound));
        }
    }

    /// Attributes an increment to the ends that the record covers (rule 2), or lets it wait (rule 8).
    pub(super) fn count(&mut self, c: &Connection, traffic: Traffic, guessed: bool, began_ns: Option<u64>, now: Now) {
        if self.local.is_host(c.key.src) && self.local.is_host(c.backend) {
            self.skipped.add(Skip::Loopback);
            return;
        }
        let in_zone = self.in_zone(c);
        if in_zone == Ends::Neither && c.ends != Ends::Neither {
            self.skipped.add(Skip::CtZone);
            return;
        }
        let Some((ends, beside)) = self.arbitrate(&Connection { ends: in_zone, ..*c }, traffic, now.mono_ns) else {
            self.skipped.add(Skip::OtherSource);
            return;
        };
        // What is left of it may be of nobody: another copy of the connection tells.
        let beside = beside || self.part != Part::All;
        let of = Exchange {
            client: c.key.src,
            asked: c.key.dst,
            backend: c.backend,
            port: c.backend_port,
            protocol: c.key.protocol,
            translated: c.key.dst != c.backend || (c.key.dport != c.backend_port && has_ports(c.key.protocol)),
            ends,
            cgroup: c.cgroup,
            split: if let Reading::Partial { split, .. } = c.reading { split } else { Split::Known },
        };
        let (counted_ns, mono_ns) = (now.mono_ns, now.mono_ns);
        let mut at = Attribution {
            of,
            beside,
            guessed,
            traffic,
            counted_ns,
            mono_ns,
            began_ns,
            has_crossed: false,
            more: c.more,
        };
        if let Some(socket_owners) = &self.socket_owners {
            let end = end_with_socket(ends, c.key.src, &self.local);
            let is_host = self.local.is_host(if end == Ends::Originator { c.key.src } else { c.backend });
            if is_host && self.policy.classes.is_tunnel(c.key.protocol, c.backend_port) {
                // Tunnels belong to the host, although their sockets are in the cgroup of the process that made them.
                at.of.cgroup = 0;
            } else if is_host && socket_owners.looks() && c.cgroup == 0 {
                let end = HostEnd::of(c, end);
                let by_programs = self.cgroup_by_programs(&end);
                match by_programs.or_else(|| socket_owners.cgroup_of(&end)) {
                    Some(cgroup) => at.of.cgroup = cgroup,
                    // A closed connection is in no later read of the sockets, but in the programs' buffers.
                    None if self.deferred.len() < self.deferred.capacity()
                        && (self.arbiter.is_some() || !c.reading.is_end()) =>
                    {
                        return self.deferred.push((at, end));
                    }
                    None => {}
                }
            }
        }
        self.place(&at);
    }
}

/// Whether the key holds ports. For ICMP it holds id, type and code, whose difference is not a translation.
fn has_ports(protocol: u8) -> bool {
    use crate::flow::protocol::{ICMP, ICMPV6};
    protocol != ICMP && protocol != ICMPV6
}
