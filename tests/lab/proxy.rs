//! A TCP proxy that does to requests and answers what networks do: cuts, delays, truncates and resets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use netmon::clock;
use netmon::export::dakr::jitter::Jitter;

/// What happens to one connection.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Nothing.
    Passes,
    /// Nothing, late.
    Delayed,
    /// The request ends after so many bytes, and both sides are closed.
    RequestCut(u64),
    /// The answer ends after so many bytes: truncated.
    AnswerCut(u64),
    /// The request arrives whole; the sender's side is reset instead of an answer.
    Reset,
}

/// The proxy. Stops when dropped.
pub struct Proxy {
    /// Its URL within the namespace in which it was started.
    pub url: String,
    faulty: Arc<AtomicBool>,
    faults: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on loopback in the caller's network namespace and passes on to `to` there. `seed` decides the fates.
    pub fn start(to: SocketAddr, seed: u64) -> Result<Proxy, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("cannot start the proxy: {e}"))?;
        let port = listener.local_addr().map_err(|e| e.to_string())?.port();
        listener.set_nonblocking(true).map_err(|e| e.to_string())?;
        let (stop, faulty, faults) = (Arc::<AtomicBool>::default(), Arc::new(AtomicBool::new(true)), Arc::default());
        let (ended, is_faulty, count) = (Arc::clone(&stop), Arc::clone(&faulty), Arc::<AtomicU64>::clone(&faults));
        let thread = std::thread::spawn(move || {
            let mut dice = Jitter::new(seed);
            while !ended.load(Relaxed) {
                let Ok((from, _)) = listener.accept() else {
                    clock::sleep_ns(clock::MS);
                    continue;
                };
                let fate = if is_faulty.load(Relaxed) { cast(&mut dice) } else { Fate::Passes };
                if !matches!(fate, Fate::Passes | Fate::Delayed) {
                    count.fetch_add(1, Relaxed);
                }
                std::thread::spawn(move || carry(from, to, fate));
            }
        });
        Ok(Proxy { url: format!("http://127.0.0.1:{port}"), faulty, faults, stop, thread: Some(thread) })
    }

    /// From now on nothing happens to new connections.
    pub fn heal(&self) {
        self.faulty.store(false, Relaxed);
    }

    /// Connections that were cut, truncated or reset.
    pub fn faults(&self) -> u64 {
        self.faults.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn cast(dice: &mut Jitter) -> Fate {
    match dice.up_to(9) {
        0..=4 => Fate::Passes,
        5 => Fate::Delayed,
        6 => Fate::RequestCut(dice.up_to(900)),
        7 | 8 => Fate::AnswerCut(dice.up_to(200)),
        _ => Fate::Reset,
    }
}

fn carry(from: TcpStream, to: SocketAddr, fate: Fate) {
    // A connection that fails on either side is over; its sender finds out.
    let _ = from.set_nonblocking(false);
    let Ok(onward) = TcpStream::connect(to) else { return };
    let (Ok(back_from), Ok(back_to)) = (onward.try_clone(), from.try_clone()) else { return };
    let answer_bytes = match fate {
        Fate::AnswerCut(bytes) => bytes,
        Fate::Reset => 0,
        _ => u64::MAX,
    };
    if matches!(fate, Fate::Delayed) {
        clock::sleep_ns(300 * clock::MS);
    }
    let answers = std::thread::spawn(move || {
        pump(&back_from, &back_to, answer_bytes);
        if matches!(fate, Fate::Reset) {
            // Unread bytes or a zero linger make the close a reset.
            let _ = nix::sys::socket::setsockopt(
                &back_to,
                nix::sys::socket::sockopt::Linger,
                &nix::libc::linger { l_onoff: 1, l_linger: 0 },
            );
            return;
        }
        let _ = back_to.shutdown(Shutdown::Both);
    });
    let request_bytes = if let Fate::RequestCut(bytes) = fate { bytes } else { u64::MAX };
    pump(&from, &onward, request_bytes);
    let _ = onward.shutdown(if request_bytes == u64::MAX { Shutdown::Write } else { Shutdown::Both });
    let _ = answers.join();
}

/// Passes on at most `limit` bytes; with a limit of 0 waits for the first all the same, so that the other way was used.
fn pump(mut from: &TcpStream, mut to: &TcpStream, limit: u64) {
    let _ = from.set_read_timeout(Some(Duration::from_secs(20)));
    let (mut left, mut buffer) = (limit, [0; 16 * 1024]);
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let passed = (n as u64).min(left) as usize;
        if to.write_all(&buffer[..passed]).is_err() {
            return;
        }
        left -= passed as u64;
        if left == 0 {
            return;
        }
    }
}
