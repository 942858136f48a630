//! The framings that a server may speak, tried in turn until one has worked.
//!
//! Knows nothing of messages, nor of the framings' bytes.

use super::framing::Framing;
use super::outcome::Outcome;
use crate::config::DakrProtocol;

/// Which framing a procedure is called in.
#[derive(Clone, Copy, Debug)]
pub struct Framings {
    pinned: Option<Framing>,
    at: usize,
    worked: bool,
}

impl Framings {
    /// By `-dakr-protocol`.
    pub fn new(protocol: DakrProtocol) -> Framings {
        let pinned = match protocol {
            DakrProtocol::Auto => None,
            DakrProtocol::Connect => Some(Framing::Connect),
            DakrProtocol::GrpcWeb => Some(Framing::GrpcWeb),
            DakrProtocol::Grpc => Some(Framing::Grpc),
        };
        Framings { pinned, at: 0, worked: false }
    }

    /// The one to use now.
    pub fn current(&self) -> Framing {
        self.pinned.or(Framing::ALL.get(self.at).copied()).unwrap_or(Framing::Connect)
    }

    /// The current one works: no other is tried any more.
    pub fn works(&mut self) {
        self.worked = true;
    }

    /// What an answer that does not belong to the framing means: `None` if the next framing is to be tried at once.
    /// When none is left, the search starts anew with the next send.
    pub fn wrong(&mut self, status: u16) -> Option<Outcome> {
        if self.worked {
            let refused = (400..=499).contains(&status);
            return Some(if refused { Outcome::Refused } else { Outcome::Unknown });
        }
        if self.pinned.is_some() {
            return Some(Outcome::Refused);
        }
        self.at = (self.at + 1) % Framing::ALL.len();
        (self.at == 0).then_some(Outcome::Refused)
    }
}
