//! Namespaces, servers that end with the test, a DAKR that takes everything, and a request to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use netmon::clock::{self, MS, SECOND};
use netmon::export::dakr::framing::Reply;
use netmon::export::dakr::transport::{Call, Failure, Http, Transport};
use nix::sched::{CloneFlags, unshare};

pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 2\r\n\r\n\x08\x02";

pub fn sh(line: &str) {
    let mut words = line.split_whitespace();
    let status = Command::new(words.next().expect("a command")).args(words).status().expect("it can be started");
    assert!(status.success(), "{line}: {status}");
}

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("netmon-reach-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a folder");
        Folder(path)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `body` where nobody else is: its own loopback, and its own `/etc/resolv.conf` and `/etc/hosts`.
pub fn alone(body: impl FnOnce(&Place) + Send) {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("root, to make namespaces");
            sh("mount --make-rprivate /");
            sh("ip link set lo up");
            // What squid leaves there when it is killed keeps the next one from starting.
            sh("mount -t tmpfs none /dev/shm");
            let folder = Folder::new();
            for name in ["resolv.conf", "hosts"] {
                let file = folder.write(name, "");
                sh(&format!("mount --bind {} /etc/{name}", file.display()));
            }
            body(&Place { folder });
        });
        run.join().expect("the test in its namespaces");
    });
}

pub struct Place {
    pub folder: Folder,
}

impl Place {
    /// What stands in `/etc/NAME` from now on.
    pub fn etc(&self, name: &str, content: &str) {
        self.folder.write(name, content);
    }

    /// A server of a package, until it is dropped.
    pub fn server(&self, command: &str, arguments: &[&str]) -> Server {
        let log =
            std::fs::File::create(self.folder.0.join(format!("{}.log", command.replace('/', "_")))).expect("a log");
        let child = Command::new(command)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command} is missing (script/setup): {error}"));
        Server(child)
    }
}

pub struct Server(pub Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a name server answers whatever it is asked.
pub fn until_it_answers(server: &str) {
    let server: SocketAddr = format!("{server}:53").parse().expect("an address");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(std::time::Duration::from_millis(100))).expect("set");
    let question = netmon::wire::dns::question(7, "ready.test.", 1, false).expect("a name");
    for _ in 0..200 {
        if socket.send_to(&question, server).is_ok() && socket.recv(&mut [0; 512]).is_ok() {
            return;
        }
        clock::sleep_ns(20 * MS);
    }
    panic!("{server} does not answer");
}

pub fn until_it_listens(address: &str) {
    for _ in 0..300 {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        clock::sleep_ns(20 * MS);
    }
    panic!("nobody listens on {address}");
}

/// A DAKR without TLS on every address of the namespace, at this port.
pub fn dakr(port: u16) {
    let listener = TcpListener::bind(("::", port)).expect("the port");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.expect("a connection")));
        }
    });
}

/// Answers each request with 200.
pub fn answer(mut stream: impl Read + Write) {
    let mut request = Vec::new();
    let mut room = [0; 4096];
    loop {
        match stream.read(&mut room) {
            Ok(read @ 1..) => request.extend_from_slice(&room[..read]),
            _ => return,
        }
        if request.ends_with(b"\r\n\r\nx") {
            request.clear();
            if stream.write_all(ANSWER).is_err() || stream.flush().is_err() {
                return;
            }
        }
    }
}

/// One request with the agent's deadline, of 15 s.
pub fn send(http: &mut Http) -> Result<Reply, Failure> {
    let headers = [("content-type", "application/proto".to_owned())];
    http.send(&Call { path: "/p", headers: &headers, body: b"x" }, clock::now().mono_ns + 15 * SECOND)
}

/// A program in Go, made once; `None` where Go is not installed.
pub fn go(name: &'static str, source: &str, once: &'static OnceLock<Option<PathBuf>>) -> Option<&'static Path> {
    once.get_or_init(|| crate::go::build(name, source)).as_deref()
}
