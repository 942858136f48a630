//! The books: every counted byte and packet is in exactly one account (rule 14).
//!
//! counted = acknowledged + pending (open, frozen, waiting) + withheld + unattributed + lost, per direction, for bytes
//! and packets. It knows no rows: code that moves counts between places also books them here.

use crate::flow::{Counts, TxRx};
use crate::stats::{Lost, Stats, Unattributed, Withheld};

/// The accounts of one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// All traffic that reached the agent, once per local end.
    pub counted: TxRx,
    /// Acknowledged by DAKR.
    pub acknowledged: TxRx,
    /// In rows, since the last freeze.
    pub open: TxRx,
    /// In the frozen batch.
    pub frozen: TxRx,
    /// Waits for its owner; tx is the originator's.
    pub waiting: TxRx,
    /// Shown but by rule not pushed, by reason.
    pub withheld: [TxRx; Withheld::ALL.len()],
    /// Without a local end, by reason; tx is the originator's.
    pub unattributed: [TxRx; Unattributed::ALL.len()],
    pub lost: [TxRx; Lost::ALL.len()],
    /// Bytes of folded rows; not part of the sum.
    pub folded_bytes: u64,
    pub folded_rows: u64,
}

impl Ledger {
    /// Bytes lost inside a source, which never became a record.
    pub fn lose(&mut self, reason: Lost, what: TxRx) {
        self.counted += what;
        self.lost[reason as usize] += what;
    }

    /// Books an increment without a local end.
    pub fn leave_unattributed(&mut self, reason: Unattributed, what: TxRx) {
        self.counted += what;
        self.unattributed[reason as usize] += what;
    }

    /// Books an increment that starts to wait for its owner.
    pub fn hold(&mut self, what: TxRx) {
        self.counted += what;
        self.waiting += what;
    }

    /// Removes a waiting increment. The caller counts it again, once for each local end that it has.
    pub fn release(&mut self, what: TxRx) {
        self.waiting = self.waiting - what;
        self.counted = self.counted - what;
    }

    /// The sum of all accounts except `counted`.
    #[cfg(not(alone))]
    pub fn accounted(&self) -> TxRx {
        let mut sum = self.acknowledged + self.open + self.frozen + self.waiting;
        for account in self.withheld.iter().chain(&self.unattributed).chain(&self.lost) {
            sum += *account;
        }
        sum
    }

    /// Whether the books balance, to the byte and the packet.
    #[cfg(not(alone))]
    pub fn is_balanced(&self) -> bool {
        self.counted == self.accounted()
    }

    /// Copies the accounts to the counters of `/metrics`.
    pub fn publish(&self, stats: &Stats) {
        stats.counted_tx_bytes.set(self.counted.tx.bytes);
        stats.counted_rx_bytes.set(self.counted.rx.bytes);
        stats.acknowledged_bytes.set(self.acknowledged.total_bytes());
        stats.open_bytes.set(self.open.total_bytes());
        stats.frozen_bytes.set(self.frozen.total_bytes());
        stats.held_bytes.set(self.waiting.total_bytes());
        stats.folded_bytes.set(self.folded_bytes);
        stats.folded_rows.set(self.folded_rows);
        for (cell, account) in stats.not_pushed_bytes.iter().zip(&self.withheld) {
            cell.set(account.total_bytes());
        }
        for (cell, account) in stats.unattributed_bytes.iter().zip(&self.unattributed) {
            cell.set(account.total_bytes());
        }
        for (cell, account) in stats.lost_bytes.iter().zip(&self.lost) {
            cell.set(account.total_bytes());
        }
    }
}

/// A count of bytes with an unknown number of packets.
pub fn bytes_only(tx_bytes: u64, rx_bytes: u64) -> TxRx {
    TxRx { tx: Counts { bytes: tx_bytes, packets: 0 }, rx: Counts { bytes: rx_bytes, packets: 0 } }
}
