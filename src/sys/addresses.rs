//! The host's own addresses, of all devices, followed by rtnetlink (`RTM_NEWADDR`, `RTM_DELADDR`; rtnetlink(7)).

use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;

use super::netlink::{EventSocket, Family, Received, RequestSocket};
use crate::flow::Addr;
pub use crate::flow::AddressChange;
use crate::wire::netlink::{self, Attributes, Messages, Writer};

const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
/// `RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = 0x10 | 0x100;
/// `struct ifaddrmsg`.
const ADDRESS_HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const QUEUE_BYTES: usize = 1 << 20;

/// The addresses, and the socket that reports changes.
pub struct HostAddresses {
    events: EventSocket,
    requests: RequestSocket,
    /// Number of devices with each address: several may have the same.
    devices: HashMap<Addr, Vec<u32>>,
    buffer: Vec<u8>,
    /// The list is to be read anew: at the start, and after the kernel dropped events.
    stale: bool,
}

impl HostAddresses {
    /// Opens the sockets. The first [`HostAddresses::drain`] reports all addresses.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn open() -> io::Result<HostAddresses> {
        // The events first: what changes while the list is read is told after it.
        let events = EventSocket::open(Family::Route, GROUPS, QUEUE_BYTES)?;
        let requests = RequestSocket::open(Family::Route)?;
        Ok(HostAddresses { events, requests, devices: HashMap::new(), buffer: vec![0; 32 * 1024], stale: true })
    }

    /// To poll for reading.
    pub fn fd(&self) -> RawFd {
        self.events.raw_fd()
    }

    /// Hands over what changed since the last call.
    pub fn drain(&mut self, each: &mut dyn FnMut(AddressChange)) {
        loop {
            match self.events.receive() {
                Ok(Received::Datagrams(0)) => break,
                Ok(Received::Datagrams(count)) => {
                    for number in 0..count {
                        for message in Messages::of(self.events.datagram(number)).map_while(Result::ok) {
                            apply(&mut self.devices, &message, each);
                        }
                    }
                }
                Ok(Received::Overflow(_)) => self.stale = true,
                Err(error) => {
                    log::warn!("cannot read address changes: {error}");
                    break;
                }
            }
        }
        if self.stale {
            match self.list(each) {
                Ok(()) => self.stale = false,
                Err(error) => log::warn!("cannot list the host's addresses: {error}"),
            }
        }
    }

    /// Reads the whole list; addresses that it lacks are gone.
    fn list(&mut self, each: &mut dyn FnMut(AddressChange)) -> io::Result<()> {
        const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
        let mut writer = Writer::default();
        writer.message(GET_ADDRESS, NLM_F_REQUEST_DUMP, 1);
        writer.raw(&[0; ADDRESS_HEADER]);
        self.requests.discard_pending(&mut self.buffer);
        self.requests.send(&writer.finish())?;
        let mut listed = HashMap::new();
        'dump: loop {
            let len = self.requests.receive(&mut self.buffer)?;
            for message in Messages::of(self.buffer.get(..len).unwrap_or_default()) {
                let message = message.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                match message.kind {
                    netlink::DONE => break 'dump,
                    netlink::ERROR => return Err(io::Error::from_raw_os_error(message.errno())),
                    _ => apply(&mut listed, &message, &mut |_| {}),
                }
            }
        }
        for gone in self.devices.keys().filter(|addr| !listed.contains_key(addr)) {
            each(AddressChange::Removed(*gone));
        }
        for new in listed.keys().filter(|addr| !self.devices.contains_key(addr)) {
            each(AddressChange::Added(*new));
        }
        self.devices = listed;
        Ok(())
    }
}

fn apply(devices: &mut HashMap<Addr, Vec<u32>>, message: &netlink::Message<'_>, each: &mut dyn FnMut(AddressChange)) {
    let Some((device, addr)) = address_of(message.payload) else { return };
    match message.kind {
        NEW_ADDRESS => {
            let on = devices.entry(addr).or_default();
            if on.is_empty() {
                each(AddressChange::Added(addr));
            }
            if !on.contains(&device) {
                on.push(device);
            }
        }
        DELETE_ADDRESS => {
            if let Some(on) = devices.get_mut(&addr) {
                on.retain(|known| *known != device);
                if on.is_empty() {
                    devices.remove(&addr);
                    each(AddressChange::Removed(addr));
                }
            }
        }
        _ => {}
    }
}

/// The device and the local address of an `RTM_NEWADDR` or `RTM_DELADDR` message. On a point-to-point device
/// `IFA_ADDRESS` is the peer's and `IFA_LOCAL` ours.
fn address_of(payload: &[u8]) -> Option<(u32, Addr)> {
    let device = netlink::u32_ne(payload, 4)?;
    let (mut local, mut any) = (None, None);
    for attribute in Attributes::of(payload.get(ADDRESS_HEADER..)?).map_while(Result::ok) {
        let addr = match attribute.value.len() {
            4 => Addr::from_v4(attribute.value.try_into().ok()?),
            16 => Addr::from_v6(attribute.value.try_into().ok()?),
            _ => continue,
        };
        match attribute.kind {
            IFA_LOCAL => local = Some(addr),
            IFA_ADDRESS => any = Some(addr),
            _ => {}
        }
    }
    Some((device, local.or(any)?))
}

#[cfg(test)]
mod tests;
