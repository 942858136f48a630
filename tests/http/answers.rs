//! What the endpoint answers.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use netmon::clock::{self, MS, SECOND};
use serde_json::Value;

use crate::attacks::long;
use crate::child::Served;
use crate::client::{Reply, connect, get, parse};
use crate::{Outcome, Verdict};

const PATIENCE: Duration = Duration::from_secs(15);

/// Rows of a full table.
const FULL: u32 = 65_536;

fn passed(note: impl Into<String>) -> Outcome {
    Ok(Verdict::Passed(note.into()))
}

/// One listener for IPv4 and IPv6, and every route.
pub fn both_families() -> Outcome {
    let server = Served::start(10, 0)?;
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, server.addr.port()));
    for addr in [server.addr, v6] {
        for (target, status) in
            [("/", 200), ("/flows", 200), ("/metrics", 200), ("/healthz", 200), ("/readyz", 200), ("/x", 404)]
        {
            let reply = get(addr, target, PATIENCE)?;
            if reply.status != status {
                return Err(format!("{target} at {addr}: {}", reply.head));
            }
        }
    }
    server.end()?;
    passed("")
}

/// A full table: valid JSON with every row, while a peer that does not read holds another answer.
pub fn large() -> Outcome {
    let server = Served::start(FULL, 0)?;
    let mut idle = connect(server.addr, PATIENCE).map_err(|e| e.to_string())?;
    idle.write_all(b"GET /flows HTTP/1.1\r\nHost: x\r\n\r\n").map_err(|e| e.to_string())?;
    let began = clock::now().mono_ns;
    let reply = get(server.addr, "/flows", PATIENCE)?;
    let took_ms = (clock::now().mono_ns - began) / MS;
    let value: Value = serde_json::from_slice(&reply.body).map_err(|e| format!("no JSON: {e}"))?;
    let items = value["items"].as_array().map_or(0, Vec::len);
    if items != FULL as usize {
        return Err(format!("{items} items"));
    }
    let few = get(server.addr, "/flows?limit=20", PATIENCE)?;
    let few: Value = serde_json::from_slice(&few.body).map_err(|e| format!("no JSON: {e}"))?;
    if few["items"].as_array().map_or(0, Vec::len) != 20 || few["rows"] != FULL {
        return Err("the limit is not kept".to_owned());
    }
    passed(format!("{} MB in {took_ms} ms", reply.body.len() / 1_000_000))
}

/// Requests in one piece and byte by byte get the same answer.
pub fn pieces() -> Outcome {
    let server = Served::start(3, 0)?;
    let whole: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
        b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\nGET /more HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for bytes in whole {
        let at_once = send(server.addr, &[bytes])?;
        let singly: Vec<&[u8]> = bytes.chunks(1).collect();
        let in_two: Vec<&[u8]> = bytes.chunks(bytes.len() / 2 + 1).collect();
        for pieces in [singly, in_two] {
            let other = send(server.addr, &pieces)?;
            if other != at_once {
                return Err(format!("{}: {other:?} is not {at_once:?}", bytes.escape_ascii()));
            }
        }
    }
    passed(format!("{} requests", whole.len()))
}

/// Sends pieces with a breath in between; the answer as it came.
fn send(addr: SocketAddr, pieces: &[&[u8]]) -> Result<Vec<u8>, String> {
    let mut stream = connect(addr, PATIENCE).map_err(|e| e.to_string())?;
    for piece in pieces {
        // A refusal may come before all is sent.
        if stream.write_all(piece).is_err() {
            break;
        }
        if pieces.len() > 1 {
            clock::sleep_ns(MS);
        }
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|e| format!("{}: {e}", pieces.concat().escape_ascii()))?;
    Ok(answer)
}

