//! What the tables cost per entry: baselines with every connection idle or active, in the order of the last dump or
//! in another, and rows. Prints nanoseconds of thread CPU per entry, medians over rounds; compare the columns, not
//! the absolute numbers. The sweep as a whole is measured by `sweep.rs` against the kernel's own work.

use netmon::baseline::{BaselineTable, Judged};
use netmon::class::Classes;
use netmon::clock::thread_cpu_ns;
use netmon::flow::{Addr, Class, Connection, ConnectionKey, Counts, Direction, Ends, Reading, Split, Traffic, TxRx};
use netmon::ledger::Ledger;
use netmon::owner::OwnerId;
use netmon::rows::{Increment, Level, Push, RowKey, RowTable};
use netmon::topology::{Charge, Scope, Way};

const ROUNDS: usize = 9;

fn connection(number: u32) -> Connection {
    // Spread like conntrack's own order: neighbours in the dump have nothing in common.
    let mixed = number.wrapping_mul(0x9e37_79b1);
    let [a, b, c, d] = mixed.to_be_bytes();
    let remote = Addr::from_v4([198, a & 15, b, c]);
    let counts = Counts { bytes: 1_000, packets: 10 };
    Connection {
        key: ConnectionKey {
            src: Addr::from_v4([10, 244, 1, d % 110]),
            dst: remote,
            sport: number as u16,
            dport: 443,
            ct_zone: 0,
            protocol: 6,
            family: 4,
            realm: number,
        },
        backend: remote,
        backend_port: 443,
        ends: Ends::Both,
        reading: Reading::Live,
        id: number + 1,
        start_ns: 0,
        traffic: Traffic { orig: counts, reply: counts },
        more: None,
        cgroup: 0,
    }
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn sweep(table: &mut BaselineTable, connections: &[Connection]) -> u64 {
    let start = thread_cpu_ns();
    table.begin_sweep();
    let mut increments = 0u64;
    for connection in connections {
        if let Judged::Increment(traffic) = table.live(connection) {
            increments += traffic.orig.bytes;
        }
    }
    table.end_sweep(true);
    std::hint::black_box(increments);
    thread_cpu_ns() - start
}

fn main() {
    println!("{:>8} {:>14} {:>14} {:>14} {:>14}", "entries", "baseline idle", "active", "shuffled", "row add");
    for entries in [10_000u32, 100_000, 250_000] {
        let mut connections: Vec<Connection> = (0..entries).map(connection).collect();
        let mut table = BaselineTable::with_capacity(262_144, 1);
        sweep(&mut table, &connections);
        let per_entry = |ns: u64| ns as f64 / f64::from(entries);
        let (mut idle, mut active, mut shuffled, mut rows) = (vec![], vec![], vec![], vec![]);
        for round in 0..ROUNDS {
            idle.push(per_entry(sweep(&mut table, &connections)));
            for connection in &mut connections {
                connection.traffic.orig.bytes += 100;
            }
            active.push(per_entry(sweep(&mut table, &connections)));
            let mut turned = connections.clone();
            turned.sort_by_key(|c| c.key.realm.wrapping_mul(0x85eb_ca6b ^ round as u32));
            shuffled.push(per_entry(sweep(&mut table, &turned)));
            sweep(&mut table, &connections);
            rows.push(per_entry(add_rows(&connections)));
        }
        println!(
            "{entries:>8} {:>11.0} ns {:>11.0} ns {:>11.0} ns {:>11.0} ns",
            median(idle),
            median(active),
            median(shuffled),
            median(rows)
        );
    }
}

/// Every connection adds to one of at most 44,000 rows.
fn add_rows(connections: &[Connection]) -> u64 {
    let classes = Classes::new(&[], &[], &[]);
    let (mut rows, mut ledger) = (RowTable::with_capacity(65_536), Ledger::default());
    let one = TxRx { tx: Counts { bytes: 100, packets: 1 }, rx: Counts::ZERO };
    let key = |c: &Connection| RowKey {
        local: c.key.src,
        remote: Addr::from_v4([198, 51, ((c.key.realm % 44_000) >> 8) as u8, c.key.realm as u8]),
        owner: OwnerId(u32::from(c.key.src.octets()[15])),
        port: 443,
        protocol: 6,
        direction: Direction::Outbound,
        class: Class::Outside,
        level: Level::Named,
        way: Way::UNKNOWN,
    };
    for connection in connections {
        rows.add(
            &key(connection),
            Push::Yes,
            Increment { counts: one, at_ns: 1, split: Split::Known },
            &classes,
            &mut ledger,
            || Charge::plain(Scope::Unknown),
        );
    }
    let start = thread_cpu_ns();
    for connection in connections {
        rows.add(
            &key(connection),
            Push::Yes,
            Increment { counts: one, at_ns: 2, split: Split::Known },
            &classes,
            &mut ledger,
            || Charge::plain(Scope::Unknown),
        );
    }
    thread_cpu_ns() - start
}
