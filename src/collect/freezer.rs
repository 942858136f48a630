//! Ends a window: frozen rows as encoded messages of bounded size, with times that never repeat.

use std::cmp::Reverse;
use std::sync::Arc;

use super::pipeline::Pipeline;
use crate::batch::{Batch, Message, Verdict};
use crate::clock::{MS, Now};
use crate::export::dakr::encode::{self, DnsLookup, Header, Item};
use crate::flow::Addr;
use crate::names::{Lookup, RowName};
use crate::owner::{Owner, PodIndex};
use crate::state::bytes::{In, Persist};
use crate::wire::Malformed;

/// Bytes of one message at most, before compression.
const MAX_BODY_BYTES: usize = 1 << 20;
/// An item is smaller than this: two addresses, two names of at most 253 and 63 bytes, ten numbers.
const ITEM_BYTES: usize = 640;
/// What surrounds a name in an entry of `ip2domain`, or an address in a lookup: an address as text, tags and lengths.
const ADDRESS_BYTES: usize = 64;
/// A name as text.
const NAME_BYTES: usize = 1024;

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
    /// The lookups of the batch under way, by number; those that are settled are taken out.
    lookups: Vec<Option<Lookup>>,
    /// Addresses of the message that is being written, with the bytes of their items.
    domains: Vec<(Addr, u64, Arc<str>)>,
}

impl Freezer {
    /// The first batch will have the number 1.
    pub fn new(sender: Sender) -> Freezer {
        Freezer { sender, seq: 0, last_item_ns: 0, spare: Batch::default(), lookups: Vec::new(), domains: Vec::new() }
    }

    /// Appends how far numbers and times have come, for the state file.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.seq.put(out);
        self.last_item_ns.put(out);
    }

    /// Goes on with the numbers and times of the process before.
    ///
    /// # Errors
    /// When the bytes cannot be what [`Freezer::persist`] wrote.
    pub fn restore(&mut self, from: &mut In<'_>) -> Result<(), Malformed> {
        self.seq = Persist::take(from)?;
        self.last_item_ns = Persist::take(from)?;
        Ok(())
    }

    /// Takes back the buffers of a settled batch.
    pub fn put_back(&mut self, batch: Batch) {
        self.spare = batch;
    }

    /// Settles lookups of the batch under way. One settled before is not touched again.
    pub fn settle_lookups(&mut self, pipeline: &Pipeline, first: u32, count: u32, verdict: Verdict) {
        let Some(names) = pipeline.names() else { return };
        for lookup in self.lookups.iter_mut().skip(first as usize).take(count as usize).filter_map(Option::take) {
            match verdict {
                Verdict::Acknowledged => names.acknowledge(),
                Verdict::Merge | Verdict::MergeAmbiguous => names.put_back(lookup),
                Verdict::Drop(_) => names.drop_lookup(),
            }
        }
    }

    /// Freezes the open window, with at most `max_items` items in a message. `None` where nothing is to be pushed:
    /// then the window is settled all the same.
    pub fn freeze(&mut self, pipeline: &mut Pipeline, max_items: u32, now: Now) -> Option<Batch> {
        self.lookups.clear();
        if let Some(names) = pipeline.names() {
            names.take_lookups(&mut |lookup| self.lookups.push(Some(lookup)));
        }
        let mut batch = std::mem::take(&mut self.spare);
        let bodies: Vec<Vec<u8>> = batch.messages.drain(..).map(|message| message.body).collect();
        // Strictly later than every item of the batch before, whatever the wall clock does: a sink that drops
        // byte-identical repeats must never take a new item for an old one.
        let frozen_ns = now.wall_ns.max(self.last_item_ns + MS);
        let mut last_item_ns = frozen_ns;
        let pods = Arc::clone(pipeline.local_ends().pods());
        let (rows, ledger, owners) = pipeline.books();
        let mut draft = Draft {
            header: Header {
                node_name: &self.sender.node_name,
                cluster_id: &self.sender.cluster_id,
                operator_version: Some(crate::VERSION),
                operator_commit: Some(crate::COMMIT),
            },
            max_items: max_items.max(1),
            messages: &mut batch.messages,
            bodies,
            lookups: &self.lookups,
            pods: &pods,
            domains: &mut self.domains,
            domain_bytes: 0,
        };
        rows.freeze(ledger, |frozen, name| {
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
            draft.item(frozen.number, &item, name);
        });
        draft.finish();
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

/// A batch that is being written: its last message is open.
struct Draft<'a> {
    header: Header<'a>,
    max_items: u32,
    messages: &'a mut Vec<Message>,
    /// Buffers to be used again.
    bodies: Vec<Vec<u8>>,
    /// What is not in a message yet.
    lookups: &'a [Option<Lookup>],
    pods: &'a PodIndex,
    domains: &'a mut Vec<(Addr, u64, Arc<str>)>,
    domain_bytes: usize,
}

