//! Where addresses lie (zone, region), how one gets there, and what service they are: what the price of traffic depends
//! on (rule 18).
//!
//! Whoever makes a row asks [`Topology::charge`] once. What is not known is [`Scope::Unknown`]: nothing is guessed.
//! Knows addresses and names; not whose they are, not what is pushed, not what anything costs.
//!
//! | part | duty |
//! | --- | --- |
//! | [`scope`] | how far, and by which way |
//! | [`table`] | the longest range that holds an address |
//! | [`lines`] | the text form of ranges, from and to |
//! | [`names`] | zones, regions and services as numbers |
//! | [`publish`] | the text that one pod publishes for all |
//! | [`published`] | where the latest one lies |
//! | [`cluster`] | the ranges that follow from where nodes are |
//! | [`compile`] | the clouds' published range files to lines |
//! | [`join`] | fewer ranges that say the same |

pub mod cluster;
pub mod compile;
pub mod join;
pub mod lines;
pub mod names;
pub mod publish;
pub mod published;
pub mod scope;
pub mod table;

use std::sync::Arc;

use crate::flow::Addr;
pub use scope::{Scope, Via, Way};

use names::{Names, Place};
use table::Table;

/// What the price of traffic with one remote end depends on, and where that end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Scope, via and service.
    pub way: Way,
    /// Number of zone and region in [`Names`]; 0 is not known.
    pub place: u16,
}

impl Charge {
    /// A scope, and no more than that.
    pub const fn plain(scope: Scope) -> Charge {
        Charge { way: Way::new(scope, Via::None, 0), place: 0 }
    }
}

/// All that is known of addresses at one time. Never changes; another takes its place.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    table: Arc<Table>,
    /// What the numbers mean.
    names: Arc<Names>,
    /// Zone and region of this node, and their number.
    own: Place,
    own_number: u16,
}

impl Topology {
    /// A table, what its numbers mean, and the number of the place of this node.
    pub fn new(table: Arc<Table>, names: Arc<Names>, own_number: u16) -> Topology {
        Topology { table, own: names.place(own_number), own_number, names }
    }

    /// What the numbers of a [`Charge`] mean.
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// Ranges in the table.
    #[cfg(not(alone))]
    pub fn ranges(&self) -> usize {
        self.table.len()
    }

    /// What traffic with `remote` depends on. `is_of_node`: it is the address of a pod of this node or the node's own.
    /// Only a line for that address alone, with a scope, says otherwise. `is_in_cluster`: it lies in `-cluster-cidrs`.
    #[inline]
    pub fn charge(&self, remote: Addr, is_of_node: bool, is_in_cluster: bool) -> Charge {
        match self.table.find(remote) {
            Some(said) if !is_of_node || (said.is_single && said.scope.is_some()) => {
                let scope = match said.scope {
                    Some(scope) => scope,
                    None if said.place == 0 => unlisted(remote, is_in_cluster),
                    None => self.own.distance_to(self.names.place(said.place)),
                };
                Charge { way: Way::new(scope, said.via, said.service), place: said.place }
            }
            _ if is_of_node => Charge { place: self.own_number, ..Charge::plain(Scope::Node) },
            _ => Charge::plain(unlisted(remote, is_in_cluster)),
        }
    }
}

/// The scope of an address that no line speaks of. Addresses that no router passes on are the node's; those of groups are
/// nowhere.
fn unlisted(remote: Addr, is_in_cluster: bool) -> Scope {
    if remote.is_link_local() {
        Scope::Node
    } else if is_in_cluster || is_of_many(remote) {
        Scope::Unknown
    } else {
        Scope::Internet
    }
}

/// 224/4, the address of everybody, and ff00::/8.
fn is_of_many(addr: Addr) -> bool {
    let bytes = addr.octets();
    if addr.is_v4() { bytes[12] >> 4 == 14 || bytes[12..] == [255; 4] } else { bytes[0] == 0xff }
}

#[cfg(test)]
mod tests;
