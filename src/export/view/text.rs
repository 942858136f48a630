//! Writes chosen rows and sums: CSV and lines for programs, and sums as JSON.

use std::fmt::{self, Display};
use std::io::Write;
use std::sync::Arc;

use serde::Serialize;

use super::key::{Protocol, Shown, owner, remote_name};
use super::query::{By, Format, Query};
use super::{Chosen, Head, Sum};
use crate::clock::MS;
use crate::export::json::{self, Answered, Timestamp, Totals, whole, write};
use crate::snapshot::{RowView, Snapshot};

/// The columns of rows.
const ROW_COLUMNS: [&str; 16] = [
    "namespace",
    "pod",
    "workload_kind",
    "workload",
    "local",
    "direction",
    "remote",
    "remote_name",
    "port",
    "protocol",
    "class",
    "scope",
    "tx_bytes",
    "rx_bytes",
    "tx_rate",
    "rx_rate",
];
/// The columns of sums, behind what they are summed by.
const SUM_COLUMNS: [&str; 5] = ["rows", "tx_bytes", "rx_bytes", "tx_rate", "rx_rate"];

/// An answer that is written line by line.
pub struct Lines {
    snapshot: Arc<Snapshot>,
    head: Head,
    by: By,
    format: Format,
    chosen: Chosen,
    /// The next line; the head before the first.
    next: Option<usize>,
    done: bool,
}

impl Lines {
    pub(super) fn new(snapshot: Arc<Snapshot>, head: Head, query: &Query, chosen: Chosen) -> Lines {
        Lines { snapshot, head, by: query.by, format: query.format, chosen, next: None, done: false }
    }

    /// The snapshot it writes.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Appends to `out` until about `limit` bytes are in it. Returns whether that was all.
    pub fn fill(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        while !self.done && out.len() < limit {
            let Some(at) = self.next else {
                self.begin(out);
                self.next = Some(0);
                continue;
            };
            self.next = Some(at + 1);
            let row = |at: u32| self.snapshot.rows.get(at as usize);
            match (self.by, self.chosen.rows.get(at), self.chosen.sums.get(at)) {
                (By::Row, Some(chosen), _) => {
                    if let Some(row) = row(*chosen) {
                        self.row(out, row);
                    }
                }
                (_, _, Some(sum)) => {
                    if let Some(row) = row(sum.row) {
                        self.sum(out, at, sum, row);
                    }
                }
                _ => {
                    self.end(out);
                    self.done = true;
                }
            }
        }
        self.done
    }

    /// Everything before the first line.
    fn begin(&self, out: &mut Vec<u8>) {
        match self.format {
            Format::Json => {
                out.extend_from_slice(b"{\"node_name\":");
                write(out, &*self.head.node_name);
                put(out, format_args!(",\"by\":\"{}\",\"items\":[", self.by.as_str()));
                return;
            }
            Format::Csv => {}
            Format::Tsv => self.about(out),
        }
        let mut line = Line::new(out, self.format);
        if self.by == By::Row {
            if self.format == Format::Tsv {
                line.field("owner");
            }
            ROW_COLUMNS.iter().for_each(|column| line.field(column));
        } else {
            line.field(self.by.as_str());
            SUM_COLUMNS.iter().for_each(|column| line.field(column));
        }
        line.end();
    }

    /// What a program wants to know beside the lines: names and values apart by tabs.
    fn about(&self, out: &mut Vec<u8>) {
        let total = self.snapshot.since_start();
        let taken = self.snapshot.taken.wall_ns;
        let mut line = Line::new(out, self.format);
        line.field("#");
        line.both("node", &self.head.node_name);
        line.both("status", self.head.status);
        line.both("rows", self.snapshot.rows.len());
        line.both("matched", self.chosen.matched);
        line.both("tx_bytes", total.tx.bytes);
        line.both("rx_bytes", total.rx.bytes);
        line.both("tx_rate", whole(self.chosen.rate[0]));
        line.both("rx_rate", whole(self.chosen.rate[1]));
        if self.head.swept_wall_ns != 0 {
            line.both("swept_ms_ago", taken.saturating_sub(self.head.swept_wall_ns) / MS);
        }
        line.end();
    }

