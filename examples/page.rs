//! Serves the endpoint with made-up rows that move, to look at the page without traffic: `cargo run --example page`.

use std::sync::Arc;

use netmon::clock::{self, MS, SECOND};
use netmon::export::prometheus::Labels;
use netmon::flow::{Addr, Class, Counts, Direction, TxRx};
use netmon::health::{Component, Health, Pulse, Status};
use netmon::http::server::{Context, Server};
use netmon::names::{Origin, RowName};
use netmon::owner::{Owner, Pod, Workload};
use netmon::snapshot::{Boards, RowView, SeriesView, Snapshot};
use netmon::stats::Stats;
use netmon::topology::Way;

/// Rows in the snapshot.
const ROWS: u64 = 260;

fn main() {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8081".into());
    let server = Server::listen(addr.parse().expect("an address and a port")).unwrap_or_else(|e| panic!("{e}"));
    let (stats, health, snapshots) = (Arc::<Stats>::default(), Arc::<Health>::default(), Arc::<Boards>::default());
    let pulse = Arc::new(Pulse::new(clock::now().mono_ns, 5 * SECOND));
    health.set(Component::Monitor, Status::Healthy, "collecting");
    health.note(Component::Monitor, "source", "netfilter");
    health.set(Component::PodCache, Status::Healthy, "12 pods");
    let why = "no answer from https://dakr.example.com for 4 minutes; 12.4 MB wait, nothing is lost";
    health.set(Component::DakrTransport, Status::Degraded, why);
    let context = Context {
        node_name: "worker-3.example.internal".into(),
        metrics_format: netmon::config::MetricsFormat::Prometheus,
        readers: netmon::config::Readers::Everyone,
        cluster: Vec::new(),
        hosts: Vec::new(),
        labels: Labels { wanted: "netfilter".into(), running: "netfilter".into(), opencost_hold_ns: None },
        given: Vec::new(),
        stats: Arc::clone(&stats),
        health,
        pulse: Arc::clone(&pulse),
        snapshots: Arc::clone(&snapshots),
        end: Arc::default(),
    };
    println!("http://{addr}/");
    std::thread::spawn(move || server.run(context));
    let mut rows: Vec<RowView> = (0..ROWS).map(row).collect();
    let mut sweep_ns = 0;
    loop {
        let now = clock::now();
        // Counters stand still between sweeps, as those of the agent do.
        if now.mono_ns >= sweep_ns {
            sweep_ns = now.mono_ns + 5 * SECOND;
            stats.sweeps.inc();
            stats.sweep_wall_ms.set(now.wall_ns / MS);
            pulse.cycle_completed(now.mono_ns, 5 * SECOND);
            pulse.sweep_completed();
            let phase = (now.mono_ns / SECOND) as f64;
            rows.iter_mut().zip(0..).for_each(|(row, n)| grow(row, n, phase, now.wall_ns));
        }
        for board in [&snapshots.flows, &snapshots.metrics] {
            let Some(ticket) = board.asked() else { continue };
            let series = rows.iter().map(|row| SeriesView {
                owner: row.owner,
                protocol: if row.protocol == 6 { "tcp" } else { "udp" },
                direction: row.direction,
                class: row.class,
                total: row.total,
                more_bytes: [0; 2],
            });
            let (series, rows) = (series.collect(), rows.clone());
            board.publish(
                Arc::new(Snapshot {
                    taken: now,
                    rows,
                    series,
                    owners: owners(),
                    names: names(),
                    ..Snapshot::default()
                }),
                ticket,
            );
        }
        clock::sleep_ns(20 * MS);
    }
}

fn owners() -> Vec<Owner> {
    let pod = |n: usize, name: &str| {
        let workload = Workload { kind: "Deployment".into(), name: name.rsplit_once('-').map_or(name, |n| n.0).into() };
        Owner::Pod(Arc::new(Pod {
            uid: format!("uid-{n}").into(),
            namespace: if n.is_multiple_of(3) { "shop" } else { "observability" }.into(),
            name: name.into(),
            workload: Some(workload),
            host_network: false,
        }))
    };
    let names = [
        "checkout-6d8f7c9b5-x2x9k",
        "prometheus-server-5c8d7f-qq8zt",
        "web-0",
        "otel-collector-agent-with-a-long-name-7f9x2",
    ];
    [Owner::Host, Owner::Address].into_iter().chain(names.iter().enumerate().map(|(n, name)| pod(n, name))).collect()
}

/// The rest of the rows have no name.
fn names() -> Vec<RowName> {
    let name = |text: &str, origin| RowName { text: text.into(), origin, is_service: false };
    vec![
        name("api.example.com", Origin::Own),
        name("checkout.shop.svc.cluster.local", Origin::Node),
        name("d1f2.very-long-name-of-a-content-network.example.net", Origin::Own),
    ]
}

fn row(n: u64) -> RowView {
    let v6 = n % 7 == 3;
    let byte = n as u8;
    let remote = match v6 {
        true => Addr::from_v6([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x1f, byte]),
        false => Addr::from_v4([if n.is_multiple_of(2) { 10 } else { 203 }, 0, 113, byte]),
    };
    RowView {
        owner: (n % 6) as u32,
        name: (n % 5) as u32,
        remote_owner: (n % 5 == 4).then_some((n % 4) as u32 + 2),
        port: [443, 5432, 53, 9090, 6379, 0][(n % 6) as usize],
        protocol: [6, 6, 17, 6, 6, 1][(n % 6) as usize],
        direction: if n.is_multiple_of(4) { Direction::Inbound } else { Direction::Outbound },
        class: if n.is_multiple_of(2) && !v6 { Class::Inside } else { Class::Outside },
        way: Way::UNKNOWN,
        place: 0,
        is_sum: false,
        source: netmon::config::SourceKind::Netfilter,
        more: netmon::flow::Further::ZERO,
        is_estimated: false,
        local: Addr::from_v4([10, 244, 1, (n % 6) as u8 + 2]),
        remote,
        unsettled: TxRx::ZERO,
        total: TxRx::ZERO,
        changed_wall_ns: clock::now().wall_ns,
        rate: [0.0; 2],
    }
}

fn grow(row: &mut RowView, n: u64, phase: f64, wall_ns: u64) {
    let wave = 1.2 + ((phase + n as f64) / (9.0 + n as f64 % 5.0)).sin();
    let size = 40_000_000.0 / (1.0 + n as f64).powf(1.3);
    let (tx, rx) = ((wave * size) as u64, ((2.4 - wave) * size * 0.6) as u64);
    let counts = |bytes: u64| Counts { bytes, packets: bytes / 900 };
    row.total += TxRx { tx: counts(tx), rx: counts(rx) };
    row.unsettled = row.total;
    row.changed_wall_ns = wall_ns;
}
