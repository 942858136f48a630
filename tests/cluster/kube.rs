//! Objects of the cluster by kubectl, and pods that do what they are told.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use netmon::clock::{self, SECOND};
use serde_json::{Value, json};

use crate::actor::MEETING;

/// Runs a program; its output, or what it said.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    run_with(program, arguments, "")
}

/// As [`run`], with something on its standard input.
pub fn run_with(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let failed = |what: &dyn std::fmt::Display| format!("{program} {}: {what}", arguments.join(" "));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(&e))?;
    // One that reads nothing has closed it, and says why itself.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(|e| failed(&e))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Tries until it succeeds or the time is over; then the last error.
pub fn eventually<T>(what: &str, limit: Duration, attempt: impl Fn() -> Result<T, String>) -> Result<T, String> {
    let until_ns = clock::now().mono_ns + limit.as_nanos() as u64;
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if clock::now().mono_ns >= until_ns => {
                return Err(format!("not within {} s: {what}\n{error}", limit.as_secs()));
            }
            Err(_) => clock::sleep_ns(SECOND / 5),
        }
    }
}

/// A namespace of one case; deleted with all that is in it when the case ends.
pub struct Namespace {
    pub name: String,
}

/// A pod with an actor in it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Namespace and name, a slash between.
    pub owner: String,
    pub v4: IpAddr,
    pub v6: Option<IpAddr>,
    pub socket: String,
}

impl Namespace {
    pub fn new(name: &str) -> Result<Namespace, String> {
        apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))?;
        // Controllers that lost the API server try again at growing intervals.
        // Pods are refused until their account is there.
        let account = || run("kubectl", &["-n", name, "get", "serviceaccount", "default"]);
        eventually("the namespace has its account", Duration::from_secs(90), account)?;
        Ok(Namespace { name: name.to_owned() })
    }

    /// The manifest of a pod with an actor, to be changed as a case needs it.
    pub fn pod(&self, name: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": self.name, "labels": {"app": name}},
            "spec": self.spec(name),
        })
    }

    /// The `spec` of such a pod.
    pub fn spec(&self, name: &str) -> Value {
        json!({
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "containers": [container("main", &["actor", &format!("{}-{name}", self.name)])],
            "volumes": [{"name": "meeting", "hostPath": {"path": MEETING, "type": "DirectoryOrCreate"}}],
        })
    }

    /// Makes pods and waits until their actors answer.
    pub fn start<const N: usize>(&self, manifests: [Value; N]) -> Result<[Pod; N], String> {
        let names = manifests.each_ref().map(|m| m["metadata"]["name"].as_str().unwrap_or_default().to_owned());
        apply(&json!({"apiVersion": "v1", "kind": "List", "items": manifests.to_vec()}))?;
        let mut pods = Vec::new();
        for name in &names {
            pods.push(self.found(name)?);
        }
        Ok(pods.try_into().expect("as many as there were"))
    }

    /// Pods of these names, as they are by default.
    pub fn pods<const N: usize>(&self, names: [&str; N]) -> Result<[Pod; N], String> {
        self.start(names.map(|name| self.pod(name)))
    }

    /// A pod that somebody else has made, once its actor answers.
    pub fn found(&self, name: &str) -> Result<Pod, String> {
        eventually(&format!("pod {name} answers"), Duration::from_secs(60), || {
            let object = self.get("pod", name)?;
            let addresses: Vec<IpAddr> = object["status"]["podIPs"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|a| a["ip"].as_str()?.parse().ok())
                .collect();
            let v4 = addresses.iter().find(|a| a.is_ipv4()).ok_or_else(|| format!("status {}", object["status"]))?;
            let pod = Pod {
                owner: format!("{}/{name}", self.name),
                v4: *v4,
                v6: addresses.iter().find(|a| a.is_ipv6()).copied(),
                socket: format!("{MEETING}/{}-{name}", self.name),
            };
            UnixStream::connect(&pod.socket).map_err(|e| format!("{}: {e}", pod.socket))?;
            Ok(pod)
        })
    }

    /// An object as the API server has it.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value, String> {
        let text = run("kubectl", &["-n", &self.name, "get", kind, name, "-o", "json"])?;
        serde_json::from_str(&text).map_err(|e| format!("kubectl prints no JSON: {e}"))
    }

    /// All objects of a kind.
    pub fn list(&self, kind: &str) -> Result<Vec<Value>, String> {
        let text = run("kubectl", &["-n", &self.name, "get", kind, "-o", "json"])?;
        let list: Value = serde_json::from_str(&text).map_err(|e| format!("kubectl prints no JSON: {e}"))?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// A service over the pods with the label `app`; what else it has is merged into its `spec`.
    pub fn service(&self, name: &str, app: &str, ports: Value, more: Value) -> Result<Value, String> {
        let mut spec = json!({"selector": {"app": app}, "ports": ports});
        let (into, from) = (spec.as_object_mut().expect("one"), more.as_object().cloned().unwrap_or_default());
        into.extend(from);
        apply(&json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": self.name}, "spec": spec,
        }))?;
        let service = self.get("service", name)?;
        if let Some(address) = service["spec"]["clusterIP"].as_str().filter(|address| *address != "None") {
            translated(address)?;
        }
        Ok(service)
    }
}

