//! The end of the thread: one last try for each message, then every item is settled.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{LAST_SEND_TIMEOUT_NS, Push, STOP_MARGIN_NS};
use crate::batch::Parcel;
use crate::clock;
use crate::export::dakr::transport::Transport;

impl<T: Transport> Push<T> {
    /// The end of the thread; see the module's documentation.
    pub(super) fn stop(&mut self, deadline_ns: u64, batches: &Receiver<Parcel>) {
        self.flight.set_ceiling(deadline_ns);
        loop {
            self.last_round(deadline_ns);
            let left_ns = deadline_ns.saturating_sub(self.client.now().mono_ns);
            if left_ns == 0 {
                // A batch that was handed over in this very moment goes back unsent. The collector's last tables arrive
                // once it knows what is left.
                while let Ok(parcel) = batches.recv_timeout(Duration::from_nanos(STOP_MARGIN_NS)) {
                    self.accept(parcel);
                    self.settle_left();
                }
                return;
            }
            match batches.recv_timeout(Duration::from_nanos(left_ns)) {
                Ok(batch) => self.accept(batch),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Sends each message that is left once, and the halves of what is too large; then settles what is left.
    pub(super) fn last_round(&mut self, deadline_ns: u64) {
        self.delivery.last_round();
        loop {
            let now_ns = self.client.now().mono_ns;
            let until_ns = deadline_ns.min(now_ns.saturating_add(LAST_SEND_TIMEOUT_NS));
            if until_ns <= now_ns {
                break;
            }
            let sent = match self.send_due(now_ns, until_ns) {
                Ok(sent) => sent,
                Err(again_ns) if (now_ns + 1..deadline_ns).contains(&again_ns) => {
                    clock::sleep_ns(again_ns - now_ns);
                    continue;
                }
                Err(_) => break,
            };
            let mut settled = Vec::new();
            let ended_ns = self.client.now().mono_ns;
            let outcome = self.delivery.ended_finally(sent.index, &sent.end, ended_ns, &mut settled);
            self.note(outcome, &sent);
            self.persist_notes();
            settled.into_iter().for_each(&mut self.report);
        }
        self.settle_left();
    }

    fn settle_left(&mut self) {
        let mut settled = Vec::new();
        self.delivery.finish(self.persister.is_some(), &mut settled);
        self.persist_notes();
        settled.into_iter().for_each(&mut self.report);
    }
}
