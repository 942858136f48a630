//! Converts a record to an increment: it selects the zone, finds the connection and subtracts the baseline. Whose the
//! increment is, others decide.

use super::Pipeline;
use super::opener::as_opened;
use crate::audit::equation::Part;
use crate::baseline::{Judged, Opener};
use crate::clock::{Now, SECOND};
use crate::collect::ct_zone::Part as ZonePart;
use crate::flow::{Connection, Direction, Reading, Traffic};
use crate::stats::{Lost, Skip};
use crate::table::AT_ONCE;

/// A connection cannot have begun so long after the sweep that shows it. The wall clock was set back, so no start
/// proves that we saw a whole life.
const AHEAD_NS: u64 = 10 * SECOND;

impl Pipeline {
    /// Adds one record of a sweep. Rows contain it after [`Pipeline::end_sweep`].
    pub fn record(&mut self, c: &Connection, now: Now) {
        self.ends += u64::from(c.reading.is_end());
        let is_increment = c.reading.is_increment();
        let lives = !c.reading.is_end() && !is_increment;
        // Only living entries choose the zone: where connections have ended, none may follow.
        if lives && self.ct_zone.asks(c.key.ct_zone) && (self.local.is_host(c.key.src) || self.local.is_host(c.backend))
        {
            self.ct_zone.note_local(c.key.ct_zone);
        }
        self.part = if is_increment { ZonePart::All } else { self.part_of(c, now) };
        if self.part == ZonePart::Nothing {
            self.skipped.add(Skip::CtZone);
            return;
        }
        // An address that left the host stays local while connections still use it, or their last bytes have no owner.
        if self.local.any_left() {
            self.local.still_used(c.key.src);
            self.local.still_used(c.backend);
        }
        if c.start_ns != 0 {
            self.wall_clock.look(now);
            // A start ahead of the clock shows that the clock was set back: no start proves then that we saw a whole life.
            if c.start_ns > now.wall_ns.saturating_add(AHEAD_NS) {
                self.baselines.distrust_starts();
            }
        }
        let began_ns = self.began_ns(c);
        let mut opener = None;
        let judged = match c.reading {
            Reading::Live | Reading::PickedUp | Reading::Partial { .. } => self.baselines.live(c),
            Reading::Ended | Reading::CutOff => {
                // Read first, for the baseline goes with the end.
                opener = self.baselines.opener(&c.key);
                self.baselines.ended(c)
            }
            Reading::Increment | Reading::Tracked => Judged::Increment(c.traffic),
        };
        // The next connection of this tuple is picked up in its midst; its entry may name the wrong opener.
        if c.reading == Reading::CutOff {
            opener = self.decide_opener(c, opener);
            self.openers.remember(&as_opened(c, Traffic::ZERO, opener).0);
        }
        // Converted after the subtraction. Bytes and packets of an entry may be from different moments, so bytes minus
        // headers may fall from sweep to sweep.
        let (is_partial, header_bytes) = match c.reading {
            Reading::Partial { header_bytes, .. } => (true, header_bytes),
            Reading::Live | Reading::PickedUp | Reading::Ended | Reading::CutOff => (false, 0),
            Reading::Increment | Reading::Tracked => (false, 0),
        };
        let cut = |traffic: Traffic| if is_partial { traffic.without_headers(header_bytes) } else { traffic };
        if let Judged::Increment(traffic) = judged
            && c.reading.is_end()
        {
            self.entry_ended(c, traffic);
        }
        match judged {
            Judged::Increment(traffic) if traffic.is_zero() => {}
            // Entries of one side name their opener themselves, so nothing is decided.
            Judged::Increment(traffic) if is_partial => self.count_entry(c, cut(traffic), now),
            Judged::Increment(traffic) => {
                if lives {
                    opener = self.baselines.opener(&c.key);
                }
                opener = self.decide_opener(c, opener);
                // What begins anew under a key that is known counts from zero.
                let began_ns = began_ns.filter(|_| c.start_ns != 0 || traffic != c.traffic);
                let (right, traffic) = as_opened(c, traffic, opener);
                self.count(&right, traffic, opener.is_some_and(|opener| opener.guessed), began_ns, now);
            }
            Judged::Baseline | Judged::Stale => {}
            Judged::BeforeFirstSweep => self.skipped.add(Skip::BeforeFirstSweep),
            Judged::NotFollowed => self.not_followed += 1,
            Judged::Lost(traffic) => {
                let what = cut(traffic).seen_by(Direction::Outbound);
                self.ledger.lose(Lost::ConnectionTableFull, what);
                self.audit.pass(c.key.src, c.backend, c.key.protocol, Part::Lost, what);
            }
        }
    }

    /// Adds one record of a drain. Rows contain it after [`Pipeline::end_drain`]. Ends are judged [`AT_ONCE`] together:
    /// their baselines lie anywhere in a table larger than the caches, and reading them ahead waits for memory once.
    pub fn hear(&mut self, c: &Connection, now: Now) {
        if !c.reading.is_end() {
            self.judge_heard(now);
            return self.record(c, now);
        }
        self.heard.push(*c);
        if self.heard.len() == AT_ONCE {
            self.judge_heard(now);
        }
    }

    /// Called after the last record of a drain.
    pub fn end_drain(&mut self, now: Now) {
        self.judge_heard(now);
        self.add_up();
    }

    fn judge_heard(&mut self, now: Now) {
        let mut heard = std::mem::take(&mut self.heard);
        self.baselines.warm(heard.iter().map(|c| &c.key));
        for c in heard.drain(..) {
            self.record(&c, now);
        }
        self.heard = heard;
    }

    /// Who opened a connection, where its entry may be wrong about it; sticks while the connection is followed.
    fn decide_opener(&mut self, c: &Connection, known: Option<Opener>) -> Option<Opener> {
        if known.is_some() {
            return known;
        }
        let (local, socket_owners) = (&self.local, &self.socket_owners);
        let listens = |addr, port| {
            local.is_host(addr)
                && socket_owners.as_ref().is_some_and(|sockets| sockets.listens(c.key.protocol, addr, port))
        };
        let decided = self.openers.decide(c, listens)?;
        self.baselines.set_opener(&c.key, decided);
        Some(decided)
    }
}
