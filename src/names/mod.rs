//! Which name an address was asked by: DNS answers seen on the node, each believed only if its question was.
//!
//! ```text
//!  bpf/dns.bpf.c ──▶ capture ──▶ judge ──▶ names by client and address ──▶ rows, when they are made
//!                    (thread dns)  ▲   └──▶ lookups of the window ──▶ the next batch
//!                              questions
//! ```
//!
//! [`Names`] is what the threads share. Its lock is held for one answer or one question to the table, never across I/O:
//! a snapshot would be a copy of a megabyte for every burst of answers, and come too late for connections that end at
//! once.

pub mod capture;
mod health;
pub mod judge;
pub mod lookups;
mod questions;
mod table;
mod thread;

use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock::Now;
use crate::flow::Addr;
use crate::stats::{DnsLost, Stats};

pub use lookups::Lookup;
pub use table::Origin;
pub use thread::start;

use lookups::Lookups;
use table::NameTable;

/// Whoever asks from a loopback address is the host.
pub const LOOPBACK: Addr = Addr::from_v4([127, 0, 0, 1]);

/// A row's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowName {
    /// Lower case, without the final dot.
    pub text: Arc<str>,
    /// Whose question gave it.
    pub origin: Origin,
    /// It is that of the service address that was asked for, not of the row's remote end.
    pub is_service: bool,
}

struct Inner {
    table: NameTable,
    lookups: Lookups,
    /// Lookups in the batch that is under way.
    frozen: u64,
}

/// The names and lookups of this node.
pub struct Names {
    // See the module for how long it is held.
    inner: Mutex<Inner>,
    stats: Arc<Stats>,
    /// Without a DAKR nobody fetches lookups.
    keeps_lookups: bool,
}

impl Names {
    /// None yet.
    pub fn new(stats: Arc<Stats>, keeps_lookups: bool) -> Names {
        let inner = Inner { table: NameTable::new(), lookups: Lookups::default(), frozen: 0 };
        Names { inner: Mutex::new(inner), stats, keeps_lookups }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// `client` asked for the name `text`, whose seeded hash is `hash`, and was told `addresses`, each with its TTL.
    pub fn learn(&self, client: Addr, text: &str, hash: u64, addresses: &[(Addr, u32)], now: Now) {
        let client = if client.is_loopback() { LOOPBACK } else { client };
        let mut inner = self.inner();
        let Inner { table, lookups, .. } = &mut *inner;
        let known = lookups.text(client, hash);
        let known = known.or_else(|| addresses.first().and_then(|(first, _)| table.same_text(client, *first, text)));
        let text: Arc<str> = known.unwrap_or_else(|| text.into());
        let lost: u64 =
            addresses.iter().map(|(address, ttl_s)| table.learn(client, *address, &text, *ttl_s, now)).sum();
        self.lose(DnsLost::NamesFull, lost);
        self.stats.dns_names.set(u64::from(table.len()));
        if !self.keeps_lookups {
            self.stats.dns_lookups.inc();
            self.lose(DnsLost::NoDakr, 1);
            return;
        }
        let added = lookups.add(client, hash, &text, addresses, now.wall_ns);
        let what = if added.is_new { &self.stats.dns_lookups } else { &self.stats.dns_folded };
        what.inc();
        self.lose(DnsLost::LookupsFull, added.lost);
        self.show_pending(&inner);
    }

    /// Forgets names whose time is over.
    fn purge(&self, now: Now) {
        let mut inner = self.inner();
        inner.table.purge(now);
        self.stats.dns_names.set(u64::from(inner.table.len()));
    }

    /// The name by which one of `clients` asked for `address` last; else the one by which anybody of this node did.
    /// `belongs` says whether a client was the row's owner when it asked (wall clock).
    pub fn find(
        &self,
        address: Addr,
        now: Now,
        clients: &mut dyn Iterator<Item = Addr>,
        belongs: &dyn Fn(Addr, u64) -> bool,
    ) -> Option<(Arc<str>, Origin)> {
        let inner = self.inner();
        if inner.table.len() == 0 { None } else { inner.table.find(address, now, clients, belongs) }
    }

    /// Ends the window: hands over its lookups, oldest first. Each is to be settled.
    pub fn take_lookups(&self, each: &mut dyn FnMut(Lookup)) {
        let mut inner = self.inner();
        inner.frozen = inner.lookups.pending() as u64;
        inner.lookups.take_all(each);
    }

    /// DAKR took one.
    pub fn acknowledge(&self) {
        self.stats.dns_acknowledged.inc();
        self.settled(None);
    }

    /// DAKR surely did not take one: it goes with the next batch.
    pub fn put_back(&self, lookup: Lookup) {
        self.settled(Some(lookup));
    }

    /// One can never be delivered.
    pub fn drop_lookup(&self) {
        self.lose(DnsLost::Undelivered, 1);
        self.settled(None);
    }

    fn settled(&self, back: Option<Lookup>) {
        let mut inner = self.inner();
        inner.frozen = inner.frozen.saturating_sub(1);
        if let Some(lookup) = back {
            let lost = inner.lookups.put_back(lookup);
            self.lose(DnsLost::LookupsFull, lost);
        }
        self.show_pending(&inner);
    }

    fn show_pending(&self, inner: &Inner) {
        self.stats.dns_pending.set(inner.lookups.pending() as u64 + inner.frozen);
    }

    fn lose(&self, reason: DnsLost, n: u64) {
        self.stats.dns_lost[reason as usize].add(n);
    }
}
