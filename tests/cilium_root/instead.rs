//! What runs where Cilium's maps cannot answer: our own programs, and how they learn of services from the maps.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::Arc;

use libbpf_rs::MapCore;
use netmon::clock::Now;
use netmon::flow::Addr;
use netmon::source::cilium::CiliumServices;
use netmon::source::recorder::Recorder;
use netmon::source::translation::{Answer, Services, Translation};
use netmon::source::{self, Source, SourceError};
use netmon::state::bytes::In;
use netmon::stats::Stats;
use netmon::sys::bpf::{BatchReader, PinnedMap};
use netmon::wire::conntrack::OneWay;

use crate::cilium::Bpffs;
use crate::{CT4, lay, support};

fn open(bpffs: &Bpffs, flags: &[&str]) -> Result<Box<dyn Source>, SourceError> {
    let root = format!("-cilium-bpf-root={}", bpffs.root.display());
    let flags = [&["-collector-mode=cilium", &root][..], flags].concat();
    let config = support::standalone(&flags);
    let stats = Arc::new(Stats::default());
    source::open(&config.mode, &config, &Recorder::off(), &stats, Now { mono_ns: 1, wall_ns: 1 })
}

fn condition(source: &mut dyn Source) -> String {
    source.upkeep(Now { mono_ns: 1, wall_ns: 1 }).degraded
}

#[test]
fn own_programs_count_where_the_maps_hold_a_sum_or_nothing() {
    let cgroup = TestCgroup::new();
    let root = format!("-cgroup-root={}", cgroup.0.display());
    for (fixtures, why) in [(&["B1", "B6"][..], "one sum"), (&["B4"][..], "bpf.ctAccounting=true")] {
        let bpffs = Bpffs::with_maps();
        lay(&bpffs, fixtures);
        let mut beside = open(&bpffs, &[&root]).expect("programs run here");
        assert_eq!(beside.name(), "ebpf");
        let said = condition(&mut *beside);
        assert!(said.contains(why) && said.contains("ebpf counts instead"), "{said}");
        // The next process may have no maps at all: then the programs alone go on from the state file.
        let mut state = Vec::new();
        beside.persist(&mut state);
        let mut alone = open(&Bpffs::new(), &["-collector-mode=ebpf", &root]).expect("programs run here");
        assert_eq!((alone.name(), alone.restore(&mut In(&state)).is_ok()), ("ebpf", true), "{} bytes", state.len());
        // Without fall-back the maps alone count.
        let mut maps = open(&bpffs, &["-fallback=none"]).expect("maps");
        assert_eq!(maps.name(), "cilium");
        assert!(condition(&mut *maps).contains(why));
        // Programs that cannot run are named.
        let mut maps = open(&bpffs, &["-cgroup-root=/nowhere"]).expect("maps");
        assert_eq!(maps.name(), "cilium");
        let said = condition(&mut *maps);
        assert!(
            said.contains(why) && said.contains("which count both, cannot run: ") && said.contains("/nowhere"),
            "{said}"
        );
    }
    let bpffs = Bpffs::with_maps();
    lay(&bpffs, &["A1"]);
    let mut maps = open(&bpffs, &[&root]).expect("maps");
    assert_eq!((maps.name(), condition(&mut *maps)), ("cilium", String::new()), "a split needs no programs");
}

/// What a socket of 10.0.1.23 sends.
fn sends(protocol: u8, sport: u16, to: &str, dport: u16) -> OneWay {
    let addr = |text: &str| Addr::from(text.parse::<std::net::IpAddr>().expect("literal"));
    let (src, family) = if to.contains(':') { ("fd00:10:244:1::17", 6) } else { ("10.0.1.23", 4) };
    OneWay { src: addr(src), dst: addr(to), sport, dport, protocol, family }
}

