//! The agent as an operator meets it on a bare host: what it says at its start and shows while it runs, and `flows` that
//! counts by itself. Each case has a network namespace of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use netmon::clock::{self, SECOND};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const NETMON: &str = env!("CARGO_BIN_EXE_zxporter-netmon");
/// A neighbour that takes what it is sent.
const WIRE: &str = "ip link set lo up; ip link add va type veth peer name vb; ip link set va up; ip link set vb up
    ip addr add 10.9.0.1/24 dev va; ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev va";

/// The calling thread, and what it starts, gets a network of its own, prepared by a script.
fn alone(script: &str) {
    unshare(CloneFlags::CLONE_NEWNET).expect("root, for a network namespace");
    let ran = Command::new("bash").args(["-ec", script]).status();
    assert!(ran.is_ok_and(|status| status.success()), "{script}");
}

/// A running agent; it ends with its test.
struct Agent {
    child: Child,
    said: Receiver<String>,
    lines: Vec<String>,
}

impl Agent {
    fn start(environment: &[(&str, &str)], arguments: &[&str]) -> Agent {
        let mut command = Command::new(NETMON);
        command.args(["-standalone", "-dns", "off", "-metrics-bind-address", "127.0.0.1:0"]).args(arguments);
        command.env_clear().envs(environment.iter().copied()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let (tell, said) = channel();
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(tell.send(line))));
        Agent { child, said, lines: Vec::new() }
    }

    /// The first line with a text.
    fn says(&mut self, text: &str) -> String {
        loop {
            if let Some(line) = self.lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let line = self.said.recv_timeout(Duration::from_secs(30));
            self.lines.push(line.unwrap_or_else(|_| panic!("{text:?} is not said: {:#?}", self.lines)));
        }
    }

    /// The body of an answer, asked of the address that it says.
    fn get(&mut self, path: &str) -> String {
        let line = self.says("listening on ");
        let address = line.split("listening on ").nth(1).and_then(|rest| rest.split(": ").next()).expect("an address");
        let mut stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// The one-shot that people look for first: it counts, prints, ends, and leaves nothing.
#[test]
fn root_flows_counts_by_itself_prints_and_leaves_nothing() {
    alone(WIRE);
    let sends = "for n in {1..40}; do printf '%01000d' 0 > /dev/udp/10.9.0.2/9; sleep 0.1; done";
    let mut sender = Command::new("bash").args(["-c", sends]).spawn().expect("bash");
    let flows = |more: &[&str]| {
        let mut command = Command::new(NETMON);
        let output = command.args(["flows", "-standalone", "-dns", "off", "-for", "1500ms"]).args(more).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let table = flows(&[]);
    let row = table.lines().find(|line| line.contains("10.9.0.2")).unwrap_or_else(|| panic!("no row: {table}"));
    assert!(row.contains("9/udp") && row.contains("kB"), "{table}");
    assert!(table.starts_with("OWNER"), "{table}");
    let csv = flows(&["-by", "remote", "-format", "csv"]);
    let fields: Vec<&str> = csv.lines().nth(1).unwrap_or_default().split(',').collect();
    assert_eq!(
        (csv.lines().next(), fields[..2].join(",")),
        (Some("remote,rows,tx_bytes,rx_bytes,tx_rate,rx_rate"), "10.9.0.2,1".to_owned())
    );
    assert!(fields[2].parse::<u64>().is_ok_and(|bytes| bytes > 1_028), "{csv}");
    let tables = Command::new("nft").args(["list", "tables"]).output().expect("nft").stdout;
    assert_eq!(String::from_utf8_lossy(&tables), "", "the rule that asked for tracking is gone");
    sender.wait().expect("it ends");
}

/// U7, U9: who starts it learns the port, and that a token is missing, before anything is sent without one.
#[test]
fn root_u7_u9_the_start_says_the_port_and_what_is_missing() {
    alone("ip link set lo up");
    let dakr = TcpListener::bind("127.0.0.1:0").expect("a port");
    dakr.set_nonblocking(true).expect("ours");
    let url = format!("http://{}", dakr.local_addr().expect("bound"));
    let mut agent =
        Agent::start(&[("DAKR_URL", &url), ("FLUSH_INTERVAL", "1s")], &["-token-file", "/nonexistent/token"]);
    let line = agent.says("cannot read token file /nonexistent/token");
    assert!(line.contains("WARN") && line.contains("nothing is sent until it can be read"), "{line}");
    let named = (0..100).any(|_| {
        clock::sleep_ns(SECOND / 10);
        agent.get("/healthz").contains("nothing is sent without a token: cannot read token file /nonexistent/token")
    });
    assert!(named, "health names the file: {}", agent.get("/healthz"));
    assert!(dakr.accept().is_err(), "not a byte goes out without a token");
    let answer = agent.get("/flows?limit=1");
    assert!(answer.contains("\"matched\":0") && answer.contains("\"started\":\"20"), "{answer}");
    assert_eq!(&agent.get("/history")[..2], "[[", "the first sweep is remembered");
}

/// U10, U11: half a configuration is a warning, and what cannot be meant ends the start with what is allowed.
#[test]
fn root_u10_u11_half_or_wrong_settings_are_named() {
    alone("ip link set lo up");
    let line = Agent::start(&[("DAKR_URL", "http://127.0.0.1:1")], &[]).says("nothing is pushed");
    assert!(line.contains("WARN") && line.contains("CLUSTER_TOKEN (or -token-file) is missing"), "{line}");
    let line = Agent::start(&[("CLUSTER_TOKEN", "secret")], &[]).says("nothing is pushed");
    assert!(line.contains("WARN") && line.contains("DAKR_URL is missing"), "{line}");
    for (environment, argument, said) in [
        (("A", ""), "-conntrack-zone=70000", "from 0 to 65535"),
        (("HTTPS_PROXY", ":::::"), "-log-level=info", "HTTPS_PROXY"),
    ] {
        let mut agent = Agent::start(
            &[("DAKR_URL", "https://dakr.example.com"), ("CLUSTER_TOKEN", "secret"), environment],
            &[argument],
        );
        assert!(agent.says(said).contains(said));
        assert_eq!(agent.child.wait().expect("it ends").code(), Some(2), "{argument}");
    }
}
