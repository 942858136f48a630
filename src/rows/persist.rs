//! The rows in the state file, and from it.

use super::{Level, Push, Row, RowKey, RowTable};
use crate::flow::{Class, Direction};
use crate::ledger::Ledger;
use crate::state::bytes::{In, Persist, persist, persist_as_number};
use crate::stats::Withheld;
use crate::wire::Malformed;

persist_as_number!(Direction[Direction::Outbound, Direction::Inbound]);
persist_as_number!(Class[Class::Inside, Class::Outside, Class::Overlay]);
persist_as_number!(Level[Level::Named, Level::Prefix, Level::All]);
persist!(RowKey { local, remote, owner, port, protocol, direction, class });
persist!(Row { key, open, frozen, total, changed_wall_ns, item, level, push, split; mark: 0 });

impl Persist for Push {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Push::Yes => 0,
            Push::No(reason) => *reason as u8 + 1,
        });
    }
    fn take(from: &mut In<'_>) -> Result<Push, Malformed> {
        match u8::take(from)? {
            0 => Ok(Push::Yes),
            number => {
                let reason = Withheld::ALL.get(usize::from(number) - 1).ok_or(Malformed)?;
                Ok(Push::No(reason.0))
            }
        }
    }
}

impl RowTable {
    /// Appends every row.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.table.len().put(out);
        for row in self.iter() {
            row.put(out);
        }
    }

    /// Takes over the rows of the process before, into a table that is still empty; what is open and frozen in them
    /// enters the books as counted.
    ///
    /// # Errors
    /// When the bytes cannot be what [`RowTable::persist`] wrote, or are more rows than the table holds; the table is of no
    /// use then.
    pub fn restore(&mut self, from: &mut In<'_>, ledger: &mut Ledger) -> Result<(), Malformed> {
        for _ in 0..u32::take(from)? {
            let row = Row::take(from)?;
            if self.table.find(&row.key).is_some() {
                return Err(Malformed);
            }
            self.table.insert(row).map_err(|_| Malformed)?;
            self.catch_alls += u32::from(row.level == Level::All);
            ledger.counted += row.open + row.frozen;
            ledger.open += row.open;
            ledger.frozen += row.frozen;
        }
        // More rows by name than may be, and folding would find no room for the others.
        if self.named() > self.named_capacity() { Err(Malformed) } else { Ok(()) }
    }
}
