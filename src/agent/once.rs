//! The agent of a command that prints and ends. It counts for a while, or plays a recording to its end, and returns the
//! rows.
//!
//! Nothing is pushed and nothing is left behind.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::{Running, Shared, StartError, start_collector, start_player};
use crate::clock::{self, MS, SECOND};
use crate::config::{Config, Mode};
use crate::privileges;
use crate::snapshot::Snapshot;
use crate::sys::privileges::drop_all_in_this_thread;
use crate::sys::signals::{self, Signals};

/// How long a snapshot may take: that of a full table takes milliseconds.
const PATIENCE_NS: u64 = 5 * SECOND;

/// Counts for `for_ns`, or until a signal; a recording is played whole. Returns the rows, and the agent's health.
///
/// # Errors
/// [`StartError`] where it cannot start.
pub fn once(mut config: Config, for_ns: u64) -> Result<(Arc<Snapshot>, &'static str), StartError> {
    let signals = Signals::block().map_err(|error| StartError::Resources("signal handling", error))?;
    signals::ignore_hangup();
    privileges::begin();
    config.dakr = None;
    config.state_dir = None;
    // Beside an agent that has the usual port.
    config.metrics_bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    if !config.read_interval_given {
        config.read_interval_ns = (for_ns / 20).clamp(100 * MS, SECOND);
        config.read_interval_given = true;
    }
    let config = Arc::new(config);
    let started = clock::now();
    let shared = Shared::new(&config, started);
    privileges::say_landlock(&shared.stats);
    match &config.mode {
        Mode::Replay(recording) => {
            let Running { threads, endpoint, .. } = start_player(recording, true, &config, &shared)?;
            drop_all_in_this_thread();
            threads.join(u64::MAX);
            endpoint.end(clock::now().mono_ns);
        }
        Mode::Netfilter | Mode::Ebpf | Mode::Cilium | Mode::Auto => {
            let agent = start_collector(&config, &shared, started)?;
            drop_all_in_this_thread();
            // One sweep more, so that the last one is of the whole time.
            signals.wait_for(for_ns + config.read_interval_ns);
            let ticket = shared.snapshots.flows.ask();
            let until_ns = clock::now().mono_ns + PATIENCE_NS;
            while shared.snapshots.flows.served() < ticket && clock::now().mono_ns < until_ns {
                clock::sleep_ns(5 * MS);
            }
            agent.end(signals, &shared);
        }
    }
    let status = shared.health.overall().as_str();
    Ok((shared.snapshots.flows.latest().unwrap_or_default(), status))
}
