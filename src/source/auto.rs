//! Conntrack and our own programs at once, for mode `auto`: which of their records counts is decided by
//! [`crate::collect::arbiter`].
//!
//! A sweep reads conntrack first. What an address has sent by conntrack's account is then in the programs' buffers too,
//! if a socket of this kernel sent it. One dump a sweep; the programs' reader asks conntrack for tuples of the node
//! that are new since it. Knows neither pods nor the rule.

use std::os::fd::RawFd;

use super::ebpf::Ebpf;
use super::netfilter::Netfilter;
use super::{Each, Facts, Source, SourceError, SourceHealth, Sweep};
use crate::clock::Now;
use crate::config::SourceKind;
use crate::health::Component;
use crate::privileges::Needs;
use crate::state::bytes::In;
use crate::sys::poll;
use crate::wire::Malformed;

/// See [`Facts`]. The sockets of the node are read for what conntrack counts.
pub const FACTS: Facts = Facts {
    kind: SourceKind::Auto,
    needs: Needs { net_admin: true, bpf_maps: true },
    rank: Some(1),
    tells_cgroups: false,
    asks_conntrack: true,
    sees_the_host: true,
    counts_at_sockets: false,
    component: Some(Component::EbpfTracer),
};

/// The source of mode `auto`.
pub struct Auto {
    conntrack: Netfilter,
    programs: Ebpf,
    fds: [RawFd; 2],
    /// Why the programs could not be read; empty if they could.
    unread: String,
}

impl Auto {
    /// Of two sources that are open.
    pub fn new(conntrack: Netfilter, mut programs: Ebpf) -> Auto {
        programs.stand_beside_conntrack();
        let first = |fds: &[RawFd]| fds.first().copied().unwrap_or(-1);
        let fds = [first(conntrack.poll_fds()), first(programs.poll_fds())];
        Auto { conntrack, programs, fds, unread: String::new() }
    }

    /// What the programs have, added to what conntrack told.
    fn read_programs(&mut self, now: Now, sweep: &mut Sweep, each: Each<'_>) {
        match self.programs.sweep(now, each) {
            Ok(theirs) => {
                self.unread.clear();
                sweep.add(&theirs);
            }
            Err(error) => {
                self.unread = error.to_string();
                sweep.complete = false;
            }
        }
        sweep.programs_are_gone = !self.programs.is_attached();
    }
}

impl Source for Auto {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn sweep(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        let told = self.conntrack.sweep(now, each);
        let mut sweep = told.as_ref().copied().unwrap_or_default();
        if sweep.complete {
            self.programs.dump_was_whole();
        }
        self.read_programs(now, &mut sweep, each);
        told.map(|_| sweep)
    }

    fn drain(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        let mut drained = self.conntrack.drain(now, each)?;
        // Ends come often; the buffers are emptied between sweeps only where they fill.
        if poll::readable(&self.fds[1..], 0) != 0 {
            self.read_programs(now, &mut drained, each);
        }
        Ok(drained)
    }

    /// What ended is heard before, as in every reading of the programs.
    fn glance(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        let mut glanced = self.conntrack.drain(now, each)?;
        self.read_programs(now, &mut glanced, each);
        Ok(glanced)
    }

    fn poll_fds(&self) -> &[RawFd] {
        &self.fds
    }

    fn upkeep(&mut self, now: Now) -> SourceHealth {
        let (conntrack, programs) = (self.conntrack.upkeep(now), self.programs.upkeep(now));
        let said = [conntrack.degraded, programs.degraded, self.unread.clone()];
        let said: Vec<String> = said.into_iter().filter(|why| !why.is_empty()).collect();
        SourceHealth { degraded: said.join("; "), accounting_off: conntrack.accounting_off, sums: false }
    }

    fn ends_are_told(&self) -> bool {
        self.conntrack.ends_are_told()
    }

    fn persist(&self, out: &mut Vec<u8>) {
        self.programs.persist(out);
    }

    fn restore(&mut self, from: &mut In<'_>) -> Result<(), Malformed> {
        self.programs.restore(from)
    }
}
