//! Halves messages that are too large for DAKR, as long as DAKR surely did not count them.
//!
//! If halves are refused too, the waits grow: a server may refuse everything, and thousands of nodes would send thousands
//! of halves each. Sizes are bytes, not items, because a server measures bytes.

use super::{Delivery, MAX_GRPC_ITEMS, Note, Part};
use crate::batch::Settled;
use crate::clock::{MS, SECOND};
use crate::export::dakr::framing::Framing;
use crate::export::dakr::split::split;
use crate::stats::Lost;

/// The first wait at the end of the agent, where only seconds are left; each further one doubles it.
const LAST_WAIT_NS: u64 = 125 * MS;
/// The longest wait there.
const LAST_WAIT_MAX_NS: u64 = SECOND;

/// What is known about the largest message that DAKR accepts.
#[derive(Debug)]
pub(super) struct Size {
    /// Refusals for size since the last accepted message.
    refusals: u32,
    /// A message of this batch was refused for its size.
    matters: bool,
    /// Longer messages are halved before they are sent.
    longest: usize,
}

impl Default for Size {
    fn default() -> Size {
        Size { refusals: 0, matters: false, longest: usize::MAX }
    }
}

impl Size {
    /// Forgets the size for a new batch: the server's limit may have changed.
    pub(super) fn begin(&mut self) {
        (self.matters, self.longest) = (false, usize::MAX);
    }
}

impl Delivery {
    /// A message was accepted: one of twice its length is tried next.
    pub(super) fn fits(&mut self, index: usize) {
        self.size.refusals = 0;
        if let (true, Some(part), Some(batch)) = (self.size.matters, self.parts.get(index), &self.batch) {
            self.size.longest = part.body(&batch.messages).len().saturating_mul(2);
        }
    }

    /// Whether a message is known to be too large without sending it.
    pub(super) fn is_known_too_large(&self, index: usize) -> bool {
        let (Some(part), Some(batch)) = (self.parts.get(index), &self.batch) else { return false };
        let many = self.framings.current() == Framing::Grpc && part.items > MAX_GRPC_ITEMS;
        many || part.body(&batch.messages).len() > self.size.longest
    }

    /// A message was refused for its size. With an earlier unknown outcome it stays whole. The refusal proves nothing
    /// about the earlier send, and DAKR does not recognise a half as a repeat.
    pub(super) fn too_large(&mut self, index: usize, now_ns: u64, retry_after_ns: u64, settled: &mut Vec<Settled>) {
        if self.parts.get(index).is_none_or(|part| part.doubt_since_ns.is_some()) {
            return self.doubt(index, now_ns, retry_after_ns);
        }
        let refusals = self.refuse_size();
        let wait_ns = if refusals > 1 { self.jitter.backoff_ns(refusals) } else { 0 };
        self.gate_ns = now_ns.saturating_add(wait_ns.max(retry_after_ns));
        if !self.halve(index) {
            self.refused(index, Lost::TooLarge, now_ns, settled);
        }
    }

    /// The same at the end of the agent; `false` where nothing is left to be tried.
    pub(super) fn too_large_finally(&mut self, index: usize, now_ns: u64) -> bool {
        if !self.halve(index) {
            return false;
        }
        let doublings = self.refuse_size().checked_sub(2);
        let wait_ns = doublings.map_or(0, |doublings| (LAST_WAIT_NS << doublings.min(10)).min(LAST_WAIT_MAX_NS));
        self.gate_ns = now_ns.saturating_add(wait_ns);
        true
    }

    /// The end begins: what is left of the time is all that counts.
    pub(super) fn forget_refusals(&mut self) {
        self.size.refusals = 0;
    }

    fn refuse_size(&mut self) -> u32 {
        self.size.matters = true;
        self.size.refusals = self.size.refusals.saturating_add(1);
        self.size.refusals
    }

    /// Puts two halves in the place of a message; `false` if it cannot be divided, or may have been counted.
    pub(super) fn halve(&mut self, index: usize) -> bool {
        self.parts.get(index).is_some_and(|part| part.doubt_since_ns.is_none()) && self.cut(index)
    }

    /// Puts two halves in the place of a message; `false` if it cannot be divided.
    pub(super) fn cut(&mut self, index: usize) -> bool {
        let (Some(part), Some(batch)) = (self.parts.get(index), &self.batch) else { return false };
        let Some((first, second)) = split(part.body(&batch.messages)) else { return false };
        let part = self.parts.remove(index);
        self.notes.push(Note::Halved(part.name.clone()));
        let begin = (part.first_item, part.first_lookup);
        let middle = (begin.0.saturating_add(first.items), begin.1.saturating_add(first.lookups));
        for (at, (half, (first_item, first_lookup))) in [(first, begin), (second, middle)].into_iter().enumerate() {
            self.parts.insert(
                index + at,
                Part {
                    message: part.message,
                    name: format!("{}.{at}", part.name),
                    half: Some(half.body),
                    first_item,
                    items: half.items,
                    first_lookup,
                    lookups: half.lookups,
                    total_bytes: half.total_bytes,
                    // In its turn.
                    due_ns: part.due_ns,
                    merge_when_due: false,
                    doubt_since_ns: part.doubt_since_ns,
                    unknown: 0,
                    refusals: 0,
                },
            );
        }
        true
    }
}
