//! Decodes the API server's JSON stream into a narrow view of pods.
//!
//! Of a pod of some 17 KB it stores a dozen fields. It skips annotations, managed fields, environments and the rest
//! without buffering them. The full types of `k8s-openapi` need 20 MB of heap for 110 pods, and its `WatchEvent` builds
//! a tree of the whole object first. It knows no connections; [`super::watch`] decides what an event means for the
//! watch, [`super::index`] what it means for addresses.
//!
//! Formats: the Kubernetes API conventions (`PodList`, watch events, `Status`) and the API reference of `Pod` v1.

mod object;
mod status;

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Status};
use serde::de::{DeserializeSeed, MapAccess};

use self::object::Metadata;
pub use self::object::Object;
use super::lenient::{self, Into, Lenient, Text, skip, value};
use crate::flow::{Addr, Cidr};

/// Size limit of a list after decompression. A node's list is 4 MB with 250 pods; 10,000 pods are 170 MB.
pub const LIST_MAX_BYTES: u64 = 256 << 20;
/// Size limit of an event. An object in etcd has at most 1.5 MiB by default; skipping costs no memory.
pub const EVENT_MAX_BYTES: u64 = 16 << 20;
/// Bytes per read from the connection.
const READ_BYTES: usize = 16 << 10;

/// The fields of a pod that decide who owns addresses and bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodView {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.ownerReferences[controller]`.
    pub controller: Option<OwnerReference>,
    /// Label `pod-template-hash`, which a Deployment puts into its ReplicaSets' names.
    pub template_hash: Option<String>,
    /// The uid that the kubelet uses for the cgroups of a static pod, where this is its mirror. A mirror's annotations
    /// `kubernetes.io/config.hash` and `config.mirror` agree, and its node controls it. The hash alone may be on any
    /// pod.
    pub static_uid: Option<String>,
    /// `spec.nodeName`.
    pub node_name: Option<String>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `status.phase` is `Succeeded` or `Failed`: the pod no longer owns its addresses.
    pub terminal: bool,
    /// The valid addresses of `status.podIP` and `status.podIPs`, without duplicates.
    pub addresses: Vec<Addr>,
    /// `status.hostIP`: the node's address, as its kubelet has it.
    pub host_ip: Option<Addr>,
    /// `status.startTime`, nanoseconds since the epoch.
    pub started_ns: Option<u64>,
    /// When the first of its containers was started, as far as `status` still says so: nothing was sent before.
    pub ran_ns: Option<u64>,
    /// Its containers are told of, and none was started: it has sent nothing yet.
    pub is_silent: bool,
    /// When the last of its containers ended, where none runs: nothing was sent a second later.
    pub ended_ns: Option<u64>,
}

/// The fields of a node that decide where its addresses and those of its pods lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// `metadata.name`.
    pub name: String,
    /// Label `topology.kubernetes.io/zone`; empty where there is none.
    pub zone: String,
    /// Label `topology.kubernetes.io/region`; empty where there is none.
    pub region: String,
    /// The valid ranges of `spec.podCIDR` and `spec.podCIDRs`, without duplicates.
    pub ranges: Vec<Cidr>,
    /// The valid addresses of type `InternalIP` in `status.addresses`.
    pub addresses: Vec<Addr>,
}

/// One line of a watch.
#[derive(Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one lives at a time, and not for long")]
pub enum Event<T = Option<PodView>> {
    /// `ADDED` or `MODIFIED`: the object as it is now; of a pod `None` if it is not usable.
    Changed {
        /// `metadata.resourceVersion`.
        version: Option<String>,
        object: T,
    },
    /// `DELETED`: the object's last state; a pod's addresses may already be cleared.
    Deleted {
        /// `metadata.resourceVersion`: that of the deletion.
        version: Option<String>,
        object: T,
    },
    /// `BOOKMARK`: there is no event up to this version.
    Bookmark {
        /// `metadata.resourceVersion`.
        version: Option<String>,
    },
    /// `ERROR`: the watch ends.
    Error(Status),
    /// Any other type.
    Unknown {
        /// `metadata.resourceVersion`.
        version: Option<String>,
    },
}

/// The metadata of a list.
#[derive(Debug, PartialEq)]
pub struct List {
    /// `metadata.resourceVersion`: the watch starts there.
    pub version: String,
    /// `metadata.continue`, if the list is incomplete.
    pub more: Option<String>,
}

/// Why a list or a watch could not be read to its end.
#[derive(Debug)]
pub enum ReadError {
    /// The connection failed, or an item or list was larger than allowed.
    Read(io::Error),
    /// The stream ended within an object.
    CutShort,
    /// Not JSON, or another object than requested.
    Unreadable(String),
}

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> ReadError {
        match error.classify() {
            serde_json::error::Category::Io => ReadError::Read(error.into()),
            serde_json::error::Category::Eof => ReadError::CutShort,
            _ => ReadError::Unreadable(error.to_string()),
        }
    }
}

/// Reads a list of pods. `each` gets the pods one by one, and `None` for an unusable item.
#[cfg(not(alone))]
pub fn read_list(mut reader: impl Read, mut each: impl FnMut(Option<PodView>)) -> Result<List, ReadError> {
    let kind = <k8s_openapi::api::core::v1::Pod as k8s_openapi::ListableResource>::LIST_KIND;
    read_objects(&mut reader, kind, &mut |object| each(object.into_pod()))
}