/// Backend address and port, and that the service asked for stays known.
fn resolved(services: &mut CiliumServices, asked: &OneWay) -> Option<(String, u16)> {
    services.begin_sweep();
    let Answer::Service(found) = services.look_up(asked, Some(true)) else { return None };
    let way = (found.src, found.dst, found.sport, found.dport, found.opened_by_local);
    assert_eq!(way, (asked.src, asked.dst, asked.sport, asked.dport, true));
    Some((found.backend.to_string(), found.backend_port))
}

#[test]
fn a_services_backend_is_told_by_its_entry_in_every_generation_of_maps() {
    let v4 = sends(6, 45_680, "10.96.43.209", 80);
    let v6 = sends(17, 45_680, "fd00:10:96::9", 53);
    for (pin, key, value_bytes, asked) in [
        ("cilium_lb4_backends", "0700", 8, &v4),
        ("cilium_lb4_backends_v2", "07000000", 8, &v4),
        ("cilium_lb4_backends_v3", "07000000", 12, &v4),
        ("cilium_lb6_backends", "0700", 20, &v6),
        ("cilium_lb6_backends_v2", "07000000", 20, &v6),
        ("cilium_lb6_backends_v3", "07000000", 24, &v6),
    ] {
        let bpffs = Bpffs::with_maps();
        let mut services = CiliumServices::new(Some(&bpffs.root));
        assert_eq!(services.look_up(asked, Some(true)), Answer::Unknown);
        lay(&bpffs, &["A3"]);
        bpffs.tell("entry c service udp [fd00:10:244:1::17]:45680 [fd00:10:96::9]:53 sum=1/90 backend=7 revnat=5");
        assert_eq!(services.look_up(asked, Some(true)), Answer::Lost, "the backend is not known");
        bpffs.create(pin, 1, key.len() / 2, value_bytes, 100);
        let (address, at) = if asked.family == 4 {
            ("0a000222", ("10.0.2.34".to_owned(), 8080))
        } else {
            ("fd000010024400020000000000000022", ("fd00:10:244:2::22".to_owned(), 8080))
        };
        let rest = "00".repeat(value_bytes - address.len() / 2 - 2);
        bpffs.tell(&format!("raw {pin} {key} {address}1f90{rest}"));
        assert_eq!(resolved(&mut services, asked), Some(at), "{pin}");
        assert_eq!(services.trouble(), "");
    }
}

#[test]
fn a_backend_that_only_an_older_map_knows_is_found_and_one_that_is_gone_is_lost() {
    let bpffs = Bpffs::with_maps();
    let mut services = CiliumServices::new(Some(&bpffs.root));
    let asked = sends(6, 45_680, "10.96.43.209", 80);
    lay(&bpffs, &["A3"]);
    bpffs.create("cilium_lb4_backends_v3", 1, 4, 12, 100);
    bpffs.create("cilium_lb4_backends_v2", 1, 4, 8, 100);
    bpffs.tell("raw cilium_lb4_backends_v2 07000000 0a0002221f900600");
    assert_eq!(resolved(&mut services, &asked), Some(("10.0.2.34".to_owned(), 8080)));
    std::fs::remove_file(bpffs.pin("cilium_lb4_backends_v2")).expect("the pin");
    services.begin_sweep();
    assert_eq!(services.look_up(&asked, Some(true)), Answer::Lost);
    // Maps of no known shape tell nothing.
    bpffs.create("cilium_lb4_backends_v3", 1, 8, 12, 100);
    services.begin_sweep();
    assert_eq!(services.look_up(&asked, Some(true)), Answer::Lost);
}

