//! The frames that reach and leave a host, one by one, as tcpdump reads them: from a packet socket of its own.
//!
//! Nothing is cut or joined where it is read (the scenario sees to it), so what is captured is what the wire carries. A
//! frame longer than the link's and a capture that missed any are errors: the truth is whole, or there is none.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};
use serde_json::Value;

use crate::agent::eventually;
use crate::netns::Netns;

/// Layer-3 bytes and frames, received and sent.
pub type Wire = [(u64, u64); 2];

const ETHERNET: usize = 14;
const LONGEST: usize = ETHERNET + 1_500;

/// A capture on `eth0` of a namespace.
pub struct Capture<'a> {
    netns: &'a Netns,
    seen: Arc<Seen>,
    /// Frames of the interface when it began.
    before: u64,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    wire: Mutex<Wire>,
    /// Packets of ARP, received and sent.
    arp: [AtomicI64; 2],
    /// Frames of whatever kind, and those that no link carries.
    all: AtomicU64,
    too_long: AtomicU64,
    is_over: AtomicBool,
}

impl Capture<'_> {
    /// Begins one.
    pub fn start(netns: &Netns) -> Result<Capture<'_>, String> {
        let kind = (AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
        let opened = netns.enter(|| socket(kind.0, kind.1, kind.2, kind.3));
        let opened = opened.map_err(|e| format!("cannot capture: {e}"))?;
        setsockopt(&opened, sockopt::RcvBufForce, &(256 << 20)).map_err(|e| format!("cannot capture: {e}"))?;
        let patience = nix::sys::time::TimeVal::new(0, 50_000);
        setsockopt(&opened, sockopt::ReceiveTimeout, &patience).map_err(|e| format!("cannot capture: {e}"))?;
        let seen = Arc::new(Seen::default());
        let before = frames_of(netns)?;
        let thread = std::thread::spawn({
            let seen = Arc::clone(&seen);
            move || read(&opened, &seen)
        });
        Ok(Capture { netns, seen, before, thread: Some(thread) })
    }

    /// What was captured of TCP and UDP until now.
    pub fn counted(&self) -> Result<Wire, String> {
        self.is_whole()?;
        Ok(*self.seen.wire.lock().map_err(|_| "the capture is over")?)
    }

    /// Packets of ARP until now, received and sent.
    pub fn arp(&self) -> Result<[i64; 2], String> {
        self.is_whole()?;
        Ok([0, 1].map(|way| self.seen.arp[way].load(SeqCst)))
    }

    fn is_whole(&self) -> Result<(), String> {
        eventually("every frame of the interface is captured", Duration::from_secs(5), || {
            let (all, carried) = (self.seen.all.load(SeqCst), frames_of(self.netns)? - self.before);
            if all == carried { Ok(()) } else { Err(format!("{all} of {carried}")) }
        })?;
        match self.seen.too_long.load(SeqCst) {
            0 => Ok(()),
            some => {
                Err(format!("{some} packets are longer than a frame: something cuts or joins them on the far side"))
            }
        }
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        self.seen.is_over.store(true, SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn read(socket: &OwnedFd, seen: &Seen) {
    const OUTGOING: u8 = 4;
    let mut frame = vec![0; 128 << 10];
    while !seen.is_over.load(SeqCst) {
        let Ok((len, from)) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut frame) else { continue };
        let Some(from) = from.filter(|from| from.ifindex() != 1) else { continue };
        let way = usize::from(from.pkttype() == OUTGOING);
        if let (Some(bytes), Ok(mut wire)) = (layer3(&frame[..len]), seen.wire.lock()) {
            wire[way] = (wire[way].0 + bytes, wire[way].1 + 1);
        }
        seen.arp[way].fetch_add(i64::from(frame[12..14] == [8, 6]), SeqCst);
        seen.too_long.fetch_add(u64::from(len > LONGEST), SeqCst);
        seen.all.fetch_add(1, SeqCst);
    }
}

/// The length of a packet of TCP or UDP by its own header; nothing of ARP and neighbour discovery.
fn layer3(frame: &[u8]) -> Option<u64> {
    let word = |at: usize| Some(u64::from(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?)));
    let (length, protocol) = match word(12)? {
        0x0800 => (word(ETHERNET + 2)?, *frame.get(ETHERNET + 9)?),
        0x86dd => (40 + word(ETHERNET + 4)?, *frame.get(ETHERNET + 6)?),
        _ => return None,
    };
    matches!(protocol, 6 | 17).then_some(length)
}

fn frames_of(netns: &Netns) -> Result<u64, String> {
    let text = netns.run(&["ip", "-j", "-s", "link", "show", "eth0"], "")?;
    let json: Value = serde_json::from_str(&text).map_err(|e| format!("ip link: {e}"))?;
    let way = |way: &str| json[0]["stats64"][way]["packets"].as_u64();
    way("rx").zip(way("tx")).map(|(rx, tx)| rx + tx).ok_or_else(|| format!("ip link says {text}"))
}
