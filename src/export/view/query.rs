//! What is asked of `/flows`, read from the part of a request behind its question mark.
//!
//! It has a fixed size, so that a waiting connection holds it without an allocation. It knows no rows.

use std::fmt;

use crate::flow::Class;
use crate::listed;
use crate::topology::Scope;

/// Longest text that `match` takes, in bytes.
pub const MATCH_BYTES: usize = 64;
/// Rows that are shown at most, where a limit is given.
pub const MAX_LIMIT: usize = 100_000;

listed! {
    /// What rows are summed by.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum By {
        /// Nothing: each row stands for itself.
        #[default]
        Row => "row",
        /// The pod of the local end, or the host.
        Owner => "owner",
        /// What controls the pod.
        Workload => "workload",
        /// The pod's namespace.
        Namespace => "namespace",
        /// The name that the remote end was asked by, else its address.
        Remote => "remote",
        /// The responder's port and protocol.
        Port => "port",
        /// Inside, outside, overlay or multicast.
        Class => "class",
        /// How far away the remote end is.
        Scope => "scope",
    }
}

listed! {
    /// What comes first.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Sort {
        /// The highest rate, both ways together.
        Rate => "rate",
        /// The highest rate sent.
        Tx => "tx",
        /// The highest rate received.
        Rx => "rx",
        /// The most bytes since the row appeared, both ways together.
        #[default]
        Bytes => "bytes",
    }
}

listed! {
    /// The form of the answer.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Format {
        /// One object.
        #[default]
        Json => "json",
        /// RFC 4180, with a line of names.
        Csv => "csv",
        /// Fields apart by tabs, behind a line of the agent's own that begins with `#`.
        Tsv => "tsv",
    }
}

/// A text to look for, in lower case.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Needle {
    bytes: [u8; MATCH_BYTES],
    len: usize,
}

impl Needle {
    /// Empty: in every text.
    pub const NONE: Needle = Needle { bytes: [0; MATCH_BYTES], len: 0 };

    /// What is looked for.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for Needle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.bytes()).fmt(f)
    }
}

/// One question to the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    pub by: By,
    pub sort: Sort,
    pub format: Format,
    /// Only rows with this text in owner, workload, remote end, port or service.
    pub needle: Needle,
    /// Only rows of this class.
    pub class: Option<Class>,
    /// Only rows of this scope.
    pub scope: Option<Scope>,
    /// The first so many alone.
    pub limit: Option<usize>,
}

impl Default for Query {
    fn default() -> Query {
        Query {
            by: By::default(),
            sort: Sort::default(),
            format: Format::default(),
            needle: Needle::NONE,
            class: None,
            scope: None,
            limit: None,
        }
    }
}

/// Why a question is not answered, in a sentence that says what is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Query {
    /// Reads `key=value&…`. `None` where nothing is asked.
    ///
    /// # Errors
    /// A key or value that there is not, or a key twice.
    pub fn parse(text: &str) -> Result<Option<Query>, Refused> {
        if text.is_empty() {
            return Ok(None);
        }
        let mut query = Query::default();
        let mut seen = [false; KEYS.len()];
        for pair in text.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(at) = KEYS.iter().position(|known| *known == key) else {
                return Err(Refused(format!("there is no {}: want {}", shown(key), KEYS.join(", "))));
            };
            if std::mem::replace(&mut seen[at], true) {
                return Err(Refused(format!("{key} is given twice")));
            }
            match key {
                "by" => query.by = word(key, value, By::ALL, By::as_str)?,
                "sort" => query.sort = word(key, value, Sort::ALL, Sort::as_str)?,
                "format" => query.format = word(key, value, Format::ALL, Format::as_str)?,
                "class" => query.class = Some(word(key, value, Class::ALL, Class::as_str)?),
                "scope" => query.scope = Some(word(key, value, Scope::ALL, Scope::as_str)?),
                "limit" => {
                    let limit = value.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n));
                    query.limit = Some(limit.ok_or_else(|| wrong(key, value, &format!("1 to {MAX_LIMIT}")))?);
                }
                _ => {
                    let allowed = format!("at most {MATCH_BYTES} bytes, percent-encoded");
                    query.needle = needle(value).ok_or_else(|| wrong(key, value, &allowed))?;
                }
            }
        }
        Ok(Some(query))
    }
}

const KEYS: [&str; 7] = ["by", "sort", "match", "class", "scope", "limit", "format"];

fn word<T: Copy, const N: usize>(
    key: &str,
    value: &str,
    all: [T; N],
    text: impl Fn(T) -> &'static str,
) -> Result<T, Refused> {
    let found = all.into_iter().find(|one| text(*one) == value);
    found.ok_or_else(|| wrong(key, value, &all.map(text).join(", ")))
}

fn wrong(key: &str, value: &str, allowed: &str) -> Refused {
    Refused(format!("{key} cannot be {}: want {allowed}", shown(value)))
}

/// At most forty characters of what a peer sent.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

/// Decodes percent signs and plus signs (WHATWG URL, `application/x-www-form-urlencoded`).
fn needle(text: &str) -> Option<Needle> {
    let mut needle = Needle::NONE;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        };
        *needle.bytes.get_mut(needle.len)? = byte.to_ascii_lowercase();
        needle.len += 1;
    }
    Some(needle)
}

#[cfg(test)]
mod tests;
