//! Asks the kernel for the UDP ports of tunnels that their links do not tell, by generic netlink.
//!
//! Asks only for links that are there, for the kernel would load the module of a family that it lacks. WireGuard answers
//! who has CAP_NET_ADMIN alone.

use std::io;

use super::netlink::{Family as Socket, RequestSocket};
use crate::wire::genetlink::{self, Family, HEAD_BYTES};
use crate::wire::netlink::{self, Message, Messages};

/// The port that a link of WireGuard listens at. What follows it in the answer, a private key first of all, is never
/// received. It stays in the kernel until the socket is closed.
///
/// # Errors
/// What the kernel says.
pub fn listening_port(link: u32) -> io::Result<Option<u16>> {
    let (socket, family) = open(Family::WireGuard)?;
    socket.send(&genetlink::wireguard(family, link))?;
    let mut head = [0; HEAD_BYTES];
    let len = socket.receive_head(&mut head)?;
    let head = head.get(..len).unwrap_or_default();
    match Messages::of(head).next() {
        // An error is shorter than the head; the answer is longer, and no whole message.
        Some(Ok(message)) if message.kind == netlink::ERROR => Err(error_of(&message)),
        _ => Ok(genetlink::listening_port(head, family)),
    }
}

/// Hands over the ports at which packets within UDP (FoU, GUE) are received.
///
/// # Errors
/// What the kernel says.
pub fn receiving_ports(each: &mut dyn FnMut(u16)) -> io::Result<()> {
    let (socket, family) = open(Family::Fou)?;
    socket.send(&genetlink::fou(family))?;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let len = socket.receive(&mut buffer)?;
        for message in Messages::of(buffer.get(..len).unwrap_or_default()).map_while(Result::ok) {
            match message.kind {
                netlink::DONE => return Ok(()),
                netlink::ERROR => return Err(error_of(&message)),
                _ => genetlink::receiving_port(message.payload).into_iter().for_each(&mut *each),
            }
        }
    }
}

fn open(family: Family) -> io::Result<(RequestSocket, u16)> {
    let socket = RequestSocket::open(Socket::Generic)?;
    let number = number_of(&socket, family.name())?;
    Ok((socket, number))
}

fn number_of(socket: &RequestSocket, name: &[u8]) -> io::Result<u16> {
    socket.send(&genetlink::number_of(name))?;
    // It tells of all commands, 8 bytes each and more.
    let mut buffer = [0; 4 * 1024];
    let len = socket.receive(&mut buffer)?;
    match Messages::of(buffer.get(..len).unwrap_or_default()).next() {
        Some(Ok(message)) if message.kind == netlink::ERROR => Err(error_of(&message)),
        Some(Ok(message)) => genetlink::number(message.payload).ok_or_else(|| io::ErrorKind::InvalidData.into()),
        Some(Err(_)) | None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn error_of(message: &Message<'_>) -> io::Error {
    io::Error::from_raw_os_error(message.errno())
}

#[cfg(test)]
mod tests;
