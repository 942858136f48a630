//! The state file, with which a restarted agent continues: it counts nothing twice and misses little.
//!
//! The push writes it ([`store`]), never the collector. It holds the collector's tables just after a freeze
//! ([`crate::collect::persist`]) and the unsettled messages of that window ([`crate::export::dakr::retry`]). The fate
//! of each message is appended later. This module knows the frame around them and decides when a file is valid. A valid
//! file has this format, is intact, and was written in this boot and in this network namespace. Connections and their
//! ids do not outlive a boot.
//!
//! ```text
//! magic and version │ length of the body │ body │ CRC-32 of the body │ note │ CRC-32 of the note │ ...
//! body: boot id, network namespace, <node>/<boot> of the batch, tables, the batch
//! ```

pub mod bytes;
mod notes;
pub mod store;

use std::fmt;

use crate::batch::Note;
use crate::wire::Malformed;
use bytes::{In, Persist, persist, put_block};

/// First bytes of the file; the last one is the version of the format.
const MAGIC: &[u8; 8] = b"netmon\0\x02";
/// Magic and length of the body (eight bytes, little-endian).
const HEAD_BYTES: usize = 16;

/// The kernel boot and network namespace that a state belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Box<str>,
    /// Inode of the network namespace.
    pub netns: u64,
}

persist!(Place { boot_id, netns });

/// The decoded state file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// `<node>/<boot>` under which the batch was sent.
    pub sender: String,
    /// The collector's tables.
    pub tables: Vec<u8>,
    /// The batch: [`crate::export::dakr::retry::Delivery::persist`].
    pub batch: Vec<u8>,
    /// The fate of its messages since.
    pub notes: Vec<Note>,
    /// Why its connections are of no use, if they are not.
    pub gone: Option<Gone>,
}

/// Why a state file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It does not start with the magic.
    Foreign,
    /// It has another version of the format.
    Version(u8),
    /// Too short, or its checksum is wrong.
    Harmed,
}

/// Why the connections that a state file knows are of no use; its rows and its batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Of another boot: the connections are gone.
    Boot,
    /// Of another network namespace: the connections are others'.
    Namespace,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Gone::Boot => "it was written before the last boot",
            Gone::Namespace => "it was written in another network namespace",
        })
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Foreign => f.write_str("it is not a state file"),
            Unfit::Version(version) => write!(f, "it has format {version}, this agent needs format {}", MAGIC[7]),
            Unfit::Harmed => f.write_str("it is cut short or its checksum is wrong"),
        }
    }
}

/// Encodes the file without notes, in three pieces, so that the large tables is not copied.
pub fn encode(place: &Place, sender: &str, tables: Vec<u8>, persist_batch: impl FnOnce(&mut Vec<u8>)) -> [Vec<u8>; 3] {
    let mut head = Vec::new();
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&[0; 8]);
    place.put(&mut head);
    put_block(&mut head, sender.as_bytes());
    tables.len().put(&mut head);
    let mut tail = Vec::new();
    persist_batch(&mut tail);
    let body_bytes = (head.len() - HEAD_BYTES + tables.len() + tail.len()) as u64;
    head[MAGIC.len()..HEAD_BYTES].copy_from_slice(&body_bytes.to_le_bytes());
    let sum = checksum(&[&head[HEAD_BYTES..], &tables, &tail]);
    tail.extend_from_slice(&sum);
    [head, tables, tail]
}

/// Encodes a note, to be appended.
pub fn encode_note(note: &Note) -> Vec<u8> {
    let mut body = Vec::new();
    note.put(&mut body);
    let mut out = Vec::new();
    put_block(&mut out, &body);
    out.extend_from_slice(&checksum(&[&body]));
    out
}

/// Decodes the file. A truncated last note was being written when the process ended. It is ignored: its message is sent
/// again, byte for byte.
///
/// # Errors
/// [`Unfit`].
pub fn decode(file: &[u8], place: &Place) -> Result<State, Unfit> {
    let mut from = In(file);
    let magic = from.bytes(MAGIC.len()).map_err(|_| Unfit::Foreign)?;
    match magic.split_last() {
        Some((version, name)) if name == &MAGIC[..7] && *version != MAGIC[7] => return Err(Unfit::Version(*version)),
        Some((_, name)) if name == &MAGIC[..7] => {}
        _ => return Err(Unfit::Foreign),
    }
    let (body, written) = body(&mut from).map_err(|Malformed| Unfit::Harmed)?;
    let mut state = parts(body).map_err(|Malformed| Unfit::Harmed)?;
    if written.boot_id != place.boot_id {
        state.gone = Some(Gone::Boot);
    } else if written.netns != place.netns {
        state.gone = Some(Gone::Namespace);
    }
    while let Ok(note) = note(&mut from) {
        state.notes.push(note);
    }
    Ok(state)
}

fn body<'a>(from: &mut In<'a>) -> Result<(In<'a>, Place), Malformed> {
    let len = u64::from_le_bytes(from.bytes(8)?.try_into().map_err(|_| Malformed)?);
    let body = from.bytes(usize::try_from(len).map_err(|_| Malformed)?)?;
    if from.bytes(4)? != checksum(&[body]) {
        return Err(Malformed);
    }
    let mut body = In(body);
    let place = Place::take(&mut body)?;
    Ok((body, place))
}

fn parts(mut body: In<'_>) -> Result<State, Malformed> {
    let sender = Box::<str>::take(&mut body)?.into_string();
    let tables = body.block()?.to_vec();
    Ok(State { sender, tables, batch: body.0.to_vec(), notes: Vec::new(), gone: None })
}

fn note(from: &mut In<'_>) -> Result<Note, Malformed> {
    let body = from.block()?;
    if from.bytes(4)? != checksum(&[body]) {
        return Err(Malformed);
    }
    Note::take(&mut In(body))
}

fn checksum(pieces: &[&[u8]]) -> [u8; 4] {
    let mut sum = flate2::Crc::new();
    pieces.iter().for_each(|piece| sum.update(piece));
    sum.sum().to_le_bytes()
}

#[cfg(test)]
mod tests;
