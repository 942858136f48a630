//! Network namespaces without names: they live as long as somebody holds them, so nothing is ever left behind.
//!
//! A named namespace (`ip netns add`) is a mount that outlives a killed test; an anonymous one goes when the last
//! descriptor and the last process in it go. The test holds the descriptors, and every process that it starts dies
//! with it (`PR_SET_PDEATHSIG`, see [`crate::process`]). To look into one by hand: `nsenter --net=/proc/PID/fd/N`.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// One network namespace.
pub struct Netns {
    file: File,
}

fn own_netns() -> File {
    File::open("/proc/thread-self/ns/net").expect("proc is mounted")
}

/// Brings the thread back to where it came from, also when the work panics.
struct Home(File);

impl Drop for Home {
    fn drop(&mut self) {
        setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).expect("the way back into the namespace we came from");
    }
}

impl Netns {
    /// Makes a new, empty namespace.
    pub fn new() -> Result<Netns, String> {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|e| format!("cannot make a network namespace: {e}"))?;
            Ok(Netns { file: own_netns() })
        });
        made.join().map_err(|_| "the thread that makes namespaces panicked".to_owned())?
    }

    /// A path that names it for other processes, as long as this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Does `work` within the namespace; what it starts and opens belongs there.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let _home = Home(own_netns());
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).expect("entering a namespace that we hold");
        work()
    }

    /// Runs a command in the namespace, with `input` on its stdin, and returns its stdout.
    pub fn run(&self, command: &[&str], input: &str) -> Result<String, String> {
        self.enter(|| run(command, input))
    }

    /// Runs a batch of `ip` commands.
    pub fn ip(&self, batch: &str) -> Result<(), String> {
        self.run(&["ip", "-batch", "-"], batch).map(|_| ())
    }

    /// Feeds rules to `nft`.
    pub fn nft(&self, rules: &str) -> Result<(), String> {
        self.run(&["nft", "-f", "-"], rules).map(|_| ())
    }

    /// Sets a sysctl that belongs to the namespace; `key` in path form, `net/ipv4/ip_forward`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<(), String> {
        self.enter(|| write_sysctl(key, value))
    }

    /// Reads a sysctl that belongs to the namespace.
    pub fn read_sysctl(&self, key: &str) -> Result<String, String> {
        self.enter(|| read_sysctl(key))
    }
}

/// Sets a sysctl of the namespace that the thread is in.
pub fn write_sysctl(key: &str, value: &str) -> Result<(), String> {
    std::fs::write(format!("/proc/sys/{key}"), value).map_err(|e| format!("cannot set {key} to {value}: {e}"))
}

/// Reads a sysctl of the namespace that the thread is in.
pub fn read_sysctl(key: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(format!("/proc/sys/{key}")).map_err(|e| format!("cannot read {key}: {e}"))?;
    Ok(text.trim().to_owned())
}

fn run(command: &[&str], input: &str) -> Result<String, String> {
    let said = command.join(" ");
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run {said}: {e}"))?;
    let mut stdin = child.stdin.take().expect("piped above");
    // A command that fails early closes its stdin; its own message says more than our EPIPE.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|e| format!("cannot wait for {said}: {e}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{said}: {}\n{}{input}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}
