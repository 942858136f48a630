//! The rows of a snapshot as a reader asks for them: filtered, summed by a key, sorted and cut. It writes them as JSON,
//! CSV or lines for another program. Page, `top`, `flows` and curl share it.
//!
//! Choosing takes four bytes for each row, and 32 for each sum that is shown; writing allocates nothing per row. It does
//! not know who asks, nor where rows come from.

mod key;
pub mod query;
mod text;

use std::cmp::Reverse;
use std::sync::Arc;

use self::key::{key, matches};
use self::query::{By, Format, Query, Sort};
pub use super::json::About;
use super::json::{Answered, Flows};
use crate::snapshot::{RowView, Snapshot};

/// The sum of some rows.
#[derive(Clone, Copy)]
struct Sum {
    /// One of its rows, which has the key.
    row: u32,
    /// How many there are.
    rows: u32,
    tx_bytes: u64,
    rx_bytes: u64,
    rate: [f32; 2],
}

impl Sum {
    fn of(at: u32, row: &RowView) -> Sum {
        Sum { row: at, rows: 1, tx_bytes: row.total.tx.bytes, rx_bytes: row.total.rx.bytes, rate: row.rate }
    }

    fn add(&mut self, other: &Sum) {
        self.rows += other.rows;
        self.tx_bytes = self.tx_bytes.saturating_add(other.tx_bytes);
        self.rx_bytes = self.rx_bytes.saturating_add(other.rx_bytes);
        self.rate = [self.rate[0] + other.rate[0], self.rate[1] + other.rate[1]];
    }

    /// What it is sorted by; of equals, what has more bytes comes first.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive, and a cast saturates"
    )]
    fn measure(&self, sort: Sort) -> (u64, u64) {
        let bytes = self.tx_bytes.saturating_add(self.rx_bytes);
        let [tx, rx] = self.rate;
        match sort {
            Sort::Rate => ((tx + rx) as u64, bytes),
            Sort::Tx => (tx as u64, bytes),
            Sort::Rx => (rx as u64, bytes),
            Sort::Bytes => (bytes, 0),
        }
    }
}

/// What is said of the whole, beside rows.
#[derive(Clone, Debug)]
pub struct Head {
    pub node_name: Arc<str>,
    /// The agent's health.
    pub status: &'static str,
    /// When the last sweep began, nanoseconds since the epoch; 0 before the first.
    pub swept_wall_ns: u64,
    /// The agent that answers.
    pub agent: About,
}

/// One answer, written piece by piece.
pub enum View {
    /// Rows as JSON.
    Rows(Flows),
    /// Everything else.
    Lines(text::Lines),
}

impl View {
    /// Chooses what is shown; without a question, that is every row, as JSON.
    pub fn new(snapshot: Arc<Snapshot>, head: Head, query: Option<&Query>) -> View {
        let Head { node_name, swept_wall_ns, .. } = &head;
        let (node_name, swept_wall_ns) = (Arc::clone(node_name), *swept_wall_ns);
        let Some(query) = query else {
            return View::Rows(Flows::new(snapshot, node_name, None, swept_wall_ns));
        };
        let chosen = choose(&snapshot, query);
        match (query.by, query.format) {
            (By::Row, Format::Json) => {
                let answer = Answered { matched: chosen.matched, groups: None, agent: head.agent };
                View::Rows(Flows::new(snapshot, node_name, Some((chosen.rows, answer)), swept_wall_ns))
            }
            _ => View::Lines(text::Lines::new(snapshot, head, query, chosen)),
        }
    }

    /// The snapshot it writes.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        match self {
            View::Rows(flows) => flows.snapshot(),
            View::Lines(lines) => lines.snapshot(),
        }
    }

    /// Appends to `out` until about `limit` bytes are in it. Returns whether that was all.
    pub fn fill(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        match self {
            View::Rows(flows) => flows.fill(out, limit),
            View::Lines(lines) => lines.fill(out, limit),
        }
    }
}

/// What is shown, in its order.
struct Chosen {
    /// Rows, where each stands for itself.
    rows: Vec<u32>,
    /// Sums, where not.
    sums: Vec<Sum>,
    /// How many rows matched, and the sum of them.
    matched: u32,
    rate: [f32; 2],
    /// How many sums there are, shown or cut; 0 where each row stands for itself.
    groups: usize,
}

#[allow(clippy::cast_possible_truncation, reason = "fewer rows than slots")]
fn choose(snapshot: &Snapshot, query: &Query) -> Chosen {
    let (by, sort) = (query.by, query.sort);
    let all = (0..).zip(&snapshot.rows);
    let mut rows: Vec<u32> = all.filter(|(_, row)| matches(snapshot, row, query)).map(|(at, _)| at).collect();
    let sum = |at: u32| snapshot.rows.get(at as usize).map_or(NOTHING, |row| Sum::of(at, row));
    let mut total = NOTHING;
    rows.iter().for_each(|at| total.add(&sum(*at)));
    let mut sums: Vec<Sum> = Vec::new();
    let order = |rank: &mut dyn FnMut(u32) -> (u64, u64), count: usize| -> Vec<u32> {
        let mut order: Vec<((u64, u64), Reverse<u32>)> = (0..count as u32).map(|at| (rank(at), Reverse(at))).collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        order.truncate(query.limit.unwrap_or(usize::MAX));
        order.into_iter().map(|(_, Reverse(at))| at).collect()
    };
    let mut groups = 0;
    let at = |list: &[u32], n: u32| list.get(n as usize).copied().unwrap_or(u32::MAX);
    if by == By::Row {
        let order = order(&mut |n| sum(at(&rows, n)).measure(sort), rows.len());
        rows = order.into_iter().map(|n| at(&rows, n)).collect();
    } else {
        let key = |at: u32| snapshot.rows.get(at as usize).map(|row| key(snapshot, row, by));
        rows.sort_unstable_by(|a, b| key(*a).cmp(&key(*b)));
        for at in std::mem::take(&mut rows) {
            match sums.last_mut() {
                Some(last) if key(last.row) == key(at) => last.add(&sum(at)),
                _ => sums.push(sum(at)),
            }
        }
        groups = sums.len();
        let order = order(&mut |n| sums.get(n as usize).unwrap_or(&NOTHING).measure(sort), sums.len());
        sums = order.into_iter().filter_map(|n| sums.get(n as usize).copied()).collect();
    }
    Chosen { rows, sums, matched: total.rows, rate: total.rate, groups }
}

const NOTHING: Sum = Sum { row: u32::MAX, rows: 0, tx_bytes: 0, rx_bytes: 0, rate: [0.0; 2] };

#[cfg(test)]
mod tests;
