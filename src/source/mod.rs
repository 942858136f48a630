//! The sources of connections, and the contract that every source keeps.
//!
//! A source delivers records as [`Connection`]s and reports whether the reading was complete. It knows nothing of pods,
//! rows or DAKR. [`crate::baseline`] decides what a record means: baseline, increment or end.

use std::fmt;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::clock::Now;
use crate::config::{Config, Fallback, Mode, SourceKind};
use crate::flow::Connection;
use crate::health::Component;
use crate::privileges::Needs;
use crate::state::bytes::In;
use crate::stats::{Skipped, Stats};
use crate::wire::Malformed;

pub mod auto;
pub mod cilium;
pub mod ebpf;
pub mod netfilter;
pub mod recorder;
pub mod replay;
pub mod translation;

/// Receives one record. Sources call it in the order in which the kernel reported.
pub type Each<'a> = &'a mut dyn FnMut(&Connection);

/// What one sweep, or one drain between sweeps, saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Records handed over.
    pub seen: u64,
    pub skipped: Skipped,
    /// Whether every existing connection was delivered. A voided dump (rule 11) is not complete; the caller repeats it at
    /// once, once.
    pub complete: bool,
    /// Number of overflows that the kernel reported (ENOBUFS); `events_lost` counts the events.
    pub overflows: u64,
    /// Events that the kernel dropped, if it reports their number.
    pub events_lost: u64,
    /// Bytes lost per direction inside the source (a full BPF map), as tx and rx of the local end.
    pub lost_tx_bytes: u64,
    /// See `lost_tx_bytes`.
    pub lost_rx_bytes: u64,
    /// Entries of this sweep without counters, made while accounting was off.
    pub uncounted: u64,
    /// An immediate sweep is worth its cost: events were lost, or a map is full.
    pub sweep_soon: bool,
    /// Of two sources one does not run any more: what the programs counted is left to conntrack (rule 21).
    pub programs_are_gone: bool,
}

impl Sweep {
    /// Adds what another source read in the same sweep or drain.
    fn add(&mut self, other: &Sweep) {
        self.seen += other.seen;
        for (mine, theirs) in self.skipped.0.iter_mut().zip(other.skipped.0) {
            *mine += theirs;
        }
        self.complete &= other.complete;
        self.overflows += other.overflows;
        self.events_lost += other.events_lost;
        self.lost_tx_bytes += other.lost_tx_bytes;
        self.lost_rx_bytes += other.lost_rx_bytes;
        self.uncounted += other.uncounted;
        self.sweep_soon |= other.sweep_soon;
        self.programs_are_gone |= other.programs_are_gone;
    }
}

/// Constant properties of a source. Each states its own, as `FACTS` in its module.
#[derive(Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which one it is.
    pub kind: SourceKind,
    /// Capabilities that it needs after it is open.
    pub needs: Needs,
    /// Its place under `-fallback auto`: from the wanted source on, the next higher number is tried. `None`: neither it
    /// nor another in its place.
    pub rank: Option<u8>,
    /// Whether its records hold the cgroup of the local socket. If not, the host's sockets are read.
    pub tells_cgroups: bool,
    /// Whether conntrack is asked what became of each new flow, so that flows must be read while its entries last.
    pub asks_conntrack: bool,
    /// Whether the source sees the node's own traffic besides that of its pods. If not, a comparison with the interfaces
    /// proves nothing (rule 16).
    pub sees_the_host: bool,
    /// Whether it counts where sockets send and receive: then it does not see the kernel's tunnels, and counts what conntrack
    /// calls invalid.
    pub counts_at_sockets: bool,
    /// The health component that shows this source's own state besides `monitor`, if it has one.
    pub component: Option<Component>,
}

/// The facts of a source that is not open.
pub fn facts(kind: SourceKind) -> &'static Facts {
    match kind {
        SourceKind::Netfilter => &netfilter::FACTS,
        SourceKind::Ebpf => &ebpf::FACTS,
        SourceKind::Auto => &auto::FACTS,
        SourceKind::Cilium => &cilium::FACTS,
        SourceKind::Replay => &replay::FACTS,
    }
}

/// The modes to try, the wanted one first: under `-fallback auto` those of a higher rank follow.
pub fn candidates(config: &Config) -> Vec<Mode> {
    let mut modes = vec![config.mode.clone()];
    if let (Fallback::Auto, Some(wanted)) = (config.fallback, facts(config.mode.source()).rank) {
        let mut others: Vec<SourceKind> = SourceKind::ALL.to_vec();
        // Two sources at once are asked for, never fallen back to.
        others.retain(|kind| *kind != SourceKind::Auto && facts(*kind).rank.is_some_and(|rank| rank > wanted));
        others.sort_by_key(|kind| facts(*kind).rank);
        modes.extend(others.into_iter().filter_map(SourceKind::mode));
    }
    modes
}

