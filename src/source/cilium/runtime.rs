//! What Cilium's agent says of its own settings in the file that it leaves on the host, where that can be read.
//!
//! A hint for a node whose entries do not tell yet. Two words are looked for in the text, for the file holds all of
//! the agent's settings and its shape is nobody's promise.

use crate::wire::cilium_ct::Accounting;

/// `option.DaemonConfig` as JSON; below the state folder that the DaemonSet mounts from the host.
const FILE: &str = "/var/run/cilium/state/agent-runtime-config.json";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Whether Cilium counts.
    pub accounting: Accounting,
    /// Whether the release is one that counts sums (the setting exists since 1.17).
    pub is_of_sums: bool,
}

/// Reads the file; nothing is said where it cannot be read.
pub fn read() -> Said {
    std::fs::read_to_string(FILE).map(|text| find(&text)).unwrap_or_default()
}

fn find(text: &str) -> Said {
    let value = |name: &str| {
        let rest = text.split_once(name)?.1.trim_start_matches([' ', ':']);
        Some(if rest.starts_with(['1', 't']) { Accounting::On } else { Accounting::Off })
    };
    let of_sums = value("\"BPFConntrackAccounting\"");
    let accounting = of_sums.or_else(|| value("\"ConntrackAccounting\"")).unwrap_or_default();
    Said { accounting, is_of_sums: of_sums.is_some() }
}

#[cfg(test)]
mod tests;
