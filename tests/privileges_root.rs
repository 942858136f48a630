//! Each mode under exactly the capabilities that are documented for it and for the kernel that this runs on, started as
//! a container runtime starts a pod that is not root: uid 65532, those capabilities permitted and inheritable, no new
//! privileges, and a file whose capabilities are permitted only. It starts, counts what nftables counts, and lets go of
//! what it does not need; with any one missing it ends and says which. And its memory is for nobody's eyes.
//!
//! `LAB_BINARY` names another binary than the one that cargo built: `script/kernels` gives the static one. Needs root,
//! cgroup2, nftables, iproute2, util-linux, bash and libcap2-bin (capsh, setcap).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

#[path = "support/cilium.rs"]
mod cilium;
#[path = "privileges_root/stage.rs"]
mod stage;
#[path = "support/tracee.rs"]
mod tracee;

use cilium::Bpffs;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use stage::{Stage, number, run, until};

/// Stops the agent and returns what it said.
fn stop(child: Child) -> Output {
    run(Command::new("kill").arg(child.id().to_string()));
    child.wait_with_output().expect("it ends")
}

/// The sets of each thread (proc(5)), by the thread's name.
fn threads(child: &Child, uid: &str) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).expect("it runs");
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.trim().to_owned()
    };
    tasks
        .map(|task| fs::read_to_string(task.expect("a task").path().join("status")).expect("readable"))
        .map(|status| {
            assert_eq!(field(&status, "NoNewPrivs:"), "1");
            assert_eq!(field(&status, "Uid:").split_whitespace().next(), Some(uid));
            (field(&status, "Name:"), field(&status, "CapPrm:"))
        })
        .collect()
}

/// The file rights of a thread are in no file of /proc, so the threads show them: made to open a file that their user
/// may create, those that talk to others are refused where the kernel has Landlock, and the collector is not.
#[cfg(target_arch = "x86_64")]
fn talkers_write_nothing(stage: &Stage, child: &Child) {
    let metrics = stage.get("/metrics");
    let offered = !metrics.contains("netmon_landlock_version 0");
    let open_to_all = stage.folder.join("open");
    fs::create_dir(&open_to_all).expect("a folder");
    fs::set_permissions(&open_to_all, fs::Permissions::from_mode(0o777)).expect("ours");
    let mut seen = Vec::new();
    for task in fs::read_dir(format!("/proc/{}/task", child.id())).expect("it runs") {
        let task = task.expect("a task");
        let name = fs::read_to_string(task.path().join("comm")).expect("readable");
        let tid = task.file_name().to_string_lossy().parse().expect("a number");
        let file = open_to_all.join(name.trim());
        let refused = match name.trim() {
            "http" | "push" => offered,
            "collect" => false,
            _ => continue,
        };
        let result = tracee::creates(tid, &file.to_string_lossy()).expect("it is ours to trace");
        let denied = -i64::from(nix::libc::EACCES);
        assert_eq!((result == denied, file.exists()), (refused, !refused), "thread {name} got {result}");
        assert!(refused || result >= 0, "thread {name} got {result}");
        println!("thread {} creates a file: {result}", name.trim());
        seen.push(name.trim().to_owned());
    }
    assert!(["http", "push", "collect"].iter().all(|name| seen.iter().any(|one| one == name)), "{seen:?}");
    // And they run on.
    assert!(stage.get("/healthz").contains("status"));
}

fn kernel_is_before(version: (u32, u32)) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers = release.split('.').map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) < (Some(version.0), Some(version.1))
}

/// What is documented for our own programs: older kernels ask for more.
fn documented_for_programs() -> Vec<&'static str> {
    let older = [("cap_perfmon", (6, 12)), ("cap_sys_resource", (5, 11))];
    let older = older.into_iter().filter(|(_, version)| kernel_is_before(*version)).map(|(name, _)| name);
    ["cap_bpf", "cap_net_admin"].into_iter().chain(older).collect()
}

/// `capabilities` as a bit mask, without those of which `granted` knows nothing.
fn mask(capabilities: &[&str], granted: &[&str]) -> u64 {
    capabilities.iter().filter(|c| granted.contains(c)).map(|c| 1 << number(c).parse::<u8>().expect("a number")).sum()
}

/// What reading maps goes on needing.
fn kept_for_maps() -> &'static [&'static str] {
    if kernel_is_before((5, 19)) { &["cap_bpf", "cap_sys_resource"] } else { &[] }
}

