//! Netlink sockets: requests and dumps on one, events on another, received into buffers made at the start.
//!
//! Knows sizes, errors and who sent a datagram; what is in it is read by [`crate::wire`].

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, getsockname, send, setsockopt, sockopt};

/// Datagrams that one [`EventSocket::receive`] takes at most.
const BATCH: usize = 64;
/// Larger than any conntrack event (236 bytes with time stamps, some more with labels and helpers). An odd number of
/// cache lines. At a power of two all datagrams of a batch would share the same few places in the first-level cache.
const EVENT_BYTES: usize = 2_048 + 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `NETLINK_NETFILTER`.
    Netfilter,
    /// `NETLINK_ROUTE`.
    Route,
    /// `NETLINK_SOCK_DIAG`.
    SockDiag,
    /// `NETLINK_GENERIC`.
    Generic,
    /// `NETLINK_XFRM`.
    Xfrm,
}

fn open(family: Family, groups: u32) -> io::Result<OwnedFd> {
    let protocol = match family {
        Family::Netfilter => libc::NETLINK_NETFILTER,
        Family::Route => libc::NETLINK_ROUTE,
        Family::SockDiag => libc::NETLINK_SOCK_DIAG,
        Family::Generic => libc::NETLINK_GENERIC,
        Family::Xfrm => libc::NETLINK_XFRM,
    };
    // SAFETY: socket(2) takes numbers alone.
    #[allow(unsafe_code)]
    let fd = Errno::result(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the descriptor was made right here, and nobody else has it.
    #[allow(unsafe_code)]
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

/// A datagram that did not come from the kernel is an error: it may not be read. Tells its length in `buffer`, and whether
/// it did not fit.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes of structs; a count that Errno::result has found not to be negative"
)]
fn receive_head(fd: RawFd, buffer: &mut [u8], flags: libc::c_int) -> io::Result<(usize, bool)> {
    // SAFETY: all-zero is a valid sockaddr_nl.
    #[allow(unsafe_code)]
    let mut sender: libc::sockaddr_nl = unsafe { mem::zeroed() };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero is a valid msghdr; the pointers set below are to locals that outlive the call.
    #[allow(unsafe_code)]
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = (&raw mut sender).cast();
    header.msg_namelen = mem::size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    // SAFETY: `header` points to one buffer of the stated length and one address, all alive and writable.
    #[allow(unsafe_code)]
    let len = unsafe { libc::recvmsg(fd, &raw mut header, flags) };
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((len as usize, is_cut(&header, &sender)?))
}

/// The same; one that did not fit is an error too.
fn receive(fd: RawFd, buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    match receive_head(fd, buffer, flags)? {
        (len, false) => Ok(len),
        (_, true) => Err(io::Error::new(io::ErrorKind::InvalidData, "a netlink message larger than the buffer")),
    }
}

fn is_cut(header: &libc::msghdr, sender: &libc::sockaddr_nl) -> io::Result<bool> {
    if sender.nl_pid != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "a netlink message from another process"));
    }
    Ok(header.msg_flags & libc::MSG_TRUNC != 0)
}

/// A socket for requests and their answers.
#[derive(Debug)]
pub struct RequestSocket {
    fd: OwnedFd,
}

impl RequestSocket {
    /// Opens one; a request that the kernel does not answer within 10 s fails with `WouldBlock`.
    ///
    /// # Errors
    /// When the process has no descriptors left or the kernel lacks the family.
    pub fn open(family: Family) -> io::Result<RequestSocket> {
        RequestSocket::hearing(family, 0)
    }

    /// The same for one that hears groups instead (bit n - 1 for group n).
    ///
    /// # Errors
    /// As [`RequestSocket::open`].
    pub fn hearing(family: Family, groups: u32) -> io::Result<RequestSocket> {
        let fd = open(family, groups)?;
        let patience = nix::sys::time::TimeVal::new(10, 0);
        setsockopt(&fd, sockopt::ReceiveTimeout, &patience)?;
        Ok(RequestSocket { fd })
    }

    /// The socket's own address, by which the kernel tells it from all others of its family in this network namespace.
    ///
    /// # Errors
    /// None that is known.
    pub fn port(&self) -> io::Result<u32> {
        Ok(getsockname::<NetlinkAddr>(self.fd.as_raw_fd())?.pid())
    }

    /// Sends a request.
    ///
    /// # Errors
    /// What the kernel says at once, EPERM where a capability is missing among it.
    pub fn send(&self, request: &[u8]) -> io::Result<()> {
        send(self.fd.as_raw_fd(), request, MsgFlags::empty())?;
        Ok(())
    }

