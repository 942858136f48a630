//! Asks the kernel for links, their counters and routes by rtnetlink; no capability is needed.
//!
//! Keeps nothing: what an answer means is for the audit to say.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::netlink::{Family, RequestSocket};
use crate::flow::{Addr, TxRx};
use crate::wire::netlink::{self, Messages};
use crate::wire::rtnetlink::{self, Hop, Link, Route, Rule};

/// The socket of such questions.
pub struct Links {
    socket: RequestSocket,
    /// Hears that routes have changed; without it they are read about once a minute.
    changes: Option<RequestSocket>,
    /// Files of `/proc/net/dev_snmp6`, by the link's name.
    neighbours: Vec<([u8; 16], File)>,
    buffer: Vec<u8>,
    request: Vec<u8>,
}

/// Files that are kept open: one for each link that the audit asks for.
const MAX_KEPT: usize = 16;

impl Links {
    /// Opens it.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn open() -> io::Result<Links> {
        // Of what a dump sends at once, only the pages that it fills are resident.
        Ok(Links {
            socket: RequestSocket::open(Family::Route)?,
            changes: RequestSocket::hearing(Family::Route, rtnetlink::ROUTE_GROUPS).ok(),
            neighbours: Vec::new(),
            buffer: vec![0; 32 * 1024],
            request: Vec::new(),
        })
    }

    /// Hands over every link of this network namespace.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn list(&mut self, each: &mut dyn FnMut(&Link)) -> io::Result<()> {
        self.dump(&rtnetlink::all_links(), rtnetlink::NEW_LINK, &mut |payload| {
            rtnetlink::link(payload).iter().for_each(&mut *each);
        })
    }

    /// Hands over every rule in its order, with whether it is one for IPv4.
    ///
    /// # Errors
    /// What the kernel says; routes that changed meanwhile.
    pub fn rules(&mut self, each: &mut dyn FnMut(bool, Rule)) -> io::Result<()> {
        for family in [rtnetlink::AF_INET, rtnetlink::AF_INET6] {
            let request = rtnetlink::all_of(rtnetlink::GET_RULE, family);
            self.dump(&request, rtnetlink::NEW_RULE, &mut |payload| {
                // Without IPv6 the kernel answers with all families.
                if payload.first() == Some(&family) {
                    each(family == rtnetlink::AF_INET, rtnetlink::rule(payload).unwrap_or(Rule::Odd));
                }
            })?;
        }
        Ok(())
    }

    /// Hands over every route of every table.
    ///
    /// # Errors
    /// What the kernel says; routes that changed meanwhile.
    pub fn routes(&mut self, each: &mut dyn FnMut(Route)) -> io::Result<()> {
        for family in [rtnetlink::AF_INET, rtnetlink::AF_INET6] {
            let request = rtnetlink::all_of(rtnetlink::GET_ROUTE, family);
            self.dump(&request, rtnetlink::NEW_ROUTE, &mut |payload| {
                if payload.first() == Some(&family) {
                    rtnetlink::route(payload).into_iter().for_each(&mut *each);
                }
            })?;
        }
        Ok(())
    }

    /// Whether links, routes or rules have changed since it was asked last.
    pub fn have_routes_changed(&mut self) -> bool {
        self.changes.as_ref().is_some_and(|changes| changes.discard_pending(&mut self.buffer) > 0)
    }

    fn dump(&mut self, request: &[u8], kind: u16, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.socket.discard_pending(&mut self.buffer);
        self.socket.send(request)?;
        let mut is_torn = false;
        loop {
            let len = self.socket.receive(&mut self.buffer)?;
            for message in Messages::of(self.buffer.get(..len).unwrap_or_default()) {
                let message = message.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                is_torn |= message.flags & netlink::FLAG_DUMP_INTR != 0;
                match message.kind {
                    netlink::DONE if is_torn => return Err(io::ErrorKind::Interrupted.into()),
                    netlink::DONE => return Ok(()),
                    netlink::ERROR => return Err(io::Error::from_raw_os_error(message.errno())),
                    of if of == kind => each(message.payload),
                    _ => {}
                }
            }
        }
    }

    /// What a link sent and received since it was made, frames with the headers that its driver counts.
    ///
    /// # Errors
    /// ENODEV where there is no such link any more.
    pub fn counters(&mut self, index: u32) -> io::Result<TxRx> {
        self.request = rtnetlink::counters_of(index, std::mem::take(&mut self.request));
        self.ask(rtnetlink::NEW_STATS, rtnetlink::counters)
    }

    /// Which way packets of the node to an address go.
    ///
    /// # Errors
    /// ENETUNREACH and the like where there is none.
    pub fn route(&mut self, addr: Addr) -> io::Result<Hop> {
        self.request = rtnetlink::route_to(addr, std::mem::take(&mut self.request));
        self.ask(rtnetlink::NEW_ROUTE, rtnetlink::hop)
    }

    /// Packets that conntrack called invalid, over all CPUs; 0 where it does not say (`/proc/net/stat/nf_conntrack`).
    pub fn invalid_packets(&mut self) -> u64 {
        const FILE: &str = "/proc/thread-self/net/stat/nf_conntrack";
        let Ok(mut file) = File::open(FILE) else { return 0 };
        let Ok(len) = io::Read::read(&mut file, &mut self.buffer) else { return 0 };
        invalid_of(std::str::from_utf8(self.buffer.get(..len).unwrap_or_default()).unwrap_or_default())
    }

    /// Packets of ICMPv6 that a link sent and received for no connection: neighbour and router discovery, multicast
    /// listeners, errors. The third number is all multicast packets that it received (`/proc/net/dev_snmp6`). Zeros
    /// where it has no IPv6.
    pub fn neighbour_packets(&mut self, name: &[u8; 16]) -> [u64; 3] {
        // Twice, because a link that went and came again has another file.
        for _ in 0..2 {
            let Some(at) = self.neighbours_of(name) else { return [0; 3] };
            match self.neighbours[at].1.read_at(&mut self.buffer, 0) {
                Ok(len @ 1..) => {
                    let text = std::str::from_utf8(self.buffer.get(..len).unwrap_or_default());
                    return neighbours_of(text.unwrap_or_default());
                }
                Ok(0) | Err(_) => self.neighbours.retain(|(of, _)| of != name),
            }
        }
        [0; 3]
    }

    /// The file is kept: opening it takes longer than reading it.
    fn neighbours_of(&mut self, name: &[u8; 16]) -> Option<usize> {
        if let Some(at) = self.neighbours.iter().position(|(of, _)| of == name) {
            return Some(at);
        }
        let text = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = std::str::from_utf8(text).ok().filter(|text| !text.contains('/'))?;
        let file = File::open(format!("/proc/thread-self/net/dev_snmp6/{text}")).ok()?;
        if self.neighbours.len() == MAX_KEPT {
            self.neighbours.remove(0);
        }
        self.neighbours.push((*name, file));
        Some(self.neighbours.len() - 1)
    }

    fn ask<T>(&mut self, kind: u16, read: fn(&[u8]) -> Option<T>) -> io::Result<T> {
        self.socket.send(&self.request)?;
        let len = self.socket.receive(&mut self.buffer)?;
        let answer = Messages::of(self.buffer.get(..len).unwrap_or_default()).next().and_then(Result::ok);
        match answer {
            Some(message) if message.kind == kind => read(message.payload),
            Some(message) if message.kind == netlink::ERROR => {
                return Err(io::Error::from_raw_os_error(message.errno()));
            }
            _ => None,
        }
        .ok_or_else(|| {
            // What is still under way would be taken for the answer to the next question.
            self.socket.discard_pending(&mut self.buffer);
            io::Error::from(io::ErrorKind::InvalidData)
        })
    }
}

