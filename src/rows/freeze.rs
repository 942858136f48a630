//! Ends a window: freezes open counts as items, and settles frozen items.

use super::{Push, Row, RowTable, name_of};
use crate::batch::Verdict;
use crate::flow::{Addr, Direction, TxRx};
use crate::ledger::Ledger;
use crate::names::RowName;
use crate::owner::OwnerId;

/// The key of an item on the wire. An inbound row's port is 0, because the wire's `dst_port` belongs to the remote end
/// (rule 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireKey {
    /// The local end.
    pub src: Addr,
    /// The remote end.
    pub dst: Addr,
    /// IP protocol number.
    pub protocol: u8,
    /// The responder's port, 0 for inbound rows.
    pub dst_port: u16,
}

impl Row {
    fn wire_key(&self) -> WireKey {
        let dst_port = match self.key.direction {
            Direction::Outbound => self.key.port,
            Direction::Inbound => 0,
        };
        WireKey { src: self.key.local, dst: self.key.remote, protocol: self.key.protocol, dst_port }
    }
}

/// One item of a batch: rows that are pushed as one owner's and share a wire key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Number of the item in the batch.
    pub number: u32,
    pub wire: WireKey,
    pub owner: OwnerId,
    /// Number of earlier items in the batch with the same wire key (an address that changed its owner). Their timestamps
    /// must differ.
    pub repeat: u32,
    /// Traffic of the window.
    pub counts: TxRx,
}

impl RowTable {
    /// Freezes the open window. Rows that are not pushed are settled. The others become items, passed to `each` in the
    /// order of their numbers with the name of their remote end. `pushed_as` is the owner that they are pushed as. The
    /// previous batch must be settled.
    pub fn freeze(
        &mut self,
        ledger: &mut Ledger,
        pushed_as: impl Fn(OwnerId) -> OwnerId,
        mut each: impl FnMut(&Item, Option<&RowName>),
    ) {
        self.order.clear();
        for slot in self.table.slots() {
            let Some(row) = self.table.get_mut(slot) else { continue };
            if row.open.is_zero() {
                continue;
            }
            ledger.open = ledger.open - row.open;
            match row.push {
                Push::No(reason) => ledger.withheld[reason as usize] += row.open,
                Push::Yes => {
                    debug_assert!(row.frozen.is_zero(), "a batch is frozen only when the last one is settled");
                    ledger.frozen += row.open;
                    row.frozen += row.open;
                    self.order.push(slot);
                }
            }
            row.open = TxRx::ZERO;
        }
        let table = &mut self.table;
        let place = |slot: &u32| table.get(*slot).map(|row| (row.wire_key(), pushed_as(row.key.owner)));
        self.order.sort_unstable_by_key(place);
        let names = &self.names;
        let mut item: Option<Item> = None;
        let mut name = None;
        for slot in &self.order {
            let Some(row) = table.get_mut(*slot) else { continue };
            let (wire, owner) = (row.wire_key(), pushed_as(row.key.owner));
            let next = match item {
                Some(ref mut last) if last.wire == wire && last.owner == owner => {
                    last.counts += row.frozen;
                    row.item = last.number;
                    name = name.or(name_of(names, *slot));
                    continue;
                }
                Some(last) => {
                    each(&last, name);
                    (last.number + 1, if last.wire == wire { last.repeat + 1 } else { 0 })
                }
                None => (0, 0),
            };
            row.item = next.0;
            name = name_of(names, *slot);
            item = Some(Item { number: next.0, wire, owner, repeat: next.1, counts: row.frozen });
        }
        if let Some(last) = item {
            each(&last, name);
        }
    }

    /// Settles items `first .. first + count` of the batch under way. Settled items do not change.
    pub fn settle(&mut self, first: u32, count: u32, verdict: Verdict, ledger: &mut Ledger) -> TxRx {
        // What is settled can be folded.
        self.pause = 0;
        let mut settled = TxRx::ZERO;
        let range = first..first.saturating_add(count);
        let homeless = self.homeless.iter_mut();
        for row in
            self.table.iter_mut().chain(homeless).filter(|row| !row.frozen.is_zero() && range.contains(&row.item))
        {
            let frozen = std::mem::take(&mut row.frozen);
            settled += frozen;
            ledger.frozen = ledger.frozen - frozen;
            match verdict {
                Verdict::Acknowledged => ledger.acknowledged += frozen,
                Verdict::Merge | Verdict::MergeAmbiguous => {
                    row.open += frozen;
                    ledger.open += frozen;
                }
                Verdict::Drop(reason) => ledger.lost[reason as usize] += frozen,
            }
        }
        settled
    }

    /// Books open counts as lost: the agent ends without a state file.
    pub fn abandon_open(&mut self, reason: crate::stats::Lost, ledger: &mut Ledger) -> TxRx {
        let mut abandoned = TxRx::ZERO;
        for row in self.table.iter_mut().chain(&mut self.homeless) {
            let open = std::mem::take(&mut row.open);
            ledger.open = ledger.open - open;
            ledger.lost[reason as usize] += open;
            abandoned += open;
        }
        abandoned
    }
}
