//! Decides which DNS answers are accepted: only those whose question was seen, so that nobody can plant names.
//!
//! Each answer is counted once: as a lookup, as folded into a lookup, or as skipped with a reason.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::capture::Captured;
use super::questions::{Asked, Key, Questions};
use super::{Askers, LOOPBACK, Names};
use crate::flow::{Addr, protocol};
use crate::stats::{DnsSkip, Stats};
use crate::wire::dns::{MAX_TEXT_BYTES, Message, next_of_segment};

/// Largest number of addresses in a captured message: each needs at least 16 bytes.
const MAX_ADDRESSES: usize = super::capture::MAX_PAYLOAD_BYTES / 16;

pub struct Judge {
    questions: Questions,
    names: Arc<Names>,
    stats: Arc<Stats>,
    seed: RandomState,
    addresses: Vec<(Addr, u32)>,
    askers: Option<Askers>,
}

impl Judge {
    /// Accepted names go to `names`.
    pub fn new(names: Arc<Names>, stats: Arc<Stats>) -> Judge {
        let addresses = Vec::with_capacity(MAX_ADDRESSES);
        Judge { questions: Questions::new(), names, stats, seed: RandomState::new(), addresses, askers: None }
    }

    /// Sets who tells whose a loopback address is; without that it is the host's.
    pub fn set_askers(&mut self, askers: Option<Askers>) {
        self.askers = askers;
    }

    /// Judges one record of the programs.
    pub fn take(&mut self, seen: &Captured<'_>, now_ns: u64) {
        let client = match &mut self.askers {
            _ if !seen.client.is_loopback() => seen.client,
            Some(askers) => askers(seen.cgroup),
            None => LOOPBACK,
        };
        let seen = &Captured { client, ..*seen };
        if seen.protocol != protocol::TCP {
            return self.message(seen, seen.payload, now_ns);
        }
        let mut rest = seen.payload;
        let mut messages = 0;
        while let Some((message, next)) = next_of_segment(rest) {
            self.message(seen, message, now_ns);
            (rest, messages) = (next, messages + 1);
        }
        if seen.is_answer {
            // The programs count each segment as one answer.
            let cut = !rest.is_empty() || seen.is_cut();
            self.stats.dns_answers.add((messages + u64::from(cut)).saturating_sub(1));
            if cut {
                self.skip(DnsSkip::Segmented);
            }
        }
    }

    fn message(&mut self, seen: &Captured<'_>, bytes: &[u8], now_ns: u64) {
        let message = Message::read(bytes);
        if !seen.is_answer {
            // An unreadable question is not stored. Its answer is then counted as unasked.
            if let Ok(question) = message
                && !question.is_answer
            {
                let key = self.key(seen, &question);
                self.questions.ask(&key, now_ns);
            }
            return;
        }
        match message {
            Ok(answer) if answer.is_answer => self.answer(seen, &answer, now_ns),
            _ => self.skip(DnsSkip::Malformed),
        }
    }

    fn answer(&mut self, seen: &Captured<'_>, answer: &Message<'_>, now_ns: u64) {
        let slot = match self.questions.find(&self.key(seen, answer), now_ns) {
            Asked::Open(slot) => slot,
            Asked::Answered => return self.stats.dns_folded.inc(),
            Asked::No => return self.skip(DnsSkip::Unasked),
        };
        let addresses = &mut self.addresses;
        addresses.clear();
        let found = answer.addresses(&mut |address, ttl_s| {
            if addresses.len() < MAX_ADDRESSES {
                addresses.push((address, ttl_s));
            }
        });
        // The question stays open, because the genuine answer may still arrive.
        let Ok(found) = found else { return self.skip(DnsSkip::Malformed) };
        self.questions.answered(slot);
        if found.addresses == 0 {
            return self.skip(if found.is_short || seen.is_cut() { DnsSkip::Truncated } else { DnsSkip::Empty });
        }
        let hash = self.seed.hash_one(answer.name.wire());
        self.names.learn(seen.client, answer.name.text(&mut [0; MAX_TEXT_BYTES]), hash, &self.addresses, now_ns);
    }

    fn key(&self, seen: &Captured<'_>, message: &Message<'_>) -> Key {
        Key {
            client: seen.client,
            server: seen.server,
            client_port: seen.client_port,
            server_port: seen.server_port,
            id: message.id,
            protocol: seen.protocol,
            name: self.seed.hash_one((message.name.wire(), message.kind)),
        }
    }

    fn skip(&self, reason: DnsSkip) {
        self.stats.dns_skipped[reason as usize].inc();
    }
}

#[cfg(test)]
mod tests;
