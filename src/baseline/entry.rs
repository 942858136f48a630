//! One connection at its last record, and what proves that a record is of another.

use crate::flow::{Connection, ConnectionKey, Traffic};
use crate::table::Entry;

/// Originator and responder are in each other's place.
pub(super) const TURNED: u8 = 1;
/// The connection may be older than any listener, so the kernel may never report its end.
pub(super) const MAY_END_UNTOLD: u8 = 2;
/// Restored from the state file and not seen since.
pub(super) const RESTORED: u8 = 4;
/// Who opened the connection is a guess.
pub(super) const GUESSED: u8 = 8;
/// Who opened the connection is decided, against what its entry says or with it.
pub(super) const DECIDED: u8 = 16;
pub(super) const OPENER: u8 = TURNED | GUESSED | DECIDED;

/// In this order, 96 bytes in two or three lines of 64; see `far_end`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Baseline {
    pub(super) key: ConnectionKey,
    pub(super) mark: u32,
    pub(super) traffic: Traffic,
    pub(super) id: u32,
    /// Low half of the start in nanoseconds; 0 is unknown. Starts that differ by a multiple of 4.3 s look alike, which is
    /// acceptable because id and counters are checked too.
    pub(super) start: u32,
    /// The slot that followed this one in the last dump.
    pub(super) next: u32,
    /// Low byte of the number of the sweep that saw it last.
    pub(super) seen: u8,
    pub(super) absences: u8,
    pub(super) flags: u8,
    /// The span of sweeps in which it was seen first; see [`super::births`].
    pub(super) born: u8,
}

impl Entry for Baseline {
    type Key = ConnectionKey;
    fn key(&self) -> &ConnectionKey {
        &self.key
    }
    fn mark(&self) -> u32 {
        self.mark
    }
    fn set_mark(&mut self, mark: u32) {
        self.mark = mark;
    }
    // Offsets 0 (within the key) and 80; the mark is at 44.
    #[allow(clippy::cast_possible_truncation, reason = "the low bits tell two starts, or two ends, apart")]
    fn far_end(&self) -> u32 {
        self.key.src.number() as u32 ^ self.id
    }
}

/// Whether the record proves another connection than the baseline's (rule 10). Equal ids prove nothing: the kernel
/// reuses the object and with it the id.
#[allow(clippy::cast_possible_truncation, reason = "the low bits tell two starts, or two ends, apart")]
pub(super) fn is_another(known: &Baseline, c: &Connection) -> bool {
    let start = c.start_ns as u32;
    (known.id != c.id && known.id != 0 && c.id != 0)
        || (known.start != start && known.start != 0 && start != 0)
        || c.traffic.any_below(&known.traffic)
}

/// Whether an end is of an entry that lived beside that of the baseline, or after one whose end was not told. Where the
/// ids are equal the kernel has used the object again, so that the baseline's own connection is gone.
#[allow(clippy::cast_possible_truncation, reason = "the low bits tell two starts, or two ends, apart")]
pub(super) fn is_beside(known: &Baseline, c: &Connection) -> bool {
    let start = c.start_ns as u32;
    match known.id != 0 && c.id != 0 {
        true => known.id != c.id,
        false => known.start != start && known.start != 0 && start != 0,
    }
}
