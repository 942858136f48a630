//! Tokens, keys and certificates, and the files that hold them.
//!
//! Files are read when they are needed, not once: the kubelet rewrites tokens about every hour, certificate authorities
//! change now and then. Secrets appear in no message and in no `Debug`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::sys::small_file;

/// Tokens and certificates are a few kilobytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// PEM text, in place or in a file.
#[derive(Clone)]
pub enum Material {
    Text(Vec<u8>),
    /// A file, read anew each time.
    File(PathBuf),
}

impl Material {
    pub fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Material::Text(text) => Ok(text.clone()),
            Material::File(path) => read_file(path),
        }
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Material::Text(_) => f.write_str("Text"),
            Material::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Reads a small file whole. It is opened anew each time: a projected volume changes by exchanging a symbolic link.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    small_file::read(path, FILE_MAX_BYTES).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Checks a token for use in a header: white space around it is trimmed, within it is refused; ASCII only.
pub fn checked_token(text: &[u8], from: &str) -> Result<Secret, String> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(format!("the token of {from} is empty"));
    }
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err(format!("the token of {from} contains white space or non-ASCII characters"));
    }
    Ok(Secret(String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
mod tests;
