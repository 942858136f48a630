//! One message as one line: for people, for the journal, or as JSON.

use std::fmt::{self, Write};

use log::Level;
use nix::sys::stat::fstat;

use crate::listed;

/// Bytes of a message as it is written; what is longer ends in `…`.
const LONGEST: usize = 8_192;

listed! {
    /// The form of the log, `-log-format`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Format {
        /// Lines for people.
        Text => "text",
        /// One JSON object a line.
        Json => "json",
    }
}

/// How messages become lines of stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    pub format: Format,
    /// The journal reads: it has times of its own, and takes priorities from the beginning of each line (sd-daemon(3)).
    pub journal: bool,
}

/// A message.
pub struct Message<'a> {
    pub wall_ns: u64,
    pub level: Level,
    pub thread: &'a str,
    /// The module that says it.
    pub target: &'a str,
    pub text: fmt::Arguments<'a>,
}

impl Form {
    /// `journal_stream`: systemd's `JOURNAL_STREAM`, the device and inode of the stream that it reads. A child that wrote
    /// somewhere else would still have the variable.
    pub fn of(format: Format, journal_stream: Option<&str>) -> Form {
        let is_stderr = |stream: &str| {
            fstat(std::io::stderr()).is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino))
        };
        Form { format, journal: journal_stream.is_some_and(is_stderr) }
    }

    /// The message as a line with its end.
    pub fn line(self, message: &Message<'_>) -> String {
        let mut out = String::with_capacity(256);
        // Writing to a String does not fail; a message that is too long ends early.
        let _ = self.write(&mut out, message);
        out
    }

    fn write(self, out: &mut String, message: &Message<'_>) -> fmt::Result {
        let Message { wall_ns, level, thread, target, text } = message;
        if self.journal {
            let priority = match level {
                Level::Error => 3,
                Level::Warn => 4,
                Level::Info => 6,
                Level::Debug | Level::Trace => 7,
            };
            write!(out, "<{priority}>")?;
        }
        let time = jiff::Timestamp::from_nanosecond((*wall_ns).into()).unwrap_or_default();
        match self.format {
            Format::Text => {
                if !self.journal {
                    write!(out, "[{time:.3} {level:<5}] ")?;
                }
                Bounded::new(out, self.format).put(*text)?;
            }
            Format::Json => {
                let level = level.as_str().to_ascii_lowercase();
                write!(out, "{{\"time\":\"{time:.3}\",\"level\":\"{level}\",\"thread\":\"")?;
                Bounded::new(out, self.format).put(format_args!("{thread}"))?;
                out.push_str("\",\"target\":\"");
                Bounded::new(out, self.format).put(format_args!("{target}"))?;
                out.push_str("\",\"message\":\"");
                Bounded::new(out, self.format).put(*text)?;
                out.push_str("\"}");
            }
        }
        out.push('\n');
        Ok(())
    }
}

/// Writes text in which nothing ends the line or its string, up to [`LONGEST`].
struct Bounded<'a> {
    out: &'a mut String,
    format: Format,
    most: usize,
}

impl Bounded<'_> {
    fn new(out: &mut String, format: Format) -> Bounded<'_> {
        let most = out.len() + LONGEST;
        Bounded { out, format, most }
    }

    fn put(mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        if self.write_fmt(text).is_err() {
            self.out.push('…');
        }
        Ok(())
    }
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if self.out.len() >= self.most {
                return Err(fmt::Error);
            }
            match (self.format, letter) {
                (Format::Json, '"' | '\\') => self.out.extend(['\\', letter]),
                (Format::Json, _) if letter.is_control() => write!(self.out, "\\u{:04x}", u32::from(letter))?,
                (Format::Text, _) if letter.is_control() => self.out.extend(letter.escape_default()),
                _ => self.out.push(letter),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
