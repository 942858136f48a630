//! The end of the agent: each remaining message is sent once more, then settled or left in the state file.

use super::{Delivery, Outcome, SendEnd};
use crate::batch::{Settled, Verdict};
use crate::stats::Lost;

impl Delivery {
    /// Makes every remaining message due now, once. Halves of a message that is too large follow it.
    pub fn last_round(&mut self) -> usize {
        self.gate_ns = 0;
        self.forget_refusals();
        for part in &mut self.parts {
            part.due_ns = 0;
            part.merge_when_due = false;
        }
        self.parts.len()
    }

    /// Applies the end of the last send of message `index`.
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
                    // This process does not send it again.
                    part.due_ns = u64::MAX;
                    if outcome == Outcome::Unknown {
                        part.doubt_since_ns.get_or_insert(now_ns);
                    }
                }
            }
        }
        outcome
    }

    /// Settles what is left: merged back if DAKR surely did not count it, else dropped as ambiguous. With a state file
    /// (`persists`) the ambiguous rest stays for the next process.
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
