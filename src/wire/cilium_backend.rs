//! One backend of a service in Cilium's maps (`struct lb4_backend`, `struct lb6_backend` of `bpf/lib/common.h`): where
//! the conversations go that a SERVICE entry names it for.
//!
//! The maps have had three names. Until 1.10 an id has two bytes, then four (`_v2`), and since 1.13 (`_v3`) the value
//! has more bytes at its end. What is read here is at the same place in all of them.

use super::Malformed;
use crate::flow::Addr;

/// The largest value that is read; known ones have 8 or 12 bytes of IPv4 and 20 or 24 of IPv6.
pub const LARGEST_VALUE_BYTES: usize = 64;

/// Where a backend listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    pub addr: Addr,
    pub port: u16,
}

/// Writes the key of backend `id` in a map whose keys have `key_bytes`.
///
/// # Errors
/// [`Malformed`] where no known map has such keys, or the id does not fit.
pub fn key(id: u32, key_bytes: usize, buffer: &mut [u8; 4]) -> Result<&[u8], Malformed> {
    match key_bytes {
        2 => buffer[..2].copy_from_slice(&u16::try_from(id).map_err(|_| Malformed)?.to_ne_bytes()),
        4 => *buffer = id.to_ne_bytes(),
        _ => return Err(Malformed),
    }
    Ok(&buffer[..key_bytes])
}

/// Reads a value of the map of IPv4 or IPv6 backends.
///
/// # Errors
/// [`Malformed`] where it is too short.
pub fn parse(value: &[u8], is_v4: bool) -> Result<Backend, Malformed> {
    let (addr, rest) = if is_v4 {
        let (addr, rest) = value.split_first_chunk().ok_or(Malformed)?;
        (Addr::from_v4(*addr), rest)
    } else {
        let (addr, rest) = value.split_first_chunk().ok_or(Malformed)?;
        (Addr::from_v6(*addr), rest)
    };
    let port = u16::from_be_bytes(*rest.first_chunk().ok_or(Malformed)?);
    Ok(Backend { addr, port })
}

#[cfg(test)]
mod tests;
