//! `top` in a real terminal: it fills it, follows its size, and gives it back as it was, whatever ends it. And where there
//! is none, or one that can nothing, it prints a table and ends.
//!
//! The terminal is a pseudoterminal; the agent is a fake that answers with lines as `/flows` writes them.

#![allow(missing_docs)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use netmon::clock::{self, MS, SECOND};
use netmon::sys::terminal::Screen;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";
const PANICS: &str = "NETMON_TEST_PANICS";

/// An agent with more rows than any screen has lines; it ends when it is dropped.
struct Agent(Arc<tiny_http::Server>, String);

impl Agent {
    fn start() -> Agent {
        let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").expect("a free port"));
        let address = server.server_addr().to_string();
        let listening = Arc::clone(&server);
        std::thread::spawn(move || {
            for request in listening.incoming_requests() {
                let _ = request.respond(tiny_http::Response::from_string(answer()));
            }
        });
        Agent(server, address)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.unblock();
    }
}

fn answer() -> String {
    let mut text = "#\tnode\tnode-1\tstatus\thealthy\trows\t90\tmatched\t90\ttx_bytes\t15600000\trx_bytes\t78400000\t\
                    tx_rate\t569000\trx_rate\t4270000\tswept_ms_ago\t1200\n\
                    owner\tdirection\tremote\tremote_name\tport\tprotocol\tclass\ttx_bytes\trx_bytes\ttx_rate\trx_rate\n"
        .to_owned();
    for n in 0..90 {
        text += &format!("shop/web-{n}\toutbound\t203.0.113.{n}\tcdn.example.net\t80\ttcp\toutside\t1\t2\t3\t4\n");
    }
    text
}

/// A terminal in which a program runs.
struct Terminal {
    /// Kept open, so that what is left in the terminal can be read after the program.
    _end: OwnedFd,
    name: String,
    keys: File,
    said: Arc<Mutex<Vec<u8>>>,
    /// `stty -g` before the program began.
    before: String,
    child: Child,
}

