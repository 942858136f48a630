//! Each mode under exactly the capabilities that are documented for it, started as a container runtime starts a pod
//! that is not root: uid 65532, those capabilities permitted and inheritable, no new privileges, and a file whose
//! capabilities are permitted only. It starts, counts, and lets go of what it does not need; with any one missing it
//! ends and says which.
//!
//! Needs root, cgroup2, iproute2, libcap2-bin (capsh, setcap) and curl.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

#[path = "support/cilium.rs"]
mod cilium;

use cilium::Bpffs;
use netmon::clock::{self, MS, SECOND};
use netmon::source::ebpf::cgroup;

/// What the image's file carries (Containerfile).
const FILE_CAPABILITIES: &str = "cap_net_admin,cap_bpf,cap_perfmon,cap_sys_resource+p";

/// A pair of network namespaces joined by a veth (10.9.7.1 in the first), a cgroup, and a copy of the agent's binary
/// that everybody may execute. All of it goes when it is dropped.
struct Stage {
    name: String,
    cgroup: PathBuf,
    folder: PathBuf,
}

impl Stage {
    fn set(case: &str) -> Stage {
        let name = format!("nm-priv-{}-{case}", std::process::id());
        let home = cgroup::find(None).expect("the host's cgroup2");
        let stage = Stage { cgroup: home.join(&name), folder: std::env::temp_dir().join(&name), name };
        fs::create_dir(&stage.cgroup).expect("root, to make a cgroup");
        fs::create_dir(&stage.folder).expect("a folder");
        fs::set_permissions(&stage.folder, fs::Permissions::from_mode(0o755)).expect("ours");
        fs::copy(env!("CARGO_BIN_EXE_zxporter-netmon"), stage.program()).expect("a copy");
        run(Command::new("setcap").arg(FILE_CAPABILITIES).arg(stage.program()));
        let (near, far) = (stage.near(), stage.far());
        for line in [
            format!("netns add {near}"),
            format!("netns add {far}"),
            format!("-n {near} link set lo up"),
            format!("-n {near} link add veth0 type veth peer name veth1 netns {far}"),
            format!("-n {near} addr add 10.9.7.1/24 dev veth0"),
            format!("-n {far} addr add 10.9.7.2/24 dev veth1"),
            format!("-n {near} link set veth0 up"),
            format!("-n {far} link set veth1 up"),
            format!("-n {far} link set lo up"),
        ] {
            run(Command::new("ip").args(line.split_whitespace()));
        }
        stage
    }

    fn near(&self) -> String {
        format!("{}-a", self.name)
    }

    fn far(&self) -> String {
        format!("{}-b", self.name)
    }

    fn program(&self) -> PathBuf {
        self.folder.join("zxporter-netmon")
    }

