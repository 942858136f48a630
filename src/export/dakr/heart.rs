//! Heartbeats: when they are due, what they say, and what DAKR asks for in return.
//!
//! Their framing is found apart from that of the pushes. A server without a health service answers 404, which says
//! nothing about the traffic service.

use super::client::Client;
use super::encode::{Heartbeat, collect_now, heartbeat};
use super::framing::Answer;
use super::framings::Framings;
use super::jitter::{Jitter, hash};
use super::outcome::{Outcome, SendEnd};
use super::settings::Settings;
use super::transport::Transport;
use crate::clock::SECOND;
use crate::health::Health;
use crate::stats::Stats;
use crate::{COMMIT, VERSION};

/// Time between heartbeats.
pub const INTERVAL_NS: u64 = 60 * SECOND;

const PATH: &str = "/api.v1.OperatorHealthService/ReportHealth";

/// The heartbeats of one process.
#[derive(Debug)]
pub struct Heart {
    cluster_id: String,
    started_ns: u64,
    framings: Framings,
    /// This node's own moment within the interval.
    phase_ns: u64,
    next_ns: Option<u64>,
}

impl Heart {
    /// The first is due at once, the second at this node's own moment of the first interval, the others an interval
    /// apart. So nodes that start together do not send their heartbeats together.
    pub fn new(settings: &Settings) -> Heart {
        Heart {
            cluster_id: settings.cluster_id.clone(),
            started_ns: settings.started_ns,
            framings: Framings::new(settings.protocol),
            phase_ns: Jitter::new(hash([&settings.node_name, ""])).up_to(INTERVAL_NS),
            next_ns: None,
        }
    }

    /// When the next one is due, on the monotonic clock.
    pub fn next_ns(&self) -> u64 {
        self.next_ns.unwrap_or(0)
    }

    pub fn is_due(&self, now_ns: u64) -> bool {
        self.next_ns() <= now_ns
    }

    /// Sends one, in as many framings as it takes. If DAKR took it, whether it asks for a full pass now; else why not.
    pub fn beat(
        &mut self,
        client: &mut Client<impl Transport>,
        health: &Health,
        stats: &Stats,
        now_ns: u64,
        until_ns: u64,
    ) -> Result<bool, (Outcome, String)> {
        let wait_ns = if self.next_ns.is_none() { self.phase_ns } else { INTERVAL_NS };
        self.next_ns = Some(now_ns.saturating_add(wait_ns));
        let components = health.components();
        let mut message = Vec::new();
        heartbeat(
            &mut message,
            &Heartbeat {
                cluster_id: &self.cluster_id,
                version: VERSION,
                overall: health.overall(),
                components: &components,
                // As the wall clock is set now.
                uptime_since_ns: client.now().wall_of(self.started_ns),
                commit: COMMIT,
            },
        );
        loop {
            let (end, cause) = client.call(PATH, self.framings.current(), &message, None, until_ns);
            match (&end, end.outcome()) {
                (SendEnd::Answered { answer: Answer::Ok(message), .. }, _) => {
                    self.framings.works();
                    stats.heartbeats_ok.inc();
                    return Ok(collect_now(message) == Some(true));
                }
                (SendEnd::Answered { status, .. }, Outcome::WrongFraming) if self.framings.wrong(*status).is_none() => {
                }
                (_, outcome) => {
                    stats.heartbeats_failed.inc();
                    if outcome == Outcome::Denied {
                        client.reread_token();
                    }
                    return Err((outcome, cause));
                }
            }
        }
    }
}
