//! The host's cgroup tree, as the collector and the reader of names need it: whose a socket is.

use log::info;

use crate::config::Config;
use crate::names;
use crate::owner::cgroup::{CgroupTree, Holds};
use crate::owner::socket_owners::SocketOwners;
use crate::source;
use crate::sys::cgroup;

/// Finds the host's cgroup tree. If `-cgroup-fs` is wrong, the one in mountinfo is used.
pub(super) fn open_socket_owners(config: &Config, facts: &source::Facts) -> Result<SocketOwners, String> {
    let asked = config.cgroup_fs.as_deref();
    let root = cgroup::find_of_pods(asked);
    let root = root.map_err(|error| error.to_string())?;
    let (holds, whose) =
        if config.standalone { (Holds::Groups, "units and containers") } else { (Holds::Pods, "pods") };
    info!("sockets are attributed to {whose} by the cgroups below {}", root.display());
    SocketOwners::open(&root, holds, !facts.tells_cgroups)
        .map_err(|error| format!("cannot use socket diagnostics: {error}"))
}

/// Tells whose a loopback address is by the cgroup that asks from it; on a host without pods all are the host's.
pub(super) fn askers(config: &Config) -> Option<names::Askers> {
    if config.standalone {
        return None;
    }
    let mut tree =
        cgroup::find_of_pods(config.cgroup_fs.as_deref()).ok().map(|root| CgroupTree::new(&root, Holds::Pods));
    Some(Box::new(move |cgroup| {
        let Some(tree) = tree.as_mut().filter(|_| cgroup != 0) else { return names::loopback_of("") };
        tree.find(cgroup).map_or(names::LOOPBACK, names::loopback_of)
    }))
}
