//! Translations of service addresses, and sources of them other than conntrack.
//!
//! Words alone: who asks is [`super::ebpf`]'s resolver, who answers [`super::cilium`]'s services.

use crate::flow::Addr;
use crate::wire::conntrack::OneWay;

/// What became of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Who opened it, before source NAT.
    pub src: Addr,
    /// Whom it asked for, before destination NAT.
    pub dst: Addr,
    /// Who answers.
    pub backend: Addr,
    /// The originator's port.
    pub sport: u16,
    /// The port asked for.
    pub dport: u16,
    /// The port that answers.
    pub backend_port: u16,
    /// The socket is the originator's.
    pub opened_by_local: bool,
}

impl Translation {
    /// None: the flow that a socket sees as `sent` is what it was asked for.
    pub fn plain(sent: &OneWay, opened_by_local: bool) -> Translation {
        let way = if opened_by_local { *sent } else { sent.reversed() };
        Translation {
            src: way.src,
            dst: way.dst,
            backend: way.dst,
            sport: way.sport,
            dport: way.dport,
            backend_port: way.dport,
            opened_by_local,
        }
    }
}

/// Who translates services beside the kernel.
pub trait Services: Send {
    /// To be called before each sweep.
    fn begin_sweep(&mut self);

    /// What became of the flow of a socket that sends as `sent`. Whether the socket opened it is `None` while it is only
    /// guessed.
    fn look_up(&mut self, sent: &OneWay, opened_by_local: Option<bool>) -> Answer;

    /// Whether these services may know a flow of this client. Other flows are not looked up.
    fn may_have_sent(&self, client: Addr) -> bool;

    /// What keeps them from answering; empty where nothing does.
    fn trouble(&self) -> &str;
}

/// What [`Services`] know of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Unknown,
    /// It is not translated here; the kernel may know better.
    Plain(Translation),
    /// It was.
    Service(Translation),
    /// It was, and by whom it was answered is not known any more.
    Lost,
}
