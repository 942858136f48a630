//! What generic netlink says of tunnels' UDP ports (`include/uapi/linux/genetlink.h`, `wireguard.h`, `fou.h`).
//!
//! WireGuard answers with its private key right behind the port, so only a head of [`HEAD_BYTES`] is ever read.

use super::netlink::{Attributes, Writer, u16_be, u16_ne};

/// Of WireGuard's answer: `struct nlmsghdr`, `struct genlmsghdr`, the header of the first attribute, the port.
pub const HEAD_BYTES: usize = HEADERS + 6;

/// `GENL_ID_CTRL`: the family that knows the numbers of the others.
const CONTROL: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// `struct nlmsghdr` and `struct genlmsghdr`.
const HEADERS: usize = 20;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const WG_CMD_GET_DEVICE: u8 = 0;
const WGDEVICE_A_IFINDEX: u16 = 1;
const WGDEVICE_A_LISTEN_PORT: u16 = 6;
const FOU_CMD_GET: u8 = 3;
const FOU_ATTR_PORT: u16 = 1;

/// A family that has ports of tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The port that each of its links listens at.
    WireGuard,
    /// The ports at which packets within UDP (FoU, GUE) are received, of all links.
    Fou,
}

impl Family {
    /// Its name, with the zero behind it.
    pub fn name(self) -> &'static [u8] {
        match self {
            Family::WireGuard => b"wireguard\0",
            Family::Fou => b"fou\0",
        }
    }
}

/// Asks for the number of a family, by its name with a zero behind it.
pub fn number_of(name: &[u8]) -> Vec<u8> {
    request(CONTROL, NLM_F_REQUEST, CTRL_CMD_GETFAMILY, |w| w.attribute(CTRL_ATTR_FAMILY_NAME, name))
}

/// Asks WireGuard, whose number `family` is, for a link.
pub fn wireguard(family: u16, link: u32) -> Vec<u8> {
    request(family, NLM_F_REQUEST | NLM_F_DUMP, WG_CMD_GET_DEVICE, |w| {
        w.attribute(WGDEVICE_A_IFINDEX, &link.to_ne_bytes());
    })
}

/// Asks for all ports at which packets within UDP are received.
pub fn fou(family: u16) -> Vec<u8> {
    request(family, NLM_F_REQUEST | NLM_F_DUMP, FOU_CMD_GET, |_| {})
}

fn request(family: u16, flags: u16, command: u8, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(family, flags, 1);
    writer.raw(&[command, 1, 0, 0]);
    fill(&mut writer);
    writer.finish()
}

/// The answer to [`number_of`], what follows `struct nlmsghdr`.
pub fn number(payload: &[u8]) -> Option<u16> {
    u16_ne(attribute(payload, CTRL_ATTR_FAMILY_ID)?, 0)
}

/// The port in the head of the answer to [`wireguard`], a datagram that is cut there. The port is its first attribute.
pub fn listening_port(head: &[u8], family: u16) -> Option<u16> {
    let is_it = u16_ne(head, 4)? == family
        && usize::from(u16_ne(head, HEADERS)?) == HEAD_BYTES - HEADERS
        && u16_ne(head, HEADERS + 2)? == WGDEVICE_A_LISTEN_PORT;
    // 0 until one is chosen.
    u16_ne(head, HEADERS + 4).filter(|port| is_it && *port != 0)
}

/// One port of the answer to [`fou`], what follows `struct nlmsghdr`.
pub fn receiving_port(payload: &[u8]) -> Option<u16> {
    u16_be(attribute(payload, FOU_ATTR_PORT)?).filter(|port| *port != 0)
}

fn attribute(payload: &[u8], kind: u16) -> Option<&[u8]> {
    let mut all = Attributes::of(payload.get(4..)?).map_while(Result::ok);
    all.find(|attribute| attribute.kind == kind).map(|found| found.value)
}

#[cfg(test)]
mod tests;
