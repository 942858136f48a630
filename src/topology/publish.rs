//! The text that one publishes for all: the lines of a file first, then what the cluster tells, below a head.
//!
//! Knows no API server.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, Read, Write as _};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::cluster::Found;
use super::lines::{self, Head, Line, LineError, MAX_BYTES, Wrong};
use super::names::{Learner, Names};
use super::scope::Via;
use super::table::MAX_RANGES;

/// A longer text is packed.
const PLAIN_BYTES: usize = 64 << 10;

/// What is published but for its head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Lines, each with its end.
    pub text: String,
    /// Lines with a range.
    pub ranges: u32,
}

impl Body {
    /// Of the lines of a file and what the cluster tells; of the same range the file's line counts.
    ///
    /// # Errors
    /// The first wrong line of the file; [`Wrong::Ranges`] where both together are more than a table holds.
    pub fn new(file: &str, found: &Found) -> Result<Body, LineError> {
        if !file.is_empty() {
            lines::parse(file, &mut Learner::new(Names::default()), &[])?;
        }
        let mut body = Body::default();
        let mut said = HashSet::new();
        for line in file.lines() {
            if let Ok(Some(line)) = lines::parse_line(line)
                && said.insert((line.range.first(), line.range.prefix()))
            {
                body.add(&line);
            }
        }
        for (range, place) in &found.ranges {
            let Some((zone, region)) = found.places.get(usize::from(*place)) else { continue };
            if !said.contains(&(range.first(), range.prefix())) {
                body.add(&Line { range: *range, scope: None, via: Via::None, zone, region, service: "" });
            }
        }
        match body.ranges as usize <= MAX_RANGES {
            true => Ok(body),
            false => Err(LineError { line: body.ranges, wrong: Wrong::Ranges }),
        }
    }

    fn add(&mut self, line: &Line<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
        self.ranges += 1;
    }

    /// With its head.
    pub fn with_head(&self, generation: u64) -> Published {
        let text = format!("{}\n{}", Head { generation, ranges: self.ranges }, self.text);
        if text.len() <= PLAIN_BYTES {
            return Published::Plain(text);
        }
        match packed(text.as_bytes()) {
            Ok(bytes) => Published::Packed(bytes),
            // Writing to memory cannot fail.
            Err(_) => Published::Plain(text),
        }
    }
}

/// As it stands in a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// Under `data`.
    Plain(String),
    /// By gzip, under `binaryData`.
    Packed(Vec<u8>),
}

impl Published {
    /// Bytes that it takes there.
    pub fn len(&self) -> usize {
        match self {
            Published::Plain(text) => text.len(),
            Published::Packed(bytes) => bytes.len(),
        }
    }

    /// How new it is, and the lines below its head; none where it is none of ours, or harmed.
    pub fn read(&self) -> Option<(Head, String)> {
        let text = match self {
            Published::Plain(text) => text.clone(),
            Published::Packed(bytes) => {
                let mut text = String::new();
                MultiGzDecoder::new(&**bytes).take(MAX_BYTES as u64).read_to_string(&mut text).ok()?;
                text
            }
        };
        let (first, rest) = text.split_once('\n')?;
        Some((Head::read(first)?, rest.to_owned()))
    }
}

fn packed(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text)?;
    encoder.finish()
}

#[cfg(test)]
mod tests;
