//! Chooses the conntrack zone that is counted (rule 7).
//!
//! OVN, OVS and Antrea track one connection in several zones; counting more than one would bill its bytes twice. Zone 0
//! is counted until a complete sweep shows where the local ends are. It is the only zone almost everywhere, and waiting
//! would lose the first bytes of a fresh host.

use crate::config::CtZone;
use crate::state::bytes::{In, Persist};
use crate::wire::Malformed;

/// Largest number of zones in the tally. Connections of further zones are not counted in any case.
const ZONES: usize = 64;

/// The choice and the tally of the current sweep.
#[derive(Debug)]
pub struct CtZoneChoice {
    chosen: u16,
    decided: bool,
    /// Zone and number of local ends in this sweep.
    tally: Vec<(u16, u32)>,
    only_elsewhere: bool,
}

impl CtZoneChoice {
    /// Starts with the setting `-conntrack-zone`.
    pub fn new(ct_zone: CtZone) -> CtZoneChoice {
        let (chosen, decided) = match ct_zone {
            CtZone::Auto => (0, false),
            CtZone::Fixed(ct_zone) => (ct_zone, true),
        };
        CtZoneChoice { chosen, decided, tally: Vec::with_capacity(ZONES), only_elsewhere: false }
    }

    /// Whether connections of this zone are counted.
    #[inline]
    pub fn counts(&self, ct_zone: u16) -> bool {
        ct_zone == self.chosen
    }

    /// Whether the tally needs to know if a connection of this zone has a local end. Once the choice is made, one local
    /// end per sweep suffices for the chosen zone.
    #[inline]
    pub fn asks(&self, ct_zone: u16) -> bool {
        !self.decided || ct_zone != self.chosen || self.tally.is_empty()
    }

    /// Adds a connection of this zone with a local end to the tally.
    pub fn note_local(&mut self, ct_zone: u16) {
        match self.tally.iter_mut().find(|(known, _)| *known == ct_zone) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => {
                if self.tally.len() < ZONES {
                    self.tally.push((ct_zone, 1));
                }
            }
        }
    }

    /// Ends a complete sweep. Returns the zone if it changes: the next sweep is then a baseline.
    pub fn end_sweep(&mut self, owners_known: bool) -> Option<u16> {
        let before = self.chosen;
        if !self.decided && owners_known && !self.tally.is_empty() {
            self.decided = true;
            if !self.tally.iter().any(|(ct_zone, _)| *ct_zone == 0) {
                let most = self.tally.iter().max_by_key(|(ct_zone, count)| (*count, std::cmp::Reverse(*ct_zone)));
                self.chosen = most.map_or(0, |(ct_zone, _)| *ct_zone);
            }
        }
        self.only_elsewhere = !self.tally.is_empty() && !self.tally.iter().any(|(ct_zone, _)| *ct_zone == self.chosen);
        self.tally.clear();
        (self.chosen != before).then_some(self.chosen)
    }

    /// Whether the last complete sweep had local ends only in zones that are not counted.
    pub fn only_elsewhere(&self) -> bool {
        self.only_elsewhere
    }

    /// Appends the choice, for the state file.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.chosen.put(out);
        self.decided.put(out);
    }

    /// Restores the choice of the previous process, unless `-conntrack-zone` names another zone. Returns whether the
    /// zone is the same, so that the baselines are valid.
    ///
    /// # Errors
    /// When the bytes cannot be what [`CtZoneChoice::persist`] wrote.
    pub fn restore(&mut self, from: &mut In<'_>) -> Result<bool, Malformed> {
        let (chosen, decided) = (u16::take(from)?, bool::take(from)?);
        if !self.decided {
            (self.chosen, self.decided) = (chosen, decided);
        }
        Ok(self.chosen == chosen)
    }

    /// The zone that is counted.
    #[cfg(test)]
    pub fn chosen(&self) -> u16 {
        self.chosen
    }
}

#[cfg(test)]
mod tests;
