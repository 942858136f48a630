//! What follows a sweep: sockets tell whose the rest is, the books close, and the node is looked at for what hides traffic.

use super::Collector;
use crate::clock::{self, Now};
use crate::collect::blind::Sight;
use crate::collect::pace;
use crate::collect::trouble::{PODS_AS_NODE, no_pods_cgroup};
use crate::config::SourceKind;
use crate::findings;
use crate::owner::cgroup::Holds;
use crate::owner::socket_owners::SocketOwners;

impl Collector {
    /// Compares with the interfaces what is placed now.
    pub(super) fn close_the_audit(&mut self) {
        let audit = self.p.pipeline.audit_mut();
        audit.close();
        let sight = match self.p.source.facts().sees_the_host {
            true => self.watch.end_sweep(audit.accounts()),
            false => Sight::Clear,
        };
        match sight {
            Sight::Unknown => {}
            Sight::Clear => self.trouble.sight = None,
            blind @ Sight::Blind { interface_bytes, .. } => {
                // Looked for once: it takes files and a question to nf_tables.
                let reads_conntrack_alone = match self.p.source.facts().kind {
                    SourceKind::Netfilter => true,
                    SourceKind::Ebpf | SourceKind::Cilium | SourceKind::Auto | SourceKind::Replay => false,
                };
                if self.trouble.sight.is_none() && reads_conntrack_alone {
                    self.trouble.causes = causes(interface_bytes);
                }
                self.trouble.sight = Some(blind);
            }
        }
    }

    /// Looks for pods that were never seen and, now and then, for what hides traffic on this node.
    pub(super) fn find_what_hides(&mut self, now: Now) {
        let has_pods = self.p.pods.is_some();
        if has_pods {
            let (pods, owners) = (self.p.pipeline.local_ends().pods().clone(), self.p.pipeline.owners());
            let silent = self.unseen.end_sweep(&pods, owners, now.mono_ns);
            self.p.stats.pods_unseen.set(u64::from(silent.unseen));
            self.trouble.unseen = silent.is_trouble().then_some(silent.running);
        }
        if now.mono_ns >= self.due.structure {
            let (by_conntrack, by_programs) = match self.p.source.facts().kind {
                SourceKind::Netfilter => (true, false),
                SourceKind::Ebpf => (false, true),
                SourceKind::Auto => (true, true),
                SourceKind::Cilium | SourceKind::Replay => return,
            };
            let cpu_ns = clock::thread_cpu_ns();
            let mut facts = findings::read::facts(None, 0);
            if !has_pods && self.p.config.local_cidrs.is_empty() {
                // What virtual machines exchange is not counted here.
                facts.bridges.clear();
            }
            self.trouble.hidden = findings::node::hiding(&facts, by_conntrack, by_programs).join("; ");
            let cost_ns = clock::thread_cpu_ns().saturating_sub(cpu_ns);
            self.due.structure = now.mono_ns + pace::look_again_ns(!self.trouble.hidden.is_empty(), cost_ns);
        }
    }

    /// Reads sockets, by `read`, and cgroups, and settles increments that waited for them. Returns the CPU time.
    pub(super) fn look_at_processes(&mut self, now: Now, read: fn(&mut SocketOwners) -> std::io::Result<()>) -> u64 {
        let pipeline = &mut self.p.pipeline;
        let Some(socket_owners) = pipeline.socket_owners() else { return 0 };
        let cpu_ns = clock::thread_cpu_ns();
        self.trouble.socket_owners = match read(socket_owners) {
            Ok(()) => String::new(),
            // Where there are no pods, rows are the host's.
            Err(_) if socket_owners.holds() == Holds::Groups => String::new(),
            Err(error) => format!("{PODS_AS_NODE}: cannot read the node's sockets: {error}"),
        };
        if self.trouble.socket_owners.is_empty()
            && let Some(root) = pipeline.tree_without_pods()
        {
            self.trouble.socket_owners = no_pods_cgroup(&root);
        }
        pipeline.place_deferred();
        if pipeline.socket_owners().is_some_and(SocketOwners::walk) {
            pipeline.settle_waiting(now);
        }
        clock::thread_cpu_ns().saturating_sub(cpu_ns)
    }
}

/// What on this node may make conntrack blind to what an interface carried.
fn causes(interface_bytes: u64) -> String {
    let mut facts = findings::read::facts(None, 0);
    facts.carried = Some(("an uplink".to_owned(), interface_bytes));
    findings::node::blind_causes(&facts).join("; ")
}
