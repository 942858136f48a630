//! One direction of one uplink as it is shown: the equation, and its figures as counters that never fall.

use super::equation::{Closed, Part};

/// A side's figures as counters: the most that each has been, over all that the audit began anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    before: [u64; SHOWN],
    most: [u64; SHOWN],
}

/// The interface's own, then the parts.
const SHOWN: usize = 1 + Part::ALL.len();

impl Shown {
    /// Takes the figures of now.
    pub fn raise(&mut self, closed: &Closed) {
        let parts = closed.parts.iter().map(|part| u64::try_from(*part).unwrap_or(0));
        let now = std::iter::once(closed.layer3_bytes).chain(parts);
        self.most.iter_mut().zip(now).for_each(|(most, now)| *most = (*most).max(now));
    }

    /// Goes on from here: the figures begin anew.
    pub(super) fn keep(&mut self) {
        let most = std::mem::take(&mut self.most);
        self.before.iter_mut().zip(most).for_each(|(before, most)| *before = before.saturating_add(most));
    }

    /// What the interface carried: layer-3 bytes.
    pub fn layer3_bytes(&self) -> u64 {
        self.before[0].saturating_add(self.most[0])
    }

    /// One part of the equation; what is negative is shown as 0.
    pub fn part(&self, part: Part) -> u64 {
        let at = 1 + part as usize;
        self.before[at].saturating_add(self.most[at])
    }
}

/// One direction of one uplink, as shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The interface's name, with zeros behind it.
    pub name: [u8; 16],
    /// Whether it is what was sent.
    pub is_tx: bool,
    /// Bytes of the link's header that are not of layer 3, in each frame.
    pub header_bytes: u64,
    /// Whether traffic told them; else the link's type did.
    pub is_measured: bool,
    /// The equation.
    pub closed: Closed,
    /// Its figures as counters.
    pub shown: Shown,
}

impl Account {
    /// The interface's name.
    pub fn interface(&self) -> &str {
        let end = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        std::str::from_utf8(self.name.get(..end).unwrap_or_default()).unwrap_or("?")
    }
}
