//! An endpoint with made-up rows that grow, as the page meets it. It counts nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use netmon::audit::Account;
use netmon::audit::equation::Part;
use netmon::clock::{self, MS, SECOND};
use netmon::config::{MetricsFormat, Readers, SourceKind};
use netmon::export::prometheus::Labels;
use netmon::flow::{Addr, Class, Counts, Direction, Further, TxRx};
use netmon::health::{Component, Health, Pulse, Status};
use netmon::http::server::{Context, Server};
use netmon::names::{Origin, RowName};
use netmon::owner::{Owner, Pod, Workload};
use netmon::snapshot::{RowView, SeriesView, Snapshot, SnapshotsByKind};
use netmon::stats::Stats;
use netmon::stop::Stop;
use netmon::topology::Way;
use netmon::topology::names::{Learner, Names};
use netmon::topology::scope::{Scope, Via};

/// Between two sweeps.
const SWEEP_NS: u64 = 500 * MS;

/// One endpoint; it ends when it is dropped.
pub struct Agent {
    pub url: String,
    pub health: Arc<Health>,
    pub pulse: Arc<Pulse>,
    pub stats: Arc<Stats>,
    pub snapshots: Arc<SnapshotsByKind>,
    end: Arc<Stop>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        self.end.request(clock::now().mono_ns);
        self.threads.drain(..).for_each(|thread| thread.join().expect("it ends well"));
    }
}

/// What it shows.
pub struct Scene {
    pub rows: Vec<RowView>,
    pub owners: Vec<Owner>,
    pub names: Vec<RowName>,
}

impl Agent {
    pub fn start(scene: Scene) -> Agent {
        Agent::at("127.0.0.1:0", scene)
    }

    /// At an address that is free again.
    pub fn at(address: &str, scene: Scene) -> Agent {
        let server = Server::listen(address.parse().expect("an address")).unwrap_or_else(|e| panic!("{e}"));
        let url = format!("http://{}/", server.local_addr().expect("an address"));
        let (stats, health, snapshots) =
            (Arc::<Stats>::default(), Arc::<Health>::default(), Arc::<SnapshotsByKind>::default());
        let pulse = Arc::new(Pulse::new(clock::now().mono_ns, 60 * SECOND));
        health.set(Component::Monitor, Status::Healthy, "collecting");
        health.note(Component::Monitor, "source", "netfilter");
        let (end, over) = (Arc::<Stop>::default(), Arc::<AtomicBool>::default());
        let context = Context {
            node_name: "worker-3".into(),
            metrics_format: MetricsFormat::Prometheus,
            readers: Readers::Everyone,
            cluster: Vec::new(),
            hosts: Vec::new(),
            labels: Labels { wanted: "netfilter".into(), running: "netfilter".into(), opencost_hold_ns: None },
            given: Vec::new(),
            stats: Arc::clone(&stats),
            health: Arc::clone(&health),
            pulse: Arc::clone(&pulse),
            snapshots: Arc::clone(&snapshots),
            end: Arc::clone(&end),
        };
        stats.process_start_ms.set((clock::now().wall_ns - 3 * 3_600 * SECOND) / MS);
        let (kept, shown) = (Arc::clone(&stats), Arc::clone(&snapshots));
        let serving = thread::spawn(move || server.run(context));
        let (is_over, sweeps, held) = (Arc::clone(&over), Arc::clone(&pulse), Arc::clone(&pulse));
        let collecting = thread::spawn(move || collect(scene, &stats, &sweeps, &snapshots, &is_over));
        Agent { url, health, pulse: held, stats: kept, snapshots: shown, end, over, threads: vec![serving, collecting] }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.url["http://".len()..].trim_end_matches('/').to_owned()
    }
}

fn collect(mut scene: Scene, stats: &Stats, pulse: &Pulse, both: &SnapshotsByKind, over: &AtomicBool) {
    let places = places();
    let mut next_ns = 0;
    while !over.load(Relaxed) {
        let now = clock::now();
        if now.mono_ns >= next_ns {
            next_ns = now.mono_ns + SWEEP_NS;
            stats.sweep_wall_ms.set(now.wall_ns / MS);
            pulse.cycle_completed(now.mono_ns, 60 * SECOND);
            pulse.sweep_completed();
            scene.rows.iter_mut().for_each(|row| {
                let [tx, rx] = row.rate.map(|rate| counts(rate as u64 * SWEEP_NS / SECOND));
                row.total += TxRx { tx, rx };
                row.unsettled = row.total;
                row.changed_wall_ns = now.wall_ns;
            });
            let all = scene.rows.iter().fold(0, |sum, row| sum + row.total.total_bytes());
            if all > 0 {
                stats.counted_tx_bytes.set(all);
                stats.acknowledged_bytes.set(all / 8 * 7);
                stats.open_bytes.set(all - all / 8 * 7);
            }
        }
        for snapshots in [&both.flows, &both.metrics] {
            let Some(ticket) = snapshots.asked() else { continue };
            let series = scene.rows.iter().map(|row| SeriesView {
                owner: row.owner,
                protocol: "tcp",
                direction: row.direction,
                class: row.class,
                total: row.total,
                more_bytes: [0; 2],
            });
            let all = scene.rows.iter().fold(0, |sum, row| sum + row.total.total_bytes());
            let snapshot = Snapshot {
                taken: now,
                stale_ns: u64::MAX,
                series: series.collect(),
                rows: scene.rows.clone(),
                owners: scene.owners.clone(),
                names: scene.names.clone(),
                interfaces: if all == 0 { Vec::new() } else { vec![uplink(all)] },
                places: Arc::clone(&places),
                ..Snapshot::default()
            };
            snapshots.publish(Arc::new(snapshot), ticket);
        }
        clock::sleep_ns(10 * MS);
    }
}

