//! Reads Cilium's conntrack maps from the BPF file system, without Cilium's library: every release from 1.10 on.
//!
//! Each sweep opens the maps by their paths, for Cilium's agent may have replaced them, and reads them in batches. An
//! OUT entry speaks for its originator, an IN entry for its responder. What the counters mean is found from the entries
//! themselves ([`Survey`]). From 1.16 on they hold one sum of both directions, or nothing at all. Then our own programs
//! count, where they can run ([`Ebpf::instead_of`](super::ebpf::Ebpf::instead_of)). [`CiliumServices`] tells them what
//! became of services. Reading needs uid 0, and CAP_BPF before Linux 5.19.

pub mod maps;
mod runtime;
mod services;

use std::os::fd::{AsFd, RawFd};
use std::path::Path;

use self::maps::{COUNT, MAPS, Opened, Places};
pub use self::services::CiliumServices;
use crate::clock::Now;
use crate::config::SourceKind;
use crate::privileges::Needs;
use crate::source::{Each, Facts, Source, SourceError, SourceHealth, Sweep};
use crate::stats::Skip;
use crate::sys::bpf::{BatchReader, MapInfo};
use crate::wire::cilium_ct::{self, Accounting, KEY4_BYTES, KEY6_BYTES, Kind, Layout, Survey, VALUE_BYTES};

/// See [`Facts`]. Maps are opened anew by each sweep.
pub const FACTS: Facts = Facts {
    kind: SourceKind::Cilium,
    needs: Needs { net_admin: false, bpf_maps: true },
    rank: Some(0),
    tells_cgroups: false,
    asks_conntrack: false,
    sees_the_host: false,
    counts_at_sockets: false,
    component: None,
};

/// Entries asked for in one call.
const BATCH: u32 = 4096;

/// The source of mode `cilium`.
pub struct Cilium {
    places: Places,
    readers: [BatchReader; 2],
    /// Of the maps at the last sweep.
    ids: [u32; COUNT],
    layout: Layout,
    accounting: Accounting,
    /// Entries at the last sweep, and how many there can be.
    fill: [(u64, u32); COUNT],
    refused: [Option<MapInfo>; COUNT],
    /// Why our own programs do not count instead, where they were tried.
    no_programs: String,
}

/// Whether Cilium's maps are pinned here, below `root` or where Cilium has them, and can be opened.
pub fn is_here(root: Option<&Path>) -> bool {
    Places::new(root).open().is_ok_and(|opened| opened.maps.iter().any(Option::is_some))
}

impl Cilium {
    /// Finds the maps below `root`, or where Cilium has them, and looks through them once for how they count.
    ///
    /// # Errors
    /// [`SourceError::Open`] where none can be read.
    pub fn open(root: Option<&Path>) -> Result<Cilium, SourceError> {
        Cilium::open_with_batch(root, BATCH)
    }

    /// The same with another size of the first batches.
    ///
    /// # Errors
    /// As [`Cilium::open`].
    pub fn open_with_batch(root: Option<&Path>, batch: u32) -> Result<Cilium, SourceError> {
        let reader = |key_bytes| BatchReader::new(key_bytes, VALUE_BYTES, batch);
        let mut cilium = Cilium {
            places: Places::new(root),
            readers: [reader(KEY4_BYTES), reader(KEY6_BYTES)],
            ids: [0; COUNT],
            layout: Layout::Unknown,
            accounting: Accounting::Unknown,
            fill: [(0, 0); COUNT],
            refused: [None; COUNT],
            no_programs: String::new(),
        };
        let opened = cilium.maps().map_err(|error| SourceError::Open(error.to_string()))?;
        if opened.ids() == [0; COUNT] {
            let refused = cilium.refusals().next();
            let nothing = || {
                format!(
                    "no conntrack map of Cilium's is pinned in {}: does Cilium run on this node, and is the host's BPF \
                     file system mounted (-cilium-bpf-root)?",
                    cilium.places
                )
            };
            return Err(SourceError::Open(refused.unwrap_or_else(nothing)));
        }
        cilium.survey(&opened).map_err(|error| SourceError::Open(error.to_string()))?;
        Ok(cilium)
    }

    /// Whether the maps tell what was sent from what was received.
    pub fn tells_directions(&self) -> bool {
        self.layout.is_split()
    }

    /// Our own programs were to count instead and cannot.
    pub fn without_programs(&mut self, why: &SourceError) {
        self.no_programs = why.to_string();
    }

    fn maps(&mut self) -> Result<Opened, SourceError> {
        let opened = self.places.open().map_err(|error| {
            SourceError::Read(format!("cannot open Cilium's pinned maps: {error} ({})", maps::cure(&error)))
        })?;
        self.refused = opened.refused;
        Ok(opened)
    }

    /// Looks through the maps without counting: what a value means must be known before its first record.
    fn survey(&mut self, opened: &Opened) -> Result<(), SourceError> {
        let mut survey = Survey::default();
        for n in 0..COUNT {
            self.read(opened, n, &mut |key, value| {
                if let Ok(entry) = cilium_ct::parse(key, value)
                    && matches!(entry.kind, Kind::Out | Kind::In)
                {
                    survey.note(&entry);
                }
            })?;
        }
        self.conclude(&survey);
        Ok(())
    }

    fn conclude(&mut self, survey: &Survey) {
        self.layout = survey.layout(self.layout);
        self.accounting = survey.accounting();
    }