/// Waits until kube-proxy translates an address: what is asked before goes to nobody, and is counted as that.
pub fn translated(address: &str) -> Result<(), String> {
    let rules = "{ iptables-save -t nat; nft list table ip kube-proxy; } 2>/dev/null";
    let command = format!("{rules} | grep -wF {address} | grep -qE 'KUBE-(SVC|EXT)|goto (service|external)-'");
    eventually("kube-proxy translates it", Duration::from_secs(20), || run("sh", &["-c", &command])).map(drop)
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run("kubectl", &["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// A container of the tool's image.
pub fn container(name: &str, arguments: &[&str]) -> Value {
    json!({
        "name": name, "image": "cluster.test/tool:1", "imagePullPolicy": "Never", "args": arguments,
        "volumeMounts": [{"name": "meeting", "mountPath": MEETING}],
    })
}

/// Makes or changes an object.
pub fn apply(object: &Value) -> Result<(), String> {
    run_with("kubectl", &["apply", "--server-side", "--force-conflicts", "-f", "-"], &object.to_string()).map(drop)
}

impl Pod {
    /// One that nobody talks to.
    pub fn silent(owner: &str, v4: IpAddr) -> Pod {
        Pod { owner: owner.to_owned(), v4, v6: None, socket: String::new() }
    }

    /// On the node's network: with the address of the node that it took towards a server, as its actor says.
    pub fn seen_as(&self, address: &str) -> Pod {
        Pod { v4: address.parse().unwrap_or(self.v4), ..self.clone() }
    }

    /// Its name without the namespace.
    pub fn name(&self) -> &str {
        self.owner.split_once('/').map_or("", |(_, name)| name)
    }

    /// Tells its actor to do something; what it answers after `ok`.
    pub fn tell(&self, command: &str) -> Result<String, String> {
        let failed = |e: std::io::Error| format!("{} does not hear: {e}", self.owner);
        let mut stream = UnixStream::connect(&self.socket).map_err(failed)?;
        // Twenty thousand transfers take minutes on a busy machine.
        let _ = stream.set_read_timeout(Some(Duration::from_secs(240)));
        writeln!(stream, "{command}").map_err(failed)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).map_err(failed)?;
        match answer.trim_end().strip_prefix("ok") {
            Some(said) => Ok(said.trim().to_owned()),
            None => Err(format!("{}: {}", self.owner, answer.trim_end())),
        }
    }

    /// As [`Pod::tell`], tried until it works: a service's rules may be a moment late.
    pub fn tell_until(&self, command: &str) -> Result<String, String> {
        eventually(command, Duration::from_secs(20), || self.tell(command))
    }

    /// Its IPv6 address.
    pub fn v6(&self) -> Result<IpAddr, String> {
        self.v6.ok_or_else(|| format!("{} has no IPv6 address", self.owner))
    }
}
