//! What the audit costs: the end of a sweep with one uplink and with as many as there may be, an increment that crosses, a
//! row whose remote address is new, by the routes that were read and by a question to the kernel for each (what a rule of
//! policy routing makes of it). Nanoseconds of thread CPU, medians.
//!
//! Links are pairs in a network namespace of the bench's own. Needs root and `ip`.

use std::process::{Command, ExitCode};

use netmon::audit::equation::Part;
use netmon::audit::{Audit, Knows, MAX_UPLINKS};
use netmon::clock::thread_cpu_ns;
use netmon::flow::{Addr, Counts, TxRx};
use netmon::sys::links::Links;
use nix::sched::{CloneFlags, unshare};

const ROUNDS: usize = 21;
/// A row's remote addresses in a round: fewer than the audit keeps.
const ADDRESSES: u32 = 4_000;
const POD_ROUTES: u32 = 250;

fn main() -> ExitCode {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root");
        return ExitCode::SUCCESS;
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("cannot make a network namespace: {error}"))?;
    for n in 0..MAX_UPLINKS {
        ip(&format!("link add u{n} type veth peer name p{n}"))?;
        ip(&format!("addr add 172.31.{n}.1/24 dev u{n}"))?;
        ip(&format!("link set p{n} up"))?;
        ip(&format!("link set u{n} up"))?;
        ip(&format!("route add 10.{n}.0.0/16 via 172.31.{n}.2"))?;
    }
    ip("route add default via 172.31.0.2")?;
    // As many as a node has pods.
    for n in 0..POD_ROUTES {
        ip(&format!("route add 100.64.{}.{}/32 dev u1", n / 250, n % 250))?;
    }
    for uplinks in [1, MAX_UPLINKS] {
        let links = Links::open().map_err(|error| format!("cannot read links: {error}"))?;
        let mut audit = Audit::new(Box::new(links), Knows { tunnels: true, invalid: false, timestamps: true });
        for n in 0..uplinks {
            audit.path_to(address(n, 0), address(0, 0));
        }
        audit.read();
        audit.close();
        if audit.accounts().len() != 2 * uplinks {
            return Err(format!("{} sides of {uplinks} uplinks", audit.accounts().len()));
        }
        let sweep = median(|| {
            audit.read();
            audit.close();
        });
        println!("{uplinks:>2} uplinks: {:>7.0} ns at the end of a sweep (bound 1,000,000)", sweep);
    }
    let links = Links::open().map_err(|error| format!("cannot read links: {error}"))?;
    let mut audit = Audit::new(Box::new(links), Knows { tunnels: true, invalid: false, timestamps: true });
    let each = f64::from(ADDRESSES);
    let ask = |audit: &mut Audit| (0..ADDRESSES).for_each(|n| _ = audit.path_to(address(1, n), address(0, 0)));
    let looked = median(|| {
        audit.look();
        _ = audit.path_to(address(1, 0), address(0, 0));
    });
    println!("links and routes read anew: {looked:>7.0} ns, after a change or a minute");
    ask(&mut audit);
    let told = median(|| ask(&mut audit)) / each;
    println!("a row to a new address:      {told:>7.1} ns by the routes (bound 200)");
    ip("rule add to 192.0.2.0/24 lookup 77")?;
    audit.look();
    let asked = median(|| {
        audit.look();
        ask(&mut audit);
    }) / each;
    let known = median(|| ask(&mut audit)) / each;
    println!(
        "a row to a new address:      {asked:>7.1} ns by a question to the kernel, {:.0} times that",
        asked / told
    );
    println!("a row to an address known:   {known:>7.1} ns, by the answers that are kept");
    let path = audit.path_to(address(1, 0), address(0, 0));
    let counts = TxRx { tx: Counts { bytes: 90_000, packets: 9 }, rx: Counts { bytes: 4_000, packets: 60 } };
    let crossed = median(|| {
        (0..ADDRESSES).for_each(|_| audit.cross(path, Part::Rows, (6, true), counts, None));
    }) / each;
    println!("an increment that crosses:   {crossed:>7.1} ns");
    Ok(())
}

fn address(link: usize, n: u32) -> Addr {
    let [_, _, c, d] = n.to_be_bytes();
    Addr::from_v4([10, link as u8, c, d])
}

fn ip(arguments: &str) -> Result<(), String> {
    let done = Command::new("ip").args(arguments.split_whitespace()).status();
    match done {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("ip {arguments}: {other:?}")),
    }
}

fn median(mut work: impl FnMut()) -> f64 {
    let mut samples: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = thread_cpu_ns();
            work();
            (thread_cpu_ns() - began) as f64
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    samples[ROUNDS / 2]
}
