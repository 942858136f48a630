//! Writes the state file for the push, and reports when it cannot be written.
//!
//! Sending goes on whatever the disk does.

use std::sync::Arc;

use log::{info, warn};

use super::retry::Delivery;
use crate::batch::Note;
use crate::clock;
use crate::health::{Component, Health, Status};
use crate::state::store::{LATE_NS, Store, Written};
use crate::state::{Place, encode, encode_note};
use crate::stats::{Lost, Stats};
use crate::stop::Stop;

/// Keeps the state file.
pub struct Persister {
    store: Store,
    place: Place,
    stop: Arc<Stop>,
    health: Arc<Health>,
    stats: Arc<Stats>,
    /// The failure reported last.
    failing: Option<String>,
}

impl Persister {
    /// Writes to `store`. `stop` bounds the waiting once the agent ends.
    pub fn new(store: Store, place: Place, stop: Arc<Stop>, health: Arc<Health>, stats: Arc<Stats>) -> Persister {
        health.set(Component::StateFile, Status::Healthy, "kept");
        Persister { store, place, stop, health, stats, failing: None }
    }

    /// The folder cannot be used; it is tried again with every whole file.
    pub fn cannot_open(&mut self, why: String) {
        let folder = self.store.file().with_file_name("");
        warn!(
            "cannot use the state folder {}: {why}; counting goes on without, and it is tried again",
            folder.display()
        );
        self.health.set(Component::StateFile, Status::Degraded, &format!("cannot be used: {why}"));
        self.stats.state_failures.inc();
        self.failing = Some(why);
    }

    /// Writes the whole file; whether it is on the disk.
    pub fn persist(&mut self, tables: Vec<u8>, sender: &str, delivery: &Delivery) -> bool {
        let file = encode(&self.place, sender, tables, |out| delivery.persist(out));
        self.stats.state_bytes.set(file.iter().map(Vec::len).sum::<usize>() as u64);
        let written = self.store.replace(file, self.limit_ns());
        if self.store.take_stale().is_some() {
            self.lose();
        }
        self.tell(written)
    }

    /// A state file that nobody can go on from.
    fn lose(&self) {
        warn!("what waited in the state file {} is lost (netmon_lost_events_total)", self.store.file().display());
        self.stats.lose_events(Lost::StateFile, 1);
    }

    /// Appends what became of messages.
    pub fn note(&mut self, notes: &[Note]) {
        if notes.is_empty() {
            return;
        }
        let bytes = notes.iter().flat_map(encode_note).collect();
        let written = self.store.append(bytes, self.limit_ns());
        self.tell(written);
    }

    /// Nothing can go on from the file: it is removed.
    pub fn discard(&mut self) {
        self.lose();
        let written = self.store.remove(self.limit_ns());
        self.tell(written);
    }

    fn limit_ns(&self) -> u64 {
        match self.stop.deadline_mono_ns() {
            0 => LATE_NS,
            deadline_ns => LATE_NS.min(deadline_ns.saturating_sub(clock::now().mono_ns)),
        }
    }

    /// Counts every failure; logs its start and its end.
    fn tell(&mut self, written: Written) -> bool {
        let why = match written {
            Written::Synced => {
                self.stats.state_writes.inc();
                if self.failing.take().is_some() {
                    info!("the state file {} can be written again", self.store.file().display());
                    self.health.set(Component::StateFile, Status::Healthy, "kept");
                }
                return true;
            }
            Written::NoFile => return false,
            Written::Failed(why) => why,
            Written::Late => format!("the disk did not answer for {} s", LATE_NS / clock::SECOND),
        };
        self.stats.state_failures.inc();
        if self.failing.as_ref() != Some(&why) {
            warn!("cannot write the state file {}: {why}; the agent pushes on without it", self.store.file().display());
            self.health.set(Component::StateFile, Status::Degraded, &format!("cannot be written: {why}"));
            self.failing = Some(why);
        }
        false
    }
}