fn starts_counts_and_lets_go(mode: &str, capabilities: &[&str]) {
    let stage = Stage::set(mode);
    let child = stage.agent(mode, capabilities).spawn().expect("nsenter starts");
    until("the first sweep", || stage.ask("/readyz").split(' ').nth(1) == Some("200"));
    for _ in 0..3 {
        stage.speak();
    }
    let truth = stage.truth();
    assert_eq!(truth.0, 18);
    until(&format!("rows of {truth:?}"), || stage.counted() == truth);
    let for_maps = mask(kept_for_maps(), capabilities);
    let for_source = mask(&["cap_net_admin"], capabilities) | if mode == "ebpf" { for_maps } else { 0 };
    let of_threads = threads(&child, "65532");
    let collectors: Vec<_> = of_threads.iter().filter(|(name, _)| name == "collect").collect();
    assert_eq!(collectors.len(), 1, "{of_threads:?}");
    for (name, permitted) in &of_threads {
        let expected = match name.as_str() {
            "collect" => for_source,
            "dns" => for_maps,
            _ => 0,
        };
        assert_eq!(u64::from_str_radix(permitted, 16), Ok(expected), "thread {name} of {of_threads:?}");
    }
    let metrics = stage.get("/metrics");
    let net_admin = format!("netmon_capability_held{{capability=\"CAP_NET_ADMIN\"}} {}", (for_source >> 12) & 1);
    assert!(metrics.contains(&net_admin), "{metrics}");
    // What is not granted is off, and no fault.
    let is_on = capabilities.contains(&"cap_bpf");
    for (state, value) in [("healthy", is_on), ("degraded", false)] {
        let line = format!("{{component=\"dns\",state=\"{state}\"}} {}", u8::from(value));
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    assert_eq!(of_threads.iter().any(|(name, _)| name == "dns"), is_on, "{of_threads:?}");
    #[cfg(target_arch = "x86_64")]
    talkers_write_nothing(&stage, &child);
    let said = stop(child);
    let log = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{log}");
    assert_eq!(log.contains("no DNS names: "), !is_on, "{log}");
    assert!(log.contains("capabilities held: CAP_NET_ADMIN"), "{log}");
    assert!(log.contains("the other threads keep no capability"), "{log}");
    println!("{mode} with {}: {} packets and {} bytes, as nft", capabilities.join(","), truth.0, truth.1);
}

/// The exit status is 1 and the message names what is missing.
fn names_what_is_missing(mode: &str, capabilities: &[&str], expected: &str) {
    let stage = Stage::set(&format!("{mode}-less"));
    ends_with(stage.agent(mode, capabilities), expected);
}

fn ends_with(mut agent: Command, expected: &str) {
    let output = agent.output().expect("nsenter starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(expected), "{agent:?}: {said}");
    println!("{}", said.lines().find(|line| line.contains(expected)).unwrap_or_default());
}

#[test]
fn root_netfilter_needs_net_admin_alone() {
    starts_counts_and_lets_go("netfilter", &["cap_net_admin"]);
}

#[test]
fn root_netfilter_without_net_admin_says_so() {
    names_what_is_missing("netfilter", &[], "CAP_NET_ADMIN missing");
}

/// And CAP_PERFMON before Linux 6.12, CAP_SYS_RESOURCE before 5.11.
#[test]
fn root_ebpf_needs_bpf_and_net_admin_alone() {
    starts_counts_and_lets_go("ebpf", &documented_for_programs());
}

#[test]
fn root_ebpf_without_one_says_which() {
    let documented = documented_for_programs();
    for missing in &documented {
        let rest: Vec<&str> = documented.iter().filter(|name| *name != missing).copied().collect();
        let expected = match *missing {
            // The verifier does not say what it would have taken from whom.
            "cap_perfmon" => "before kernel 6.12 CAP_PERFMON may cure it".to_owned(),
            name => format!("{} missing", name.to_uppercase()),
        };
        names_what_is_missing("ebpf", &rest, &expected);
    }
}

/// Cilium's pins belong to root, so the pod is root, with CAP_BPF; kernels from 5.19 on ask for that only where maps or
/// programs are made, so there it runs without. Before, the very first call is refused.
#[test]
fn root_cilium_runs_as_root_with_bpf_and_without_from_5_19_on() {
    let stage = Stage::set("cilium");
    let bpffs = Bpffs::with_maps();
    bpffs.fill('a', 100, 1);
    // And where Cilium's tunnels lead, which thread locate reads: 10.0.2.0/24 behind 192.168.1.7.
    bpffs.tell("map cilium_ipcache type=11 key=24 value=12 entries=64 flags=1");
    bpffs.tell("raw cilium_ipcache 38000000000000010a00020000000000 00000000c0a8010700000000");
    let ranges = stage.folder.join("topology");
    fs::write(&ranges, "192.168.1.0/24 zone=a1\n").expect("ours");
    let agent = |capabilities: &[&str]| {
        let mut command = stage.agent_as(0, "cilium", capabilities);
        command.arg(format!("-cilium-bpf-root={}", bpffs.root.display())).arg("-dns=off");
        command.arg(format!("-topology={}", ranges.display())).arg("-topology-source=routes");
        command
    };
    for capabilities in [&["cap_bpf"][..], &[]] {
        if kernel_is_before((5, 19)) && capabilities.is_empty() {
            ends_with(
                agent(&[]),
                "cannot open Cilium's pinned maps: Operation not permitted (before Linux 5.19 grant CAP_BPF",
            );
            continue;
        }
        let child = agent(capabilities).spawn().expect("nsenter starts");
        until("the entries", || stage.get("/metrics").contains("netmon_connections 100"));
        until("the range", || stage.get("/metrics").contains("netmon_topology_ranges 2"));
        let kept = mask(kept_for_maps(), capabilities);
        for (name, permitted) in threads(&child, "0") {
            let expected = if ["collect", "locate"].contains(&name.as_str()) { kept } else { 0 };
            assert_eq!(u64::from_str_radix(&permitted, 16), Ok(expected), "thread {name}");
        }
        let said = stop(child);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        println!("cilium as root with {capabilities:?}: 100 entries read");
    }
}

/// Where the maps hold one sum for both directions, own programs count in their place, and need what ebpf mode needs.
#[test]
fn root_cilium_with_own_programs_needs_bpf_and_net_admin() {
    let stage = Stage::set("cilium-own");
    let bpffs = Bpffs::with_maps();
    for name in ["B1", "B6"] {
        bpffs.tell(cilium::fixture(name));
    }
    let documented = documented_for_programs();
    let without = |missing| documented.iter().filter(|name| **name != missing).copied().collect::<Vec<_>>();
    for (capabilities, running, said) in [
        (&documented, "ebpf", "ebpf counts instead"),
        (&without("cap_net_admin"), "cilium", "CAP_NET_ADMIN missing"),
        (&without("cap_bpf"), "cilium", "CAP_BPF missing"),
    ] {
        // There the maps cannot be read without it, either.
        if kernel_is_before((5, 19)) && !capabilities.contains(&"cap_bpf") {
            continue;
        }
        let mut command = stage.agent_as(0, "cilium", capabilities);
        command.arg(format!("-cilium-bpf-root={}", bpffs.root.display())).args(["-dns=off", "-fallback=auto"]);
        let child = command.spawn().expect("nsenter starts");
        let source = format!("netmon_source{{wanted=\"cilium\",running=\"{running}\"}} 1");
        until(&source, || stage.get("/metrics").contains(&source));
        until(said, || stage.get("/healthz").contains(said));
        assert!(stop(child).status.success());
    }
}

/// Whoever aborts it, or runs as its user, gets nothing of its memory, which holds tokens.
#[test]
fn root_the_agent_leaves_no_core() {
    let stage = Stage::set("core");
    // Where cores are written to the working folder, they go with the stage.
    let cores = stage.folder.join("cores");
    fs::create_dir(&cores).expect("a folder");
    fs::set_permissions(&cores, fs::Permissions::from_mode(0o777)).expect("ours");
    // Inherited by both: no bound, where the limit allows that.
    let (_, most) = getrlimit(Resource::RLIMIT_CORE).expect("a limit");
    setrlimit(Resource::RLIMIT_CORE, most, most).expect("no more than the hard limit");
    let secret = "a-token-that-must-not-be-found";
    let mut agent = stage.agent("netfilter", &["cap_net_admin"]);
    agent.current_dir(&cores).env("DAKR_URL", "http://127.0.0.1:9").env("CLUSTER_TOKEN", secret);
    let mut agent = agent.spawn().expect("nsenter starts");
    until("the first sweep", || stage.ask("/readyz").split(' ').nth(1) == Some("200"));
    // A stranger of the same user, which may be dumped.
    let mut sleep = Command::new("setpriv");
    sleep.args(["--reuid=65532", "--regid=65532", "--clear-groups", "sleep", "60"]).current_dir(&cores);
    let mut sleep = sleep.stdin(Stdio::null()).spawn().expect("setpriv starts");
    let program = |child: &Child| fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap_or_default();
    until("the program", || program(&sleep) == "sleep\n");
    // What may not be dumped belongs to root in /proc (proc(5)).
    let owner = |child: &Child| fs::metadata(format!("/proc/{}/environ", child.id())).expect("it runs").uid();
    assert_eq!((owner(&agent), owner(&sleep)), (0, 65_532));
    let (of_agent, of_sleep) = (aborted(&mut agent), aborted(&mut sleep));
    assert_eq!((of_agent.signal(), of_sleep.signal()), (Some(6), Some(6)), "SIGABRT");
    assert!(!of_agent.core_dumped(), "{of_agent}");
    let left: Vec<_> = fs::read_dir(&cores).expect("ours").map(|core| core.expect("a file").path()).collect();
    for core in &left {
        assert!(!contains(&fs::read(core).expect("readable"), secret.as_bytes()), "{}", core.display());
    }
    // Whether a core is written at all is up to the machine; where it is, this shows that it is looked for rightly.
    println!("core of sleep: {}, in {left:?}; of the agent: {}", of_sleep.core_dumped(), of_agent.core_dumped());
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("readable");
    if most > 0 && !pattern.starts_with(['|', '\n', '@']) {
        assert!(of_sleep.core_dumped(), "{of_sleep}, core_pattern {pattern:?}");
    }
}

/// Ends it by SIGABRT.
fn aborted(child: &mut Child) -> ExitStatus {
    run(Command::new("kill").args(["-ABRT", &child.id().to_string()]));
    child.wait().expect("it ends")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