/// One line of names, then one of hexadecimal numbers for each CPU.
fn invalid_of(text: &str) -> u64 {
    let mut lines = text.lines();
    let Some(at) = lines.next().and_then(|names| names.split_whitespace().position(|name| name == "invalid")) else {
        return 0;
    };
    let number = |line: &str| line.split_whitespace().nth(at).and_then(|hex| u64::from_str_radix(hex, 16).ok());
    lines.filter_map(number).sum()
}

/// Sums of the lines that name such packets, sent and received, and those received for many.
fn neighbours_of(text: &str) -> [u64; 3] {
    const KINDS: [&str; 13] = [
        "DestUnreachs",
        "PktTooBigs",
        "TimeExcds",
        "ParmProblems",
        "GroupMembQueries",
        "GroupMembResponses",
        "GroupMembReductions",
        "RouterSolicits",
        "RouterAdvertisements",
        "NeighborSolicits",
        "NeighborAdvertisements",
        "Redirects",
        "MLDv2Reports",
    ];
    let [mut sent, mut received, mut of_many] = [0; 3];
    for line in text.lines() {
        let Some((name, number)) = line.split_once(char::is_whitespace) else { continue };
        let Ok(number) = number.trim().parse::<u64>() else { continue };
        if let Some(kind) = name.strip_prefix("Icmp6Out")
            && KINDS.contains(&kind)
        {
            sent += number;
        } else if let Some(kind) = name.strip_prefix("Icmp6In")
            && KINDS.contains(&kind)
        {
            received += number;
        } else if name == "Ip6InMcastPkts" {
            of_many = number;
        }
    }
    [sent, received, of_many]
}

/// Whether a device of the machine is behind a link.
pub fn has_device(name: &[u8]) -> bool {
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let Ok(name) = std::str::from_utf8(name) else { return false };
    !name.contains('/') && std::path::Path::new("/sys/class/net").join(name).join("device").exists()
}

#[cfg(test)]
mod tests;
