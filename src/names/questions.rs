//! The questions that were asked and not answered yet: an answer without one is not believed.

use crate::aged::Aged;
use crate::clock::SECOND;
use crate::flow::Addr;
use crate::table::Entry;

/// Questions that are remembered.
const CAPACITY: u32 = 4_096;
/// How long an answer may take.
const PATIENCE_NS: u64 = 10 * SECOND;

/// What an answer must agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Who asked.
    pub client: Addr,
    /// Who was asked.
    pub server: Addr,
    /// The client's port.
    pub client_port: u16,
    /// The server's port.
    pub server_port: u16,
    /// The number that the client chose.
    pub id: u16,
    /// TCP or UDP.
    pub protocol: u8,
    /// Seeded hash of the asked name and its kind.
    pub name: u64,
}

#[derive(Clone, Copy)]
struct Question {
    key: Key,
    mark: u32,
    is_answered: bool,
    asked_mono_ns: u64,
}

impl Entry for Question {
    type Key = Key;
    fn key(&self) -> &Key {
        &self.key
    }
    fn mark(&self) -> u32 {
        self.mark
    }
    fn set_mark(&mut self, mark: u32) {
        self.mark = mark;
    }
}

/// What is known about the question of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nobody asked, or too long ago.
    No,
    /// It waits for its answer: [`Questions::answered`] ends that.
    Open(u32),
    /// It had its answer: this one is a repeat.
    Answered,
}

/// See the module.
pub struct Questions {
    asked: Aged<Question>,
}

impl Questions {
    /// None yet.
    pub fn new() -> Questions {
        Questions { asked: Aged::with_capacity(CAPACITY) }
    }

    /// Somebody asks; perhaps again.
    pub fn ask(&mut self, key: &Key, now_ns: u64) {
        if let Some(slot) = self.asked.find(key) {
            self.asked.remove(slot);
        }
        if self.asked.is_full()
            && let Some(oldest) = self.asked.oldest()
        {
            self.asked.remove(oldest);
        }
        // There is room now.
        let _ = self.asked.insert(Question { key: *key, mark: 0, is_answered: false, asked_mono_ns: now_ns });
    }

    /// Whether this was asked.
    pub fn find(&self, key: &Key, now_ns: u64) -> Asked {
        let slot = self.asked.find(key);
        match slot.and_then(|slot| Some((slot, self.asked.get(slot)?))) {
            Some((_, question)) if now_ns.saturating_sub(question.asked_mono_ns) > PATIENCE_NS => Asked::No,
            Some((_, question)) if question.is_answered => Asked::Answered,
            Some((slot, _)) => Asked::Open(slot),
            None => Asked::No,
        }
    }

    /// The question in a slot has its answer.
    pub fn answered(&mut self, slot: u32) {
        if let Some(question) = self.asked.get_mut(slot) {
            question.is_answered = true;
        }
    }
}

#[cfg(test)]
mod tests;
