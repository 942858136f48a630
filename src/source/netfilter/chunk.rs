//! One datagram of conntrack messages, read into records: the one place where an entry is believed or left out. The
//! replay runs this very code on recorded bytes.

use crate::flow::Reading;
use crate::source::{Each, Skip, Sweep};
use crate::wire::conntrack::{self, MESSAGE_DELETE, MESSAGE_NEW, STATUS_DYING};
use crate::wire::netlink::{self, FLAG_DUMP_INTR, Messages};

/// What a datagram of a dump meant for the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More follows.
    More,
    /// The dump is over; `whole` tells whether the kernel was content with it.
    Done {
        /// Whether nothing was cut short.
        whole: bool,
    },
    /// The kernel refused: its errno.
    Refused(i32),
}

/// Reads a datagram of a dump. `whole` is cleared where a part of it cannot be believed.
pub fn read_dump(datagram: &[u8], whole: &mut bool, sweep: &mut Sweep, each: Each<'_>) -> Progress {
    for message in Messages::of(datagram) {
        let Ok(message) = message else {
            sweep.skipped.add(Skip::Malformed);
            *whole = false;
            return Progress::More;
        };
        *whole &= message.flags & FLAG_DUMP_INTR == 0;
        match message.kind {
            MESSAGE_NEW => record(message.payload, Reading::Live, sweep, each),
            netlink::DONE => return Progress::Done { whole: *whole && message.errno() == 0 },
            netlink::ERROR if message.errno() != 0 => return Progress::Refused(message.errno()),
            netlink::OVERRUN => *whole = false,
            _ => {}
        }
    }
    Progress::More
}

/// Reads a datagram of events.
pub fn read_events(datagram: &[u8], sweep: &mut Sweep, each: Each<'_>) {
    for message in Messages::of(datagram) {
        match message {
            Ok(message) if message.kind == MESSAGE_DELETE => record(message.payload, Reading::Ended, sweep, each),
            Ok(_) => {}
            Err(_) => {
                sweep.skipped.add(Skip::Malformed);
                return;
            }
        }
    }
}

fn record(payload: &[u8], reading: Reading, sweep: &mut Sweep, each: Each<'_>) {
    let Ok(record) = conntrack::parse(payload, reading) else {
        sweep.skipped.add(Skip::Malformed);
        return;
    };
    let connection = &record.connection;
    if reading == Reading::Live && record.status & STATUS_DYING != 0 {
        sweep.skipped.add(Skip::Dying);
    } else if connection.key.src.is_loopback() && connection.backend.is_loopback() {
        sweep.skipped.add(Skip::Loopback);
    } else if !record.has_counters {
        sweep.skipped.add(Skip::NoCounters);
    } else {
        sweep.seen += 1;
        each(connection);
    }
}
