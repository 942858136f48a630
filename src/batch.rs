//! What one flush sends: frozen rows as encoded messages, and what became of them.

use crate::stats::Lost;

/// One request body of a batch. The bytes are fixed when the batch is frozen: a resend sends the very same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Position within the batch; goes into the header `X-Netmon-Batch: <node>/<boot>/<seq>.<part>`.
    pub part: u32,
    /// Number of its first item within the batch. Items are numbered over all messages of the batch.
    pub first_item: u32,
    /// How many items it holds.
    pub items: u32,
    /// tx plus rx bytes of its items, for logs and `ambiguous`.
    pub total_bytes: u64,
    /// `SendNetworkTrafficMetricsRequest`, encoded.
    pub body: Vec<u8>,
}

/// What one flush sends. Handed to `push`, which settles every message and hands the buffers back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Grows by one with every batch of this process.
    pub seq: u64,
    /// When it was frozen, nanoseconds since the epoch.
    pub frozen_wall_ns: u64,
    /// Its messages, in order.
    pub messages: Vec<Message>,
}

/// What `collect` hands to `push`.
#[derive(Debug)]
pub enum Parcel {
    /// A window; with a state file also the collector's tables as they stand just after it was frozen.
    Batch(Batch, Option<Vec<u8>>),
    /// The collector's tables alone, while no window can be frozen.
    Tables(Vec<u8>),
}

/// How a range of items was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// DAKR took them.
    Acknowledged,
    /// DAKR surely did not count them: they go back into the open window.
    Merge,
    /// Whether DAKR counted them was unknown for an hour: they go back, and count as ambiguous.
    MergeAmbiguous,
    /// They can never be delivered; or, with [`Lost::ShutdownAmbiguous`], the agent stops while it is still unknown whether
    /// DAKR counted them.
    Drop(Lost),
}

/// What the state file has to be told before anything else is sent, or soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The message of this name stands in two halves now, which are sent in its place.
    Halved(String),
    /// The message of this name is settled.
    Ended(String, Verdict),
}

/// What `push` tells `collect`.
#[derive(Debug)]
pub enum Settled {
    /// The fate of items `first_item .. first_item + items` of batch `seq`.
    Items {
        /// The batch.
        seq: u64,
        /// Number of the first item.
        first_item: u32,
        /// How many.
        items: u32,
        /// What became of them.
        verdict: Verdict,
    },
    /// The fate of the DNS lookups `first .. first + count` of the batch under way. Those that nothing is said of go back.
    Lookups {
        /// Number of the first; they are numbered over all messages of the batch.
        first: u32,
        /// How many.
        count: u32,
        /// What became of them.
        verdict: Verdict,
    },
    /// Every item of the batch has been settled; the buffers come back for reuse.
    Batch(Batch),
    /// The agent stops, and what is not settled of the batch stays in the state file.
    Left,
    /// Whether the last tables is in the state file.
    Persisted(bool),
    /// DAKR asked for a full collection pass now (`collect_now`).
    CollectNow,
}
