//! When a fresh picture is asked for, and how long a reader waits for it.
//!
//! At most about one fresh picture a second is made, however many ask; and at most two are alive, so while a slow
//! reader holds an old one everybody else gets the latest there is.

use std::sync::Arc;

use crate::clock::SECOND;
use crate::snapshot::{Board, Snapshot};

/// A picture is fresh for so long.
const FRESH_NS: u64 = SECOND;
/// How long a reader waits for a fresh one before it gets the latest.
const PATIENCE_NS: u64 = 2 * SECOND;

/// A reader's place in the queue for a fresh picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    number: u64,
    /// When the reader takes what there is, monotonic.
    pub until_ns: u64,
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum Picture {
    /// This one.
    Ready(Arc<Snapshot>),
    /// One that is being made.
    Soon(Ticket),
    /// None: nothing was counted yet.
    Missing,
}

/// Asks for pictures, sparingly.
#[derive(Debug, Default)]
pub struct Pictures {
    asked: Option<(u64, u64)>,
}

impl Pictures {
    /// A picture for a reader that comes now. `older_held`: whether another reader still holds one that the latest
    /// has replaced; the collector has no canvas then.
    pub fn take(&mut self, board: &Board, older_held: bool, mono_ns: u64) -> Picture {
        let latest = board.latest();
        if let Some(picture) = latest
            && (older_held || mono_ns.saturating_sub(picture.taken.mono_ns) < FRESH_NS)
        {
            return Picture::Ready(picture);
        }
        let number = match self.asked {
            // Asked a moment ago and not served: that one will do. Asked long ago: the collector has missed it.
            Some((number, at_ns)) if board.served() < number && mono_ns.saturating_sub(at_ns) < PATIENCE_NS => number,
            _ => {
                let number = board.ask();
                self.asked = Some((number, mono_ns));
                number
            }
        };
        Picture::Soon(Ticket { number, until_ns: mono_ns.saturating_add(PATIENCE_NS) })
    }

    /// A picture for a reader that waits.
    pub fn wait(board: &Board, ticket: Ticket, mono_ns: u64) -> Picture {
        if board.served() < ticket.number && mono_ns < ticket.until_ns {
            return Picture::Soon(ticket);
        }
        board.latest().map_or(Picture::Missing, Picture::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{MS, Now};

    fn paint(board: &Board, mono_ns: u64) {
        if let Some(ticket) = board.asked() {
            let taken = Now { mono_ns, wall_ns: 0 };
            board.hang(Arc::new(Snapshot { taken, ..Snapshot::default() }), ticket);
        }
    }

    fn ticket(picture: Picture) -> Ticket {
        match picture {
            Picture::Soon(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn many_readers_ask_once_and_share() {
        let board = Board::default();
        let mut pictures = Pictures::default();
        let first = ticket(pictures.take(&board, false, 0));
        let second = ticket(pictures.take(&board, false, MS));
        assert_eq!(first.number, second.number);
        assert!(matches!(Pictures::wait(&board, first, MS), Picture::Soon(_)));
        paint(&board, 2 * MS);
        assert!(matches!(Pictures::wait(&board, first, 3 * MS), Picture::Ready(_)));
        assert!(matches!(Pictures::wait(&board, second, 3 * MS), Picture::Ready(_)));
        assert!(matches!(pictures.take(&board, false, 900 * MS), Picture::Ready(_)), "still fresh");
        let third = ticket(pictures.take(&board, false, 1100 * MS));
        assert!(third.number > first.number);
    }

    #[test]
    fn who_waits_in_vain_gets_the_latest() {
        let board = Board::default();
        let mut pictures = Pictures::default();
        let early = ticket(pictures.take(&board, false, 0));
        assert!(matches!(Pictures::wait(&board, early, 2 * SECOND), Picture::Missing), "there is none at all");
        let late = ticket(pictures.take(&board, false, 3 * SECOND));
        assert!(late.number > early.number, "the first was missed, so it is asked for again");
        paint(&board, 3 * SECOND);
        let later = ticket(pictures.take(&board, false, 10 * SECOND));
        assert!(matches!(Pictures::wait(&board, later, 11 * SECOND), Picture::Soon(_)));
        assert!(
            matches!(Pictures::wait(&board, later, 12 * SECOND), Picture::Ready(_)),
            "an old one is better than none"
        );
    }

    #[test]
    fn while_an_older_picture_is_held_nobody_waits() {
        let board = Board::default();
        board.ask();
        paint(&board, 0);
        assert!(matches!(Pictures::default().take(&board, true, 60 * SECOND), Picture::Ready(_)));
        assert_eq!(board.asked(), None, "and the collector is left alone");
    }
}
