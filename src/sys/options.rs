//! Socket options that nix does not know.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// Bytes of `struct ipt_getinfo` and `struct ip6t_getinfo`; the size of the entries is its last word.
const TABLE_INFO_BYTES: usize = 84;
/// Bytes of `struct ipt_get_entries` before the entries, its padding with them; the size stands behind the name.
const TABLE_HEAD_BYTES: usize = 40;
/// Bytes of a table's name.
const TABLE_NAME_BYTES: usize = 32;
/// A table of more bytes is not asked for.
const MOST_TABLE_BYTES: usize = 64 << 20;

/// The entries of a table of iptables-legacy, as the kernel has them (linux/netfilter_ipv4/ip_tables.h and its IPv6 twin:
/// `IPT_SO_GET_INFO`, `IPT_SO_GET_ENTRIES`). The kernel makes a table that is asked for: ask only for one that is there.
///
/// # Errors
/// Without CAP_NET_ADMIN, or where the table changes meanwhile.
pub fn legacy_table(is_v4: bool, name: &str) -> io::Result<Vec<u8>> {
    let (socket, level) = match is_v4 {
        true => (UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?, libc::IPPROTO_IP),
        false => (UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?, libc::IPPROTO_IPV6),
    };
    let mut info = vec![0; TABLE_INFO_BYTES];
    info.iter_mut().zip(name.bytes().take(TABLE_NAME_BYTES - 1)).for_each(|(to, from)| *to = from);
    let mut table = info.clone();
    get(&socket, level, 64, &mut info)?;
    let size = info.last_chunk().map_or(0, |size| u32::from_ne_bytes(*size));
    let bytes = TABLE_HEAD_BYTES.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
    if bytes > MOST_TABLE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    table.truncate(TABLE_NAME_BYTES);
    table.extend_from_slice(&size.to_ne_bytes());
    table.resize(bytes, 0);
    get(&socket, level, 65, &mut table)?;
    table.drain(..TABLE_HEAD_BYTES);
    Ok(table)
}

/// getsockopt(2) with a value that is read and written.
fn get(socket: &UdpSocket, level: i32, option: i32, value: &mut [u8]) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: pointer and length are those of `value`, which outlives the call; the kernel writes no more than `length`.
    #[allow(unsafe_code)]
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, value.as_mut_ptr().cast(), &raw mut length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// TCP_DEFER_ACCEPT (tcp(7)): a connection is handed to accept(2) with its first bytes, or after about `seconds`
/// without any.
///
/// # Errors
/// When `socket` is no TCP socket.
#[allow(clippy::cast_possible_truncation, reason = "the size of an int")]
pub fn defer_accept(socket: BorrowedFd<'_>, seconds: i32) -> io::Result<()> {
    let seconds: libc::c_int = seconds;
    // SAFETY: the pointer and the length are those of `seconds`, which outlives the call and is only read.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
