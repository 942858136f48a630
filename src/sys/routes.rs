//! The node behind each range, as the kernel's routes tell it (`RTM_GETROUTE`, `RTM_GETNEIGH`; rtnetlink(7)).
//!
//! A route to a range of pods goes by the address of their node, or in a tunnel by an address of the tunnel. For the
//! latter the neighbour table has the link address, and the tunnel's forwarding table has the node for the link
//! address.

use std::collections::HashMap;
use std::io;

use super::netlink::{Family, RequestSocket};
use crate::flow::{Addr, Cidr};
use crate::wire::netlink::{self, Attribute, Attributes, Message, Messages, Writer, u32_ne};

const GET_ROUTE: u16 = 26;
const GET_NEIGHBOUR: u16 = 30;
const AF_BRIDGE: u8 = 7;
/// `struct rtmsg` and `struct ndmsg`.
const HEADER: usize = 12;
const RTN_UNICAST: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// Routes that are looked at: more than a table of ranges holds.
const ROUTES_MAX: usize = 100_000;

/// An address of the link layer, and the device on which it is one.
type Link = (u32, [u8; 6]);

/// Reads routes.
pub struct Routes {
    requests: RequestSocket,
    buffer: Vec<u8>,
}

/// One route.
struct Route {
    range: Cidr,
    device: u32,
    gateway: Addr,
}

impl Routes {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn open() -> io::Result<Routes> {
        Ok(Routes { requests: RequestSocket::open(Family::Route)?, buffer: vec![0; 32 << 10] })
    }

    /// The ranges that lie behind another node, each with that node's address. The default route is none of them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn next_hops(&mut self) -> io::Result<Vec<(Cidr, Addr)>> {
        let mut routes = Vec::new();
        self.dump(GET_ROUTE, 0, |message| {
            if routes.len() < ROUTES_MAX {
                routes.extend(route(message.payload));
            }
        })?;
        let mut links: HashMap<(u32, Addr), Link> = HashMap::new();
        let mut nodes: HashMap<Link, Addr> = HashMap::new();
        // Only the address of a tunnel lies in the range that it leads to.
        if routes.iter().any(|route| route.range.contains(route.gateway)) {
            self.dump(GET_NEIGHBOUR, 0, |message| {
                if let Some((addr, link)) = neighbour(message.payload) {
                    links.insert((link.0, addr), link);
                }
            })?;
            self.dump(GET_NEIGHBOUR, AF_BRIDGE, |message| {
                if let Some((addr, link)) = neighbour(message.payload) {
                    nodes.insert(link, addr);
                }
            })?;
        }
        let node = |route: &Route| match links.get(&(route.device, route.gateway)).and_then(|link| nodes.get(link)) {
            Some(node) => *node,
            None => route.gateway,
        };
        Ok(routes.iter().map(|route| (route.range, node(route))).collect())
    }

    fn dump(&mut self, kind: u16, family: u8, mut each: impl FnMut(&Message<'_>)) -> io::Result<()> {
        const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
        let mut header = [0; HEADER];
        header[0] = family;
        let mut writer = Writer::default();
        writer.message(kind, NLM_F_REQUEST_DUMP, 1);
        writer.raw(&header);
        self.requests.discard_pending(&mut self.buffer);
        self.requests.send(&writer.finish())?;
        loop {
            let len = self.requests.receive(&mut self.buffer)?;
            for message in Messages::of(self.buffer.get(..len).unwrap_or_default()) {
                let message = message.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                match message.kind {
                    netlink::DONE => return Ok(()),
                    netlink::ERROR => return Err(io::Error::from_raw_os_error(message.errno())),
                    _ => each(&message),
                }
            }
        }
    }
}

/// A route by one gateway to a range; none for anything else.
fn route(payload: &[u8]) -> Option<Route> {
    let (prefix, kind) = (*payload.get(1)?, *payload.get(7)?);
    if prefix == 0 || kind != RTN_UNICAST {
        return None;
    }
    let (mut first, mut gateway, mut device) = (None, None, 0);
    for attribute in attributes(payload)? {
        match attribute.kind {
            RTA_DST => first = address(attribute.value),
            RTA_GATEWAY => gateway = address(attribute.value),
            RTA_OIF => device = u32_ne(attribute.value, 0)?,
            _ => {}
        }
    }
    Some(Route { range: Cidr::new(first?, prefix)?, device, gateway: gateway? })
}

/// An address, and where on the link it is; in a forwarding table the node, and what of the tunnel is there.
fn neighbour(payload: &[u8]) -> Option<(Addr, Link)> {
    let device = u32_ne(payload, 4)?;
    let (mut addr, mut link) = (None, None);
    for attribute in attributes(payload)? {
        match attribute.kind {
            NDA_DST => addr = address(attribute.value),
            NDA_LLADDR => link = attribute.value.try_into().ok(),
            _ => {}
        }
    }
    Some((addr?, (device, link?)))
}

fn attributes(payload: &[u8]) -> Option<impl Iterator<Item = Attribute<'_>>> {
    Some(Attributes::of(payload.get(HEADER..)?).map_while(Result::ok))
}

fn address(value: &[u8]) -> Option<Addr> {
    match value.len() {
        4 => Some(Addr::from_v4(value.try_into().ok()?)),
        16 => Some(Addr::from_v6(value.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
