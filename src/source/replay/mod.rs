//! Reads a recording, and feeds the recorded messages to the same reader as the kernel's.
//!
//! A recording plays on its own clock and in its own order of sweeps and drains. [`Replay::upcoming`] returns the next
//! step and its time, [`Replay::addresses`] the changes of the host's addresses before it. It is not a [`super::Source`],
//! because a source is read when the collector chooses.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::netfilter::Reader;
use super::{Each, Facts, SourceError, Sweep};
use crate::clock::Now;
use crate::config::SourceKind;
use crate::flow::AddressChange;
use crate::privileges::Needs;
use crate::wire::recording::{self, Corrupt, FRAME_HEADER, Frame, HEADER};

/// A file needs no capability and has no rank in the fallback.
pub const FACTS: Facts = Facts {
    kind: SourceKind::Replay,
    needs: Needs { net_admin: false, bpf_maps: false },
    rank: None,
    tells_cgroups: false,
    asks_conntrack: false,
    sees_the_host: true,
    counts_at_sockets: false,
    component: None,
};

/// The next step of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upcoming {
    pub step: Step,
    /// The recorded time.
    pub at: Now,
}

/// A recorded reading of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All connections.
    Sweep,
    /// Connections that ended between sweeps.
    Drain,
}

/// A recording that is being played.
pub struct Replay<R = BufReader<File>> {
    path: PathBuf,
    input: R,
    /// Where the next frame begins.
    offset: u64,
    head: [u8; FRAME_HEADER],
    body: Vec<u8>,
    reader: Reader,
    /// Changes read ahead of the sweep or drain that they precede.
    addresses: Vec<AddressChange>,
    next: Next,
    /// The recorded time of what was played last; at first, when the agent started.
    played: Now,
}

/// What follows the step that was played last.
enum Next {
    /// Not read yet.
    Unread,
    /// A step, with the sequence number of its dump.
    Step(Upcoming, u32),
    /// The recording was closed.
    End,
    /// The rest cannot be read. Reported once.
    Broken(String),
}

impl Replay {
    /// Opens a recording.
    ///
    /// # Errors
    /// [`SourceError::Open`] where the file cannot be read or is not a recording.
    pub fn open(path: &Path) -> Result<Replay, SourceError> {
        let file = File::open(path)
            .map_err(|error| SourceError::Open(format!("cannot open the recording {}: {error}", path.display())))?;
        Replay::from_input(path, BufReader::with_capacity(256 * 1024, file))
    }
}

impl<R: Read> Replay<R> {
    /// Plays from any reader; errors name it `path`.
    ///
    /// # Errors
    /// As [`Replay::open`].
    pub fn from_input(path: &Path, mut input: R) -> Result<Replay<R>, SourceError> {
        let refuse = |why: String| SourceError::Open(format!("cannot play the recording {}: {why}", path.display()));
        let mut header = [0; HEADER];
        input.read_exact(&mut header).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => refuse(Corrupt::NotARecording.to_string()),
            _ => refuse(error.to_string()),
        })?;
        recording::check_header(&header).map_err(|corrupt| refuse(corrupt.to_string()))?;
        let mut replay = Replay {
            path: path.to_owned(),
            input,
            offset: HEADER as u64,
            head: [0; FRAME_HEADER],
            body: Vec::new(),
            reader: Reader::default(),
            addresses: Vec::new(),
            next: Next::Unread,
            played: Now::default(),
        };
        replay.read().map_err(SourceError::Open)?;
        match recording::parse(&replay.head, &replay.body) {
            Ok(Frame::Started(at)) => replay.played = at,
            _ => return Err(SourceError::Open(replay.out_of_order())),
        }
        Ok(replay)
    }

    /// Reads the next frame into `head` and `body`.
    fn read(&mut self) -> Result<(), String> {
        let at = self.offset;
        let broken = |why: &dyn std::fmt::Display| {
            format!("cannot play the recording {} beyond byte {at}: {why}", self.path.display())
        };
        let cut = |error: std::io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => broken(&"it is cut off there"),
            _ => broken(&error),
        };
        self.input.read_exact(&mut self.head).map_err(cut)?;
        let len = recording::payload_len(&self.head).map_err(|corrupt| broken(&corrupt))? + recording::CHECKSUM;
        self.body.resize(len, 0);
        self.input.read_exact(&mut self.body).map_err(cut)?;
        recording::parse(&self.head, &self.body).map_err(|corrupt| broken(&corrupt))?;
        self.offset += (FRAME_HEADER + len) as u64;
        Ok(())
    }

    /// Reads up to the beginning of the next sweep or drain.
    fn look_ahead(&mut self) {
        while let Next::Unread = self.next {
            if let Err(why) = self.read() {
                self.next = Next::Broken(why);
                return;
            }
            self.next = match recording::parse(&self.head, &self.body) {
                Ok(Frame::Address(change)) => {
                    self.addresses.push(change);
                    continue;
                }
                Ok(Frame::SweepBegins(at, seq)) => Next::Step(Upcoming { step: Step::Sweep, at }, seq),
                Ok(Frame::DrainBegins(at)) => Next::Step(Upcoming { step: Step::Drain, at }, 0),
                Ok(Frame::Closed) => Next::End,
                _ => Next::Broken(self.out_of_order()),
            };
        }
    }

    fn out_of_order(&self) -> String {
        format!(
            "cannot play the recording {} beyond byte {}: a frame of this kind is not allowed here",
            self.path.display(),
            self.offset
        )
    }

    /// Plays the next step.
    ///
    /// # Errors
    /// [`SourceError::Read`] if the recording is broken or contains a failed reading; [`SourceError::Finished`] at its
    /// end.
    pub fn play(&mut self, each: Each<'_>) -> Result<Sweep, SourceError> {
        self.look_ahead();
        let (upcoming, seq) = match std::mem::replace(&mut self.next, Next::End) {
            Next::Step(upcoming, seq) => (upcoming, seq),
            Next::Broken(why) => return Err(SourceError::Read(why)),
            Next::End | Next::Unread => return Err(SourceError::Finished),
        };
        let begins = match upcoming.step {
            Step::Sweep => Frame::SweepBegins(upcoming.at, seq),
            Step::Drain => Frame::DrainBegins(upcoming.at),
        };
        self.played = upcoming.at;
        self.reader.take(&begins, each);
        loop {
            self.read().map_err(SourceError::Read)?;
            match recording::parse(&self.head, &self.body) {
                Ok(Frame::Ends) => break,
                Ok(
                    frame @ (Frame::Buckets(_)
                    | Frame::Chunk(_)
                    | Frame::DumpFailed(_)
                    | Frame::Event(_)
                    | Frame::Overflow(_)
                    | Frame::Dropped(_)),
                ) => self.reader.take(&frame, each),
                _ => return Err(SourceError::Read(self.out_of_order())),
            }
        }
        self.next = Next::Unread;
        self.reader.finish()
    }

    /// The recorded time of the last step; at first the start of the agent that recorded it.
    pub fn played_at(&self) -> Now {
        self.played
    }

    /// The next step; `None` at the end.
    pub fn upcoming(&mut self) -> Option<Upcoming> {
        self.look_ahead();
        match &self.next {
            Next::Step(upcoming, _) => Some(*upcoming),
            _ => None,
        }
    }

    /// Passes on the changes of the host's addresses before the next step.
    pub fn addresses(&mut self, each: &mut dyn FnMut(AddressChange)) {
        self.look_ahead();
        self.addresses.drain(..).for_each(each);
    }
}

#[cfg(test)]
mod tests;
