//! When followed connections were first seen, in one byte each: the number of a span of sweeps.
//!
//! The last sweeps have a number each. When numbers run out, the older half of the spans is joined two by two, so what is
//! long ago is known less well.

use crate::table::Table;

use super::entry::Baseline;

/// The last number.
const NOW: u8 = 127;
const SPANS: usize = NOW as usize + 1;

#[derive(Debug)]
pub(super) struct Births {
    current: u8,
    /// The end of each span, monotonic.
    until_ns: [u64; SPANS],
}

impl Births {
    pub(super) fn new() -> Births {
        Births { current: 0, until_ns: [0; SPANS] }
    }

    /// The span to note with a connection that is seen first.
    pub(super) fn current(&self) -> u8 {
        self.current
    }

    /// Until when a connection had begun that was seen first in this span; `None` while the span lasts.
    pub(super) fn until_ns(&self, span: u8) -> Option<u64> {
        self.until_ns.get(usize::from(span)).copied().filter(|_| span < self.current)
    }

    /// A sweep has ended, and with it the span.
    pub(super) fn end_span(&mut self, now_ns: u64, table: &mut Table<Baseline>) {
        self.end(self.current, now_ns);
        if self.current < NOW {
            self.current += 1;
            return;
        }
        let joined = |span: u8| if span < NOW / 2 { span / 2 } else { span - NOW / 2 + NOW / 4 };
        for span in 0..=NOW {
            // Later spans overwrite earlier ones: what is joined ends with its later part.
            let until_ns = self.until_ns.get(usize::from(span)).copied().unwrap_or(0);
            self.end(joined(span), until_ns);
        }
        table.iter_mut().for_each(|known| known.born = joined(known.born));
        self.current = joined(NOW) + 1;
    }

    fn end(&mut self, span: u8, until_ns: u64) {
        if let Some(end) = self.until_ns.get_mut(usize::from(span)) {
            *end = until_ns;
        }
    }
}

#[cfg(test)]
mod tests;
