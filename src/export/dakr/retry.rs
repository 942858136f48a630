//! Decides what follows when a send ends: the delivery table of ARCHITECTURE.md ("Delivery in one table") as a state
//! machine on virtual time. It knows no sockets, tokens or threads.
//!
//! One rule is not in the table. After a send with an unknown outcome, no later refusal proves that DAKR did not count the
//! message. So the message is neither halved nor merged back until its hour is over.

mod last;
mod persist;
mod size;

use super::framing::Framing;
use super::framings::Framings;
use super::jitter::Jitter;
use super::outcome::{MAX_RETRY_AFTER_NS, Outcome, SendEnd};
use super::split::lookups;
use crate::batch::{Batch, Message, Note, Settled, Verdict};
use crate::clock::SECOND;
use crate::config::DakrProtocol;
use crate::stats::Lost;
use size::Size;

/// How long an unknown outcome is resent before the message is merged back and counted as ambiguous.
pub const AMBIGUITY_NS: u64 = 3600 * SECOND;
/// How often a refused message is resent.
pub const MAX_RESENDS_OF_REFUSED: u32 = 10;
/// Items of a message in gRPC framing: there a refusal for size cannot be told from any other failure.
pub const MAX_GRPC_ITEMS: u32 = 500;

/// A message, or a half of one, that is not settled.
#[derive(Debug)]
struct Part {
    /// Index of the message in the batch.
    message: usize,
    /// `<part>`, with `.0` and `.1` for halves.
    name: String,
    /// The bytes of a half; those of a whole message are in the batch.
    half: Option<Vec<u8>>,
    first_item: u32,
    items: u32,
    first_lookup: u32,
    lookups: u32,
    total_bytes: u64,
    /// When it is next sent, or merged back.
    due_ns: u64,
    /// DAKR answered that it is busy: merged back when due.
    merge_when_due: bool,
    /// Since when it may have been counted.
    doubt_since_ns: Option<u64>,
    /// Sends in a row that left it in doubt.
    unknown: u32,
    refusals: u32,
}

impl Part {
    /// Returns the bytes to send; `messages` are the batch's.
    fn body<'a>(&'a self, messages: &'a [Message]) -> &'a [u8] {
        let whole = messages.get(self.message).map(|message| message.body.as_slice());
        self.half.as_deref().or(whole).unwrap_or_default()
    }
}

/// A message that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due<'a> {
    /// The argument of [`Delivery::ended`].
    pub index: usize,
    /// Sequence number of the batch.
    pub seq: u64,
    /// `<part>`, with `.0` and `.1` for halves.
    pub name: &'a str,
    pub items: u32,
    pub body: &'a [u8],
    pub framing: Framing,
}

/// Settled items: the first, their number, the verdict.
pub type Settlement = (u32, u32, Verdict);

/// One frozen batch in flight, and when the next send may be.
#[derive(Debug)]
pub struct Delivery {
    framings: Framings,
    flush_interval_ns: u64,
    jitter: Jitter,
    /// Consecutive sends that reached no server, or a busy one.
    failures: u32,
    /// Nothing is sent before this time.
    gate_ns: u64,
    /// What is known about the largest message that DAKR accepts.
    size: Size,
    batch: Option<Batch>,
    /// The unsettled messages, in their order.
    parts: Vec<Part>,
    /// The settled items of the batch, for the state file.
    settlements: Vec<Settlement>,
    /// Facts that are not in the state file yet.
    notes: Vec<Note>,
}