impl Draft<'_> {
    fn begin(&mut self, first_item: u32) {
        let mut body = self.bodies.pop().unwrap_or_default();
        body.clear();
        encode::begin(&mut body, &self.header);
        let part = self.messages.len() as u32;
        self.messages.push(Message { part, first_item, items: 0, total_bytes: 0, body });
    }

    fn item(&mut self, number: u32, item: &Item<'_>, name: Option<&RowName>) {
        // The name of a service is not that of the backend, which is what the item bears.
        let name = name.filter(|name| !name.is_service);
        let room = MAX_BODY_BYTES - ITEM_BYTES - name.map_or(0, |name| name.text.len() + ADDRESS_BYTES);
        let is_full = |m: &Message| m.items >= self.max_items || m.body.len() + self.domain_bytes > room;
        if self.messages.last().is_none_or(is_full) {
            self.close();
            self.begin(number);
        }
        let Some(message) = self.messages.last_mut() else { return };
        encode::item(&mut message.body, item);
        message.items += 1;
        message.total_bytes += item.counts.total_bytes();
        if let Some(name) = name {
            self.domain_bytes += name.text.len() + ADDRESS_BYTES;
            self.domains.push((item.remote, item.counts.total_bytes(), Arc::clone(&name.text)));
        }
    }

    /// Ends the open message, if there is one: with as many lookups as find room, and the names of its addresses.
    fn close(&mut self) {
        let Some(message) = self.messages.last_mut() else { return };
        let mut lookups = 0;
        while let [first, rest @ ..] = self.lookups {
            let Some(lookup) = first else {
                self.lookups = rest;
                continue;
            };
            let bytes = NAME_BYTES + ITEM_BYTES + lookup.addresses.len() * ADDRESS_BYTES;
            if lookups >= self.max_items || message.body.len() + self.domain_bytes + bytes > MAX_BODY_BYTES {
                break;
            }
            let pod = self.pods.owner_of(lookup.client, lookup.answered_wall_ns);
            let lookup = DnsLookup {
                client: lookup.client,
                domain: &lookup.name,
                resolved: &lookup.addresses,
                timestamp_ns: lookup.answered_wall_ns,
                pod_name: pod.map_or("", |pod| &pod.name),
                pod_namespace: pod.map_or("", |pod| &pod.namespace),
            };
            encode::dns_lookup(&mut message.body, &lookup);
            lookups += 1;
            self.lookups = rest;
        }
        // Where pods asked by different names, that of the item with the most bytes.
        self.domains.sort_unstable_by_key(|(address, bytes, _)| (*address, Reverse(*bytes)));
        self.domains.dedup_by_key(|(address, ..)| *address);
        for (address, _, name) in self.domains.drain(..) {
            encode::domain(&mut message.body, address, &name);
        }
        self.domain_bytes = 0;
        encode::end(&mut message.body, &self.header);
    }

    /// Ends the batch: lookups that are left get messages of their own.
    fn finish(&mut self) {
        self.close();
        while !self.lookups.is_empty() {
            let first_item = self.messages.last().map_or(0, |message| message.first_item + message.items);
            self.begin(first_item);
            self.close();
        }
    }
}

#[cfg(test)]
mod tests;
