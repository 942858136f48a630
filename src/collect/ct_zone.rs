//! Says what a record counts by its conntrack zone (rule 7).
//!
//! OVN, OVS and Antrea track one connection in several zones; counting more than one would bill its bytes twice. Pods'
//! ends count in whichever zone shows a connection first. The node's own count in zone 0, or, where a complete sweep
//! shows none there, in the zone that has them. Zone 0 is the only one almost everywhere.

mod copies;

use self::copies::Copies;
use crate::config::CtZone;
use crate::flow::Connection;
use crate::state::bytes::{In, Persist};
use crate::wire::Malformed;

/// Largest number of zones in the tally. Connections of further zones are not counted in any case.
const ZONES: usize = 64;

/// What of a record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    All,
    /// The ends of pods alone: the node's count in another zone.
    Pods,
    /// The ends of the node alone: another copy counts those of pods.
    Node,
    Nothing,
}

/// The choice and the tally of the current sweep.
pub struct CtZoneChoice {
    /// The zone of the node's own ends; the only one that counts if it was given.
    chosen: u16,
    decided: bool,
    given: bool,
    /// Zone and number of the node's ends in this sweep.
    tally: Vec<(u16, u32)>,
    only_elsewhere: bool,
    capacity: u32,
    /// Once a second zone was seen.
    copies: Option<Copies>,
}

impl CtZoneChoice {
    /// Starts with the setting `-conntrack-zone`, for at most `capacity` connections.
    pub fn new(ct_zone: CtZone, capacity: u32) -> CtZoneChoice {
        let (chosen, decided) = match ct_zone {
            CtZone::Auto => (0, false),
            CtZone::Fixed(ct_zone) => (ct_zone, true),
        };
        let tally = Vec::with_capacity(ZONES);
        CtZoneChoice { chosen, decided, given: decided, tally, only_elsewhere: false, capacity, copies: None }
    }

    /// The zone in which the node's own ends count.
    pub fn chosen(&self) -> u16 {
        self.chosen
    }

    /// Whether everything of a record of this zone counts, whatever it is of.
    #[inline]
    pub fn is_alone(&self, ct_zone: u16) -> bool {
        ct_zone == self.chosen && self.copies.is_none()
    }

    /// What of a record counts. `may_be_pods`: an end of it is a pod's, or may be. `is_followed`: the copy of this key in a
    /// zone is counted already.
    pub fn part(&mut self, c: &Connection, may_be_pods: bool, is_followed: impl Fn(u16) -> bool) -> Part {
        let (ct_zone, home) = (c.key.ct_zone, self.chosen);
        let is_home = ct_zone == home;
        if self.given || !may_be_pods {
            return if is_home { Part::All } else { Part::Nothing };
        }
        let copies = self.copies.get_or_insert_with(|| Copies::with_capacity(self.capacity));
        // What zone 0 shows was counted there before another zone was seen.
        let first = || if !is_home && is_followed(home) { home } else { ct_zone };
        match (is_home, copies.zone_of(c, first)) {
            (true, Some(counted)) if counted != ct_zone => Part::Node,
            (true, _) => Part::All,
            (false, Some(counted)) if counted == ct_zone => Part::Pods,
            (false, _) => Part::Nothing,
        }
    }

    /// Whether the tally needs to know if a connection of this zone has an end of the node. Once the choice is made, one
    /// end in each zone suffices in a sweep.
    #[inline]
    pub fn asks(&self, ct_zone: u16) -> bool {
        !self.decided || !self.tally.iter().any(|(known, _)| *known == ct_zone)
    }

    /// Adds a connection of this zone with an end of the node to the tally.
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
        if let Some(copies) = &mut self.copies {
            copies.end_sweep();
        }
        (self.chosen != before).then_some(self.chosen)
    }

    /// Whether the last complete sweep had ends of the node only in zones where they are not counted.
    pub fn only_elsewhere(&self) -> bool {
        self.only_elsewhere
    }

    /// Appends the choice, for the state file.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.chosen.put(out);
        self.decided.put(out);
        match &self.copies {
            Some(copies) => copies.persist(out),
            None => 0u32.put(out),
        }
    }

    /// Restores the choice of the previous process, unless `-conntrack-zone` names another zone. Returns whether the
    /// zone is the same, so that the baselines are valid.
    ///
    /// # Errors
    /// When the bytes cannot be what [`CtZoneChoice::persist`] wrote.
    pub fn restore(&mut self, from: &mut In<'_>) -> Result<bool, Malformed> {
        let (chosen, decided) = (u16::take(from)?, bool::take(from)?);
        let mut copies = Copies::with_capacity(self.capacity);
        copies.restore(from)?;
        self.copies = Some(copies).filter(|copies| !copies.is_empty() && !self.given);
        if !self.decided {
            (self.chosen, self.decided) = (chosen, decided);
        }
        Ok(self.chosen == chosen)
    }
}

#[cfg(test)]
mod tests;
