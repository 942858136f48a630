//! What became of a service that a socket asked for, told by Cilium's entries to our own programs.
//!
//! Where Cilium balances packet by packet, a socket sees only the service's address, and the kernel's conntrack knows
//! nothing of it. The SERVICE entry of the socket's tuple names the backend by its id, and another map has the
//! backend's address. (Where Cilium translates at connect(2) the socket sees the backend itself.) When a flow is first
//! seen its entries are looked up by their keys. No map is read as a whole.

use std::path::Path;

use super::maps::{Backends, Opened, Places};
use crate::flow::{Addr, protocol};
use crate::source::translation::{Answer, Services, Translation};
use crate::sys::bpf::PinnedMap;
use crate::wire::cilium_backend::{self, Backend, LARGEST_VALUE_BYTES};
use crate::wire::cilium_ct::{self, Entry, KEY6_BYTES, Kind, VALUE_BYTES};
use crate::wire::conntrack::OneWay;

/// Cilium's maps, as they are pinned in the sweep that runs.
pub struct CiliumServices {
    places: Places,
    /// Opened when the first flow of a sweep is looked up, for Cilium's agent may have replaced them since the last.
    opened: Option<(Opened, Backends)>,
    trouble: String,
}

impl CiliumServices {
    /// Below `root`, or where Cilium has its maps.
    pub fn new(root: Option<&Path>) -> CiliumServices {
        CiliumServices { places: Places::new(root), opened: None, trouble: String::new() }
    }

    fn maps(&mut self) -> &(Opened, Backends) {
        let CiliumServices { places, opened, trouble } = self;
        opened.get_or_insert_with(|| {
            let maps = places.open();
            *trouble = match &maps {
                Err(error) => format!("cannot open Cilium's maps of service backends: {error}"),
                Ok(maps) if maps.maps.iter().all(Option::is_none) => {
                    "Cilium's maps are no longer pinned: service backends are unknown".to_owned()
                }
                Ok(_) => String::new(),
            };
            let maps = maps.unwrap_or_default();
            let backends = places.open_backends(&maps);
            (maps, backends)
        })
    }
}

impl Services for CiliumServices {
    fn begin_sweep(&mut self) {
        self.opened = None;
        // A cure is noticed though no flow is looked up.
        if !self.trouble.is_empty() {
            self.maps();
        }
    }

    fn look_up(&mut self, sent: &OneWay, opened_by_local: Option<bool>) -> Answer {
        let (maps, backends) = self.maps();
        let way = |local| Translation::plain(sent, local);
        if opened_by_local != Some(false) {
            if let Some(service) = entry(maps, Kind::Service, sent) {
                let found = service.backend_id().and_then(|id| backend(backends, id, sent.dst.is_v4()));
                let translated =
                    |Backend { addr, port }| Translation { backend: addr, backend_port: port, ..way(true) };
                return found.map_or(Answer::Lost, |found| Answer::Service(translated(found)));
            }
            if entry(maps, Kind::Out, sent).is_some() {
                return Answer::Plain(way(true));
            }
        }
        if opened_by_local != Some(true) {
            match entry(maps, Kind::In, &sent.reversed()) {
                // It asked for a service and was chosen as the backend itself.
                Some(found) if found.is_to_itself() => {
                    return Answer::Service(Translation { src: sent.src, ..way(false) });
                }
                Some(_) => return Answer::Plain(way(false)),
                None => {}
            }
        }
        Answer::Unknown
    }

    /// An address of the link stands for a pod that reaches itself through a service.
    fn may_have_sent(&self, client: Addr) -> bool {
        client.is_link_local()
    }

    fn trouble(&self) -> &str {
        &self.trouble
    }
}

/// The entry of a kind for a conversation. One that cannot be read is none: conntrack is asked then.
fn entry(opened: &Opened, kind: Kind, way: &OneWay) -> Option<Entry> {
    // In the order of the maps' names.
    let number = 2 * usize::from(!way.src.is_v4()) + usize::from(way.protocol != protocol::TCP);
    let map = opened.maps.get(number)?.as_ref()?;
    let (mut buffer, mut value) = ([0; KEY6_BYTES], [0; VALUE_BYTES]);
    let key = cilium_ct::key(kind, way, &mut buffer);
    let is_there = map.look_up(key, &mut value).ok()?;
    is_there.then(|| cilium_ct::parse(key, &value).ok()).flatten()
}

/// The backend with this id: while Cilium is being upgraded, two maps may know some.
fn backend(backends: &Backends, id: u32, is_v4: bool) -> Option<Backend> {
    let maps = &backends[usize::from(!is_v4)];
    maps.iter().flatten().find_map(|map| read_backend(map, id, is_v4))
}

fn read_backend(map: &PinnedMap, id: u32, is_v4: bool) -> Option<Backend> {
    let (mut buffer, mut value) = ([0; 4], [0; LARGEST_VALUE_BYTES]);
    let key = cilium_backend::key(id, map.info().key_bytes, &mut buffer).ok()?;
    let value = value.get_mut(..map.info().value_bytes)?;
    let is_there = map.look_up(key, value).ok()?;
    is_there.then(|| cilium_backend::parse(value, is_v4).ok()).flatten()
}