    /// A program in the near namespace. `ip netns exec` would hide the cgroup tree behind a /sys of its own.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.near())).arg(program);
        command
    }

    /// The agent as a pod's container: capsh executes it in the place of a shell.
    fn agent(&self, mode: &str, capabilities: &[&str]) -> Command {
        self.agent_as(65_532, mode, capabilities)
    }

    fn agent_as(&self, uid: u32, mode: &str, capabilities: &[&str]) -> Command {
        let all = (0..=40).map(|n| n.to_string()).filter(|n| !capabilities.iter().any(|c| number(c) == *n));
        let dropped: Vec<String> = all.collect();
        let kept = format!("{}=pi", capabilities.join(","));
        let mut command = self.inside("capsh");
        command.arg("--keep=1");
        // The bounding set comes first, for dropping from it takes CAP_SETPCAP.
        command.arg(format!("--drop={}", dropped.join(",")));
        command.args([format!("--gid={uid}"), format!("--uid={uid}")]);
        command.arg(if capabilities.is_empty() { "--caps==".to_owned() } else { format!("--caps={kept}") });
        command.args(["--no-new-privs", &format!("--shell={}", self.program().display()), "--"]);
        command.args(["-standalone", "-fallback=none", "-metrics-bind-address=127.0.0.1:9099", "-read-interval=200ms"]);
        command.arg(format!("-collector-mode={mode}"));
        command.arg(format!("-cgroup-root={}", self.cgroup.display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn get(&self, page: &str) -> String {
        let url = format!("http://127.0.0.1:9099{page}");
        let output = self.inside("curl").args(["-sS", "-m", "5", &url]).output();
        String::from_utf8_lossy(&output.expect("nsenter starts").stdout).into_owned()
    }

    /// A UDP datagram from the near end to the far one, sent by a process of the cgroup.
    fn speak(&self) {
        let script = format!(
            "echo $$ > {}/cgroup.procs; exec nsenter --net=/run/netns/{} bash -c 'echo hello > /dev/udp/10.9.7.2/7777'",
            self.cgroup.display(),
            self.near()
        );
        run(Command::new("bash").args(["-c", &script]));
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for namespace in [self.near(), self.far()] {
            let _ = Command::new("ip").args(["netns", "del", &namespace]).output();
        }
        let _ = fs::remove_dir(&self.cgroup);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// linux/capability.h.
fn number(capability: &str) -> String {
    let number = match capability {
        "cap_net_admin" => 12,
        "cap_sys_resource" => 24,
        "cap_perfmon" => 38,
        "cap_bpf" => 39,
        other => panic!("{other}"),
    };
    number.to_string()
}

fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until `done` says so.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end_ns = clock::now().mono_ns + 60 * SECOND;
    while !done() {
        assert!(clock::now().mono_ns < end_ns, "{what}: not within a minute");
        clock::sleep_ns(200 * MS);
    }
}

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

fn starts_counts_and_lets_go(mode: &str, capabilities: &[&str], kept: u64) {
    let stage = Stage::set(mode);
    let child = stage.agent(mode, capabilities).spawn().expect("nsenter starts");
    until("an answer", || stage.get("/healthz").contains("status"));
    until("a row", || {
        stage.speak();
        stage.get("/flows").contains("10.9.7.2")
    });
    let of_threads = threads(&child, "65532");
    let collectors: Vec<_> = of_threads.iter().filter(|(name, _)| name == "collect").collect();
    assert_eq!(collectors.len(), 1, "{of_threads:?}");
    for (name, permitted) in &of_threads {
        let expected = if name == "collect" { kept } else { 0 };
        assert_eq!(u64::from_str_radix(permitted, 16), Ok(expected), "thread {name} of {of_threads:?}");
    }
    let metrics = stage.get("/metrics");
    let net_admin = format!("netmon_capability_held{{capability=\"CAP_NET_ADMIN\"}} {}", u8::from(kept & 1 << 12 != 0));
    assert!(metrics.contains(&net_admin), "{metrics}");
    let names = if capabilities.contains(&"cap_bpf") { "healthy" } else { "degraded" };
    assert!(metrics.contains(&format!("{{component=\"dns\",state=\"{names}\"}} 1")), "{metrics}");
    assert_eq!(of_threads.iter().any(|(name, _)| name == "dns"), names == "healthy", "{of_threads:?}");
    let said = stop(child);
    let log = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{log}");
    assert_eq!(log.contains("no DNS names: "), names == "degraded", "{log}");
    assert!(log.contains("capabilities held: CAP_NET_ADMIN"), "{log}");
    assert!(log.contains("the other threads keep no capability"), "{log}");
}

/// The exit status is 1 and the message names what is missing.
fn names_what_is_missing(mode: &str, capabilities: &[&str], expected: &str) {
    let stage = Stage::set(&format!("{mode}-less"));
    let output = stage.agent(mode, capabilities).output().expect("nsenter starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(expected), "{mode} with {capabilities:?}: {said}");
}

#[test]
fn root_netfilter_needs_net_admin_alone() {
    starts_counts_and_lets_go("netfilter", &["cap_net_admin"], 1 << 12);
}

#[test]
fn root_netfilter_without_net_admin_says_so() {
    names_what_is_missing("netfilter", &[], "CAP_NET_ADMIN missing");
}

#[test]
fn root_ebpf_needs_bpf_and_net_admin_alone() {
    starts_counts_and_lets_go("ebpf", &["cap_bpf", "cap_net_admin"], 1 << 12);
}

#[test]
fn root_ebpf_without_one_says_which() {
    names_what_is_missing("ebpf", &["cap_net_admin"], "CAP_BPF missing");
    names_what_is_missing("ebpf", &["cap_bpf"], "CAP_NET_ADMIN missing");
}

/// Cilium's pins belong to root, so the pod is root, with CAP_BPF; which kernels from 5.19 on ask for only where maps or
/// programs are made, so that these do without.
#[test]
fn root_cilium_runs_as_root_with_bpf_and_without_from_5_19_on() {
    let stage = Stage::set("cilium");
    let bpffs = Bpffs::with_maps();
    bpffs.fill('a', 100, 1);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    let mut version = release.split('.').map_while(|part| part.parse::<u32>().ok());
    let restricted = (version.next(), version.next()) < (Some(5), Some(19));
    for capabilities in [&["cap_bpf"][..], &[]] {
        if restricted && capabilities.is_empty() {
            continue;
        }
        let mut command = stage.agent_as(0, "cilium", capabilities);
        command.arg(format!("-cilium-bpf-root={}", bpffs.root.display())).arg("-dns=off");
        let child = command.spawn().expect("nsenter starts");
        until("the entries", || stage.get("/metrics").contains("netmon_connections 100"));
        let of_threads = threads(&child, "0");
        assert!(of_threads.iter().all(|(_, permitted)| u64::from_str_radix(permitted, 16) == Ok(0)), "{of_threads:?}");
        let said = stop(child);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
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
    for (capabilities, running, said) in [
        (&["cap_bpf", "cap_net_admin"][..], "ebpf", "so ebpf counts in its place"),
        (&["cap_bpf"], "cilium", "CAP_NET_ADMIN missing"),
        (&["cap_net_admin"], "cilium", "CAP_BPF missing"),
    ] {
        let mut command = stage.agent_as(0, "cilium", capabilities);
        command.arg(format!("-cilium-bpf-root={}", bpffs.root.display())).args(["-dns=off", "-fallback=auto"]);
        let child = command.spawn().expect("nsenter starts");
        let source = format!("netmon_source{{wanted=\"cilium\",running=\"{running}\"}} 1");
        until(&source, || stage.get("/metrics").contains(&source));
        until(said, || stage.get("/healthz").contains(said));
        assert!(stop(child).status.success());
    }
}