impl Delivery {
    /// Starts without a batch.
    pub fn new(protocol: DakrProtocol, flush_interval_ns: u64, jitter: Jitter) -> Delivery {
        Delivery {
            framings: Framings::new(protocol),
            flush_interval_ns,
            jitter,
            failures: 0,
            gate_ns: 0,
            size: Size::default(),
            batch: None,
            parts: Vec::new(),
            settlements: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The framing of the next send.
    pub fn framing(&self) -> Framing {
        self.framings.current()
    }

    /// Nothing is sent before this time, monotonic.
    pub fn gate_ns(&self) -> u64 {
        self.gate_ns
    }

    /// Takes a batch; returns it as an error while another is in flight.
    pub fn accept(&mut self, batch: Batch, settled: &mut Vec<Settled>) -> Result<(), Batch> {
        if self.batch.is_some() {
            return Err(batch);
        }
        self.parts.clear();
        self.settlements.clear();
        self.size.begin();
        let mut first_lookup = 0;
        for (index, message) in batch.messages.iter().enumerate() {
            let lookups = lookups(&message.body);
            self.parts.push(Part {
                message: index,
                name: message.part.to_string(),
                half: None,
                first_item: message.first_item,
                items: message.items,
                first_lookup,
                lookups,
                total_bytes: message.total_bytes,
                due_ns: 0,
                merge_when_due: false,
                doubt_since_ns: None,
                unknown: 0,
                refusals: 0,
            });
            first_lookup += lookups;
        }
        self.batch = Some(batch);
        self.hand_back(settled);
        Ok(())
    }

    /// Sequence number of the batch in flight.
    pub fn seq(&self) -> Option<u64> {
        self.batch.as_ref().map(|batch| batch.seq)
    }

    /// Whether no batch is in flight.
    pub fn is_idle(&self) -> bool {
        self.batch.is_none()
    }

    /// Settles messages whose wait is over, and those whose outcome is unknown for an hour. Returns the bytes of the
    /// latter, which are then ambiguous.
    pub fn pass(&mut self, now_ns: u64, settled: &mut Vec<Settled>) -> u64 {
        let mut ambiguous_bytes = 0u64;
        let mut at = 0;
        while let Some(part) = self.parts.get(at) {
            let doubt_is_old = part.doubt_since_ns.is_some_and(|since| now_ns.saturating_sub(since) >= AMBIGUITY_NS);
            if doubt_is_old {
                ambiguous_bytes = ambiguous_bytes.saturating_add(part.total_bytes);
                self.settle(at, Verdict::MergeAmbiguous, settled);
            } else if part.merge_when_due && part.due_ns <= now_ns {
                self.settle(at, Verdict::Merge, settled);
            } else {
                at += 1;
            }
        }
        ambiguous_bytes
    }

    /// Returns the message that has been due the longest. Otherwise returns when the next one is due (`u64::MAX`: not
    /// before the next batch).
    pub fn next(&mut self, now_ns: u64) -> Result<Due<'_>, u64> {
        let mut again_ns = u64::MAX;
        let mut found: Option<(u64, usize)> = None;
        for (index, part) in self.parts.iter().enumerate() {
            if let Some(since_ns) = part.doubt_since_ns {
                again_ns = again_ns.min(since_ns.saturating_add(AMBIGUITY_NS));
            }
            // The gate holds back what is sent. What merges back sends nothing, so it goes by its own time.
            let due_ns = if part.merge_when_due { part.due_ns } else { part.due_ns.max(self.gate_ns) };
            if due_ns <= now_ns && !part.merge_when_due {
                let place = (part.due_ns, index);
                found = found.filter(|first| *first < place).or(Some(place));
            } else {
                again_ns = again_ns.min(due_ns);
            }
        }
        let Some((_, index)) = found else { return Err(again_ns) };
        while self.is_known_too_large(index) && self.halve(index) {}
        let (Some(part), Some(batch)) = (self.parts.get(index), &self.batch) else { return Err(again_ns) };
        Ok(Due {
            index,
            seq: batch.seq,
            name: &part.name,
            items: part.items,
            body: part.body(&batch.messages),
            framing: self.framings.current(),
        })
    }

    /// Applies the end of the send of message `index`. Returns the row of the delivery table that decided.
    pub fn ended(&mut self, index: usize, end: &SendEnd, now_ns: u64, settled: &mut Vec<Settled>) -> Outcome {
        let (outcome, retry_after_ns) = match self.considered(end) {
            Some(considered) => considered,
            // The next framing, at once.
            None => return Outcome::WrongFraming,
        };
        let Some(part) = self.parts.get_mut(index) else { return outcome };
        if !matches!(outcome, Outcome::Unknown | Outcome::TooLarge) {
            part.unknown = 0;
        }
        match outcome {
            Outcome::Acknowledged => {
                // The server is there again: what waits is sent at once.
                self.failures = 0;
                self.gate_ns = 0;
                self.fits(index);
                self.settle(index, Verdict::Acknowledged, settled);
            }
            Outcome::NotCounted | Outcome::Busy => {
                self.failures = self.failures.saturating_add(1);
                let wait_ns = self.jitter.backoff_ns(self.failures).max(retry_after_ns);
                self.hold(index, now_ns.saturating_add(wait_ns), outcome == Outcome::Busy, settled);
            }
            // At the flush interval, even with a token that was read again. The new one may be refused too, and
            // thousands of nodes would ask at once.
            Outcome::Denied => self.hold(index, now_ns.saturating_add(self.flush_interval_ns), false, settled),
            Outcome::TooLarge => self.too_large(index, now_ns, retry_after_ns, settled),
            Outcome::WrongFraming | Outcome::Refused => self.refused(index, Lost::Refused, now_ns, settled),
            Outcome::Unknown => {
                part.doubt_since_ns.get_or_insert(now_ns);
                self.doubt(index, now_ns, retry_after_ns);
            }
        }
        outcome
    }

    /// Returns the facts for the state file since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Returns the outcome and how long the server asks to wait. `None`: the answer is not of this framing, and the next
    /// one is tried at once.
    fn considered(&mut self, end: &SendEnd) -> Option<(Outcome, u64)> {
        let outcome = match (end.outcome(), end) {
            (Outcome::WrongFraming, SendEnd::Answered { status, .. }) => self.framings.wrong(*status)?,
            (outcome, _) => outcome,
        };
        if outcome == Outcome::Acknowledged {
            self.framings.works();
        }
        let retry_after_ns = match end {
            SendEnd::Answered { retry_after_ns: Some(wait_ns), .. } => (*wait_ns).min(MAX_RETRY_AFTER_NS),
            _ => 0,
        };
        Some((outcome, retry_after_ns))
    }

    /// Sends nothing before `until_ns`. Merges the message back, now or then (`keep`), unless it may have been counted.
    fn hold(&mut self, index: usize, until_ns: u64, keep: bool, settled: &mut Vec<Settled>) {
        self.gate_ns = until_ns;
        let Some(part) = self.parts.get_mut(index) else { return };
        part.due_ns = until_ns;
        // An earlier send of it may have been counted, and this refusal says nothing of that one.
        if part.doubt_since_ns.is_some() {
            return;
        }
        part.merge_when_due = keep;
        if !keep {
            self.settle(index, Verdict::Merge, settled);
        }
    }

    /// Schedules the same bytes again, each time later: DAKR recognises a repeat only if it is byte-identical.
    fn doubt(&mut self, index: usize, now_ns: u64, retry_after_ns: u64) {
        let Some(part) = self.parts.get_mut(index) else { return };
        part.unknown = part.unknown.saturating_add(1);
        let wait_ns = self.jitter.backoff_ns(part.unknown).max(retry_after_ns);
        part.due_ns = now_ns.saturating_add(wait_ns);
    }

    /// Schedules a refused message for the next flush, [`MAX_RESENDS_OF_REFUSED`] times; then drops it.
    fn refused(&mut self, index: usize, reason: Lost, now_ns: u64, settled: &mut Vec<Settled>) {
        let Some(part) = self.parts.get_mut(index) else { return };
        part.refusals += 1;
        part.due_ns = now_ns.saturating_add(self.flush_interval_ns);
        if part.refusals > MAX_RESENDS_OF_REFUSED {
            self.settle(index, Verdict::Drop(reason), settled);
        }
    }

    fn settle(&mut self, index: usize, verdict: Verdict, settled: &mut Vec<Settled>) {
        if index >= self.parts.len() {
            return;
        }
        let part = self.parts.remove(index);
        self.notes.push(Note::Ended(part.name, verdict));
        if part.items > 0 {
            let (first_item, items) = (part.first_item, part.items);
            self.settlements.push((first_item, items, verdict));
            settled.push(Settled::Items { first_item, items, verdict });
        }
        if part.lookups > 0 {
            settled.push(Settled::Lookups { first: part.first_lookup, count: part.lookups, verdict });
        }
        self.hand_back(settled);
    }

    fn hand_back(&mut self, settled: &mut Vec<Settled>) {
        if self.parts.is_empty()
            && let Some(batch) = self.batch.take()
        {
            settled.push(Settled::Batch(batch));
        }
    }
}

#[cfg(test)]
mod tests;
