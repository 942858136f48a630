//! `doctor` on nodes that are ill on purpose: each case makes one fault real, and doctor must name it with its cure.
//!
//! Namespaces of their own hold what would harm this host; peers are sockets of this process. What this kernel cannot do
//! (IPVS, flow tables) is judged by `findings::node` alone.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

#[path = "support/cilium.rs"]
mod cilium;

use cilium::Bpffs;

const NETMON: &str = env!("CARGO_BIN_EXE_zxporter-netmon");

/// What a run found, and its exit status.
struct Found {
    lines: Vec<Value>,
    status: i32,
}

impl Found {
    /// The finding of an area is of this verdict and holds these texts, the second in its cure.
    fn says(&self, area: &str, verdict: &str, text: &str, cure: &str) {
        let of = |key: &str, line: &Value| line[key].as_str().unwrap_or_default().to_owned();
        let line = self.lines.iter().find(|line| of("area", line) == area && of("verdict", line) == verdict);
        let line = line.unwrap_or_else(|| panic!("no {verdict} of {area}: {:?}", self.lines));
        assert!(of("text", line).contains(text), "{area}: {line}");
        assert!(of("cure", line).contains(cure), "{area}: {line}");
        let worst = self.lines.iter().map(|line| of("verdict", line));
        let want = match worst.map(|verdict| ["ok", "warn", "fail"].iter().position(|v| *v == verdict)).max().flatten()
        {
            Some(2) => 1,
            Some(1) => 3,
            _ => 0,
        };
        assert_eq!(self.status, want, "{:?}", self.lines);
    }
}

fn found(command: &mut Command) -> Found {
    let output = command.env_remove("KUBECONFIG").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let json = said.lines().last().unwrap_or_default();
    let lines = serde_json::from_str(json)
        .unwrap_or_else(|error| panic!("{error}: {said} {}", String::from_utf8_lossy(&output.stderr)));
    Found { lines, status: output.status.code().unwrap_or(-1) }
}

/// In a network and a mount namespace that a script has prepared.
fn on_a_node(script: &str, arguments: &str) -> Found {
    let script = format!(
        "set -e; export NODE_NAME=node-1; ip link set lo up; {script}\n{NETMON} doctor -format json {arguments}"
    );
    found(Command::new("unshare").args(["-n", "-m", "--propagation", "private", "bash", "-c", &script]))
}

/// Here, with this environment.
fn with(environment: &[(&str, &str)], arguments: &str) -> Found {
    let mut command = Command::new(NETMON);
    command.args(["doctor", "-format", "json", "-standalone", "-dns", "off"]).args(arguments.split_whitespace());
    found(command.envs(environment.iter().copied()))
}