impl Terminal {
    fn run(columns: u16, rows: u16, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Terminal {
        let (master, slave) = pseudoterminal();
        let name = {
            let link = format!("/proc/self/fd/{}", slave.as_raw_fd());
            std::fs::read_link(link).expect("its name").display().to_string()
        };
        stty(&name, &["rows", &rows.to_string(), "cols", &columns.to_string()]);
        let before = stty(&name, &["-g"]);
        // setsid makes it the terminal that the program is controlled by, so that its keys and its size are signals.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", program])
            .args(arguments)
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .envs(variables.iter().copied())
            .stdin(slave.try_clone().expect("a descriptor"))
            .stdout(slave.try_clone().expect("a descriptor"))
            .stderr(slave.try_clone().expect("a descriptor"))
            .spawn()
            .expect("setsid starts");
        let said = Arc::<Mutex<Vec<u8>>>::default();
        let (mut out, heard) = (File::from(master.try_clone().expect("a descriptor")), Arc::clone(&said));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes) {
                heard.lock().expect("no panic").extend_from_slice(&bytes[..count]);
            }
        });
        Terminal { _end: slave, name, keys: File::from(master), said, before, child }
    }

    fn top(agent: &Agent, columns: u16, rows: u16) -> Terminal {
        Terminal::run(columns, rows, env!("CARGO_BIN_EXE_zxporter-netmon"), &["top", "-address", &agent.1], &[])
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("no panic")).into_owned()
    }

    fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let until_ns = clock::now().mono_ns + 20 * SECOND;
        while !is_so(&self.said()) {
            assert!(clock::now().mono_ns < until_ns, "{what}: {:?}", self.said());
            clock::sleep_ns(20 * MS);
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).expect("the terminal is there");
    }

    fn ended(&mut self) -> ExitStatus {
        let until_ns = clock::now().mono_ns + 20 * SECOND;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(clock::now().mono_ns < until_ns, "it has not ended: {:?}", self.said());
            clock::sleep_ns(20 * MS);
        }
    }

    /// The screen is left after all that was drawn, and the line discipline is what it was.
    fn is_given_back(&self, by: &str) {
        self.until(by, |said| said.contains(LEAVE));
        let said = self.said();
        let (entered, left) = (said.find(ENTER).expect("the screen was taken"), said.rfind(LEAVE).unwrap_or(0));
        assert!(entered < left && !said[left..].contains("\x1b[H"), "{by}: {said:?}");
        assert_eq!(stty(&self.name, &["-g"]), self.before, "{by}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its two ends: the one that a program gets is the second.
fn pseudoterminal() -> (OwnedFd, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: openpty writes two descriptors, which outlive the call; name, settings and size may be null (openpty(3)).
    #[allow(unsafe_code)]
    let result = unsafe { libc::openpty(&raw mut master, &raw mut slave, null, null.cast(), null.cast()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: both are open and nobody else's.
    #[allow(unsafe_code)]
    let ends = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    for end in [&ends.0, &ends.1] {
        let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
        nix::fcntl::fcntl(end, flags).expect("a descriptor");
    }
    ends
}

fn stty(terminal: &str, arguments: &[&str]) -> String {
    let said = Command::new("stty").args(["-F", terminal]).args(arguments).output().expect("stty runs");
    assert!(said.status.success(), "{said:?}");
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}

/// The lines of the last whole picture.
fn picture(said: &str) -> Vec<String> {
    let frame = said.rsplit("\x1b[H").find_map(|frame| frame.split_once("\x1b[J")).map_or("", |(frame, _)| frame);
    let plain = |line: &str| {
        let mut text = String::new();
        let mut parts = line.split("\x1b[");
        text.push_str(parts.next().unwrap_or_default());
        parts.for_each(|part| {
            text.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()).get(1..).unwrap_or(""))
        });
        text.trim_end_matches('\r').to_owned()
    };
    frame.split('\n').map(plain).collect()
}

fn fills(lines: &[String], columns: usize, rows: usize) -> bool {
    lines.len() == rows
        && lines.iter().all(|line| line.chars().count() <= columns)
        && lines[0].contains("node-1")
        && lines.iter().filter(|line| line.contains("shop/web-")).count() >= rows - 8
}

#[test]
fn top_fills_a_terminal_and_follows_its_size() {
    let agent = Agent::start();
    let mut terminal = Terminal::top(&agent, 80, 24);
    terminal.until("80x24", |said| fills(&picture(said), 80, 24));
    stty(&terminal.name, &["rows", "50", "cols", "200"]);
    terminal.until("200x50", |said| fills(&picture(said), 200, 50));
    assert!(picture(&terminal.said()).iter().any(|line| line.contains("cdn.example.net")), "there is room for names");
    terminal.press(b"q");
    assert!(terminal.ended().success());
    terminal.is_given_back("q");
}

#[test]
fn the_terminal_is_given_back_whatever_ends_top() {
    let agent = Agent::start();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let mut terminal = Terminal::top(&agent, 80, 24);
        terminal.until("a picture", |said| fills(&picture(said), 80, 24));
        kill(Pid::from_raw(i32::try_from(terminal.child.id()).expect("a pid")), signal).expect("it runs");
        assert!(terminal.ended().success(), "{signal}");
        terminal.is_given_back(signal.as_str());
    }
    let mut terminal = Terminal::top(&agent, 80, 24);
    terminal.until("a picture", |said| fills(&picture(said), 80, 24));
    terminal.press(b"\x03");
    assert!(terminal.ended().success());
    terminal.is_given_back("Ctrl-C");
}

#[test]
fn an_agent_that_is_gone_is_said_and_the_terminal_given_back() {
    let agent = Agent::start();
    let mut terminal = Terminal::top(&agent, 80, 24);
    terminal.until("a picture", |said| fills(&picture(said), 80, 24));
    drop(agent);
    terminal.until("it is said", |said| picture(said).iter().any(|line| line.contains("no answer")));
    terminal.press(b"q");
    assert!(terminal.ended().success());
    terminal.is_given_back("q");
    // Nobody there at the start: the error stays on the screen that there was.
    let mut terminal =
        Terminal::run(80, 24, env!("CARGO_BIN_EXE_zxporter-netmon"), &["top", "-address", "127.0.0.1:1"], &[]);
    assert_eq!(terminal.ended().code(), Some(1));
    terminal.until("the error", |said| said.contains("nothing listens at 127.0.0.1:1"));
    assert!(!terminal.said().contains('\x1b'));
}

/// Run by itself in a terminal it takes it and panics; nothing but the panic's hook can give it back then.
#[test]
fn a_panic_gives_the_terminal_back() {
    if std::env::var_os(PANICS).is_some() {
        std::mem::forget(Screen::take().expect("a terminal"));
        panic!("on purpose");
    }
    let me = std::env::current_exe().expect("a path").display().to_string();
    let arguments = ["--exact", "a_panic_gives_the_terminal_back", "--nocapture"];
    let mut terminal = Terminal::run(80, 24, &me, &arguments, &[(PANICS, "1")]);
    assert!(!terminal.ended().success());
    terminal.until("the panic", |said| said.contains("on purpose"));
    terminal.is_given_back("a panic");
    let said = terminal.said();
    assert!(said.find(LEAVE) < said.find("on purpose"), "the message stays on the screen: {said:?}");
}

#[test]
fn without_a_terminal_that_can_draw_top_prints_a_table_and_ends() {
    let agent = Agent::start();
    let program = env!("CARGO_BIN_EXE_zxporter-netmon");
    let of_pipe = |variables: &[(&str, &str)]| -> Output {
        let mut command = Command::new(program);
        command.args(["top", "-address", &agent.1]).envs(variables.iter().copied());
        command.stdin(Stdio::null()).output().expect("it runs")
    };
    let piped = of_pipe(&[("TERM", "xterm")]);
    let text = String::from_utf8(piped.stdout).expect("UTF-8");
    assert!(piped.status.success() && text.contains("shop/web-0") && text.contains("shop/web-89"), "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");
    assert!(text.contains("cdn.example.net 203.0.113.0"), "a pipe gets whole texts: {text}");
    for term in ["dumb", ""] {
        let mut terminal = Terminal::run(80, 24, program, &["top", "-address", &agent.1], &[("TERM", term)]);
        assert!(terminal.ended().success(), "TERM={term}");
        terminal.until("the last row", |said| said.contains("shop/web-89"));
        let said = terminal.said();
        assert!(!said.contains('\x1b'), "TERM={term}: {said:?}");
        assert!(said.lines().all(|line| line.trim_end().chars().count() <= 80), "TERM={term}: {said}");
        assert_eq!(stty(&terminal.name, &["-g"]), terminal.before);
    }
}
