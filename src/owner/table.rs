//! Owners by number: rows hold an [`OwnerId`], this table the names.
//!
//! A pod gets a number when its first bytes are counted, and loses it when nothing refers to it ([`OwnerTable::keep_only`]).
//! Only a new pod costs an allocation.

use std::collections::HashMap;
use std::sync::Arc;

use super::group::Group;
use super::pods::{Pod, Workload};
use crate::state::bytes::{In, Persist, persist};
use crate::wire::Malformed;

/// The owner of a local end when its bytes were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The node itself: a process on the host, an unknown hostNetwork pod, or the kernel's own traffic.
    Host,
    /// An address of `-local-cidrs`.
    Address,
    /// All owners beyond the bounds of a table.
    Other,
    Pod(Arc<Pod>),
    /// A unit or a container of a host without pods.
    Group(Group),
}

/// Number of an owner in the [`OwnerTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(pub u32);

impl OwnerId {
    /// The node itself.
    pub const HOST: OwnerId = OwnerId(0);
    /// An address of `-local-cidrs`.
    pub const ADDRESS: OwnerId = OwnerId(1);
    /// Owners beyond the bounds of a table.
    pub const OTHER: OwnerId = OwnerId(2);
}

persist!(Workload { kind, name });
persist!(Pod { uid, namespace, name, workload, host_network });

impl Persist for OwnerId {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(from: &mut In<'_>) -> Result<OwnerId, Malformed> {
        u32::take(from).map(OwnerId)
    }
}

/// The first number of a pod or group.
const FIRST_POD: usize = 3;
/// Sanity limit: more pods than any node has between two clean-ups.
const MOST_OWNERS: usize = 1 << 20;
/// Largest number of groups at a time. What is of others is the host's.
const MOST_GROUPS: usize = 1 << 10;

/// The owners that rows point to.
#[derive(Debug)]
pub struct OwnerTable {
    owners: Vec<Owner>,
    by_uid: HashMap<Box<str>, OwnerId, foldhash::fast::RandomState>,
    free: Vec<OwnerId>,
    groups: usize,
    /// Increments that found no room for their group.
    refused: u64,
}

impl Default for OwnerTable {
    fn default() -> OwnerTable {
        OwnerTable {
            owners: vec![Owner::Host, Owner::Address, Owner::Other],
            by_uid: HashMap::default(),
            free: Vec::new(),
            groups: 0,
            refused: 0,
        }
    }
}

impl OwnerTable {
    /// Returns the number of a pod, a new one if it has none.
    pub fn id_of(&mut self, pod: &Arc<Pod>) -> OwnerId {
        if let Some(id) = self.by_uid.get(&pod.uid) {
            return *id;
        }
        self.insert(&pod.uid, Owner::Pod(Arc::clone(pod)))
    }

    /// Returns the number of a group, a new one if it has none; `None` where there is no room for another one.
    pub fn id_of_group(&mut self, path: &str) -> Option<OwnerId> {
        if let Some(id) = self.by_uid.get(path) {
            return Some(*id);
        }
        if self.groups >= MOST_GROUPS {
            self.refused += 1;
            return None;
        }
        self.groups += 1;
        Some(self.insert(path, Owner::Group(Group(path.into()))))
    }

    /// Increments since the last call that found no room for their group.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// The owner that an item is pushed as: DAKR knows pods, and nothing else apart.
    pub fn pushed_as(&self, id: OwnerId) -> OwnerId {
        if matches!(self.get(id), Owner::Group(_)) { OwnerId::HOST } else { id }
    }

    #[allow(clippy::cast_possible_truncation, reason = "fewer owners than rows")]
    fn insert(&mut self, uid: &str, owner: Owner) -> OwnerId {
        let id = match self.free.pop() {
            Some(id) => {
                self.owners[id.0 as usize] = owner;
                id
            }
            None => {
                self.owners.push(owner);
                OwnerId(self.owners.len() as u32 - 1)
            }
        };
        self.by_uid.insert(uid.into(), id);
        id
    }