/// A server that says this to everybody.
fn server(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

#[test]
fn root_no_rule_asks_for_tracking() {
    let traffic =
        "ip link add va type veth peer name vb; ip link set va up; ip link set vb up; ip addr add 10.9.0.1/24 dev va
        ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev va
        (for n in {1..100000}; do printf '%01000d' 0 > /dev/udp/10.9.0.2/9; done) & sleep 0.2";
    let blind = on_a_node(traffic, "-standalone -manage-conntrack=false -dns off");
    blind.says("tracking", "fail", "no rule asks for connection tracking: 0 entries, v", "-collector-mode ebpf");
    let own = on_a_node(traffic, "-standalone -dns off");
    own.says("tracking", "ok", "the agent's own rule asks for it", "");
}

#[test]
fn root_accounting_is_off() {
    let off = "echo 0 > /proc/sys/net/netfilter/nf_conntrack_acct";
    let refused = on_a_node(off, "-standalone -manage-conntrack=false -dns off");
    refused.says("conntrack", "fail", "accounting off", "net.netfilter.nf_conntrack_acct=1");
    let managed = on_a_node(off, "-standalone -dns off");
    managed.says("conntrack", "warn", "accounting off", "switches accounting on when it starts");
}

/// The limit is the whole machine's, so the files of a full table stand in the place of the kernel's.
#[test]
fn root_the_table_is_full_or_nearly() {
    let holds = |count: &str| {
        format!(
            "echo 1 > /proc/sys/net/netfilter/nf_conntrack_acct; mount -t tmpfs t /mnt; echo {count} > /mnt/count; echo 1000 > /mnt/max
            for file in count max; do mount --bind /mnt/$file /proc/sys/net/netfilter/nf_conntrack_$file; done"
        )
    };
    let full = on_a_node(&holds("1000"), "-standalone -dns off");
    full.says("conntrack", "fail", "1000 of 1000 entries", "raise net.netfilter.nf_conntrack_max");
    on_a_node(&holds("950"), "-standalone -dns off").says("conntrack", "warn", "nearly full", "nf_conntrack_max");
}

#[test]
fn root_capabilities_are_missing() {
    let without = |names: &str| format!("exec setpriv --inh-caps {names} --bounding-set {names} \\");
    let none = on_a_node(&without("-net_admin,-bpf"), "-standalone");
    none.says("capabilities", "fail", "", "CAP_NET_ADMIN missing");
    let no_bpf = on_a_node(&without("-bpf"), "-standalone");
    no_bpf.says("capabilities", "warn", "CAP_NET_ADMIN", "no names of remote addresses without CAP_BPF");
    let ebpf = on_a_node(&without("-bpf"), "-standalone -collector-mode ebpf");
    ebpf.says("capabilities", "fail", "CAP_NET_ADMIN", "CAP_BPF missing");
}

#[test]
fn root_ipsec_hides_what_the_node_sends_from_sockets() {
    let policy = |rest: &str| format!("ip xfrm policy add src 10.0.0.1 dst 10.0.0.2 dir {rest}");
    let protects = policy("out tmpl src 10.0.0.1 dst 10.0.0.2 proto esp mode tunnel");
    let ebpf = "-standalone -dns off -collector-mode ebpf";
    on_a_node(&protects, ebpf).says("data plane", "warn", "IPsec has policies", "-collector-mode auto");
    on_a_node(&protects, "-standalone -dns off").says("data plane", "ok", "IPsec", "");
    on_a_node(&protects, "-standalone -dns off -collector-mode auto").says("data plane", "ok", "IPsec", "");
    on_a_node(&policy("out"), ebpf).says("data plane", "ok", "no bridge", "");
}

#[test]
fn root_a_bridge_passes_no_conntrack() {
    let bridge = "ip link add br0 type bridge; ip link add va type veth peer name vb
        ip link set va master br0; ip link set vb master br0; echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables";
    on_a_node(bridge, "-standalone").says("data plane", "warn", "bridge br0 has ports", "br_netfilter");
}

#[test]
fn root_a_rule_takes_packets_out_of_tracking() {
    let nft = "nft 'add table inet t; add chain inet t pre { type filter hook prerouting priority raw; }; \
               add rule inet t pre tcp dport 80 notrack'";
    on_a_node(nft, "-standalone -dns off").says("data plane", "warn", "chain inet t pre ", "-collector-mode ebpf");
    let counts = "nft 'add table inet t; add chain inet t pre { type filter hook prerouting priority raw; }; \
                  add rule inet t pre tcp dport 80 counter'";
    on_a_node(counts, "-standalone -dns off").says("data plane", "ok", "", "");
}

#[test]
fn root_a_rule_of_iptables_legacy_takes_packets_out_of_tracking() {
    for (program, family, target) in [
        ("iptables-legacy", "ip", "NOTRACK"),
        ("iptables-legacy", "ip", "CT --notrack"),
        ("ip6tables-legacy", "ip6", "CT --notrack"),
    ] {
        let rule = |target: &str| {
            format!(
                "{program} -t raw -A OUTPUT -p tcp --dport 81 -j ACCEPT; {program} -t raw -A OUTPUT -p udp -j {target}"
            )
        };
        let found = on_a_node(&rule(target), "-standalone -dns off");
        found.says("data plane", "warn", &format!("chain {family} raw of iptables-legacy "), "-collector-mode ebpf");
        on_a_node(&rule("CT --zone 3"), "-standalone -dns off").says("data plane", "ok", "", "");
    }
}

/// In netfilter mode too, which Cilium's routing by BPF bypasses.
#[test]
fn root_cilium_is_here_and_its_accounting_may_be_off() {
    let doctor = |bpffs: &Bpffs, mode: &str| {
        with(&[], &format!("-collector-mode {mode} -cilium-bpf-root {}", bpffs.root.display()))
    };
    let bpffs = Bpffs::with_maps();
    bpffs.fill('a', 20, 7);
    doctor(&bpffs, "netfilter").says("Cilium", "warn", "passes no conntrack", "-collector-mode cilium or auto");
    doctor(&bpffs, "cilium").says("Cilium", "ok", "its maps count", "");
    let is_named = |found: Found| found.lines.iter().any(|line| line["area"] == "Cilium");
    assert!(!is_named(doctor(&bpffs, "ebpf")), "our own programs see what Cilium routes");
    assert!(!is_named(with(&[], "-cilium-bpf-root /nonexistent")), "no Cilium, no word of it");
    let bpffs = Bpffs::with_maps();
    bpffs.fill('b', 20, 0);
    doctor(&bpffs, "netfilter").says("Cilium", "warn", "its own accounting is off", "bpf.ctAccounting=true");
    doctor(&bpffs, "cilium").says("Cilium", "warn", "", "bpf.ctAccounting=true");
}

#[test]
fn root_the_cgroup_tree_is_not_there() {
    let hidden = "for m in $(awk '/ - cgroup2 /{print $5}' /proc/self/mountinfo); do mount -t tmpfs t $m; done";
    let pod = on_a_node(hidden, "-cgroup-root /sys/fs/cgroup -standalone -collector-mode ebpf");
    pod.says("cgroup tree", "fail", "cannot attach programs", "-cgroup-root");
    on_a_node(hidden, "-standalone").says("cgroup tree", "warn", "no names", "/sys/fs/cgroup");
}

/// What one process of a script sees of the host's cgroups: nothing but what the script mounts then.
const NO_CGROUPS: &str = "awk '/ - cgroup2? /{print $5}' /proc/self/mountinfo | sort -r | xargs -n1 umount -l";

#[test]
fn root_cgroup_v1_is_all_that_there_is() {
    let v1 = format!("{NO_CGROUPS}; mount -t cgroup -o none,name=netmon-v1 none /mnt");
    let ebpf = on_a_node(&v1, "-standalone -collector-mode ebpf");
    ebpf.says("cgroup tree", "fail", "cannot attach programs", "systemd.unified_cgroup_hierarchy=1");
    ebpf.says("modes", "ok", "ebpf no (no cgroup tree)", "");
    on_a_node(&v1, "-standalone").says("cgroup tree", "warn", "no names", "no cgroup2 is mounted");
    on_a_node(&v1, "-standalone -dns off").says("cgroup tree", "ok", "not needed (no cgroup2 is mounted", "");
}

/// net_cls and net_prio write into sockets, in the place of their cgroup2. Others beside cgroup2 do no harm.
#[test]
fn root_cgroups_are_hybrid() {
    let hybrid = |v1: &str| {
        format!(
            "{NO_CGROUPS}; mount -t tmpfs t /mnt; mkdir /mnt/unified /mnt/v1
            mount -t cgroup2 none /mnt/unified; mount -t cgroup -o {v1} none /mnt/v1"
        )
    };
    let arguments = "-standalone -dns off";
    on_a_node(&hybrid("none,name=netmon-hybrid"), arguments).says("cgroup tree", "ok", "/mnt/unified", "");
    for controller in ["net_cls", "net_prio"] {
        on_a_node(&hybrid(controller), arguments).says(
            "cgroup tree",
            "warn",
            "/mnt/unified, beside net_cls or net_prio",
            "systemd.unified_cgroup_hierarchy=1",
        );
    }
    let pods =
        format!("{}; mkdir /mnt/v1/kubepods; trap 'rmdir /mnt/v1/kubepods' EXIT", hybrid("none,name=netmon-pods"));
    let in_v1 = on_a_node(&pods, "-metrics-kubeconfig /nonexistent");
    in_v1.says("cgroup tree", "warn", "/mnt/unified holds no pods, /mnt/v1 (cgroup v1) does", "cgroupDriver: systemd");
    on_a_node(&pods, arguments).says("cgroup tree", "ok", "/mnt/unified", "");
}

/// A container without a mount of the host's tree sees a part of it as the whole.
#[test]
fn root_the_cgroup_tree_is_a_containers_own() {
    let script = format!(
        "tree=$(mktemp -d); mount -t cgroup2 none $tree; mkdir $tree/netmon-own; echo $$ > $tree/netmon-own/cgroup.procs
        trap 'echo $$ > $tree/cgroup.procs; rmdir $tree/netmon-own; umount $tree; rmdir $tree' EXIT; {NO_CGROUPS}
        mount -t cgroup2 none $tree; unshare -C -m bash -c 'umount '$tree'; mount -t cgroup2 none /mnt; exec \"$@\"' - \\"
    );
    let own = on_a_node(&script, "-standalone -collector-mode ebpf");
    own.says("cgroup tree", "fail", "cannot attach programs", "the cgroup2 at /mnt is a container's own");
    own.says("cgroup tree", "fail", "", "mount the host's /sys/fs/cgroup read-only");
}

/// Our programs read no structure of the kernel: without its types nothing is missing, and traffic is counted.
#[test]
fn root_the_kernel_has_no_types() {
    let hidden = "mount -t tmpfs t /sys/kernel; test ! -e /sys/kernel/btf";
    let doctor = on_a_node(hidden, "-standalone -collector-mode ebpf");
    doctor.says("kernel", "ok", "no BTF", "");
    doctor.says("modes", "ok", "ebpf yes", "");
    let counts = format!(
        "set -e; ip link set lo up; {hidden}
        ip link add va type veth peer name vb; ip link set va up; ip link set vb up; ip addr add 10.9.0.1/24 dev va
        ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev va
        (for n in {{1..200}}; do printf '%0100d' 0 > /dev/udp/10.9.0.2/9; sleep 0.02; done) &
        {NETMON} flows -standalone -collector-mode ebpf -fallback none -dns off -for 2s"
    );
    let mut command = Command::new("unshare");
    let output =
        command.args(["-n", "-m", "--propagation", "private", "bash", "-c", &counts]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("10.9.0.2"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn root_the_state_folder_cannot_be_used() {
    let disk = |options: &str| format!("mount -t tmpfs -o {options} t /mnt");
    let arguments = "-standalone -dns off -state-dir /mnt";
    on_a_node(&disk("ro"), arguments).says("state folder", "fail", "read-only", "mount it writable");
    on_a_node(&disk("size=64k"), arguments).says("state folder", "fail", "bytes are free", "free some space");
    on_a_node(&disk("size=64m"), arguments).says("state folder", "ok", "/mnt", "");
    on_a_node("true", "-standalone -state-dir /nonexistent").says(
        "state folder",
        "fail",
        "no such folder",
        "state give",
    );
}

#[test]
fn root_the_port_is_taken() {
    let port = server("SSH-2.0\r\n");
    let taken = with(&[], &format!("-metrics-bind-address 127.0.0.1:{port}"));
    taken.says("port", "fail", "is taken by another program", "-metrics-bind-address");
}

#[test]
fn root_dakr_is_down_or_refuses_or_is_another() {
    let dakr = |url: &str, more: &[(&str, &str)]| {
        let mut environment = vec![("DAKR_URL", url), ("CLUSTER_TOKEN", "token")];
        environment.extend(more);
        with(&environment, "-metrics-bind-address 127.0.0.1:0")
    };
    dakr("http://127.0.0.1:1", &[]).says(
        "DAKR",
        "fail",
        "127.0.0.1:1: nothing listens at 127.0.0.1:1 (connection refused)",
        "DAKR_URL",
    );
    let name = dakr("https://no-such-name.invalid", &[]);
    name.says("DAKR", "fail", "no-such-name.invalid:443: ", "DAKR_URL");
    let proxy = dakr("https://dakr.example.com", &[("HTTPS_PROXY", "http://127.0.0.1:1")]);
    proxy.says("DAKR", "fail", "by proxy", "HTTPS_PROXY");
    let refuses = "HTTP/1.1 401 Unauthorized\r\nDate: Mon, 30 Nov 2020 02:00:00 GMT\r\nContent-Type: application/json\r\n\
                   Content-Length: 46\r\n\r\n{\"code\":\"unauthenticated\",\"message\":\"who are\"}";
    let port = server(refuses);
    let refused = dakr(&format!("http://127.0.0.1:{port}"), &[]);
    refused.says("DAKR", "fail", "unauthenticated", "is CLUSTER_TOKEN the token of this cluster?");
    refused.says("clock", "warn", "ahead of DAKR's", "chrony");
    let plain = dakr(&format!("https://127.0.0.1:{port}"), &[]);
    plain.says("DAKR", "fail", "does not speak TLS there", "DAKR_URL");
    let other = server("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi");
    dakr(&format!("http://127.0.0.1:{other}"), &[]).says(
        "DAKR",
        "fail",
        "not an answer of DAKR",
        "names another server",
    );
    let file = with(&[("DAKR_URL", "http://127.0.0.1:1")], "-token-file /nonexistent");
    file.says("DAKR", "fail", "cannot read token file /nonexistent", "-token-file");
    with(&[("DAKR_URL", "http://127.0.0.1:1")], "").says(
        "DAKR",
        "fail",
        "no token: nothing is pushed",
        "CLUSTER_TOKEN",
    );
}

/// A process that ends with its test, whatever ends that.
struct Ends(std::process::Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Its certificate is of an authority that nobody told the agent of, or of another than the one that it was told of.
#[test]
fn root_dakr_has_another_authority() {
    let folder = std::env::temp_dir().join(format!("netmon-doctor-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let script = format!(
        "for who in dakr other; do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $who.key \
         -out $who.pem -subj /CN=$who -addext subjectAltName=IP:127.0.0.1 -days 2 2>/dev/null; done; \
         exec openssl s_server -quiet -www -accept 127.0.0.1:{port} -cert dakr.pem -key dakr.key"
    );
    let mut serves =
        Ends(Command::new("bash").args(["-c", &script]).current_dir(&folder).spawn().expect("bash starts"));
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(serves.0.try_wait().expect("a child").is_none(), "openssl serves");
        netmon::clock::sleep_ns(50 * netmon::clock::MS);
    }
    let url = format!("https://127.0.0.1:{port}");
    let ask = |flags: &str| {
        with(&[("DAKR_URL", &url), ("CLUSTER_TOKEN", "token")], &format!("-metrics-bind-address 127.0.0.1:0 {flags}"))
    };
    let file = |name: &str| format!("-ca-file {}", folder.join(name).display());
    for flags in [String::new(), file("other.pem")] {
        ask(&flags).says("DAKR", "fail", "certificate", "-ca-file");
    }
    let known = ask(&file("dakr.pem"));
    let line = known.lines.iter().find(|line| line["area"] == "DAKR").expect("it was asked");
    assert!(!line["text"].to_string().contains("certificate"), "{line}");
    ask("-ca-file /nonexistent").says("DAKR", "fail", "/nonexistent", "-ca-file");
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn root_the_api_server_is_down_or_forbids() {
    let kube = |port: u16| {
        let file = std::env::temp_dir().join(format!("netmon-doctor-{}-{port}", std::process::id()));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
        );
        std::fs::write(&file, text).expect("ours");
        let mut command = Command::new(NETMON);
        command.args(["doctor", "-format", "json", "-dns", "off", "-metrics-bind-address", "127.0.0.1:0"]);
        let found = found(command.arg("-metrics-kubeconfig").arg(&file).env("NODE_NAME", "node-1"));
        std::fs::remove_file(&file).expect("ours");
        found
    };
    kube(1).says("API server", "fail", "cannot list pods", "-metrics-kubeconfig");
    let forbids = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 116\r\n\r\n\
                   {\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"pods is forbidden\",\"reason\":\"Forbidden\",\"code\":403}";
    kube(server(forbids)).says("API server", "fail", "forbidden", "ClusterRole");
}
