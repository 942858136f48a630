//! Sockets as the kernel lists them (`include/uapi/linux/sock_diag.h` and `inet_diag.h`), with the cgroup that each
//! was made in (attribute `INET_DIAG_CGROUP_ID`, since Linux 5.8).

use super::Malformed;
use super::netlink::{Attributes, Writer, u16_be, u32_ne};
use crate::flow::{Addr, protocol};

/// `SOCK_DIAG_BY_FAMILY`: requests and answers bear it.
pub const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH`: a dump.
const DUMP_FLAGS: u16 = 0x301;
/// `INET_DIAG_CGROUP_ID`.
const CGROUP_ID: u16 = 21;
/// `sizeof(struct inet_diag_msg)`.
const MESSAGE_BYTES: usize = 72;
/// TCP states that have no socket with a cgroup: TIME_WAIT, CLOSE and the request of a half-open connection.
const TCP_STATES: u32 = !((1 << 6) | (1 << 7) | (1 << 12));
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its own address, unspecified where it takes any.
    pub local: Addr,
    /// Its own port.
    pub local_port: u16,
    /// The other end, unspecified where it is not connected.
    pub remote: Addr,
    /// The other end's port, 0 where it is not connected.
    pub remote_port: u16,
    /// Id of the cgroup that it was made in; 0 where the kernel does not say.
    pub cgroup: u64,
}

/// A request for all sockets of a family (4 or 6) and protocol.
pub fn dump_request(buffer: Vec<u8>, family: u8, of_protocol: u8, seq: u32) -> Vec<u8> {
    let mut writer = Writer::reusing(buffer);
    writer.message(SOCK_DIAG_BY_FAMILY, DUMP_FLAGS, seq);
    let states = if of_protocol == protocol::TCP { TCP_STATES } else { u32::MAX };
    // struct inet_diag_req_v2: family, protocol, ext, pad, states, and an empty id of 48 bytes.
    let mut request = [0u8; 56];
    let fixed = [if family == 4 { AF_INET } else { AF_INET6 }, of_protocol, 0, 0];
    for (place, byte) in request.iter_mut().zip(fixed.into_iter().chain(states.to_ne_bytes())) {
        *place = byte;
    }
    writer.raw(&request);
    writer.finish()
}

/// Reads one message of the answer.
pub fn read(payload: &[u8]) -> Result<Socket, Malformed> {
    let family = *payload.first().ok_or(Malformed)?;
    let addr = |at: usize| -> Result<Addr, Malformed> {
        let bytes = payload.get(at..).and_then(|rest| rest.first_chunk::<16>()).ok_or(Malformed)?;
        match family {
            AF_INET => Ok(Addr::from_v4([bytes[0], bytes[1], bytes[2], bytes[3]])),
            AF_INET6 => Ok(Addr::from_v6(*bytes)),
            _ => Err(Malformed),
        }
    };
    let port = |at: usize| payload.get(at..at + 2).and_then(u16_be).ok_or(Malformed);
    let mut socket =
        Socket { local: addr(8)?, local_port: port(4)?, remote: addr(24)?, remote_port: port(6)?, cgroup: 0 };
    for attribute in Attributes::of(payload.get(MESSAGE_BYTES..).ok_or(Malformed)?) {
        let attribute = attribute?;
        if attribute.kind == CGROUP_ID {
            let (low, high) =
                (u32_ne(attribute.value, 0).ok_or(Malformed)?, u32_ne(attribute.value, 4).ok_or(Malformed)?);
            let mut id = [0; 8];
            let halves = low.to_ne_bytes().into_iter().chain(high.to_ne_bytes());
            id.iter_mut().zip(halves).for_each(|(place, byte)| *place = byte);
            socket.cgroup = u64::from_ne_bytes(id);
        }
    }
    Ok(socket)
}

#[cfg(test)]
mod tests;