#[test]
fn what_is_not_translated_and_a_pod_that_reaches_itself_are_told_apart() {
    let bpffs = Bpffs::with_maps();
    let mut services = CiliumServices::new(Some(&bpffs.root));
    lay(&bpffs, &["B1", "A6"]);
    bpffs.tell("entry b in tcp 169.254.42.1:50000 10.0.1.23:8080 sum=1/74 marks=lb_loopback,seen_non_syn");
    let plain = |asked: &OneWay, local| Answer::Plain(Translation::plain(asked, local));
    let direct = sends(6, 45_678, "10.0.2.34", 8080);
    assert_eq!(services.look_up(&direct, Some(true)), plain(&direct, true));
    assert_eq!(services.look_up(&direct, None), plain(&direct, true), "what was guessed is known");
    assert_eq!(services.look_up(&direct, Some(false)), Answer::Unknown);
    let served = sends(6, 8443, "203.0.113.9", 51_234);
    assert_eq!(services.look_up(&served, None), plain(&served, false));
    let itself = sends(6, 8080, "169.254.42.1", 50_000);
    let Answer::Service(found) = services.look_up(&itself, Some(false)) else { panic!("no service") };
    assert_eq!((found.src, found.sport), (itself.src, 50_000), "the pod is its own client");
    assert_eq!((found.backend, found.backend_port, found.opened_by_local), (itself.src, 8080, false));
}

#[test]
fn maps_that_cannot_be_opened_are_named_to_own_programs() {
    let bpffs = Bpffs::new();
    std::fs::create_dir(bpffs.pin(CT4)).expect("a folder in a pin's place");
    let mut services = CiliumServices::new(Some(&bpffs.root));
    assert_eq!(services.look_up(&sends(6, 1, "10.96.43.209", 80), Some(true)), Answer::Unknown);
    assert!(services.trouble().contains("cannot open Cilium's maps"), "{}", services.trouble());
}

/// Of such a map the kernel copies a value for each CPU, whatever size it says.
#[test]
fn a_map_per_cpu_in_a_pins_place_is_not_read() {
    let bpffs = Bpffs::with_maps();
    let opts = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as _,
        ..Default::default()
    };
    let kind = libbpf_rs::MapType::PercpuHash;
    let mut map = libbpf_rs::MapHandle::create(kind, Some("backends"), 4, 8, 16, &opts).expect("root");
    map.pin(bpffs.pin("cilium_lb4_backends_v2")).expect("a pin");
    let ones = vec![vec![1; 8]; libbpf_rs::num_possible_cpus().expect("CPUs")];
    map.update_percpu(&7u32.to_ne_bytes(), &ones, libbpf_rs::MapFlags::ANY).expect("an entry");
    let pin = CString::new(bpffs.pin("cilium_lb4_backends_v2"));
    let pinned = PinnedMap::open(&pin.expect("no zero byte")).expect("it is pinned");
    let refused = pinned.look_up(&7u32.to_ne_bytes(), &mut [0; 8]).expect_err("a foreign kind");
    assert_eq!(refused.raw_os_error(), Some(nix::libc::EINVAL));
    let mut reader = BatchReader::new(4, 8, 16);
    assert!(reader.read(map.as_fd(), &mut |_, _| panic!("an entry was read")).is_err());
    lay(&bpffs, &["A3"]);
    let mut services = CiliumServices::new(Some(&bpffs.root));
    assert_eq!(services.look_up(&sends(6, 45_680, "10.96.43.209", 80), Some(true)), Answer::Lost);
}

#[test]
fn without_maps_and_fall_back_the_agent_ends_with_1() {
    let bpffs = Bpffs::new();
    let root = format!("-cilium-bpf-root={}", bpffs.root.display());
    let agent = Command::new(env!("CARGO_BIN_EXE_zxporter-netmon"))
        .args(["-standalone", "-collector-mode=cilium", "-fallback=none", "-metrics-bind-address=127.0.0.1:0", &root])
        .output()
        .expect("the agent");
    let said = String::from_utf8_lossy(&agent.stderr);
    assert_eq!(agent.status.code(), Some(1), "{said}");
    assert!(said.contains("no conntrack map of Cilium's is pinned"), "{said}");
}

/// A cgroup without processes, for programs to be attached to.
struct TestCgroup(std::path::PathBuf);

impl TestCgroup {
    fn new() -> TestCgroup {
        let home = netmon::sys::cgroup::find(None).expect("cgroup2");
        let dir = home.join(format!("nm-cilium-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("root, to make a cgroup");
        TestCgroup(dir)
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}
