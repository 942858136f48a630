//! The scenarios, one a file. Each names the rules it holds and begins with the rows it expects.

mod accounting_off;
mod address_comes_and_goes;
mod alerts;
mod another_zone;
mod bare_host;
mod books_close;
mod both_directions;
mod burst_of_20000;
mod changing_cgroups;
mod collect_now;
mod connect_server;
mod dakr_fails;
mod dashboard;
mod deleted_by_hand;
mod disk_hangs;
mod ends_in_every_state;
mod event_overflow;
mod f26_waits_at_the_end;
mod flood_of_answers;
mod fragments;
mod full_connection_table;
mod full_row_table;
mod goes_blind;
mod hairpin;
mod heartbeat;
mod host_behind_dnat;
mod host_network;
mod icmp;
mod icmp_errors;
mod inbound_from_outside;
mod ipv6;
mod killed;
mod kills;
mod long_and_short;
mod masquerade;
mod metrics;
mod names;
mod names_behind_a_service;
mod networks;
mod new_flows;
mod no_cilium_maps;
mod no_local_end;
mod nodeport_local;
mod nodeport_remote;
mod nothing_tracks;
mod older_than_accounting;
mod older_than_the_agent;
mod opencost;
mod own_programs;
mod owners_between_sweeps;
mod pods;
mod push_inbound;
mod recording;
mod repeated_syns;
mod resize_mid_dump;
mod restart;
mod restart_with_state;
mod reused_tuples;
mod scopes;
mod scopes_by_routes;
mod secrets;
mod service;
mod sigterm_delivers;
mod soak;
mod sweeps_on_demand;
mod the_node_itself;
mod thousand_per_second;
mod truth_itself;
mod truth_of_ends;
mod tunnel;
mod two_local_ends;
mod two_zones;
mod udp;
mod wire_bytes;

use crate::lab::{Lab, Source};
use crate::topology::Wish;

/// One scenario.
pub struct Scenario {
    /// Its name, that of its file.
    pub name: &'static str,
    /// The rules of the accounting contract that it holds.
    pub rules: &'static str,
    /// The sources that must pass it; others have a reason in the table of exceptions (rule 15).
    pub sources: &'static [Source],
    /// Whether it wants the machine for itself.
    pub alone: bool,
    /// The world it wants.
    pub wish: Wish,
    /// Packets that the truth must not count, as nft matches.
    pub ignored: &'static [&'static str],
    /// Programs that it needs beside those of every scenario; without one of them it is skipped.
    pub programs: &'static [&'static str],
    /// Commands that fail, in an empty namespace, where the kernel cannot do what it takes.
    pub probe: &'static str,
    /// Its steps.
    pub run: fn(&Lab) -> Result<(), String>,
}

impl Scenario {
    /// For every source, in the usual world.
    pub const fn new(name: &'static str, rules: &'static str, run: fn(&Lab) -> Result<(), String>) -> Scenario {
        let sources = &[Source::Netfilter, Source::Ebpf, Source::Cilium, Source::Auto];
        Scenario { name, rules, sources, alone: false, wish: Wish::USUAL, ignored: &[], programs: &[], probe: "", run }
    }

    /// Only for these sources.
    pub const fn only(mut self, sources: &'static [Source]) -> Scenario {
        self.sources = sources;
        self
    }

    /// Alone on the machine.
    pub const fn alone(mut self) -> Scenario {
        self.alone = true;
        self
    }

    /// In another world.
    pub const fn within(mut self, wish: Wish) -> Scenario {
        self.wish = wish;
        self
    }

    /// Skipped where a program is missing.
    pub const fn needing(mut self, programs: &'static [&'static str]) -> Scenario {
        self.programs = programs;
        self
    }

    /// Only where these commands work in an empty namespace.
    pub const fn on_kernels_that(mut self, probe: &'static str) -> Scenario {
        self.probe = probe;
        self
    }

    /// With a truth that leaves packets out.
    pub const fn ignoring(mut self, ignored: &'static [&'static str]) -> Scenario {
        self.ignored = ignored;
        self
    }
}

/// All of them, in the order in which they run.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    USUAL.iter().chain(networks::ALL)
}

const USUAL: &[Scenario] = &[
    truth_itself::SCENARIO,
    truth_of_ends::SCENARIO,
    long_and_short::SCENARIO,
    // A minute each: begun early, none is left to run by itself at the end.
    opencost::SCENARIO,
    sweeps_on_demand::SCENARIO,
    owners_between_sweeps::SCENARIO,
    ends_in_every_state::SCENARIO,
    kills::SCENARIO,
    both_directions::SCENARIO,
    two_local_ends::SCENARIO,
    the_node_itself::SCENARIO,
    bare_host::SCENARIO,
    service::SCENARIO,
    hairpin::SCENARIO,
    own_programs::SCENARIO,
    no_cilium_maps::SCENARIO,
    masquerade::SCENARIO,
    inbound_from_outside::SCENARIO,
    nodeport_local::SCENARIO,
    nodeport_remote::SCENARIO,
    no_local_end::SCENARIO,
    icmp::SCENARIO,
    icmp_errors::SCENARIO,
    udp::SCENARIO,
    fragments::SCENARIO,
    ipv6::SCENARIO,
    repeated_syns::SCENARIO,
    reused_tuples::SCENARIO,
    older_than_the_agent::SCENARIO,
    restart::SCENARIO,
    restart_with_state::SCENARIO,
    f26_waits_at_the_end::SCENARIO,
    killed::SCENARIO,
    soak::SCENARIO,
    sigterm_delivers::SCENARIO,
    dakr_fails::SCENARIO,
    disk_hangs::SCENARIO,
    pods::SCENARIO,
    host_network::SCENARIO,
    changing_cgroups::SCENARIO,
    heartbeat::SCENARIO,
    secrets::SCENARIO,
    collect_now::SCENARIO,
    metrics::SCENARIO,
    dashboard::SCENARIO,
    alerts::SCENARIO,
    scopes::SCENARIO,
    scopes_by_routes::SCENARIO,
    deleted_by_hand::SCENARIO,
    connect_server::SCENARIO,
    names::SCENARIO,
    names_behind_a_service::SCENARIO,
    push_inbound::SCENARIO,
    accounting_off::SCENARIO,
    older_than_accounting::SCENARIO,
    host_behind_dnat::SCENARIO,
    nothing_tracks::SCENARIO,
    address_comes_and_goes::SCENARIO,
    goes_blind::SCENARIO,
    two_zones::SCENARIO,
    another_zone::SCENARIO,
    tunnel::SCENARIO,
    books_close::SCENARIO,
    wire_bytes::SCENARIO,
    full_row_table::SCENARIO,
    full_connection_table::SCENARIO,
    recording::SCENARIO,
    burst_of_20000::SCENARIO,
    new_flows::SCENARIO,
    flood_of_answers::SCENARIO,
    thousand_per_second::SCENARIO,
    resize_mid_dump::SCENARIO,
    event_overflow::SCENARIO,
];