    /// Returns the number of a pod if it has one.
    pub fn find(&self, pod: &Pod) -> Option<OwnerId> {
        self.by_uid.get(&pod.uid).copied()
    }

    /// Returns the pods that live by namespace and name; of several the one with the lowest number.
    #[allow(clippy::cast_possible_truncation, reason = "fewer owners than rows")]
    pub fn by_name(
        &self,
        lives: impl Fn(OwnerId) -> bool,
    ) -> HashMap<(&str, &str), OwnerId, foldhash::fast::RandomState> {
        let mut by_name = HashMap::default();
        for (at, owner) in self.owners.iter().enumerate() {
            let id = OwnerId(at as u32);
            if let Owner::Pod(pod) = owner
                && lives(id)
            {
                by_name.entry((&*pod.namespace, &*pod.name)).or_insert(id);
            }
        }
        by_name
    }

    /// Returns the owner with this number; `Other` for an unknown number.
    pub fn get(&self, id: OwnerId) -> &Owner {
        self.owners.get(id.0 as usize).unwrap_or(&Owner::Other)
    }

    /// All owners, indexed by their numbers.
    pub fn all(&self) -> &[Owner] {
        &self.owners
    }

    /// Appends every pod with its number, for the state file. A group is written as a pod without a namespace.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.by_uid.len().put(out);
        for (uid, id) in &self.by_uid {
            id.put(out);
            match self.get(*id) {
                Owner::Pod(pod) => pod.put(out),
                Owner::Group(_) | Owner::Host | Owner::Address | Owner::Other => {
                    let (namespace, name) = (Box::default(), Box::default());
                    Pod { uid: uid.clone(), namespace, name, workload: None, host_network: true }.put(out);
                }
            }
        }
    }

    /// Restores the numbers of the previous process into an empty table.
    ///
    /// # Errors
    /// If the bytes are malformed.
    #[allow(clippy::cast_possible_truncation, reason = "fewer owners than rows")]
    pub fn restore(&mut self, from: &mut In<'_>) -> Result<(), Malformed> {
        for _ in 0..u64::take(from)? {
            let (id, pod) = (OwnerId::take(from)?, Pod::take(from)?);
            let at = id.0 as usize;
            // Numbers are dense, so a huge one is malformed and must not cost memory.
            if !(FIRST_POD..=MOST_OWNERS).contains(&at) {
                return Err(Malformed);
            }
            if self.owners.len() <= at {
                self.owners.resize(at + 1, Owner::Other);
            }
            self.by_uid.insert(pod.uid.clone(), id);
            self.owners[at] = match &*pod.namespace {
                "" => {
                    self.groups += 1;
                    Owner::Group(Group((&*pod.uid).into()))
                }
                _ => Owner::Pod(Arc::new(pod)),
            };
        }
        let vacant = (FIRST_POD..self.owners.len()).filter(|at| self.owners[*at] == Owner::Other);
        self.free = vacant.map(|at| OwnerId(at as u32)).collect();
        Ok(())
    }

    /// Frees the numbers of pods and groups that are not `in_use`.
    #[allow(clippy::cast_possible_truncation, reason = "fewer owners than rows")]
    pub fn keep_only(&mut self, in_use: impl Fn(OwnerId) -> bool) {
        for at in FIRST_POD..self.owners.len() {
            let id = OwnerId(at as u32);
            let uid = match &self.owners[at] {
                Owner::Pod(pod) => &*pod.uid,
                Owner::Group(group) => {
                    self.groups -= usize::from(!in_use(id));
                    &*group.0
                }
                Owner::Host | Owner::Address | Owner::Other => continue,
            };
            if !in_use(id) {
                self.by_uid.remove(uid);
                self.owners[at] = Owner::Other;
                self.free.push(id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
