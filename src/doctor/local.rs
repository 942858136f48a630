//! The state folder and the port: looked at without writing to one or keeping the other.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access};
use serde_json::Value;

use crate::findings::Finding;
use crate::health::Status;

/// A state file of default tables with a thousand rows takes less.
const LEAST_BYTES: u64 = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether `-state-dir` can be written to; nothing is, to find out.
pub fn state_folder(folder: Option<&Path>) -> Option<Finding> {
    const AREA: &str = "state folder";
    let folder = folder?;
    let shown = folder.display();
    let fail = |why: String, cure: &str| Some(Finding::fail(AREA, format!("{shown}: {why}"), cure));
    if !folder.is_dir() {
        return fail(
            "no such folder".to_owned(),
            "make it (-state-dir); zxporter-netmon state give gives it to a user",
        );
    }
    let disk = match statvfs(folder) {
        Ok(disk) => disk,
        Err(errno) => return fail(errno.desc().to_owned(), "-state-dir"),
    };
    if disk.flags().contains(FsFlags::ST_RDONLY) {
        return fail("its file system is read-only".to_owned(), "mount it writable, or another -state-dir");
    }
    if let Err(errno) = access(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
        return fail(errno.desc().to_ascii_lowercase(), "zxporter-netmon state give FOLDER UID, or another -state-dir");
    }
    #[allow(clippy::useless_conversion, reason = "32 bits wide on some targets")]
    let free = u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size()));
    if free < LEAST_BYTES {
        return fail(
            format!("{free} bytes are free"),
            "free some space: without a state file a restart may lose what waits",
        );
    }
    Some(Finding::ok(AREA, shown.to_string()))
}

/// Who listens on `-metrics-bind-address`.
pub fn port(address: SocketAddr) -> Finding {
    let area = "port";
    let cure = "-metrics-bind-address with another port; who has it: ss -ltnp";
    match TcpListener::bind(address) {
        Ok(_) => return Finding::ok(area, format!("{address} is free: no agent runs here")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
        Err(error) => return Finding::fail(area, format!("cannot listen on {address}: {error}"), cure),
    }
    match reachable(address).into_iter().find_map(asked) {
        Some((status, _)) if status == Status::Healthy.as_str() => {
            Finding::ok(area, format!("{address}: an agent answers, {status}"))
        }
        Some((status, why)) => {
            Finding::warn(area, format!("{address}: an agent answers, {status}"), format!("it says: {why}"))
        }
        None => Finding::fail(area, format!("{address} is taken by another program"), cure),
    }
}

/// Where who listens there, or on a part of it, can be asked.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => vec![(Ipv4Addr::LOCALHOST, port).into()],
        IpAddr::V6(v6) if v6.is_unspecified() => {
            vec![(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()]
        }
        IpAddr::V4(_) | IpAddr::V6(_) => vec![address],
    }
}

/// The health that an agent says, and what its components say that are not healthy; `None` where it is none.
fn asked(address: SocketAddr) -> Option<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.take(64 << 10).read_to_string(&mut answer).ok()?;
    let body = answer.split_once("\r\n\r\n")?.1;
    let value: Value = serde_json::from_str(body).ok()?;
    let components = value.get("components")?.as_object()?;
    components.get("monitor")?;
    let mut why = Vec::new();
    for (name, component) in components {
        if component.get("status").and_then(Value::as_u64).is_some_and(|status| status > Status::Healthy as u64) {
            why.push(format!("{name}: {}", component.get("message").and_then(Value::as_str).unwrap_or_default()));
        }
    }
    Some((value.get("status")?.as_str()?.to_owned(), why.join("; ")))
}

#[cfg(test)]
mod tests;
