//! The fields of an object that are stored: those of a pod, of a node, and of a `Status`. [`status`](super::status) has
//! those of its status.

use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Status, StatusCause, StatusDetails};
use serde::de::MapAccess;

use super::status::{ADDRESSES_MAX, Containers, ObjectStatus, address};
use super::{NodeView, PodView};
use crate::flow::Cidr;
use crate::kube::lenient::{self, Flag, Lenient, Number, Text, skip, value};
use crate::kube::time::rfc3339_ns;
use crate::topology::lines::range_of;

/// Causes in a `Status` that are stored; one is looked for.
const CAUSES_MAX: usize = 8;

/// An object of a list or an event: a pod, a node or a `Status`.
#[derive(Debug, Default)]
pub struct Object {
    pub(super) kind: Text,
    pub(super) metadata: Metadata,
    spec: Spec,
    /// An object in a pod or node, a word in a `Status`.
    status: ObjectStatus,
    code: Number,
    reason: Text,
    message: Text,
    details: Details,
}

impl Lenient for Object {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "kind" => self.kind = value(map)?,
            "metadata" => self.metadata = value(map)?,
            "spec" => self.spec = value(map)?,
            "status" => self.status = value(map)?,
            "code" => self.code = value(map)?,
            "reason" => self.reason = value(map)?,
            "message" => self.message = value(map)?,
            "details" => self.details = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl Object {
    /// Returns the pod; `None` if name or uid is missing, or if `kind` is another one.
    pub fn into_pod(self) -> Option<PodView> {
        let Object { kind, metadata, spec, status, .. } = self;
        // Items of a list have no kind.
        if kind.given().is_some_and(|kind| kind != k8s_openapi::api::core::v1::Pod::KIND) {
            return None;
        }
        let static_uid = metadata.static_uid(spec.node_name.0.as_deref());
        let Containers { ran_ns, ended_ns, some_run, some_told } = status.containers;
        Some(PodView {
            uid: metadata.uid.given()?,
            namespace: metadata.namespace.given()?,
            name: metadata.name.given()?,
            controller: metadata.controller,
            template_hash: metadata.labels.template_hash.given(),
            static_uid,
            node_name: spec.node_name.given(),
            host_network: spec.host_network.0,
            terminal: matches!(status.phase.0.as_deref(), Some("Succeeded" | "Failed")),
            started_ns: status.start_time.0.as_deref().and_then(rfc3339_ns),
            host_ip: address(&status.host_ip),
            ran_ns,
            is_silent: some_told && ran_ns.is_none(),
            ended_ns: ended_ns.filter(|_| !some_run),
            addresses: status.into_addresses(),
        })
    }

    /// Returns the node; `None` if its name is missing, or if `kind` is another one.
    pub fn into_node(self) -> Option<NodeView> {
        let Object { kind, metadata, spec, status, .. } = self;
        if kind.given().is_some_and(|kind| kind != Node::KIND) {
            return None;
        }
        Some(NodeView {
            name: metadata.name.given()?,
            zone: metadata.labels.zone.given().unwrap_or_default(),
            region: metadata.labels.region.given().unwrap_or_default(),
            ranges: spec.into_ranges(),
            addresses: status.node_addresses,
        })
    }

    pub(super) fn into_status(self) -> Status {
        let causes = Some(self.details.causes).filter(|causes| !causes.is_empty());
        Status {
            code: self.code.0.and_then(|code| i32::try_from(code).ok()),
            reason: self.reason.0,
            message: self.message.0,
            details: Some(StatusDetails {
                causes,
                retry_after_seconds: self.details.retry_after.0.and_then(|seconds| i32::try_from(seconds).ok()),
                ..StatusDetails::default()
            }),
            ..Status::default()
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Metadata {
    name: Text,
    namespace: Text,
    uid: Text,
    pub(super) version: Text,
    pub(super) more: Text,
    controller: Option<OwnerReference>,
    labels: Labels,
    annotations: Annotations,
}

impl Metadata {
    /// See [`PodView::static_uid`]. Source: Kubernetes `pkg/kubelet/pod/mirror_client.go`.
    fn static_uid(&self, node_name: Option<&str>) -> Option<String> {
        let Annotations { hash, mirror } = &self.annotations;
        let of_node = |owner: &OwnerReference| owner.kind == "Node" && Some(owner.name.as_str()) == node_name;
        let is_mirror = mirror.0 == hash.0 && self.controller.as_ref().is_some_and(of_node);
        hash.0.clone().filter(|hash| is_mirror && !hash.is_empty())
    }
}

impl Lenient for Metadata {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => self.name = value(map)?,
            "namespace" => self.namespace = value(map)?,
            "uid" => self.uid = value(map)?,
            "resourceVersion" => self.version = value(map)?,
            "continue" => self.more = value(map)?,
            "labels" => self.labels = value(map)?,
            "annotations" => self.annotations = value(map)?,
            "ownerReferences" => {
                self.controller = None;
                lenient::each(map, |owner: Owner| {
                    if owner.controller.0 && self.controller.is_none() {
                        self.controller = owner.into_reference();
                    }
                })?;
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Labels {
    template_hash: Text,
    zone: Text,
    region: Text,
}

impl Lenient for Labels {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "pod-template-hash" => self.template_hash = value(map)?,
            "topology.kubernetes.io/zone" => self.zone = value(map)?,
            "topology.kubernetes.io/region" => self.region = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Annotations {
    hash: Text,
    mirror: Text,
}

impl Lenient for Annotations {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "kubernetes.io/config.hash" => self.hash = value(map)?,
            "kubernetes.io/config.mirror" => self.mirror = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Owner {
    api_version: Text,
    kind: Text,
    name: Text,
    uid: Text,
    controller: Flag,
}

impl Lenient for Owner {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "apiVersion" => self.api_version = value(map)?,
            "kind" => self.kind = value(map)?,
            "name" => self.name = value(map)?,
            "uid" => self.uid = value(map)?,
            "controller" => self.controller = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl Owner {
    fn into_reference(self) -> Option<OwnerReference> {
        Some(OwnerReference {
            api_version: self.api_version.0.unwrap_or_default(),
            kind: self.kind.given()?,
            name: self.name.given()?,
            uid: self.uid.0.unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        })
    }
}

#[derive(Debug, Default)]
struct Spec {
    node_name: Text,
    host_network: Flag,
    range: Text,
    ranges: Vec<Cidr>,
}

impl Lenient for Spec {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "nodeName" => self.node_name = value(map)?,
            "hostNetwork" => self.host_network = value(map)?,
            "podCIDR" => self.range = value(map)?,
            "podCIDRs" => {
                self.ranges.clear();
                lenient::each(map, |range: Text| push_range(&mut self.ranges, &range))?;
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl Spec {
    fn into_ranges(mut self) -> Vec<Cidr> {
        push_range(&mut self.ranges, &self.range);
        self.ranges
    }
}

fn push_range(ranges: &mut Vec<Cidr>, text: &Text) {
    let parsed = text.0.as_deref().and_then(|text| range_of(text).ok());
    if let Some(range) = parsed.filter(|range| !ranges.contains(range))
        && ranges.len() < ADDRESSES_MAX
    {
        ranges.push(range);
    }
}

/// Of a `Status`.
#[derive(Debug, Default)]
struct Details {
    causes: Vec<StatusCause>,
    retry_after: Number,
}

impl Lenient for Details {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "retryAfterSeconds" => self.retry_after = value(map)?,
            "causes" => {
                self.causes.clear();
                lenient::each(map, |cause: Cause| {
                    if self.causes.len() < CAUSES_MAX {
                        let (reason, message) = (cause.reason.0, cause.message.0);
                        self.causes.push(StatusCause { reason, message, ..StatusCause::default() });
                    }
                })?;
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Cause {
    reason: Text,
    message: Text,
}

impl Lenient for Cause {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "reason" => self.reason = value(map)?,
            "message" => self.message = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}
