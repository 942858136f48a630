//! Ends a window: frozen rows as encoded messages of bounded size, with times that never repeat.

use super::pipeline::Pipeline;
use crate::batch::{Batch, Message};
use crate::clock::{MS, Now};
use crate::export::dakr::encode::{self, Header, Item};
use crate::owner::Owner;

/// Bytes of one message at most, before compression.
const MAX_BODY_BYTES: usize = 1 << 20;
/// An item is smaller than this: two addresses, two names of at most 253 and 63 bytes, ten numbers.
const ITEM_BYTES: usize = 640;

/// What every message says of its sender.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The node.
    pub node_name: String,
    /// The cluster, empty if not given.
    pub cluster_id: String,
}

/// Makes batches.
pub struct Freezer {
    sender: Sender,
    seq: u64,
    last_item_ns: u64,
    spare: Batch,
}

impl Freezer {
    /// The first batch will have the number 1.
    pub fn new(sender: Sender) -> Freezer {
        Freezer { sender, seq: 0, last_item_ns: 0, spare: Batch::default() }
    }

    /// Takes back the buffers of a settled batch.
    pub fn put_back(&mut self, batch: Batch) {
        self.spare = batch;
    }

    /// Freezes the open window, with at most `max_items` items in a message. `None` where nothing is to be pushed:
    /// then the window is settled all the same.
    pub fn freeze(&mut self, pipeline: &mut Pipeline, max_items: u32, now: Now) -> Option<Batch> {
        let mut batch = std::mem::take(&mut self.spare);
        let mut bodies: Vec<Vec<u8>> = batch.messages.drain(..).map(|message| message.body).collect();
        let header = Header {
            node_name: &self.sender.node_name,
            cluster_id: &self.sender.cluster_id,
            operator_version: Some(crate::VERSION),
            operator_commit: Some(crate::COMMIT),
        };
        let max_items = max_items.max(1);
        // Strictly later than every item of the batch before, whatever the wall clock does: a sink that drops
        // byte-identical repeats must never take a new item for an old one.
        let frozen_ns = now.wall_ns.max(self.last_item_ns + MS);
        let mut last_item_ns = frozen_ns;
        let (rows, ledger, owners) = pipeline.books();
        rows.freeze(ledger, |frozen| {
            let full = batch
                .messages
                .last()
                .is_none_or(|message| message.items >= max_items || message.body.len() + ITEM_BYTES > MAX_BODY_BYTES);
            if full {
                if let Some(message) = batch.messages.last_mut() {
                    encode::end(&mut message.body, &header);
                }
                let mut body = bodies.pop().unwrap_or_default();
                body.clear();
                encode::begin(&mut body, &header);
                let part = batch.messages.len() as u32;
                batch.messages.push(Message { part, first_item: frozen.number, items: 0, total_bytes: 0, body });
            }
            let Some(message) = batch.messages.last_mut() else { return };
            let (pod_namespace, pod_name) = match owners.get(frozen.owner) {
                Owner::Pod(pod) => (pod.namespace.as_ref(), pod.name.as_ref()),
                Owner::Host | Owner::Address | Owner::Other => ("", ""),
            };
            let timestamp_ns = frozen_ns + u64::from(frozen.repeat) * MS;
            last_item_ns = last_item_ns.max(timestamp_ns);
            let item = Item {
                local: frozen.wire.src,
                remote: frozen.wire.dst,
                pod_name,
                pod_namespace,
                protocol: frozen.wire.protocol,
                port: frozen.wire.dst_port,
                counts: frozen.counts,
                timestamp_ns,
            };
            encode::item(&mut message.body, &item);
            message.items += 1;
            message.total_bytes += frozen.counts.total_bytes();
        });
        if let Some(message) = batch.messages.last_mut() {
            encode::end(&mut message.body, &header);
        }
        if batch.messages.is_empty() {
            self.spare = batch;
            return None;
        }
        self.last_item_ns = last_item_ns;
        self.seq += 1;
        batch.seq = self.seq;
        batch.frozen_wall_ns = frozen_ns;
        Some(batch)
    }
}