    /// Receives a datagram into `buffer` and returns its length.
    ///
    /// # Errors
    /// Time-out, a datagram larger than the buffer, or one from another process.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        patiently(|| receive(self.fd.as_raw_fd(), buffer, 0))
    }

    /// Receives of a datagram what fits in `buffer`, and returns how much that is. The rest is thrown away by the kernel.
    ///
    /// # Errors
    /// Time-out, or a datagram from another process.
    pub fn receive_head(&self, buffer: &mut [u8]) -> io::Result<usize> {
        patiently(|| receive_head(self.fd.as_raw_fd(), buffer, 0)).map(|(len, _)| len)
    }

    /// Throws away answers that nobody waited for, so that the next request meets its own; tells how many datagrams.
    pub fn discard_pending(&self, buffer: &mut [u8]) -> usize {
        let mut discarded = 0;
        while receive(self.fd.as_raw_fd(), buffer, libc::MSG_DONTWAIT).is_ok() {
            discarded += 1;
        }
        discarded
    }
}

fn patiently<T>(mut receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match receive() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Not ours to read; the answer is still to come.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            other => return other,
        }
    }
}

/// A socket that hears events.
pub struct EventSocket {
    fd: OwnedFd,
    buffer: Vec<u8>,
    lengths: [usize; BATCH],
    drops: u32,
}

/// What one [`EventSocket::receive`] brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many datagrams; zero means that the queue is empty.
    Datagrams(usize),
    /// The kernel dropped events since it was last asked: so many, or 0 where it does not say.
    Overflow(u32),
}

impl EventSocket {
    /// Opens one that hears the groups in the mask (bit n - 1 for group n). Its queue has `queue_bytes` where
    /// CAP_NET_ADMIN allows it, else at most `net.core.rmem_max`.
    ///
    /// # Errors
    /// EPERM where the group needs CAP_NET_ADMIN.
    pub fn open(family: Family, groups: u32, queue_bytes: usize) -> io::Result<EventSocket> {
        let fd = open(family, groups)?;
        if setsockopt(&fd, sockopt::RcvBufForce, &queue_bytes).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &queue_bytes)?;
        }
        Ok(EventSocket { fd, buffer: vec![0; BATCH * EVENT_BYTES], lengths: [0; BATCH], drops: 0 })
    }

    /// To poll for reading.
    pub fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Takes what is queued, at most 64 datagrams, without waiting.
    ///
    /// # Errors
    /// None that another call would not meet again.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes of structs; a count that Errno::result has found not to be negative"
    )]
    pub fn receive(&mut self) -> io::Result<Received> {
        let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: all-zero is a valid sockaddr_nl, and a valid mmsghdr.
        #[allow(unsafe_code)]
        let (mut senders, mut headers): ([libc::sockaddr_nl; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let chunks = self.buffer.chunks_exact_mut(EVENT_BYTES);
        for (((header, part), sender), chunk) in headers.iter_mut().zip(&mut parts).zip(&mut senders).zip(chunks) {
            *part = libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: chunk.len() };
            header.msg_hdr.msg_name = std::ptr::from_mut(sender).cast();
            header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: each header points to a part of `buffer` of its own and to one address. All are alive and writable
        // for the whole call, and the count is that of the headers.
        #[allow(unsafe_code)]
        let mut receive = || unsafe {
            let (fd, count) = (self.fd.as_raw_fd(), BATCH as libc::c_uint);
            libc::recvmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
        };
        let count = loop {
            let count = receive();
            if count >= 0 {
                break count;
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EAGAIN) => return Ok(Received::Datagrams(0)),
                Some(libc::EINTR) => {}
                Some(libc::ENOBUFS) => return Ok(Received::Overflow(self.new_drops())),
                _ => return Err(error),
            }
        };
        for ((length, header), sender) in self.lengths.iter_mut().zip(&headers).zip(&senders) {
            let readable = matches!(is_cut(&header.msg_hdr, sender), Ok(false));
            *length = if readable { header.msg_len as usize } else { 0 };
        }
        Ok(Received::Datagrams(count as usize))
    }

    /// A datagram of the last [`EventSocket::receive`]; empty where it may not be read: too large, or not the kernel's.
    pub fn datagram(&self, number: usize) -> &[u8] {
        let len = self.lengths.get(number).copied().unwrap_or(0).min(EVENT_BYTES);
        let start = number.saturating_mul(EVENT_BYTES);
        self.buffer.get(start..start + len).unwrap_or_default()
    }

    /// Events dropped since the last call, from the kernel's counter (`SK_MEMINFO_DROPS`); 0 if it is not available.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "sizes of structs; a count that Errno::result has found not to be negative"
    )]
    pub fn new_drops(&mut self) -> u32 {
        const SO_MEMINFO: libc::c_int = 55;
        const SK_MEMINFO_DROPS: usize = 8;
        let mut info = [0u32; 9];
        let mut len = mem::size_of_val(&info) as libc::socklen_t;
        // SAFETY: the pointer and the length are those of `info`, and getsockopt writes no more than the length.
        #[allow(unsafe_code)]
        let told = unsafe {
            let fd = self.fd.as_raw_fd();
            libc::getsockopt(fd, libc::SOL_SOCKET, SO_MEMINFO, info.as_mut_ptr().cast(), &raw mut len)
        };
        if told != 0 {
            return 0;
        }
        let drops = info[SK_MEMINFO_DROPS];
        let new = drops.wrapping_sub(self.drops);
        self.drops = drops;
        new
    }
}
