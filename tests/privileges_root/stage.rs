//! Two network namespaces, a cgroup and a copy of the agent that everybody may execute; and the agent started there as a
//! container runtime would.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use netmon::clock::{self, MS, SECOND};
use netmon::sys::cgroup;
use nix::sched::{CloneFlags, setns};

/// What the image's file carries (Containerfile).
const FILE_CAPABILITIES: &str = "cap_net_admin,cap_bpf,cap_perfmon,cap_sys_resource+p";

/// The far end's addresses.
pub const FAR: [&str; 2] = ["10.9.7.2", "fd00:9:7::2"];

/// A pair of network namespaces joined by a veth (10.9.7.1 in the first), a cgroup, and a copy of the agent's binary
/// that everybody may execute. All of it goes when it is dropped.
pub struct Stage {
    name: String,
    cgroup: PathBuf,
    pub folder: PathBuf,
}

impl Stage {
    pub fn set(case: &str) -> Stage {
        let name = format!("nm-priv-{}-{case}", std::process::id());
        let home = cgroup::find(None).expect("the host's cgroup2");
        let stage = Stage { cgroup: home.join(&name), folder: std::env::temp_dir().join(&name), name };
        fs::create_dir(&stage.cgroup).expect("root, to make a cgroup");
        fs::create_dir(&stage.folder).expect("a folder");
        fs::set_permissions(&stage.folder, fs::Permissions::from_mode(0o755)).expect("ours");
        let binary = std::env::var("LAB_BINARY").unwrap_or(env!("CARGO_BIN_EXE_zxporter-netmon").to_owned());
        fs::copy(binary, stage.program()).expect("a copy");
        run(Command::new("setcap").arg(FILE_CAPABILITIES).arg(stage.program()));
        let (near, far) = (stage.near(), stage.far());
        for line in [
            format!("netns add {near}"),
            format!("netns add {far}"),
            format!("-n {near} link set lo up"),
            format!("-n {near} link add veth0 type veth peer name veth1 netns {far}"),
            format!("-n {near} addr add 10.9.7.1/24 dev veth0"),
            format!("-n {far} addr add {}/24 dev veth1", FAR[0]),
            format!("-n {near} addr add fd00:9:7::1/64 dev veth0 nodad"),
            format!("-n {far} addr add {}/64 dev veth1 nodad", FAR[1]),
            format!("-n {near} link set veth0 up"),
            format!("-n {far} link set veth1 up"),
            format!("-n {far} link set lo up"),
        ] {
            run(Command::new("ip").args(line.split_whitespace()));
        }
        let table = "table inet truth { counter datagrams { }; chain sent { type filter hook output priority 0; \
                     oifname \"veth0\" meta l4proto udp counter name datagrams; }; }";
        run(stage.inside("nft").arg(table));
        stage
    }

    /// What nftables counted as sent by UDP: packets and layer-3 bytes.
    pub fn truth(&self) -> (u64, u64) {
        let output = self.inside("nft").args(["-j", "list", "counters", "table", "inet", "truth"]).output();
        let json: serde_json::Value =
            serde_json::from_slice(&output.expect("nsenter starts").stdout).expect("nft speaks JSON");
        let mut counters = json["nftables"].as_array().expect("a list").iter().filter_map(|word| word.get("counter"));
        let counter = counters.next().expect("one counter");
        let number = |name: &str| counter[name].as_u64().expect("a number");
        (number("packets"), number("bytes"))
    }

    /// The same by the agent: what its rows to the far end say.
    pub fn counted(&self) -> (u64, u64) {
        let json: serde_json::Value = serde_json::from_str(&self.get("/flows")).unwrap_or_default();
        let rows = json["items"].as_array().into_iter().flatten();
        let of_far = rows.filter(|row| row["protocol"] == 17 && FAR.iter().any(|far| row["dst_ip"] == *far));
        of_far.fold((0, 0), |(packets, bytes), row| {
            let number = |name: &str| row[name].as_u64().unwrap_or_default();
            (packets + number("total_tx_packets"), bytes + number("total_tx_bytes"))
        })
    }

    pub fn near(&self) -> String {
        format!("{}-a", self.name)
    }

    pub fn far(&self) -> String {
        format!("{}-b", self.name)
    }

    pub fn program(&self) -> PathBuf {
        self.folder.join("zxporter-netmon")
    }

    /// A program in the near namespace. `ip netns exec` would hide the cgroup tree behind a /sys of its own.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.near())).arg(program);
        command
    }

    /// The agent as a pod's container: capsh executes it in the place of a shell.
    pub fn agent(&self, mode: &str, capabilities: &[&str]) -> Command {
        self.agent_as(65_532, mode, capabilities)
    }

    pub fn agent_as(&self, uid: u32, mode: &str, capabilities: &[&str]) -> Command {
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
        // Nobody is there; the thread that pushes is.
        command.env("DAKR_URL", "http://127.0.0.1:1").env("CLUSTER_TOKEN", "none");
        command.arg(format!("-cgroup-root={}", self.cgroup.display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The body of a page; empty where nobody answers.
    pub fn get(&self, page: &str) -> String {
        self.ask(page).split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())
    }

    /// The answer to a request, by a thread in the near namespace; empty where nobody answers.
    pub fn ask(&self, page: &str) -> String {
        let namespace = File::open(format!("/run/netns/{}", self.near())).expect("the namespace");
        let ask = || -> io::Result<String> {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            let mut stream = TcpStream::connect("127.0.0.1:9099")?;
            write!(stream, "GET {page} HTTP/1.0\r\nHost: test\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        std::thread::scope(|scope| scope.spawn(ask).join().expect("no panic")).unwrap_or_default()
    }

    /// UDP datagrams of either family from the near end to the far one, sent by a process of the cgroup.
    pub fn speak(&self) {
        let words = "for far in 10.9.7.2 fd00:9:7::2; do for word in a hello $RANDOM$RANDOM$RANDOM; do \
                     echo $word > /dev/udp/$far/7777; done; done";
        let script = format!(
            "echo $$ > {}/cgroup.procs; exec nsenter --net=/run/netns/{} bash -c '{words}'",
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
pub fn number(capability: &str) -> String {
    let number = match capability {
        "cap_net_admin" => 12,
        "cap_sys_resource" => 24,
        "cap_perfmon" => 38,
        "cap_bpf" => 39,
        other => panic!("{other}"),
    };
    number.to_string()
}

pub fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until `done` says so.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end_ns = clock::now().mono_ns + 60 * SECOND;
    while !done() {
        assert!(clock::now().mono_ns < end_ns, "{what}: not within a minute");
        clock::sleep_ns(200 * MS);
    }
}