/// One direction of an uplink that does not know what became of a thousandth.
fn uplink(bytes: u64) -> Account {
    let mut account = Account { header_bytes: 14, is_measured: true, ..Account::default() };
    account.name[..4].copy_from_slice(b"eth0");
    account.closed.layer3_bytes = bytes;
    account.closed.parts[Part::Unexplained as usize] = -i64::try_from(bytes / 1000).expect("few");
    account
}

fn places() -> Arc<Names> {
    let mut learner = Learner::new(Names::default());
    for (zone, region) in
        [("eu-central-1a", "eu-central-1"), ("eu-central-1b", "eu-central-1"), ("us-east-1c", "us-east-1")]
    {
        learner.place(zone, region).expect("room");
    }
    learner.service("s3").expect("room");
    Arc::new(learner.finish())
}

pub fn counts(bytes: u64) -> Counts {
    Counts { bytes, packets: bytes / 900 }
}

pub fn pod(namespace: &str, name: &str, workload: &str) -> Owner {
    let workload = (!workload.is_empty()).then(|| Workload { kind: "Deployment".into(), name: workload.into() });
    Owner::Pod(Arc::new(Pod {
        uid: format!("uid-{name}").into(),
        namespace: namespace.into(),
        name: name.into(),
        workload,
        host_network: false,
    }))
}

pub fn name(text: &str) -> RowName {
    RowName { text: text.into(), origin: Origin::Own, is_service: false }
}

/// A row of the owner of a number to a remote end of a number.
pub fn row(owner: u32, remote: u32, rate: [f32; 2], before: u64) -> RowView {
    let [_, a, b, c] = remote.to_be_bytes();
    let outside = !remote.is_multiple_of(3);
    let scope =
        if outside { Scope::Internet } else { [Scope::Node, Scope::Zone, Scope::Region][(remote % 5 % 3) as usize] };
    RowView {
        owner,
        name: u32::MAX,
        remote_owner: None,
        port: [443, 5432, 53, 9090][(remote % 4) as usize],
        protocol: [6, 6, 17, 6][(remote % 4) as usize],
        direction: if remote.is_multiple_of(5) { Direction::Inbound } else { Direction::Outbound },
        class: if outside { Class::Outside } else { Class::Inside },
        way: Way::new(scope, Via::None, 0),
        place: if outside { 0 } else { (remote % 4) as u16 },
        is_sum: false,
        source: SourceKind::Netfilter,
        more: Further::ZERO,
        is_estimated: false,
        local: Addr::from_v4([10, 244, 1, owner as u8 + 2]),
        remote: Addr::from_v4([if outside { 203 } else { 10 }, a, b, c]),
        unsettled: TxRx::ZERO,
        total: TxRx { tx: counts(before), rx: counts(before / 2) },
        changed_wall_ns: 0,
        rate,
    }
}

/// Nothing was counted.
pub fn quiet() -> Scene {
    Scene { rows: Vec::new(), owners: Vec::new(), names: Vec::new() }
}

/// Few rows, each sort of which has another first row.
pub fn shop() -> Scene {
    let owners = vec![
        pod("shop", "checkout-6d8f7c9b5-x2x9k", "checkout"),
        pod("shop", "web-6d5f7c8b-x2v7k", "web"),
        pod("ops", "mail-0", ""),
        Owner::Host,
    ];
    let mut rows = vec![
        row(0, 1, [900.0, 1_000_000.0], 0),
        row(1, 2, [700_000.0, 10.0], 0),
        row(2, 3, [650_000.0, 650_000.0], 0),
        row(3, 4, [0.0, 0.0], 9_000_000_000),
        row(1, 6, [40.0, 40.0], 0),
    ];
    rows[0].name = 0;
    rows[4].remote_owner = Some(0);
    Scene { rows, owners, names: vec![name("cdn.images.example.net")] }
}

/// As many rows as asked for, with pods whose names are as long as names get.
pub fn crowd(rows: u32) -> Scene {
    let long = "otel-collector-agent-for-the-whole-of-the-observability-team-of-the-second-region-7f9x2";
    let mut owners =
        vec![Owner::Host, Owner::Address, pod("observability", long, "otel-collector-agent-for-the-whole-of-the-team")];
    owners.extend((0..40).map(|n| {
        pod(["shop", "data", "kube-system"][n % 3], &format!("service-{n}-6d8f7c9b5-x2x9k"), &format!("service-{n}"))
    }));
    let names = vec![
        name("api.example.com"),
        name("d1f2.very-long-name-of-a-content-network-that-nobody-can-remember.edge.example.net"),
        name("checkout.shop.svc.cluster.local"),
    ];
    let all = (0..rows).map(|n| {
        let size = 4e9 / (1.0 + n as f32).powf(1.3);
        let mut row = row(n % 43, n, [size, size * 0.6], u64::from(n) * 1_000_000);
        row.name = n % 5;
        row.remote_owner = (n % 7 == 4).then_some(n % 40 + 2);
        if n % 11 == 3 {
            row.remote = Addr::from_v6([
                0x20, 1, 0x0d, 0xb8, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0, 0, 0x1f, n as u8,
            ]);
        }
        if n % 9 == 2 {
            row.source = SourceKind::Ebpf;
            row.way = Way::new(Scope::CrossRegion, Via::Nat, 1);
        }
        row
    });
    Scene { rows: all.collect(), owners, names }
}