    fn row(&self, out: &mut Vec<u8>, row: &RowView) {
        let snapshot = &*self.snapshot;
        let owner = owner(snapshot, row);
        let mut line = Line::new(out, self.format);
        if self.format == Format::Tsv {
            line.field(Shown(snapshot, row, By::Owner));
        }
        line.field(owner.namespace);
        line.field(owner.pod);
        line.field(owner.workload_kind);
        line.field(owner.workload);
        line.field(row.local);
        line.field(row.direction.as_str());
        line.field(row.remote);
        line.field(remote_name(snapshot, row));
        line.field(row.port);
        line.field(Protocol(row.protocol));
        line.field(row.class.as_str());
        line.field(row.way.scope().as_str());
        line.field(row.total.tx.bytes);
        line.field(row.total.rx.bytes);
        line.field(whole(row.rate[0]));
        line.field(whole(row.rate[1]));
        line.end();
    }

    fn sum(&self, out: &mut Vec<u8>, at: usize, sum: &Sum, row: &RowView) {
        let [tx_rate, rx_rate] = sum.rate.map(whole);
        let Sum { rows, tx_bytes, rx_bytes, .. } = *sum;
        let key = Shown(&self.snapshot, row, self.by);
        if self.format == Format::Json {
            out.extend_from_slice(if at == 0 { b"" } else { b",\n" });
            write(out, &SumItem { key: json::Shown(key), rows, tx_bytes, rx_bytes, tx_rate, rx_rate });
            return;
        }
        let mut line = Line::new(out, self.format);
        line.field(key);
        line.field(rows);
        line.field(tx_bytes);
        line.field(rx_bytes);
        line.field(tx_rate);
        line.field(rx_rate);
        line.end();
    }

    fn end(&self, out: &mut Vec<u8>) {
        if self.format == Format::Json {
            let taken = Timestamp(self.snapshot.taken.wall_ns);
            let rows = self.snapshot.rows.len();
            put(out, format_args!("],\"timestamp\":\"{taken}\",\"rows\":{rows}"));
            let (matched, groups) = (self.chosen.matched, Some(self.chosen.groups));
            Answered { matched, groups, agent: self.head.agent }.write(out);
            out.extend_from_slice(b",\"totals\":");
            write(out, &Totals::from(self.snapshot.since_start()));
            out.extend_from_slice(b"}\n");
        }
    }
}

fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // A Vec takes everything.
    let _ = out.write_fmt(text);
}

#[derive(Serialize)]
struct SumItem<'a> {
    key: json::Shown<Shown<'a>>,
    rows: u32,
    tx_bytes: u64,
    rx_bytes: u64,
    tx_rate: u64,
    rx_rate: u64,
}

/// One line of fields.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    format: Format,
    begun: bool,
}

impl<'a> Line<'a> {
    fn new(out: &'a mut Vec<u8>, format: Format) -> Line<'a> {
        Line { out, format, begun: false }
    }

    /// A name and its value.
    fn both(&mut self, name: &str, value: impl Display) {
        self.field(name);
        self.field(value);
    }

    fn field(&mut self, value: impl Display) {
        self.write(&value);
    }

    /// Not generic, so that it is in the binary once.
    fn write(&mut self, value: &dyn Display) {
        if std::mem::replace(&mut self.begun, true) {
            self.out.push(if self.format == Format::Csv { b',' } else { b'\t' });
        }
        let at = self.out.len();
        put(self.out, format_args!("{value}"));
        let field = self.out.get_mut(at..).unwrap_or_default();
        // Nothing from outside may end a line or move a cursor.
        field.iter_mut().filter(|byte| byte.is_ascii_control()).for_each(|byte| *byte = b'?');
        let is_formula = field.first().is_some_and(|first| b"=+-@".contains(first));
        let is_quoted = field.iter().any(|byte| b"\",".contains(byte));
        if self.format == Format::Csv && (is_formula || is_quoted) {
            self.quote(at, is_formula);
        }
    }

    /// Quotes the field from `at` on (RFC 4180 2.6); what a spreadsheet would calculate gets an apostrophe.
    fn quote(&mut self, at: usize, is_formula: bool) {
        let mut from = at;
        if is_formula {
            self.out.insert(from, b'\'');
        }
        self.out.insert(from, b'"');
        from += 1;
        while let Some(found) = self.out.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'"')) {
            from += found;
            self.out.insert(from, b'"');
            from += 2;
        }
        self.out.push(b'"');
    }

    fn end(self) {
        self.out.push(b'\n');
    }
}
