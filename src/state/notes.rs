//! Notes and verdicts as bytes: what became of the messages of a batch.

use super::bytes::{In, Numbered, Persist, put_block};
use crate::batch::{Note, Verdict};
use crate::persist_as_number;
use crate::stats::Lost;
use crate::wire::Malformed;

persist_as_number!(Lost {
    RowTableFull = 0,
    ConnectionTableFull = 1,
    EventQueueFull = 2,
    Vanished = 3,
    BpfMapFull = 4,
    Refused = 5,
    TooLarge = 6,
    Shutdown = 7,
    ShutdownAmbiguous = 8,
    Restart = 9,
    StateFile = 10,
    SourceChanged = 11,
});

impl Persist for Verdict {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Verdict::Acknowledged => 0,
            Verdict::Merge => 1,
            Verdict::MergeAmbiguous => 2,
            Verdict::Drop(reason) => 3 + reason.number(),
        });
    }
    fn take(from: &mut In<'_>) -> Result<Verdict, Malformed> {
        match u8::take(from)? {
            0 => Ok(Verdict::Acknowledged),
            1 => Ok(Verdict::Merge),
            2 => Ok(Verdict::MergeAmbiguous),
            number => Lost::of_number(number - 3).map(Verdict::Drop).ok_or(Malformed),
        }
    }
}

impl Persist for Note {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Note::Halved(name) => {
                out.push(0);
                put_block(out, name.as_bytes());
            }
            Note::Ended(name, verdict) => {
                out.push(1);
                put_block(out, name.as_bytes());
                verdict.put(out);
            }
        }
    }
    fn take(from: &mut In<'_>) -> Result<Note, Malformed> {
        let (kind, name) = (u8::take(from)?, Box::<str>::take(from)?.into_string());
        match kind {
            0 => Ok(Note::Halved(name)),
            1 => Ok(Note::Ended(name, Verdict::take(from)?)),
            _ => Err(Malformed),
        }
    }
}
