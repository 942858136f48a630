//! Detects a source that does not see the traffic (rule 16), by what the audit cannot explain.
//!
//! Knows the equations of the uplinks, and not the kind of source.

use crate::audit::Account;
use crate::audit::equation::Part;

/// Bytes below which a window proves nothing.
const LEAST_BYTES: u64 = 1_000_000;
/// Sweeps of one window.
const SWEEPS: u8 = 3;

/// The result of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Too little traffic, or the window is not over.
    Unknown,
    /// The source sees the traffic.
    Clear,
    /// More than half of what an uplink carried one way is in no part of the equation.
    Blind {
        /// The interface's name, with zeros behind it.
        interface: [u8; 16],
        /// Whether it is what was sent.
        is_tx: bool,
        /// Layer-3 bytes of the interface in the window.
        interface_bytes: u64,
        /// Those that are not explained.
        unexplained_bytes: u64,
    },
}

/// The current window.
#[derive(Default)]
pub struct Watch {
    at_start: Vec<Account>,
    sweeps: u8,
    /// Whether the window before was blind.
    is_suspect: bool,
}

impl Watch {
    /// Ends a complete sweep, at which the equations were these.
    pub fn end_sweep(&mut self, accounts: &[Account]) -> Sight {
        if self.at_start.is_empty() {
            // The first reading only opens the window.
            self.open(accounts);
            return Sight::Unknown;
        }
        self.sweeps += 1;
        if self.sweeps < SWEEPS {
            return Sight::Unknown;
        }
        let mut sight = Sight::Unknown;
        let mut most = 0;
        for now in accounts {
            let is_it = |then: &&Account| then.name == now.name && then.is_tx == now.is_tx;
            let Some(then) = self.at_start.iter().find(is_it) else { continue };
            let interface_bytes = now.closed.layer3_bytes.saturating_sub(then.closed.layer3_bytes);
            let unexplained = now.closed.part(Part::Unexplained).saturating_sub(then.closed.part(Part::Unexplained));
            let unexplained_bytes = u64::try_from(unexplained).unwrap_or(0);
            if interface_bytes < LEAST_BYTES {
                continue;
            }
            if unexplained_bytes <= interface_bytes / 2 {
                if sight == Sight::Unknown {
                    sight = Sight::Clear;
                }
            } else if unexplained_bytes > most {
                most = unexplained_bytes;
                sight = Sight::Blind { interface: now.name, is_tx: now.is_tx, interface_bytes, unexplained_bytes };
            }
        }
        self.open(accounts);
        // What is under way between two readings is explained by the next window.
        let is_blind = matches!(sight, Sight::Blind { .. });
        let was_suspect = std::mem::replace(&mut self.is_suspect, is_blind);
        if is_blind && !was_suspect { Sight::Unknown } else { sight }
    }

    /// Whether the last window was blind, so that the next one decides.
    pub fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    fn open(&mut self, accounts: &[Account]) {
        self.sweeps = 0;
        self.at_start.clear();
        self.at_start.extend_from_slice(accounts);
    }
}

#[cfg(test)]
mod tests;
