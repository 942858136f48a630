//! The first lines of the log: what runs, where it pushes to, and what counts as inside.

use log::{info, warn};

use crate::config::Config;
use crate::config::proxy::Route;
use crate::export::dakr::token::Token;
use crate::net::trouble::Peer;

/// Says what runs, where it pushes to, and what counts as inside.
pub(super) fn say_what_is_pushed(config: &Config) {
    info!(
        "zxporter-netmon {} ({}) on node {:?}: {} mode, {}",
        crate::VERSION,
        crate::COMMIT,
        config.node_name,
        config.mode.name(),
        if config.standalone { "standalone" } else { "in a cluster" }
    );
    if let Some(dakr) = &config.dakr {
        let peer = Peer::of(&dakr.url, dakr.route.proxy());
        match &dakr.route {
            Route::Excepted(proxy) => {
                info!("pushing to {peer}, excepted from proxy {proxy} ({}) by NO_PROXY", proxy.named_by);
            }
            Route::Direct | Route::Through(_) => info!("pushing to {peer}"),
        }
        let mut token = Token::new(&dakr.token, dakr.token_file.clone());
        if let Err(error) = token.refresh() {
            let then =
                if token.is_missing() { "nothing is sent until it can be read" } else { "CLUSTER_TOKEN is used" };
            warn!("{error}: {then}");
        }
    } else {
        match config.dakr_lacks {
            "" => info!("nothing is pushed: DAKR_URL and CLUSTER_TOKEN are not set; only the endpoints show rows"),
            lacking => warn!("nothing is pushed: {lacking} is missing; only the endpoints show rows"),
        }
        if config.state_dir.is_some() {
            info!("-state-dir is not used, because nothing is pushed");
        }
    }
    if !config.cluster_cidrs_given {
        let ranges: Vec<String> = config.cluster_cidrs.iter().map(ToString::to_string).collect();
        info!("default ranges count as inside the cluster: {} (-cluster-cidrs, -outside-cidrs)", ranges.join(","));
    }
}
