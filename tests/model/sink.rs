//! The model's DAKR: what it has, and what becomes of the sends of a batch.

use std::collections::{HashMap, HashSet};

use netmon::export::dakr::framing::{Answer, Code};
use netmon::export::dakr::outcome::{Outcome as Row, SendEnd};
use netmon::export::dakr::split::split;
use netmon::flow::TxRx;

use crate::support::schema;
use crate::{Mutant, Outcome};

/// Messages that were counted, by their bytes: a repeat is the same message, a half of it is another.
#[derive(Default)]
pub struct Sink {
    messages: HashMap<Vec<u8>, TxRx>,
}

impl Sink {
    /// Counts a message that it does not know.
    pub fn take(&mut self, body: &[u8]) {
        let sum = || schema::items(body).iter().fold(TxRx::ZERO, |sum, item| sum + item.counts);
        self.messages.entry(body.to_vec()).or_insert_with(sum);
    }

    /// All that it counted.
    pub fn sum(&self) -> TxRx {
        self.messages.values().fold(TxRx::ZERO, |sum, counts| sum + *counts)
    }
}

/// What becomes of the sends of each message of a batch, its halves' included, in turn; then all is counted.
pub struct Sends<'a> {
    mutant: Mutant,
    outcomes: &'a [Outcome],
    made: HashMap<String, usize>,
    /// Those that may have been counted.
    doubtful: HashSet<String>,
}

impl<'a> Sends<'a> {
    /// Of a batch.
    pub fn new(mutant: Mutant, outcomes: &'a [Outcome]) -> Sends<'a> {
        Sends { mutant, outcomes, made: HashMap::new(), doubtful: HashSet::new() }
    }

    /// The same for a message of the process before: nobody knows whether that has sent it.
    pub fn send_in_doubt(&mut self, sink: &mut Sink, name: &str, body: &[u8]) -> SendEnd {
        self.doubtful.insert(name.to_owned());
        self.send(sink, name, body)
    }

    /// A message arrives, or does not; how the sender sees it. A mutant sees it wrongly.
    pub fn send(&mut self, sink: &mut Sink, name: &str, body: &[u8]) -> SendEnd {
        let message = name.split('.').next().unwrap_or(name).to_owned();
        let made = self.made.entry(message).or_default();
        let outcome = self.outcomes.get(*made).copied().unwrap_or(Outcome::Counted);
        // For good is as long as the sender tries; in doubt it would try for an hour.
        if outcome != Outcome::RefusedForGood || self.doubtful.contains(name) {
            *made += 1;
        }
        if matches!(outcome, Outcome::Counted | Outcome::CountedUnheard | Outcome::CountedBadGateway) {
            sink.take(body);
        }
        let end = end_of(outcome);
        match (self.mutant, end.outcome()) {
            (Mutant::ConsumeBeforeAck, _) => return end_of(Outcome::Counted),
            (Mutant::MergeAmbiguous, Row::Unknown) => return end_of(Outcome::NotCounted),
            (Mutant::CutInDoubt, Row::TooLarge) if self.doubtful.contains(name) => {
                if let Some((first, second)) = split(body) {
                    sink.take(&first.body);
                    sink.take(&second.body);
                    return end_of(Outcome::Counted);
                }
            }
            (_, Row::Unknown) => drop(self.doubtful.insert(name.to_owned())),
            _ => {}
        }
        end
    }
}

fn end_of(outcome: Outcome) -> SendEnd {
    let status = |status| SendEnd::Answered { status, answer: Answer::Foreign, retry_after_ns: None };
    match outcome {
        Outcome::Counted => SendEnd::Answered { status: 200, answer: Answer::Ok(Vec::new()), retry_after_ns: None },
        Outcome::NotCounted => SendEnd::Unsent,
        Outcome::CountedUnheard | Outcome::LostUnheard => SendEnd::NoAnswer,
        Outcome::CountedBadGateway | Outcome::LostBadGateway => status(502),
        Outcome::TooLarge => status(413),
        Outcome::LargerThan => {
            let message = "message size 9 is larger than configured max 8".to_owned();
            let answer = Answer::Error { code: Code::ResourceExhausted, message };
            SendEnd::Answered { status: 429, answer, retry_after_ns: None }
        }
        Outcome::RefusedForGood => status(400),
    }
}
