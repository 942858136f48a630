//! Keeps what the agent recorded of a network, and the rows that it showed of it, for `tests/recordings.rs`.
//!
//! `LAB_RECORDINGS` names the folder. Less traffic is sent then, and swept less often, so that a file stays small.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use crate::agent::{Agent, Start};
use crate::lab::{Lab, Source};

/// What is to be kept of a network.
pub struct Recording {
    name: &'static str,
    folder: PathBuf,
}

impl Recording {
    /// Of this network, if it is wanted: only conntrack is recorded.
    pub fn wanted(lab: &Lab, name: &'static str) -> Option<Recording> {
        let folder = std::env::var_os("LAB_RECORDINGS")?.into();
        (lab.source == Source::Netfilter).then_some(Recording { name, folder })
    }

    /// Whether anything is kept: then a few connections do.
    pub fn is_wanted() -> bool {
        std::env::var_os("LAB_RECORDINGS").is_some()
    }

    /// An agent that records.
    pub fn record<'a>(&self, lab: &Lab, start: Start<'a>) -> Result<Start<'a>, String> {
        // Questions to the agent are connections, too.
        lab.node().sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "1")?;
        let file = self.file(lab);
        Ok(start.without("-read-interval").flag("-read-interval", "3s").flag("-record", &file.to_string_lossy()))
    }

    /// Ends the agent, and keeps the recording with the rows that it showed.
    pub fn keep(&self, lab: &Lab, agent: Agent<'_>) -> Result<(), String> {
        agent.wait_sweeps(2)?;
        let mut rows = String::new();
        let mut shown = agent.shown()?;
        // A tunnel's own port is not in the recording.
        shown.retain(|key, _| !matches!(key.class.as_str(), "overlay" | "multicast"));
        for (key, counts) in &shown {
            let (tx, rx) = (counts.tx, counts.rx);
            let _ = writeln!(
                rows,
                "{} {} {} {} {} tx {} {} rx {} {}",
                key.direction,
                key.local,
                key.remote,
                key.protocol,
                key.port,
                tx.bytes,
                tx.packets,
                rx.bytes,
                rx.packets
            );
        }
        agent.terminate()?;
        let to = |ending: &str| self.folder.join(format!("{}.{ending}", self.name));
        fs::copy(self.file(lab), to("recording"))
            .and_then(|_| fs::write(to("rows"), rows))
            .map_err(|e| format!("cannot keep the recording of {}: {e}", self.name))
    }

    fn file(&self, lab: &Lab) -> PathBuf {
        lab.file("recording")
    }
}
