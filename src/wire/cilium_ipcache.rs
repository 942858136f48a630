//! One entry of Cilium's map of addresses: a range, and the node behind which it lies. The structs are `ipcache_key`
//! and `remote_endpoint_info` of `bpf/lib/eps.h`, before 1.14 of `maps.h` and `common.h`.
//!
//! The key is 24 bytes in every release from 1.10 on. First is the number of bits that count, of what follows, in the
//! machine's order. Then follow three bytes of padding and the number of the cluster, the family, the address. The
//! value has grown once, with the map's name:
//!
//! | | bytes | node at | whether there is one |
//! | --- | --- | --- | --- |
//! | `cilium_ipcache`, to 1.17 | 12 | 4, of IPv4 alone | it is not 0 |
//! | `cilium_ipcache_v2`, from 1.18 on | 24 | 4, IPv4 or IPv6 | flags, the last byte |

use super::Malformed;
use super::netlink::u32_ne;
use crate::flow::{Addr, Cidr};

/// Bytes of a key.
pub const KEY_BYTES: usize = 24;
/// Bits of a key between their number and the address.
const BITS_BEFORE: u32 = 32;
const IPV4: u8 = 1;
const IPV6: u8 = 2;
/// Flags of the larger value.
const HAS_NODE: u8 = 1 << 1;
const NODE_IS_V6: u8 = 1 << 2;

/// How values are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// To 1.17.
    V1,
    /// From 1.18 on.
    V2,
}

impl Layout {
    /// That of a map with keys and values of these sizes, if a release has such.
    pub fn of(key_bytes: usize, value_bytes: usize) -> Option<Layout> {
        match (key_bytes, value_bytes) {
            (KEY_BYTES, 12) => Some(Layout::V1),
            (KEY_BYTES, 24) => Some(Layout::V2),
            _ => None,
        }
    }
}

/// The range and its node. `None` for everything, for a range of this node or outside of the cluster, and for one that
/// holds its node. `None` too for a range of another cluster that uses the same addresses.
///
/// # Errors
/// [`Malformed`] where bytes are missing, and for a family or prefix that there is not.
pub fn parse(layout: Layout, key: &[u8], value: &[u8]) -> Result<Option<(Cidr, Addr)>, Malformed> {
    let prefix = u32_ne(key, 0).and_then(|bits| bits.checked_sub(BITS_BEFORE)).ok_or(Malformed)?;
    let prefix = u8::try_from(prefix).map_err(|_| Malformed)?;
    let is_v6 = match key.get(7) {
        Some(&IPV4) => false,
        Some(&IPV6) => true,
        _ => return Err(Malformed),
    };
    let range = Cidr::new(address(key, 8, is_v6)?, prefix).ok_or(Malformed)?;
    let node = match layout {
        Layout::V1 => address(value, 4, false)?,
        Layout::V2 => {
            let flags = *value.get(23).ok_or(Malformed)?;
            if flags & HAS_NODE == 0 {
                return Ok(None);
            }
            address(value, 4, flags & NODE_IS_V6 != 0)?
        }
    };
    let is_none = node == Addr::UNSPECIFIED_V4 || node == Addr::UNSPECIFIED_V6;
    // The number of the cluster was one byte, the last of these, before it was the first two.
    let is_elsewhere = key.get(4..7).ok_or(Malformed)? != [0; 3];
    Ok((!is_none && !is_elsewhere && prefix > 0 && !range.contains(node)).then_some((range, node)))
}

fn address(bytes: &[u8], at: usize, is_v6: bool) -> Result<Addr, Malformed> {
    let bytes = bytes.get(at..).ok_or(Malformed)?;
    match is_v6 {
        true => bytes.first_chunk().map(|bytes| Addr::from_v6(*bytes)),
        false => bytes.first_chunk().map(|bytes| Addr::from_v4(*bytes)),
    }
    .ok_or(Malformed)
}

#[cfg(test)]
mod tests;
