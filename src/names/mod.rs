//! Learns the domain names of remote addresses from DNS answers on the node. An answer counts only if its question was
//! seen.
//!
//! ```text
//!  bpf/dns.bpf.c ──▶ capture ──▶ judge ──▶ names by client and address ──▶ rows, when they are made
//!                    (thread dns)  ▲   └──▶ lookups of the window ──▶ the next batch
//!                              questions
//! ```
//!
//! The threads share [`Names`]. Its lock is held for one answer or one query, never across I/O. An immutable copy for
//! readers would cost a megabyte for every burst of answers, and arrive too late for connections that end at once.

pub mod capture;
mod health;
pub mod judge;
pub mod lookups;
mod questions;
mod table;
mod thread;

use std::sync::{Arc, Mutex, MutexGuard};

use crate::flow::Addr;
use crate::stats::{DnsLost, Stats};

pub use lookups::Lookup;
pub use table::Origin;
pub use thread::start;

use lookups::Lookups;
use table::NameTable;

/// The client that stands for the host, for questions from any loopback address.
pub const LOOPBACK: Addr = Addr::from_v4([127, 0, 0, 1]);

/// The first half of what [`loopback_of`] returns.
const LOOPBACK_NET: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];

/// The client that stands for a pod, for questions from its loopback addresses, by its uid. An address of 100::/64, which
/// nobody has (RFC 6666). Without a uid it stands for whoever is not known.
pub fn loopback_of(uid: &str) -> Addr {
    // FNV-1a.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    let hash = uid.bytes().fold(0xCBF2_9CE4_8422_2325, step);
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&LOOPBACK_NET);
    octets[8..].copy_from_slice(&hash.to_be_bytes());
    Addr::from_v6(octets)
}

/// Tells by the cgroup of a socket whose loopback address it has: [`LOOPBACK`] or [`loopback_of`].
pub type Askers = Box<dyn FnMut(u64) -> Addr + Send>;

/// The domain name of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowName {
    /// Lower case, without the final dot.
    pub text: Arc<str>,
    pub origin: Origin,
    /// The name belongs to the service address that was asked for, not to the row's remote end.
    pub is_service: bool,
}

struct Inner {
    table: NameTable,
    lookups: Lookups,
    /// Unsettled lookups in the batch under way.
    frozen: u64,
}

/// The names and lookups of this node.
pub struct Names {
    // The head of the module limits how long it is held.
    inner: Mutex<Inner>,
    stats: Arc<Stats>,
    /// Without a DAKR the lookups of a window are shown, then dropped.
    pushes: bool,
}

impl Names {
    /// `pushes`: whether a DAKR is configured.
    pub fn new(stats: Arc<Stats>, pushes: bool) -> Names {
        let inner = Inner { table: NameTable::new(), lookups: Lookups::default(), frozen: 0 };
        Names { inner: Mutex::new(inner), stats, pushes }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Adds an answer: `client` asked for the name `text` and received `addresses`, each with its TTL in seconds. `hash`
    /// is the seeded hash of the name; times are monotonic.
    pub fn learn(&self, client: Addr, text: &str, hash: u64, addresses: &[(Addr, u32)], now_ns: u64) {
        let mut inner = self.inner();
        let Inner { table, lookups, .. } = &mut *inner;
        // What a pod asked itself is shown as it was asked.
        let shown = if client.octets()[..8] == LOOPBACK_NET { LOOPBACK } else { client };
        let known = lookups.text(shown, hash);
        let known = known.or_else(|| addresses.first().and_then(|(first, _)| table.same_text(client, *first, text)));
        let text: Arc<str> = known.unwrap_or_else(|| text.into());
        let lost: u64 =
            addresses.iter().map(|(address, ttl_s)| table.learn(client, *address, &text, *ttl_s, now_ns)).sum();
        self.lose(DnsLost::NamesFull, lost);
        self.stats.dns_names.set(u64::from(table.len()));

        let added = lookups.add(shown, hash, &text, addresses, now_ns);
        let what = if added.is_new { &self.stats.dns_lookups } else { &self.stats.dns_folded };
        what.inc();
        self.lose(DnsLost::LookupsFull, added.lost);
        self.show_pending(&inner);
    }

    fn purge(&self, now_ns: u64) {
        let mut inner = self.inner();
        inner.table.purge(now_ns);
        self.stats.dns_names.set(u64::from(inner.table.len()));
    }

    /// Returns the last name that one of `clients` resolved to `address`, else the last name of any client on this node.
    /// `belongs` returns whether a client belonged to the row's owner at a time.
    pub fn find(
        &self,
        address: Addr,
        now_ns: u64,
        clients: &mut dyn Iterator<Item = Addr>,
        belongs: &dyn Fn(Addr, u64) -> bool,
    ) -> Option<(Arc<str>, Origin)> {
        let inner = self.inner();
        if inner.table.len() == 0 { None } else { inner.table.find(address, now_ns, clients, belongs) }
    }

    /// Shows every lookup that is not in a batch.
    pub fn each_lookup(&self, each: &mut dyn FnMut(&Lookup)) {
        self.inner().lookups.each(each);
    }

    /// Ends the window: passes on its lookups, oldest first, to be settled. Without a DAKR it drops and counts them.
    pub fn take_lookups(&self, each: &mut dyn FnMut(Lookup)) {
        let mut inner = self.inner();
        if !self.pushes {
            self.lose(DnsLost::NoDakr, inner.lookups.pending() as u64);
            inner.lookups.take_all(&mut |_| {});
            return self.show_pending(&inner);
        }
        inner.frozen = inner.lookups.pending() as u64;
        inner.lookups.take_all(each);
    }

    /// DAKR acknowledged a lookup.
    pub fn acknowledge(&self) {
        self.stats.dns_acknowledged.inc();
        self.settled(None);
    }

    /// DAKR did not count a lookup: the next batch contains it.
    pub fn put_back(&self, lookup: Lookup) {
        self.settled(Some(lookup));
    }

    /// A lookup cannot be delivered.
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
