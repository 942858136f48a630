//! Runs the credential plugin of a kubeconfig (`client.authentication.k8s.io/v1`): a program that prints a token or a
//! certificate. Kubeconfigs of managed clusters contain nothing else.
//!
//! The program gets no terminal, and limits on its time and its output. Its result is used until shortly before it
//! expires. Nothing here knows HTTP.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use serde::Deserialize;

use super::secret::{Secret, checked_token};
use super::time::rfc3339_ns;
use crate::clock::{self, MS, SECOND};
use crate::config::setting::Kind;
use crate::config::settings::SETTINGS;
use crate::sys::poll::readable;

/// Limit on a plugin's output.
const OUTPUT_MAX_BYTES: u64 = 1 << 20;
/// Time limit of a plugin. It may call a cloud's API, but not ask the user.
pub const LIMIT_NS: u64 = 30 * SECOND;

/// How to run a plugin.
#[derive(Clone)]
pub struct Plugin {
    /// The program: a path if it contains a slash, else searched in `PATH`.
    pub command: PathBuf,
    pub args: Vec<String>,
    /// Variables that are added to its environment.
    pub env: Vec<(String, String)>,
    /// `client.authentication.k8s.io/v1` or `/v1beta1`.
    pub api_version: String,
    /// The server as JSON for `provideClusterInfo`; part of `KUBERNETES_EXEC_INFO`.
    pub cluster: Option<serde_json::Value>,
    /// The kubeconfig's hint for a missing program.
    pub install_hint: String,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments and environment may contain secrets.
        write!(f, "Plugin({})", self.command.display())
    }
}

/// A plugin's output.
#[derive(Debug, PartialEq, Eq)]
pub struct Credential {
    pub token: Option<Secret>,
    /// A client certificate and its key, PEM.
    pub client: Option<(Vec<u8>, Secret)>,
    /// Expiry, nanoseconds since the epoch.
    pub expires_ns: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    api_version: String,
    kind: String,
    status: Option<ExecStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecStatus {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

impl Plugin {
    /// Runs the program. It is killed once `stopped` returns true.
    pub fn run(&self, limit_ns: u64, stopped: &dyn Fn() -> bool) -> Result<Credential, String> {
        let name = self.command.display();
        let mut info = serde_json::json!({
            "apiVersion": self.api_version,
            "kind": "ExecCredential",
            "spec": { "interactive": false },
        });
        if let Some(cluster) = &self.cluster {
            info["spec"]["cluster"] = cluster.clone();
        }
        let mut command = Command::new(&self.command);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            // With a group of its own, so that it can be killed with the programs that it runs.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        // DAKR's token is no business of it.
        let secrets = SETTINGS.iter().filter(|setting| setting.kind == Kind::Secret).map(|setting| setting.name);
        for secret in secrets.filter(|secret| !self.env.iter().any(|(name, _)| name == secret)) {
            command.env_remove(secret);
        }
        let mut child = command.spawn().map_err(|error| {
            let hint = if self.install_hint.is_empty() { String::new() } else { format!(" ({})", self.install_hint) };
            format!("cannot run credential plugin {name}: {error}{hint}")
        })?;
        let until_ns = clock::now().mono_ns.saturating_add(limit_ns);
        let output = collect(&mut child, until_ns, stopped);
        // Whatever happened, neither the program nor what it began must outlive this call. It is not waited for yet, so its
        // number is still its own.
        if let Ok(group) = i32::try_from(child.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let status = child.wait().map_err(|error| format!("cannot wait for credential plugin {name}: {error}"))?;
        let output = output.map_err(|why| format!("credential plugin {name} {why}"))?;
        if !status.success() {
            return Err(format!("credential plugin {name} failed: {status}"));
        }
        self.parse(&output).map_err(|why| format!("credential plugin {name}: {why}"))
    }

    fn parse(&self, output: &[u8]) -> Result<Credential, String> {
        // The parser's own message could quote a secret.
        let printed: ExecCredential =
            serde_json::from_slice(output).map_err(|_| "its output is not an ExecCredential".to_owned())?;
        if printed.kind != "ExecCredential" || printed.api_version != self.api_version {
            let (kind, version) = (printed.kind, printed.api_version);
            return Err(format!("it printed {kind} {version}, expected ExecCredential {}", self.api_version));
        }
        let status = printed.status.ok_or("it printed no status")?;
        let token = status.token.filter(|token| !token.is_empty());
        let token = token.map(|token| checked_token(token.as_bytes(), "it")).transpose()?;
        let client = match (status.client_certificate_data, status.client_key_data) {
            (Some(certificate), Some(key)) => Some((certificate.into_bytes(), Secret(key))),
            (None, None) => None,
            _ => return Err("it printed a certificate without key, or a key without certificate".to_owned()),
        };
        if token.is_none() && client.is_none() {
            return Err("it printed neither token nor certificate".to_owned());
        }
        let expires_ns = match status.expiration_timestamp {
            Some(text) => Some(rfc3339_ns(&text).ok_or("it printed an invalid expirationTimestamp")?),
            None => None,
        };
        Ok(Credential { token, client, expires_ns })
    }
}

/// Reads what the program prints until it has ended: a child of it may keep the output open.
fn collect(child: &mut Child, until_ns: u64, stopped: &dyn Fn() -> bool) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let Some(mut stdout) = child.stdout.take() else { return Err("has no output".to_owned()) };
    fcntl(&stdout, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|error| unreadable(error.into()))?;
    let (mut text, mut room) = (Vec::new(), [0; 4096]);
    let mut is_open = true;
    loop {
        // Asked before the output is read: what was printed before the end is not missed.
        let ended = has_ended(child);
        while is_open {
            match stdout.read(&mut room) {
                Ok(0) => is_open = false,
                Ok(read) => text.extend_from_slice(room.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
            if text.len() as u64 > OUTPUT_MAX_BYTES {
                return Err("printed more than 1 MiB".to_owned());
            }
        }
        if ended {
            return Ok(text);
        }
        if stopped() {
            return Err("was stopped because the agent stops".to_owned());
        }
        if clock::now().mono_ns >= until_ns {
            return Err(if is_open { "took too long" } else { "does not exit" }.to_owned());
        }
        let fds = [stdout.as_raw_fd()];
        // Its end closes the output, as a rule; where a child keeps it open it is noticed a little later.
        if is_open {
            readable(&fds, 20 * MS);
        } else {
            clock::sleep_ns(5 * MS);
        }
    }
}

/// Whether it has ended; it stays to be waited for.
fn has_ended(child: &Child) -> bool {
    let Ok(id) = i32::try_from(child.id()) else { return true };
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::Pid(Pid::from_raw(id)), flags), Ok(WaitStatus::StillAlive))
}
