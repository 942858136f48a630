//! Follows the host's addresses, the pods and the topology.

use crate::clock;
use crate::sys::addresses::AddressChange;

use super::Collector;

impl Collector {
    pub(super) fn follow_addresses(&mut self) {
        let (local, recorder, known) = (self.p.pipeline.local_ends(), &self.p.recorder, &mut self.known);
        self.p.addresses.drain(&mut |change| {
            known.owners_changed = true;
            recorder.address(change);
            match change {
                AddressChange::Added(addr) => local.add_host(addr),
                AddressChange::Removed(addr) => local.remove_host(addr),
            }
        });
    }

    pub(super) fn follow_pods(&mut self) {
        let Some(published) = &self.p.pods else { return };
        if published.generation() == self.p.pipeline.local_ends().pods().generation {
            return;
        }
        let pods = published.get();
        if !pods.has_addresses_of(self.p.pipeline.local_ends().pods()) {
            self.known.owners_changed = true;
            let now = clock::now();
            let is_due = now.mono_ns >= self.next_sweep_ns(now.mono_ns);
            // By the owners until now, whose bytes it reads. Of two sources both are to have told of an address before it is
            // decided anew who counts it.
            if self.p.pipeline.baselines().first_sweep_done() && (is_due || self.known.glanced) {
                self.sweep(now);
            }
        }
        self.p.pipeline.set_pods(pods, clock::now());
    }

    pub(super) fn follow_topology(&mut self) {
        let generation = self.p.topology.generation();
        if generation != self.topology_generation {
            self.topology_generation = generation;
            self.p.pipeline.set_topology(self.p.topology.get());
        }
    }
}