    /// Reads map `n`, if there is one; returns whether that was all of it.
    fn read(&mut self, opened: &Opened, n: usize, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<bool, SourceError> {
        let (Some(map), (name, key_bytes)) = (&opened.maps[n], MAPS[n]) else { return Ok(true) };
        let reader = &mut self.readers[usize::from(key_bytes == KEY6_BYTES)];
        let read = reader.read(map.as_fd(), each);
        let (seen, whole) = read.map_err(|error| SourceError::Read(format!("cannot read {name}: {error}")))?;
        self.fill[n] = (seen, map.info().max_entries);
        Ok(whole)
    }

    fn refusals(&self) -> impl Iterator<Item = String> {
        self.refused.iter().zip(MAPS).filter_map(|(refused, (name, _))| {
            let MapInfo { kind, key_bytes, value_bytes, .. } = (*refused)?;
            Some(format!(
                "{name} is not read: no known Cilium release has a map of type {kind} with {key_bytes}-byte keys and \
                 {value_bytes}-byte values"
            ))
        })
    }

    /// What is wrong with how Cilium counts, and the way out; empty where nothing is.
    /// What the maps cannot tell, and what is wrong with them.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<String> = self.refusals().collect();
        for ((seen, max), (name, _)) in self.fill.iter().zip(MAPS) {
            // The kernel evicts a little before the last entry is taken.
            if *max > 0 && *seen * 20 > u64::from(*max) * 19 {
                let value = if name.contains("any") { "bpf.ctAnyMax" } else { "bpf.ctTcpMax" };
                complaints.push(format!(
                    "{name} is full ({seen} of {max} entries): the kernel evicts entries before they are read (Helm \
                     value {value})"
                ));
            }
        }
        let on = "switch it on with the Helm value bpf.ctAccounting=true (Cilium 1.16: `cilium config \
                  ConntrackAccounting=true`)";
        match (self.accounting, self.layout) {
            (Accounting::Off, _) => complaints.push(format!("Cilium's accounting is off, its counters are 0: {on}")),
            (Accounting::Partly, _) => complaints.push(format!("Cilium's accounting is off for some pods: {on}")),
            (Accounting::Unknown, Layout::Unknown) => return complaints,
            _ => {}
        }
        match self.layout {
            Layout::SumAfterSplit => complaints.push(
                "Cilium was upgraded in place and counts sent and received bytes as one sum from now on. Connections \
                 made before show them apart; rows with later ones show it as tx, with \"split\":\"unknown\""
                    .to_owned(),
            ),
            Layout::Sum => complaints.push(
                "Cilium 1.16 and later count sent and received bytes as one sum: rows show it as tx, with \
                 \"split\":\"unknown\""
                    .to_owned(),
            ),
            Layout::Unknown => {
                complaints.push("no Cilium entry shows yet whether tx and rx are counted separately".into())
            }
            Layout::Split => {}
        }
        if !self.no_programs.is_empty() {
            complaints.push(format!("our own BPF programs, which count both, cannot run: {}", self.no_programs));
        }
        complaints
    }
}

impl Source for Cilium {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn sweep(&mut self, _: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        let opened = self.maps()?;
        let ids = opened.ids();
        if ids == [0; COUNT] {
            return Err(SourceError::Read("Cilium's maps are gone: is its agent being replaced?".to_owned()));
        }
        // None is left of those that told the layout: the new ones may be of another release.
        if ids.iter().zip(self.ids).all(|(now, before)| *now != before || *now == 0) {
            self.layout = Layout::Unknown;
        }
        // Between its removal and its replacement a map is missing; a second look tells whether it stays so.
        let is_missing = ids.iter().zip(self.ids).any(|(now, before)| *now == 0 && before != 0);
        self.ids = ids;
        if self.layout == Layout::Unknown {
            self.survey(&opened)?;
        }
        let layout = self.layout;
        let mut survey = Survey::default();
        let mut sweep = Sweep { complete: !is_missing, ..Sweep::default() };
        for (n, id) in ids.into_iter().enumerate() {
            sweep.complete &= self.read(&opened, n, &mut |key, value| match cilium_ct::parse(key, value) {
                Err(_) => sweep.skipped.add(Skip::Malformed),
                Ok(entry) if matches!(entry.kind, Kind::Service | Kind::Related) => sweep.skipped.add(Skip::Service),
                Ok(entry) => {
                    survey.note(&entry);
                    if entry.is_silent() {
                        sweep.skipped.add(Skip::NoCounters);
                    } else {
                        sweep.seen += 1;
                        each(&entry.connection(layout, id));
                    }
                }
            })?;
        }
        self.conclude(&survey);
        Ok(sweep)
    }

    /// Nothing is told between sweeps.
    fn drain(&mut self, _: Now, _: Each<'_>) -> Result<Sweep, SourceError> {
        Ok(Sweep::default())
    }

    fn poll_fds(&self) -> &[RawFd] {
        &[]
    }

    fn upkeep(&mut self, _: Now) -> SourceHealth {
        if self.accounting == Accounting::Unknown || self.layout == Layout::Unknown {
            let said = runtime::read();
            if self.layout == Layout::Unknown && said.is_of_sums {
                self.layout = Layout::Sum;
            }
            if self.accounting == Accounting::Unknown {
                self.accounting = said.accounting;
            }
        }
        SourceHealth {
            degraded: self.complaints().join("; "),
            sums: matches!(self.layout, Layout::Sum | Layout::SumAfterSplit),
            accounting_off: matches!(self.accounting, Accounting::Off | Accounting::Partly),
        }
    }

    fn ends_are_told(&self) -> bool {
        false
    }
}