/// A source of connections.
pub trait Source: Send {
    /// What is always true of it.
    fn facts(&self) -> &'static Facts;

    /// `netfilter`, `ebpf`, `cilium` or `auto`.
    fn name(&self) -> &'static str {
        self.facts().kind.as_str()
    }

    /// Reads everything once. `each` also gets connections that end meanwhile, in the order of the kernel. Allocates
    /// nothing once warm.
    fn sweep(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError>;

    /// Reads closed connections between sweeps (conntrack DESTROY events). Reads all that is queued, then returns;
    /// `complete` has no meaning.
    fn drain(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError>;

    /// Reads, between two sweeps that are far apart, what may not wait for the next one: flows, while conntrack knows what
    /// became of them. `complete` has no meaning.
    ///
    /// # Errors
    /// As [`Source::drain`].
    fn glance(&mut self, _now: Now, _each: Each<'_>) -> Result<Sweep, SourceError> {
        Ok(Sweep::default())
    }

    /// Descriptors that become readable when [`Source::drain`] has work.
    fn poll_fds(&self) -> &[RawFd];

    /// Called about once a minute: restores the kernel settings that the source needs, and reports current faults.
    fn upkeep(&mut self, now: Now) -> SourceHealth;

    /// Whether the end of every connection is reported (DESTROY events arrive, or counters stay until read). If not,
    /// sweeps must stay frequent.
    fn ends_are_told(&self) -> bool;

    /// Appends the source's own state, for the state file.
    fn persist(&self, _out: &mut Vec<u8>) {}

    /// Restores what [`Source::persist`] wrote in the previous process.
    ///
    /// # Errors
    /// If the bytes are malformed.
    fn restore(&mut self, _from: &mut In<'_>) -> Result<(), Malformed> {
        Ok(())
    }
}

/// A source's report for health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceHealth {
    /// Cause and cure; empty if the source is healthy.
    pub degraded: String,
    /// Whether it shows one sum of both directions.
    pub sums: bool,
    /// Whether nothing counts what it reads, for some connections at least.
    pub accounting_off: bool,
}

/// Why a source cannot be opened or read.
#[derive(Debug)]
pub enum SourceError {
    /// The source cannot run here at all. The text names cause and cure.
    Open(String),
    /// This reading failed; a later one may not.
    Read(String),
    /// A recording has been played to its end.
    Finished,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceError::Open(why) | SourceError::Read(why) => f.write_str(why),
            SourceError::Finished => f.write_str("the recording is at its end"),
        }
    }
}

impl std::error::Error for SourceError {}

/// Opens the source of a mode. Netfilter is recorded by `recorder`.
///
/// # Errors
/// [`SourceError::Open`] where it cannot run here, with cause and cure.
pub fn open(
    mode: &Mode,
    config: &Config,
    recorder: &recorder::Recorder,
    stats: &Arc<Stats>,
    now: Now,
) -> Result<Box<dyn Source>, SourceError> {
    match mode {
        Mode::Netfilter => Ok(Box::new(open_conntrack(config, recorder)?)),
        Mode::Auto => {
            let conntrack = open_conntrack(config, recorder)?;
            let mut programs = open_programs(config, stats, now)?;
            if cilium::is_here(config.cilium_bpf_root.as_deref()) {
                programs.ask_first(Box::new(cilium::CiliumServices::new(config.cilium_bpf_root.as_deref())));
            }
            Ok(Box::new(auto::Auto::new(conntrack, programs)))
        }
        Mode::Ebpf => Ok(Box::new(open_programs(config, stats, now)?)),
        Mode::Cilium => {
            let mut cilium = cilium::Cilium::open(config.cilium_bpf_root.as_deref())?;
            if config.fallback == Fallback::Auto && !cilium.tells_directions() {
                match open_programs(config, stats, now) {
                    Ok(mut programs) => {
                        let services = cilium::CiliumServices::new(config.cilium_bpf_root.as_deref());
                        programs.instead_of(&cilium.complaints(), Box::new(services));
                        return Ok(Box::new(programs));
                    }
                    Err(why) => cilium.without_programs(&why),
                }
            }
            Ok(Box::new(cilium))
        }
        Mode::Replay(_) => Err(SourceError::Open("a recording is played, and is no source".to_owned())),
    }
}

fn open_conntrack(config: &Config, recorder: &recorder::Recorder) -> Result<netfilter::Netfilter, SourceError> {
    let options = netfilter::Options { manage_conntrack: config.manage_conntrack, standalone: config.standalone };
    netfilter::Netfilter::open(options, recorder.clone())
}

fn open_programs(config: &Config, stats: &Arc<Stats>, now: Now) -> Result<ebpf::Ebpf, SourceError> {
    let settings = ebpf::Settings { cgroup_root: config.cgroup_root.clone(), ..ebpf::Settings::default() };
    ebpf::Ebpf::open(&settings, Arc::clone(stats), now)
}

#[cfg(test)]
mod tests;
