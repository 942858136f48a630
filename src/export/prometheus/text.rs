//! Lines of the exposition format 0.0.4, and the names of owners in them.

use std::io::Write;

use crate::owner::Owner;
use crate::snapshot::Snapshot;
use crate::stats::Kind;

/// Namespace and pod of an owner. No pod has a name in brackets, so owners beyond the bound cannot be mistaken for one.
pub fn names_of(snapshot: &Snapshot, owner: u32) -> (&str, &str) {
    match snapshot.owners.get(owner as usize) {
        Some(Owner::Pod(pod)) => (&pod.namespace, &pod.name),
        Some(Owner::Host | Owner::Address | Owner::Group(_)) => ("", ""),
        Some(Owner::Other) | None => ("", "(other)"),
    }
}

/// Kind and name of what controls a pod, or of a unit or container of a bare host; empty where there is none.
pub fn workload_of(snapshot: &Snapshot, owner: u32) -> (&str, &str) {
    match snapshot.owners.get(owner as usize) {
        Some(Owner::Pod(pod)) => pod.workload.as_ref().map_or(("", ""), |workload| (&workload.kind, &workload.name)),
        Some(Owner::Group(group)) => (group.kind(), group.name()),
        Some(Owner::Host | Owner::Address | Owner::Other) | None => ("", ""),
    }
}

/// What introduces a family.
pub fn head(out: &mut Vec<u8>, name: &str, help: &str, kind: Kind) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    out.extend_from_slice(b"# HELP ");
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
    escape(out, help, false);
    out.extend_from_slice(b"\n# TYPE ");
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
    out.extend_from_slice(kind.as_bytes());
    out.push(b'\n');
}

/// One line: `value / per` in decimal, exactly.
pub fn sample(out: &mut Vec<u8>, name: &str, labels: &[(&str, &str)], value: u64, per: u64) {
    out.extend_from_slice(name.as_bytes());
    for (at, (label, text)) in labels.iter().enumerate() {
        out.push(if at == 0 { b'{' } else { b',' });
        out.extend_from_slice(label.as_bytes());
        out.extend_from_slice(b"=\"");
        escape(out, text, true);
        out.push(b'"');
    }
    if !labels.is_empty() {
        out.push(b'}');
    }
    let per = per.max(1);
    // A Vec takes everything.
    let _ = write!(out, " {}", value / per);
    if per > 1 {
        let width = per.ilog10() as usize;
        let _ = write!(out, ".{:0width$}", value % per);
    }
    out.push(b'\n');
}

/// Backslashes and line ends; in label values quotes too.
fn escape(out: &mut Vec<u8>, text: &str, quoted: bool) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quoted => out.extend_from_slice(b"\\\""),
            byte => out.push(byte),
        }
    }
}
