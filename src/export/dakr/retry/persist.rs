//! Writes the batch in flight to the state file, and reads it back.

use super::{Delivery, Part, Settlement};
use crate::batch::{Batch, Message, Note};
use crate::state::bytes::{In, Persist, persist, put_block};
use crate::wire::Malformed;

/// A part without its bytes.
struct Head {
    name: Box<str>,
    first_item: u32,
    items: u32,
    total_bytes: u64,
    doubt_since_ns: Option<u64>,
}

persist!(Head { name, first_item, items, total_bytes, doubt_since_ns });

impl Delivery {
    /// Appends the unsettled messages with their bytes, and the verdicts of the settled items.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.settlements.len().put(out);
        for (first_item, items, verdict) in &self.settlements {
            first_item.put(out);
            items.put(out);
            verdict.put(out);
        }
        let Some(batch) = &self.batch else { return 0usize.put(out) };
        self.parts.len().put(out);
        batch.seq.put(out);
        batch.frozen_wall_ns.put(out);
        for part in &self.parts {
            let name = part.name.as_str().into();
            let (first_item, items, total_bytes) = (part.first_item, part.items, part.total_bytes);
            Head { name, first_item, items, total_bytes, doubt_since_ns: part.doubt_since_ns }.put(out);
            let whole = batch.messages.get(part.message).map(|message| message.body.as_slice());
            put_block(out, part.half.as_deref().or(whole).unwrap_or_default());
        }
    }

    /// Continues the batch of the previous process, and applies its notes. Requires that no batch is in flight. Whether
    /// the unsettled messages were sent is unknown, so their outcome is: the same bytes are sent until a definite answer
    /// arrives. After a reboot (not `same_boot`) their hour starts now, because the monotonic clock restarted. Returns
    /// how the other items were settled.
    ///
    /// # Errors
    /// If the bytes are not what [`Delivery::persist`] writes.
    pub fn resume(
        &mut self,
        from: &mut In<'_>,
        notes: Vec<Note>,
        same_boot: bool,
        now_ns: u64,
    ) -> Result<Vec<Settlement>, Malformed> {
        let resumed = self.try_resume(from, notes, same_boot, now_ns);
        self.notes.clear();
        if resumed.is_err() {
            self.batch = None;
            self.parts.clear();
            self.settlements.clear();
        }
        resumed.map(|()| self.settlements.clone())
    }

    #[allow(clippy::cast_possible_truncation, reason = "a batch has fewer messages than items")]
    fn try_resume(
        &mut self,
        from: &mut In<'_>,
        notes: Vec<Note>,
        same_boot: bool,
        now_ns: u64,
    ) -> Result<(), Malformed> {
        for _ in 0..usize::take(from)? {
            self.settlements.push((Persist::take(from)?, Persist::take(from)?, Persist::take(from)?));
        }
        let count = usize::take(from)?;
        if count > 0 {
            let mut batch =
                Batch { seq: Persist::take(from)?, frozen_wall_ns: Persist::take(from)?, messages: Vec::new() };
            for message in 0..count {
                let (head, body) = (Head::take(from)?, from.block()?.to_vec());
                let (first_item, items, total_bytes) = (head.first_item, head.items, head.total_bytes);
                batch.messages.push(Message { part: message as u32, first_item, items, total_bytes, body });
                self.parts.push(Part {
                    message,
                    name: head.name.into_string(),
                    half: None,
                    first_item,
                    items,
                    // Lookups are not persisted: they were the previous process's.
                    first_lookup: 0,
                    lookups: 0,
                    total_bytes,
                    due_ns: 0,
                    merge_when_due: false,
                    doubt_since_ns: head.doubt_since_ns.filter(|_| same_boot).or(Some(now_ns)),
                    unknown: 0,
                    refusals: 0,
                });
            }
            self.batch = Some(batch);
        }
        // The caller learns of these by the returned settlements, not by reports.
        let mut reported = Vec::new();
        for note in notes {
            let find = |name: &str| self.parts.iter().position(|part| part.name == name);
            match note {
                Note::Halved(name) => {
                    if !find(&name).is_some_and(|index| self.cut(index)) {
                        return Err(Malformed);
                    }
                }
                Note::Ended(name, verdict) => self.settle(find(&name).ok_or(Malformed)?, verdict, &mut reported),
            }
        }
        if from.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
