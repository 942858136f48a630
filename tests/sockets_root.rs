//! Sockets of host-network pods, from the kernel: their cgroups' ids, and through those the pods. Needs root and a
//! cgroup2 hierarchy.

use std::net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use netmon::clock::{self, MS, SECOND};
use netmon::flow::{Addr, protocol};
use netmon::owner::cgroup::{CgroupTree, Holds};
use netmon::owner::sockets::{HostSockets, SocketKey};
use nix::sched::{CloneFlags, unshare};

const ONE: &str = "0e3c7a52-9a4e-4a6c-8f0e-3a1f6a0d9b11";
const TWO: &str = "1e3c7a52-9a4e-4a6c-8f0e-3a1f6a0d9b12";

/// A cgroup of the test's own with two pods in it, removed when dropped.
struct Cgroups {
    root: PathBuf,
    children: Vec<Child>,
}

impl Cgroups {
    fn make() -> Cgroups {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("proc");
        let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("a cgroup2 hierarchy");
        let mount = Path::new(mount.split(' ').nth(1).expect("a mount point"));
        let root = mount.join(format!("nm-kube-{}-sockets", std::process::id()));
        let cgroups = Cgroups { root, children: Vec::new() };
        for uid in [ONE, TWO] {
            std::fs::create_dir_all(cgroups.pod(uid)).expect("root, to make cgroups");
        }
        cgroups
    }

    fn pod(&self, uid: &str) -> PathBuf {
        let slice = format!("kubepods-burstable-pod{}.slice", uid.replace('-', "_"));
        self.root.join("kubepods.slice/kubepods-burstable.slice").join(slice)
    }

    /// Runs a shell command in a pod's cgroup.
    fn run(&mut self, uid: &str, command: &str) {
        let script = format!("echo 0 > {}/cgroup.procs && exec {command}", self.pod(uid).display());
        let child = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        self.children.push(child.expect("sh"));
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for path in [self.pod(ONE), self.pod(TWO)] {
            // The cgroup is busy until the kernel has buried its processes.
            for _ in 0..100 {
                if std::fs::remove_dir(&path).is_ok() {
                    break;
                }
                clock::sleep_ns(10 * MS);
            }
        }
        for path in ["kubepods.slice/kubepods-burstable.slice", "kubepods.slice", ""] {
            let _ = std::fs::remove_dir(self.root.join(path));
        }
    }
}

fn connect(port: u16) -> TcpStream {
    let end = clock::now().mono_ns + 10 * SECOND;
    loop {
        match TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(1)) {
            Ok(stream) => return stream,
            Err(error) => assert!(clock::now().mono_ns < end, "socat does not listen at {port}: {error}"),
        }
        clock::sleep_ns(10 * MS);
    }
}

#[test]
fn sockets_are_found_by_the_cgroup_of_their_pod() {
    let mut cgroups = Cgroups::make();
    std::thread::scope(|scope| {
        let test = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root, to make a network namespace");
            assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip").success());
            look(&mut cgroups);
        });
        test.join().expect("the test's thread");
    });
}

fn look(cgroups: &mut Cgroups) {
    cgroups.run(ONE, "socat TCP4-LISTEN:7001,reuseaddr,fork PIPE");
    cgroups.run(TWO, "socat TCP6-LISTEN:7002,reuseaddr,ipv6only=0,fork PIPE");
    cgroups.run(TWO, "socat UDP4-RECVFROM:7003,fork PIPE");
    // Two pods that share a port.
    cgroups.run(ONE, "socat UDP4-RECV:7004,reuseport /dev/null");
    cgroups.run(TWO, "socat UDP4-RECV:7004,reuseport /dev/null");
    let (first, second) = (connect(7001), connect(7002));
    let host = UdpSocket::bind("127.0.0.1:7005").expect("free");

    let localhost = Addr::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let key = |protocol, local_port, remote_port| SocketKey {
        protocol,
        local: localhost,
        local_port,
        remote: localhost,
        remote_port,
    };
    let port = |stream: &TcpStream| stream.local_addr().expect("connected").port();
    let mut tree = CgroupTree::new(&cgroups.root, Holds::Pods);
    assert!(tree.step(1000), "a small tree");
    let mut sockets = HostSockets::open().expect("socket diagnostics");
    // UDP sockets cannot be asked whether they are there yet.
    let end = clock::now().mono_ns + 10 * SECOND;
    let id = loop {
        assert!(sockets.look().expect("a dump") > 0, "this kernel tells cgroups");
        let shared = sockets.cgroup_of(key(protocol::UDP, 7004, 1), true);
        match sockets.cgroup_of(key(protocol::UDP, 7003, 1), true) {
            Some(id) if shared.is_none() => break id,
            _ => assert!(clock::now().mono_ns < end, "socat does not listen"),
        }
        clock::sleep_ns(10 * MS);
    };
    assert_eq!(tree.pod_uid(id), Some(TWO));
    let uid_of =
        |sockets: &HostSockets, key| sockets.cgroup_of(key, true).and_then(|id| tree.pod_uid(id)).map(str::to_owned);
    // The accepted end and the listener of each; the other ends are this process's own.
    assert_eq!(uid_of(&sockets, key(protocol::TCP, 7001, port(&first))).as_deref(), Some(ONE));
    assert_eq!(uid_of(&sockets, key(protocol::TCP, 7002, port(&second))).as_deref(), Some(TWO));
    assert_eq!(uid_of(&sockets, key(protocol::TCP, 7001, 9)).as_deref(), Some(ONE));
    assert_eq!(sockets.cgroup_of(key(protocol::TCP, 7001, 9), false), None, "who listens has not opened it");
    assert_eq!(uid_of(&sockets, key(protocol::TCP, port(&first), 7001)), None, "the test is no pod");
    assert_eq!(uid_of(&sockets, key(protocol::UDP, host.local_addr().expect("bound").port(), 9)), None);
    assert_eq!(sockets.cgroup_of(key(protocol::UDP, 7999, 9), true), None);
    assert_eq!(sockets.cgroup_of(key(protocol::UDP, 7004, 9), true), None, "either of two is neither");

    // What closed is known for one look more.
    let closed = key(protocol::TCP, 7001, port(&first));
    drop(first);
    clock::sleep_ns(200 * MS);
    sockets.look().expect("a dump");
    assert_eq!(uid_of(&sockets, closed).as_deref(), Some(ONE));

    // What is seen between two sweeps is known until the second has told of it.
    let third = connect(7001);
    let accepted = key(protocol::TCP, 7001, port(&third));
    let knows = |sockets: &HostSockets| sockets.cgroup_of(accepted, false).is_some();
    sockets.glance().expect("a dump");
    drop(third);
    clock::sleep_ns(200 * MS);
    for _ in 0..3 {
        sockets.glance().expect("a dump");
        assert!(knows(&sockets));
    }
    sockets.look().expect("a dump");
    assert!(knows(&sockets));
    for _ in 0..2 {
        sockets.look().expect("a dump");
    }
    assert!(!knows(&sockets));
}
