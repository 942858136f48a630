//! Persists and restores the rows.

use super::{Level, Push, Row, RowKey, RowTable};
use crate::flow::{Class, Direction};
use crate::ledger::Ledger;
use crate::persist_as_number;
use crate::state::bytes::{In, Numbered, Persist, persist};
use crate::stats::Withheld;
use crate::wire::Malformed;

persist_as_number!(Direction { Outbound = 0, Inbound = 1 });
persist_as_number!(Class { Inside = 0, Outside = 1, Overlay = 2 });
persist_as_number!(Level { Named = 0, Prefix = 1, All = 2 });
persist_as_number!(Withheld { InboundInside = 0, InboundNone = 1, Overlay = 2, NoDakr = 3 });
persist!(RowKey { local, remote, owner, port, protocol, direction, class, level, way });
persist!(Row { key, open, frozen, total, changed_wall_ns, item, place, push, split; mark: 0 });

impl Persist for Push {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Push::Yes => 0,
            Push::No(reason) => reason.number() + 1,
        });
    }
    fn take(from: &mut In<'_>) -> Result<Push, Malformed> {
        match u8::take(from)? {
            0 => Ok(Push::Yes),
            number => Withheld::of_number(number - 1).map(Push::No).ok_or(Malformed),
        }
    }
}

impl RowTable {
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.table.len().put(out);
        for row in self.iter() {
            row.put(out);
        }
    }

    /// Restores an empty table. Open and frozen counts enter the books as counted.
    ///
    /// # Errors
    /// If the bytes are malformed or hold more rows than the table; the table must then be discarded.
    pub fn restore(&mut self, from: &mut In<'_>, ledger: &mut Ledger) -> Result<(), Malformed> {
        for _ in 0..u32::take(from)? {
            let row = Row::take(from)?;
            if self.table.find(&row.key).is_some() {
                return Err(Malformed);
            }
            self.table.insert(row).map_err(|_| Malformed)?;
            self.catch_alls += u32::from(row.key.level == Level::All);
            ledger.counted += row.open + row.frozen;
            ledger.open += row.open;
            ledger.frozen += row.frozen;
        }
        // With more named rows than allowed, folding would find no room for the catch-all rows.
        if self.named() > self.named_capacity() { Err(Malformed) } else { Ok(()) }
    }
}