/// What peers send that speak something else, or mean ill, with the status it gets.
pub fn corpus() -> Vec<(Vec<u8>, u16)> {
    let mut corpus: Vec<(Vec<u8>, u16)> = [
        (&b"\0\0\0\0\r\n\r\n"[..], 400),
        (b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\rHost: x\r\r", 400),
        (b"GET /healthz HTTP/1.1\nHost: x\n\n", 200),
        (b"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"\x80\x81\xfe\xff / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/0.9\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 400),
        (b"GET http://x/healthz HTTP/1.1\r\nHost: y\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (b"GET /flows HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /flows/../flows HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"DELETE /flows HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA\0: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n : b\r\n\r\n", 400),
        (b"GET  /  HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"<?xml version=\"1.0\"?>\r\n\r\n", 400),
        (b"EHLO mail\r\n", 400),
    ]
    .into_iter()
    .map(|(bytes, status)| (bytes.to_vec(), status))
    .collect();
    corpus.push(([&vec![b'A'; 9000][..], b" / HTTP/1.1\r\nHost: x\r\n\r\n"].concat(), 431));
    corpus.push(([b"GET /", &vec![b'a'; 9000][..], b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat(), 431));
    corpus.push(([b"GET / HTTP/1.1\r\n", &b"a: b\r\n".repeat(300)[..], b"\r\n"].concat(), 431));
    corpus
}

/// The malformed corpus, whole and byte by byte.
pub fn malformed() -> Outcome {
    let server = Served::start(3, 0)?;
    let corpus = corpus();
    for (bytes, status) in &corpus {
        for piece in [bytes.len(), 1] {
            let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
            let pieces = if pieces.len() > 500 { vec![&bytes[..]] } else { pieces };
            let reply: Reply = parse(&send(server.addr, &pieces)?)?;
            if reply.status != *status {
                return Err(format!("{}: {}, not {status}", bytes.escape_ascii(), reply.status));
            }
        }
    }
    server.end()?;
    passed(format!("{} requests", corpus.len()))
}

/// Prometheus' own checker finds nothing to say.
pub fn promtool() -> Outcome {
    let server = Served::start(1000, 0)?;
    let reply = get(server.addr, "/metrics", PATIENCE)?;
    if !reply.head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n") {
        return Err(reply.head);
    }
    let text = String::from_utf8_lossy(&reply.body);
    let series = text.lines().filter(|l| l.starts_with("netmon_traffic_bytes_total{")).count();
    // 100 owners; even ones only open, odd ones only answer: one kind each, tx and rx.
    if series != 200 {
        return Err(format!("{series} series of bytes"));
    }
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return Ok(Verdict::Skipped(format!("needs promtool (Debian: prometheus): {error}"))),
    };
    child.stdin.take().ok_or("no input")?.write_all(&reply.body).map_err(|e| e.to_string())?;
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    let said = [output.stdout, output.stderr].concat();
    if !output.status.success() || !said.is_empty() {
        return Err(format!("promtool complains: {}", String::from_utf8_lossy(&said)));
    }
    passed(format!("{} lines", text.lines().count()))
}

/// However many ask, about one snapshot a second is made.
pub fn snapshots() -> Outcome {
    let server = Served::start(10, 0)?;
    let began = clock::now().mono_ns;
    let mut asked = 0;
    while clock::now().mono_ns < began + 1500 * MS {
        get(server.addr, "/flows", PATIENCE)?;
        asked += 1;
    }
    let text = get(server.addr, "/metrics", PATIENCE)?.body;
    let text = String::from_utf8_lossy(&text).into_owned();
    let made = text.lines().find_map(|l| l.strip_prefix("netmon_records_total ")).and_then(|n| n.parse::<u32>().ok());
    match made {
        Some(2..=3) => passed(format!("{asked} requests in 1.5 s, {} snapshots", made.unwrap_or(0))),
        made => Err(format!("{asked} requests in 1.5 s, {made:?} snapshots")),
    }
}

/// Who takes nothing for ten seconds is cut; who takes a little all the time gets everything.
pub fn slow_reader() -> Outcome {
    if !long() {
        return Ok(Verdict::Skipped("not without NETMON_LONG=1, for it takes 20 s".to_owned()));
    }
    let server = Served::start(FULL, 0)?;
    let ask = || {
        let mut stream = connect(server.addr, PATIENCE).map_err(|e| e.to_string())?;
        stream.write_all(b"GET /flows HTTP/1.1\r\nHost: x\r\n\r\n").map_err(|e| e.to_string())?;
        Ok::<_, String>(stream)
    };
    let (mut steady, mut idle) = (ask()?, ask()?);
    let began = clock::now().mono_ns;
    let mut sip = vec![0; 4096];
    let mut taken = 0;
    loop {
        match steady.read(&mut sip) {
            Ok(0) => break,
            Ok(n) => taken += n,
            Err(error) => return Err(format!("cut after {taken} bytes: {error}")),
        }
        // 15 s for all of it.
        let until = began + 15 * SECOND / 5_000_000 * taken as u64;
        clock::sleep_ns(until.saturating_sub(clock::now().mono_ns));
    }
    let took = clock::now().mono_ns - began;
    if took < 11 * SECOND {
        return Err(format!("{taken} bytes took {} ms, which proves nothing", took / MS));
    }
    let mut rest = Vec::new();
    let whole = idle.read_to_end(&mut rest).is_ok() && rest.ends_with(b"0\r\n\r\n");
    if whole {
        return Err("who took nothing for ten seconds has got everything".to_owned());
    }
    // What the kernel had already taken for the peer still arrives; the connection itself has gone.
    let (descriptors, _) = server.descriptors_and_threads()?;
    passed(format!("{taken} bytes in {} s, {descriptors} descriptors open", took / SECOND))
}

/// It ends at once, though peers hold connections.
pub fn end() -> Outcome {
    let server = Served::start(10, 0)?;
    let held: Vec<_> = (0..20).map(|_| connect(server.addr, PATIENCE)).collect();
    let took = server.end()?;
    drop(held);
    passed(format!("{} ms", took.as_millis()))
}
