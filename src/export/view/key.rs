//! What a row is told by in each sum, and whether it holds a text.

use std::fmt::{self, Write};

use super::query::{By, Query};
use crate::flow::protocol;
use crate::owner::Owner;
use crate::snapshot::{RowView, Snapshot};

/// What rows of one sum share: words, and a number where no word says it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Key<'a> {
    words: [&'a str; 3],
    number: u128,
    by: u8,
}

/// The words by which an owner is shown: namespace, pod, kind and name of its workload.
pub struct OwnerWords<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    pub workload_kind: &'a str,
    pub workload: &'a str,
    /// What it is called where it is no pod.
    pub kind: &'static str,
}

/// The words of a row's owner.
pub fn owner<'a>(snapshot: &'a Snapshot, row: &RowView) -> OwnerWords<'a> {
    let other = |kind| OwnerWords { namespace: "", pod: "", workload_kind: "", workload: "", kind };
    match snapshot.owners.get(row.owner as usize).unwrap_or(&Owner::Other) {
        Owner::Host => other("host"),
        Owner::Address => other("address"),
        Owner::Other => other("other"),
        Owner::Group(group) => {
            let (workload_kind, workload) = (group.kind(), group.name());
            OwnerWords { namespace: "", pod: "", workload_kind, workload, kind: group.kind() }
        }
        Owner::Pod(pod) => {
            let (workload_kind, workload) = pod.workload.as_ref().map_or(("", ""), |w| (&*w.kind, &*w.name));
            OwnerWords { namespace: &pod.namespace, pod: &pod.name, workload_kind, workload, kind: "" }
        }
    }
}

/// The name that the remote end was asked by; empty where there is none.
pub fn remote_name<'a>(snapshot: &'a Snapshot, row: &RowView) -> &'a str {
    snapshot.names.get(row.name as usize).map_or("", |name| &name.text)
}

/// What tells the row's sum.
pub fn key<'a>(snapshot: &'a Snapshot, row: &RowView, by: By) -> Key<'a> {
    let words = |words: [&'a str; 3]| Key { words, number: 0, by: 0 };
    let number = |number: u128| Key { words: [""; 3], number, by: 1 };
    match by {
        By::Row => number(0),
        By::Owner => {
            let OwnerWords { namespace, pod, workload, kind, .. } = owner(snapshot, row);
            // Only what is no pod has a kind, and of that only a unit or container a name.
            words(if kind.is_empty() { [namespace, pod, ""] } else { [kind, workload, ""] })
        }
        By::Workload => {
            let OwnerWords { namespace, pod, workload_kind, workload, kind } = owner(snapshot, row);
            // A pod that nothing controls is its own workload.
            match workload {
                "" => words([namespace, pod, kind]),
                name => words([namespace, workload_kind, name]),
            }
        }
        By::Namespace => {
            let OwnerWords { namespace, kind, .. } = owner(snapshot, row);
            words([namespace, kind, ""])
        }
        By::Remote => match remote_name(snapshot, row) {
            "" => number(row.remote.number()),
            name => words([name, "", ""]),
        },
        By::Port => number(u128::from(row.port) << 8 | u128::from(row.protocol)),
        By::Class => words([row.class.as_str(), "", ""]),
        By::Scope => words([row.way.scope().as_str(), "", ""]),
    }
}

/// Writes what tells a row's sum.
pub struct Shown<'a>(pub &'a Snapshot, pub &'a RowView, pub By);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(snapshot, row, by) = *self;
        let Key { words, number: _, by: is_number } = key(snapshot, row, by);
        match (by, is_number) {
            (By::Remote, 1) => row.remote.fmt(f),
            (By::Port, _) => write!(f, "{}/{}", row.port, Protocol(row.protocol)),
            _ => {
                let mut before = false;
                for word in words.iter().filter(|word| !word.is_empty()) {
                    if std::mem::replace(&mut before, true) {
                        f.write_char('/')?;
                    }
                    f.write_str(word)?;
                }
                Ok(())
            }
        }
    }
}

/// A protocol by its name where it has one that people know.
pub struct Protocol(pub u8);

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            protocol::TCP => f.write_str("tcp"),
            protocol::UDP => f.write_str("udp"),
            protocol::SCTP => f.write_str("sctp"),
            protocol::ICMP => f.write_str("icmp"),
            protocol::ICMPV6 => f.write_str("icmpv6"),
            number => number.fmt(f),
        }
    }
}

/// Whether a row is asked for.
pub fn matches(snapshot: &Snapshot, row: &RowView, query: &Query) -> bool {
    if query.class.is_some_and(|class| class != row.class) || query.scope.is_some_and(|scope| scope != row.way.scope())
    {
        return false;
    }
    let needle = query.needle.bytes();
    if needle.is_empty() {
        return true;
    }
    let OwnerWords { namespace, pod, workload_kind, workload, kind } = owner(snapshot, row);
    let service = snapshot.places.service(row.way.service());
    let words = [namespace, pod, workload_kind, workload, kind, remote_name(snapshot, row), service];
    words.into_iter().any(|word| holds(word.as_bytes(), needle))
        || [row.local, row.remote].iter().any(|addr| holds(Small::of(addr).bytes(), needle))
        || holds(Small::of(&format_args!("{}/{}", row.port, Protocol(row.protocol))).bytes(), needle)
}

/// Whether a text holds another, which is in lower case.
fn holds(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
}

/// A short text without an allocation.
struct Small {
    bytes: [u8; 64],
    len: usize,
}

impl Small {
    fn of(value: &impl fmt::Display) -> Small {
        let mut small = Small { bytes: [0; 64], len: 0 };
        // What is longer is cut; addresses and ports are not.
        let _ = write!(small, "{value}");
        small
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Write for Small {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}
