//! The batch that one flush sends: frozen rows as encoded messages, and their fate.

use crate::stats::Lost;

/// One request body of a batch. Its bytes are fixed at the freeze: a resend sends the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Position within the batch; goes into the header `X-Netmon-Batch: <node>/<boot>/<seq>.<part>`.
    pub part: u32,
    /// Number of its first item within the batch. Items are numbered over all messages of the batch.
    pub first_item: u32,
    /// Number of its items.
    pub items: u32,
    /// tx plus rx bytes of its items, for logs and `ambiguous`.
    pub total_bytes: u64,
    /// `SendNetworkTrafficMetricsRequest`, encoded.
    pub body: Vec<u8>,
}

/// The messages of one flush. `push` settles every message and returns the buffers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Grows by one with every batch of this process.
    pub seq: u64,
    /// When it was frozen, nanoseconds since the epoch.
    pub frozen_wall_ns: u64,
    /// Its messages, in order.
    pub messages: Vec<Message>,
}

/// A message from `collect` to `push`.
#[derive(Debug)]
pub enum Parcel {
    /// A window; with a state file also the collector's tables just after the freeze.
    Batch(Batch, Option<Vec<u8>>),
    /// The collector's tables alone, while no window can be frozen.
    Tables(Vec<u8>),
}

/// How a range of items was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// DAKR acknowledged them.
    Acknowledged,
    /// DAKR did not count them: they return to the open window.
    Merge,
    /// For an hour it was unknown whether DAKR counted them: they return to the open window, and count as ambiguous.
    MergeAmbiguous,
    /// They cannot be delivered; with [`Lost::ShutdownAmbiguous`], the agent stops before DAKR has answered.
    Drop(Lost),
}

/// A fact for the state file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Two halves replace the message of this name.
    Halved(String),
    /// The message of this name is settled.
    Ended(String, Verdict),
}

/// A message from `push` to `collect`.
#[derive(Debug)]
pub enum Settled {
    /// The fate of items `first_item .. first_item + items` of the batch under way.
    Items {
        /// Number of the first item.
        first_item: u32,
        items: u32,
        /// What became of them.
        verdict: Verdict,
    },
    /// The fate of the DNS lookups `first .. first + count` of the batch under way. Lookups without a verdict return to
    /// the open window.
    Lookups {
        /// Number of the first; they are numbered over all messages of the batch.
        first: u32,
        count: u32,
        /// What became of them.
        verdict: Verdict,
    },
    /// Every item of the batch is settled; the buffers return for reuse.
    Batch(Batch),
    /// The agent stops; the unsettled part of the batch stays in the state file.
    Left,
    /// Whether the last tables is in the state file.
    Persisted(bool),
    /// DAKR asked for a full collection pass now (`collect_now`).
    CollectNow,
}
