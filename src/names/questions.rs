//! The DNS questions that wait for their answers. An answer without a question is not accepted.

use crate::aged::Aged;
use crate::clock::SECOND;
use crate::flow::Addr;
use crate::table::entry;

/// Largest number of open questions.
const CAPACITY: u32 = 4_096;
/// Time in which an answer must arrive.
const PATIENCE_NS: u64 = 10 * SECOND;

/// The fields that question and answer must share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The address that asked.
    pub client: Addr,
    /// The DNS server.
    pub server: Addr,
    pub client_port: u16,
    pub server_port: u16,
    /// The ID of the DNS message.
    pub id: u16,
    pub protocol: u8,
    /// Seeded hash of the asked name and record type.
    pub name: u64,
}

#[derive(Clone, Copy)]
struct Question {
    key: Key,
    mark: u32,
    is_answered: bool,
    asked_mono_ns: u64,
}

entry!(Question { key: Key });

/// The state of an answer's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// No question, or it is too old.
    No,
    /// It waits for an answer, in this slot; see [`Questions::answered`].
    Open(u32),
    /// It is answered: this is a repetition.
    Answered,
}

pub struct Questions {
    asked: Aged<Question>,
}

impl Questions {
    /// Creates an empty table.
    pub fn new() -> Questions {
        Questions { asked: Aged::with_capacity(CAPACITY) }
    }

    /// Adds or repeats a question.
    pub fn ask(&mut self, key: &Key, now_ns: u64) {
        if let Some(slot) = self.asked.find(key) {
            self.asked.remove(slot);
        }
        if self.asked.is_full()
            && let Some(oldest) = self.asked.oldest()
        {
            self.asked.remove(oldest);
        }
        // There is room now, so this cannot fail.
        let _ = self.asked.insert(Question { key: *key, mark: 0, is_answered: false, asked_mono_ns: now_ns });
    }

    /// Returns the state of a question.
    pub fn find(&self, key: &Key, now_ns: u64) -> Asked {
        let slot = self.asked.find(key);
        match slot.and_then(|slot| Some((slot, self.asked.get(slot)?))) {
            Some((_, question)) if now_ns.saturating_sub(question.asked_mono_ns) > PATIENCE_NS => Asked::No,
            Some((_, question)) if question.is_answered => Asked::Answered,
            Some((slot, _)) => Asked::Open(slot),
            None => Asked::No,
        }
    }

    /// Marks the question in a slot as answered.
    pub fn answered(&mut self, slot: u32) {
        if let Some(question) = self.asked.get_mut(slot) {
            question.is_answered = true;
        }
    }
}

#[cfg(test)]
mod tests;
