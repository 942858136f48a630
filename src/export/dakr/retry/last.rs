//! The end of the agent: what is left is sent once more, and then settled or left to the state file.

use super::{Delivery, Outcome, SendEnd};
use crate::batch::{Settled, Verdict};
use crate::stats::Lost;

impl Delivery {
    /// The agent stops: everything that is left is due now, once; halves of what is too large after it.
    pub fn last_round(&mut self) -> usize {
        self.gate_ns = 0;
        self.forget_refusals();
        for part in &mut self.parts {
            part.due_ns = 0;
            part.merge_when_due = false;
        }
        self.parts.len()
    }

    /// What the last send of message `index` ended with: settled or left where it is.
    pub fn ended_finally(&mut self, index: usize, end: &SendEnd, now_ns: u64, settled: &mut Vec<Settled>) -> Outcome {
        let Some((outcome, _)) = self.considered(end) else { return Outcome::WrongFraming };
        match outcome {
            Outcome::Acknowledged => {
                self.fits(index);
                self.gate_ns = 0;
                self.settle(index, Verdict::Acknowledged, settled);
            }
            Outcome::TooLarge if self.too_large_finally(index, now_ns) => {}
            outcome => {
                if let Some(part) = self.parts.get_mut(index) {
                    // Not due any more in this life.
                    part.due_ns = u64::MAX;
                    if outcome == Outcome::Unknown {
                        part.doubt_since_ns.get_or_insert(now_ns);
                    }
                }
            }
        }
        outcome
    }

    /// The agent stops: settles what is left as surely not counted, or unsettled; with a state file (`persists`) what
    /// may have been counted stays for it.
    pub fn finish(&mut self, persists: bool, settled: &mut Vec<Settled>) {
        let mut at = 0;
        while let Some(part) = self.parts.get(at) {
            match part.doubt_since_ns {
                Some(_) if persists => at += 1,
                Some(_) => self.settle(at, Verdict::Drop(Lost::ShutdownAmbiguous), settled),
                None => self.settle(at, Verdict::Merge, settled),
            }
        }
        if at > 0 {
            settled.push(Settled::Left);
        }
    }
}
