//! Ends a window: encodes frozen rows as messages of bounded size, with timestamps that never repeat.

use std::cmp::Reverse;
use std::sync::Arc;

use super::pipeline::Pipeline;
use crate::batch::{Batch, Message, Verdict};
use crate::clock::{MS, Now, SECOND};
use crate::export::dakr::encode::{self, DnsLookup, Header, Item};
use crate::flow::Addr;
use crate::names::{Lookup, Origin, RowName};
use crate::owner::{Owner, PodIndex};
use crate::state::bytes::{In, Persist};
use crate::wire::Malformed;

/// What the wall clock need not say of an item's time.
const DIGITS_NS: u64 = 1_000;
/// Size limit of a message before compression.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Upper bound of an item: two addresses, two names of at most 253 and 63 bytes, ten numbers.
const ITEM_BYTES: usize = 640;
/// Upper bound of an address as text with its tags and lengths, in `ip2domain` or in a lookup.
const ADDRESS_BYTES: usize = 64;
/// Upper bound of a name as text, with escapes.
const NAME_BYTES: usize = 1024;

/// The sender's fields in every message.
#[derive(Clone, Debug)]
pub struct Sender {
    pub node_name: String,
    /// `CLUSTER_ID`; empty if not given.
    pub cluster_id: String,
}

pub struct Freezer {
    sender: Sender,
    seq: u64,
    last_item_ns: u64,
    spare: Batch,
    /// The lookups of the batch under way, by number; `None` once settled.
    lookups: Vec<Option<Lookup>>,
    /// Remote address, bytes and name of each named item in the open message.
    domains: Vec<(Addr, u64, Arc<str>)>,
}

impl Freezer {
    /// The first batch will have the number 1.
    pub fn new(sender: Sender) -> Freezer {
        Freezer { sender, seq: 0, last_item_ns: 0, spare: Batch::default(), lookups: Vec::new(), domains: Vec::new() }
    }

    /// Appends the last batch number and timestamp, for the state file.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.seq.put(out);
        self.last_item_ns.put(out);
    }

    /// Continues with the batch number and timestamp of the previous process.
    ///
    /// # Errors
    /// If [`Freezer::persist`] cannot have written the bytes.
    pub fn restore(&mut self, from: &mut In<'_>) -> Result<(), Malformed> {
        self.seq = Persist::take(from)?;
        self.last_item_ns = Persist::take(from)?;
        Ok(())
    }

    /// The lookups of the batch under way that are not settled.
    pub fn lookups(&self) -> impl Iterator<Item = &Lookup> {
        self.lookups.iter().flatten()
    }

    /// Takes back the buffers of a settled batch.
    pub fn put_back(&mut self, batch: Batch) {
        self.spare = batch;
    }

    /// Settles lookups of the batch under way. Settled ones do not change.
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

    /// Freezes the open window, with at most `max_items` items in a message. Returns `None` if there is nothing to push;
    /// rows that are never pushed are settled in any case.
    pub fn freeze(&mut self, pipeline: &mut Pipeline, max_items: u32, now: Now) -> Option<Batch> {
        self.lookups.clear();
        if let Some(names) = pipeline.names() {
            names.take_lookups(&mut |lookup| self.lookups.push(Some(lookup)));
        }
        let mut batch = std::mem::take(&mut self.spare);
        let bodies: Vec<Vec<u8>> = batch.messages.drain(..).map(|message| message.body).collect();
        let frozen_ns = item_ns(now.wall_ns, self.last_item_ns);
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
            now,
            domains: &mut self.domains,
            domain_bytes: 0,
        };
        rows.freeze(
            ledger,
            |id| owners.pushed_as(id),
            |frozen, name| {
                let (pod_namespace, pod_name) = match owners.get(frozen.owner) {
                    Owner::Pod(pod) => (pod.namespace.as_ref(), pod.name.as_ref()),
                    Owner::Host | Owner::Address | Owner::Other | Owner::Group(_) => ("", ""),
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
            },
        );
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

/// The time of a batch's items. A sink that drops byte-identical repeats must never mistake a new item for an old one.
/// So it is strictly later than every item of the batch before. Where the wall clock was set back, it follows the
/// clock. Its last three digits count how often that happened, so it still differs from every earlier time.
fn item_ns(wall_ns: u64, last_item_ns: u64) -> u64 {
    let times_back = last_item_ns % DIGITS_NS;
    let times_back =
        if wall_ns.saturating_add(SECOND) < last_item_ns { (times_back + 1) % DIGITS_NS } else { times_back };
    let wall_ns = wall_ns - wall_ns % DIGITS_NS + times_back;
    if times_back == last_item_ns % DIGITS_NS { wall_ns.max(last_item_ns + MS) } else { wall_ns }
}

/// A batch that is being encoded: its last message is open.
struct Draft<'a> {
    header: Header<'a>,
    max_items: u32,
    messages: &'a mut Vec<Message>,
    /// Buffers for reuse.
    bodies: Vec<Vec<u8>>,
    /// Lookups that no message contains yet.
    lookups: &'a [Option<Lookup>],
    pods: &'a PodIndex,
    now: Now,
    domains: &'a mut Vec<(Addr, u64, Arc<str>)>,
    domain_bytes: usize,
}

impl Draft<'_> {
    #[allow(clippy::cast_possible_truncation, reason = "a batch has fewer messages than items")]
    fn begin(&mut self, first_item: u32) {
        let mut body = self.bodies.pop().unwrap_or_default();
        body.clear();
        encode::begin(&mut body, &self.header);
        let part = self.messages.len() as u32;
        self.messages.push(Message { part, first_item, items: 0, total_bytes: 0, body });
    }

    fn item(&mut self, number: u32, item: &Item<'_>, name: Option<&RowName>) {
        // The item has the backend's address, to which the service's name does not belong; and no pod names what another
        // one talks to.
        let name = name.filter(|name| !name.is_service && name.origin == Origin::Own);
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

    /// Ends the open message, if there is one: adds as many lookups as fit, and the names of its addresses.
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
            let pod = self.pods.owner_of(lookup.client, lookup.answered_mono_ns);
            let lookup = DnsLookup {
                client: lookup.client,
                domain: &lookup.name,
                resolved: &lookup.addresses,
                timestamp_ns: self.now.wall_of(lookup.answered_mono_ns),
                pod_name: pod.map_or("", |pod| &pod.name),
                pod_namespace: pod.map_or("", |pod| &pod.namespace),
            };
            encode::dns_lookup(&mut message.body, &lookup);
            lookups += 1;
            self.lookups = rest;
        }
        // If pods used different names, the item with the most bytes decides.
        self.domains.sort_unstable_by_key(|(address, bytes, _)| (*address, Reverse(*bytes)));
        self.domains.dedup_by_key(|(address, ..)| *address);
        for (address, _, name) in self.domains.drain(..) {
            encode::domain(&mut message.body, address, &name);
        }
        self.domain_bytes = 0;
        encode::end(&mut message.body, &self.header);
    }

    /// Ends the batch: remaining lookups get messages of their own.
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
pub(super) mod tests;