/// The reader of a stream. One type for all origins, so that the binary contains the decoder once.
type Source<'a> = BufReader<Capped<Box<dyn Read + 'a>>>;

fn source<'a>(reader: impl Read + 'a, budget: Rc<Cell<u64>>) -> Source<'a> {
    BufReader::with_capacity(READ_BYTES, Capped { reader: Box::new(reader), budget })
}

/// Reads a list of this kind, whose objects `each` gets one by one.
pub fn read_objects(reader: &mut dyn Read, kind: &str, each: &mut dyn FnMut(Object)) -> Result<List, ReadError> {
    let reader = source(reader, Rc::new(Cell::new(LIST_MAX_BYTES)));
    let mut json = serde_json::Deserializer::from_reader(reader);
    let mut list = ListBody { each, kind: Text::default(), metadata: Metadata::default() };
    Into(&mut list).deserialize(&mut json)?;
    // Reads to the end of the body, so that the connection can be reused.
    json.end()?;
    match list.kind.given() {
        Some(given) if given == kind => {}
        Some(given) => return Err(ReadError::Unreadable(format!("kind {given} instead of a list ({kind})"))),
        None => return Err(ReadError::Unreadable(format!("an object without kind instead of a list ({kind})"))),
    }
    match list.metadata.version.given() {
        Some(version) => Ok(List { version, more: list.metadata.more.given() }),
        None => Err(ReadError::Unreadable("a list without resourceVersion".to_owned())),
    }
}

/// Iterates over the events of a watch.
pub struct Events<'a> {
    json: serde_json::StreamDeserializer<'static, serde_json::de::IoRead<Source<'a>>, EventBody>,
    budget: Rc<Cell<u64>>,
}

impl<'a> Events<'a> {
    /// Reads from the body of a watch.
    pub fn new(reader: impl Read + 'a) -> Events<'a> {
        let budget = Rc::new(Cell::new(EVENT_MAX_BYTES));
        let json = serde_json::Deserializer::from_reader(source(reader, budget.clone())).into_iter();
        Events { json, budget }
    }

    /// Blocks until the next event is whole. `None`: the server ended the watch between two events.
    pub fn next_object(&mut self) -> Option<Result<Event<Object>, ReadError>> {
        self.budget.set(EVENT_MAX_BYTES);
        Some(self.json.next()?.map(EventBody::into_event).map_err(ReadError::from))
    }
}

/// Of a watch of pods.
impl Iterator for Events<'_> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_object()?.map(|event| match event {
            Event::Changed { version, object } => Event::Changed { version, object: object.into_pod() },
            Event::Deleted { version, object } => Event::Deleted { version, object: object.into_pod() },
            Event::Bookmark { version } => Event::Bookmark { version },
            Event::Error(status) => Event::Error(status),
            Event::Unknown { version } => Event::Unknown { version },
        }))
    }
}

/// Reads a `Status`, the form of the API server's own refusals. Anything else returns an empty one.
pub fn read_status(body: &[u8]) -> Status {
    let mut object = Object::default();
    let reader = source(body, Rc::new(Cell::new(EVENT_MAX_BYTES)));
    match Into(&mut object).deserialize(&mut serde_json::Deserializer::from_reader(reader)) {
        Ok(()) if object.kind.0.as_deref() == Some(Status::KIND) => object.into_status(),
        _ => Status::default(),
    }
}

/// Whether a `Status` reports a resource version from the server's future ("Too large resource version").
pub fn is_too_large(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    causes.into_iter().any(|cause| cause.reason.as_deref() == Some("ResourceVersionTooLarge"))
        || status.message.as_deref().is_some_and(|message| message.contains("Too large resource version"))
}

/// Passes on a limited number of bytes, exact to the size of one read.
struct Capped<R> {
    reader: R,
    budget: Rc<Cell<u64>>,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.budget.get();
        if left == 0 {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "an item or list larger than allowed"));
        }
        let read = self.reader.read(buffer)?;
        self.budget.set(left.saturating_sub(read as u64));
        Ok(read)
    }
}

struct ListBody<'a> {
    each: &'a mut dyn FnMut(Object),
    kind: Text,
    metadata: Metadata,
}

impl Lenient for ListBody<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "kind" => self.kind = value(map)?,
            "metadata" => self.metadata = value(map)?,
            "items" => lenient::each(map, |item: Object| (self.each)(item))?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// A watch event, whatever the order of its keys.
#[derive(Default)]
struct EventBody {
    kind: Text,
    object: Object,
}

impl Lenient for EventBody {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "type" => self.kind = value(map)?,
            "object" => self.object = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl<'de> serde::Deserialize<'de> for EventBody {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<EventBody, D::Error> {
        let mut event = EventBody::default();
        Into(&mut event).deserialize(deserializer)?;
        Ok(event)
    }
}

impl EventBody {
    fn into_event(self) -> Event<Object> {
        let EventBody { kind, mut object } = self;
        let version = object.metadata.version.0.take().filter(|version| !version.is_empty());
        match kind.0.as_deref() {
            Some("ADDED" | "MODIFIED") => Event::Changed { version, object },
            Some("DELETED") => Event::Deleted { version, object },
            Some("BOOKMARK") => Event::Bookmark { version },
            Some("ERROR") => Event::Error(object.into_status()),
            _ => Event::Unknown { version },
        }
    }
}

#[cfg(test)]
mod tests;
