//! What 250 pods cost the running agent: the binary in a network namespace of its own, beside a scripted API server. Needs
//! root; `LAB_BINARY` names another binary than the one just built.

use std::fs;
use std::process::{Child, Command, Stdio};

use netmon::clock::{self, MS, SECOND};
use nix::sched::{CloneFlags, unshare};

use crate::fake_kube::fixtures::{bookmark, full_pod, list};
use crate::fake_kube::{FakeKube, json, watch_open};

/// What 250 pods may add, which is an eighth of what an idle agent may hold at all (4 MiB).
const PODS_MOST_KIB: u64 = 512;
/// A node runs 110 pods by default and 250 where it is told to.
const PODS: u32 = 250;

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// KiB of its own (RssAnon) once so many pods are listed and the watch is open. Pages of the program's file come and go with
/// the machine's memory: the development build has 10 MiB of them, and VmRSS of the same run differed by 400 to 732 KiB.
fn anonymous_kib(pods: u32) -> u64 {
    let server = FakeKube::start(move |request| match request.watch {
        false => json(&list(&(1..=pods).map(full_pod).collect::<Vec<_>>(), "70")),
        true => watch_open(&[bookmark("71")]),
    });
    let folder = std::env::temp_dir().join(format!("netmon-kube-memory-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a writable temporary directory");
    let (kubeconfig, log) = (folder.join("kubeconfig"), folder.join("log"));
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: t\ncontexts:\n- name: t\n  context: {{cluster: t, user: t}}\n\
         clusters:\n- name: t\n  cluster: {{server: \"{}\"}}\nusers:\n- name: t\n  user: {{token: t}}\n",
        server.url()
    );
    fs::write(&kubeconfig, text).expect("writable");
    let binary = std::env::var("LAB_BINARY").ok().filter(|binary| !binary.is_empty());
    let child = Command::new(binary.as_deref().unwrap_or(env!("CARGO_BIN_EXE_zxporter-netmon")))
        .args(["-fallback=none", "-read-interval=500ms", "-metrics-bind-address=127.0.0.1:8081"])
        .arg(format!("-metrics-kubeconfig={}", kubeconfig.display()))
        .env("NODE_NAME", "node-1")
        .env_remove("DAKR_URL")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).expect("writable"))
        .spawn()
        .expect("the agent starts");
    let agent = Agent(child);
    let told = format!("{pods} pods run on node");
    let end = clock::now().mono_ns + 20 * SECOND;
    let said = || fs::read_to_string(&log).unwrap_or_default();
    while !said().contains(&told) {
        assert!(clock::now().mono_ns < end, "waited for {told:?}: {}", said());
        clock::sleep_ns(50 * MS);
    }
    // A few sweeps with the pods in use.
    clock::sleep_ns(2 * SECOND);
    let status = fs::read_to_string(format!("/proc/{}/status", agent.0.id())).expect("it runs");
    let _ = fs::remove_dir_all(&folder);
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn root_memory_of_250_pods_is_within_bounds() {
    let measured = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root, to make a network namespace");
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip").success());
        (anonymous_kib(1), anonymous_kib(PODS))
    });
    let (one, many) = measured.join().expect("the test's thread");
    println!("1 pod: {one} KiB, {PODS} pods: {many} KiB");
    assert!(many <= one + PODS_MOST_KIB, "{PODS} pods cost {} KiB", many.saturating_sub(one));
}
