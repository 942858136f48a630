//! One question to the API server: in which zone and region is this node?
//!
//! Asked once, and again only where there was no answer.

use std::collections::HashMap;
use std::io::Read;

use serde::Deserialize;

use crate::clock::{Now, SECOND};
use crate::kube::client::Client;
use crate::kube::watch::Failure;

/// From one question without an answer to the next.
const AGAIN_NS: u64 = 60 * SECOND;
/// A node is 20 to 30 KB; more than this is none.
const MAX_BYTES: u64 = 4 << 20;

/// Where this node is; what is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// The zone.
    pub zone: String,
    /// The region.
    pub region: String,
}

impl Own {
    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        !self.zone.is_empty() || !self.region.is_empty()
    }

    /// Each part from the first that knows it.
    pub fn or(&self, other: &Own) -> Own {
        let first = |one: &String, other: &String| if one.is_empty() { other.clone() } else { one.clone() };
        Own { zone: first(&self.zone, &other.zone), region: first(&self.region, &other.region) }
    }
}

/// What became of a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is not time, or there was no answer this time.
    NotYet,
    /// The answer; empty where the node has no such labels.
    Told(Own),
    /// There will be none.
    Never(String),
}

/// Asks, and asks again.
pub struct NodeQuestion {
    client: Client,
    node_name: String,
    due_mono_ns: u64,
}

impl NodeQuestion {
    /// Asked at once.
    pub fn new(client: Client, node_name: &str) -> NodeQuestion {
        NodeQuestion { client, node_name: node_name.to_owned(), due_mono_ns: 0 }
    }

    /// Asks if it is time.
    pub fn ask_if_due(&mut self, now: Now) -> Asked {
        if now.mono_ns < self.due_mono_ns {
            return Asked::NotYet;
        }
        self.due_mono_ns = now.mono_ns.saturating_add(AGAIN_NS);
        match self.client.node(now, &self.node_name) {
            Ok(answer) => {
                let mut text = Vec::new();
                match answer.take(MAX_BYTES).read_to_end(&mut text) {
                    Ok(_) => Asked::Told(labels(&text)),
                    Err(_) => Asked::NotYet,
                }
            }
            Err(Failure::Forbidden(why)) => Asked::Never(format!("the API server does not show nodes: {why}")),
            Err(Failure::Refused { code, message }) => Asked::Never(format!("the API server said {code}: {message}")),
            Err(Failure::Unauthorized) => {
                self.client.forget_credentials();
                Asked::NotYet
            }
            Err(failure) => {
                log::debug!("cannot ask for node {:?}: {failure:?}", self.node_name);
                Asked::NotYet
            }
        }
    }
}

/// Zone and region of a node's JSON, the labels of before 1.17 too.
fn labels(text: &[u8]) -> Own {
    #[derive(Deserialize)]
    struct Node {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(default)]
        labels: HashMap<String, String>,
    }
    let Ok(Node { metadata: Metadata { labels } }) = serde_json::from_slice(text) else { return Own::default() };
    let one = |kind: &str| {
        let names = [format!("topology.kubernetes.io/{kind}"), format!("failure-domain.beta.kubernetes.io/{kind}")];
        names.iter().find_map(|name| labels.get(name).cloned()).unwrap_or_default()
    };
    Own { zone: one("zone"), region: one("region") }
}

#[cfg(test)]
mod tests;
