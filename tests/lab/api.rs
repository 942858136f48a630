//! The API server that names the lab's pods, when it is told to.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, unbounded};
use k8s_openapi::api::core::v1::{Pod, PodIP};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use rustls::ServerConfig;

use crate::fake_kube::{FakeKube, Part, WATCH_HEAD, fixtures};
use crate::lab::Lab;

/// What it is asked with.
pub const TOKEN: &str = "lab-token";

/// A pod of namespace `shop` that started at `since_s`, in seconds since the epoch.
pub fn pod(name: &str, number: u32, addresses: &[&str], since_s: i64) -> Pod {
    let mut pod = fixtures::pod(name, &fixtures::uid(number), addresses[0]);
    if let Some(status) = &mut pod.status {
        status.pod_ips = Some(addresses.iter().map(|a| PodIP { ip: (*a).to_owned() }).collect());
        status.start_time = Timestamp::from_second(since_s).ok().map(Time);
    }
    pod
}

/// The same in the node's network.
pub fn host_pod(name: &str, number: u32, address: &str, since_s: i64) -> Pod {
    let mut pod = pod(name, number, &[address], since_s);
    if let Some(spec) = &mut pod.spec {
        spec.host_network = Some(true);
    }
    pod
}

/// An API server that answers the list once it is known, and then tells the events that it is given.
pub struct Api {
    server: FakeKube,
    url: String,
    lists: Arc<Mutex<Lists>>,
    events: Sender<Vec<u8>>,
}

/// The list, once it is known, and who waits for it. Each request has a channel of its own: one of an agent that is gone
/// takes nothing from the next one's.
#[derive(Default)]
struct Lists {
    known: Option<Vec<u8>>,
    waiting: Vec<Sender<Vec<u8>>>,
}

impl Lists {
    fn asked(&mut self) -> Receiver<Vec<u8>> {
        let (answer, answered) = unbounded();
        match &self.known {
            Some(list) => drop(answer.send(list.clone())),
            None => self.waiting.push(answer),
        }
        answered
    }
}

impl Api {
    /// In the node's namespace.
    pub fn start(lab: &Lab) -> Api {
        Api::start_tls(lab, None)
    }

    /// The same with TLS, by a certificate that nobody checks.
    pub fn start_tls(lab: &Lab, tls: Option<Arc<ServerConfig>>) -> Api {
        let is_tls = tls.is_some();
        let lists = Arc::<Mutex<Lists>>::default();
        let asked = Arc::clone(&lists);
        let (events, watched) = unbounded();
        let server = lab.node().enter(|| {
            FakeKube::start_tls(tls, move |request| match request.watch {
                true => vec![Part::Bytes(WATCH_HEAD.to_vec()), Part::Stream(watched.clone())],
                false => vec![Part::Bytes(WATCH_HEAD.to_vec()), Part::Stream(asked.lock().expect("ours").asked())],
            })
        });
        let url = if is_tls { server.https() } else { server.url() };
        Api { server, url, lists, events }
    }

    /// Writes a kubeconfig that names it.
    pub fn kubeconfig(&self, lab: &Lab) -> Result<PathBuf, String> {
        let kubeconfig = lab.file("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
             contexts:\n- name: lab\n  context:\n    cluster: lab\n    user: lab\n\
             clusters:\n- name: lab\n  cluster:\n    server: {}\n    insecure-skip-tls-verify: {}\n\
             users:\n- name: lab\n  user:\n    token: {TOKEN}\n",
            self.url,
            self.url.starts_with("https:")
        );
        std::fs::write(&kubeconfig, text).map_err(|e| format!("cannot write the kubeconfig: {e}"))?;
        Ok(kubeconfig)
    }

    /// How many lists were asked for.
    pub fn lists_asked(&self) -> usize {
        self.server.counts().0
    }

    /// Answers the list, to whoever has asked or will.
    pub fn list(&mut self, pods: &[Pod]) -> Result<(), String> {
        let mut lists = self.lists.lock().map_err(|error| error.to_string())?;
        if lists.known.is_some() {
            return Err("the list was answered".to_owned());
        }
        let list = fixtures::list(pods, "10");
        for answer in lists.waiting.drain(..) {
            let _ = answer.send(list.clone()); // of an agent that is gone
        }
        lists.known = Some(list);
        Ok(())
    }

    /// Says an event.
    pub fn tell(&self, kind: &str, pod: &Pod, version: &str) -> Result<(), String> {
        let line = fixtures::event(kind, pod, version);
        self.events.send(line.into_bytes()).map_err(|_| "the fake API server is gone".to_owned())
    }
}
