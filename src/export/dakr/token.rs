//! The bearer token: from the environment or a file, re-read when the file changes, never shown.

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::sys::small_file;

/// Far more than any token has; a header could not hold it.
const FILE_MAX_BYTES: u64 = 64 << 10;

/// A token and its source.
pub struct Token {
    value: String,
    file: Option<PathBuf>,
    /// Identity and age of the file that `value` was read from.
    seen: Option<(u64, u64, i64, i64)>,
}

/// Why a token cannot be used. Holds nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError(String);

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Token {
    /// `value` from the environment, and a file that goes before it where it can be read.
    pub fn new(value: &str, file: Option<PathBuf>) -> Token {
        Token { value: value.trim().to_owned(), file, seen: None }
    }

    /// Whether there is none to send yet.
    pub fn is_missing(&self) -> bool {
        self.value.is_empty() && self.file.is_some()
    }

    /// The value of the `Authorization` header.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.value)
    }

    /// Reads the file if it changed since it was last read. What cannot be used leaves the token as it is.
    pub fn refresh(&mut self) -> Result<(), TokenError> {
        let Some(file) = &self.file else { return Ok(()) };
        let identity = |m: &Metadata| (m.dev(), m.ino(), m.mtime(), m.mtime_nsec());
        let error = |error| TokenError(format!("cannot read token file {}: {error}", file.display()));
        let seen = Some(identity(&fs::metadata(file).map_err(error)?));
        if seen == self.seen {
            return Ok(());
        }
        self.read(seen)
    }

    /// Reads the file whether it changed or not, for its time stamp may be too coarse to tell.
    pub fn reread(&mut self) -> Result<(), TokenError> {
        self.read(None)
    }

    fn read(&mut self, seen: Option<(u64, u64, i64, i64)>) -> Result<(), TokenError> {
        let Some(file) = &self.file else { return Ok(()) };
        let bytes = small_file::read(file, FILE_MAX_BYTES)
            .map_err(|error| TokenError(format!("cannot read token file {}: {error}", file.display())))?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim();
        // What would end the header line, or be refused as a header, is no token.
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError(format!("no usable token in {}", file.display())));
        }
        text.clone_into(&mut self.value);
        self.seen = seen;
        Ok(())
    }

    /// `text` with every mention of the token taken out: a server may repeat it in its error.
    pub fn redacted(&self, text: &str) -> String {
        match self.value.as_str() {
            "" => text.to_owned(),
            token => text.replace(token, "(token)"),
        }
    }
}

#[cfg(test)]
mod tests;
