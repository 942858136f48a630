//! The fields of an object that are stored: those of a pod, and those of a `Status`.

use std::net::IpAddr;

use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Status, StatusCause, StatusDetails};
use serde::de::MapAccess;

use super::PodView;
use crate::flow::Addr;
use crate::kube::lenient::{self, Flag, Lenient, Number, Text, skip, value};
use crate::kube::time::rfc3339_ns;

/// Addresses of a pod that are stored. Dual stack needs two; further ones are ignored.
const ADDRESSES_MAX: usize = 8;
/// Causes in a `Status` that are stored; one is looked for.
const CAUSES_MAX: usize = 8;

/// An object of a list or an event: a pod or a `Status`.
#[derive(Default)]
pub(super) struct Object {
    pub(super) kind: Text,
    pub(super) metadata: Metadata,
    spec: Spec,
    /// An object in a pod, a word in a `Status`.
    status: PodStatus,
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
    pub(super) fn into_pod(self) -> Option<PodView> {
        let Object { kind, metadata, spec, status, .. } = self;
        // Items of a list have no kind.
        if kind.given().is_some_and(|kind| kind != k8s_openapi::api::core::v1::Pod::KIND) {
            return None;
        }
        Some(PodView {
            uid: metadata.uid.given()?,
            namespace: metadata.namespace.given()?,
            name: metadata.name.given()?,
            controller: metadata.controller,
            template_hash: metadata.template_hash.given(),
            config_hash: metadata.config_hash.given(),
            node_name: spec.node_name.given(),
            host_network: spec.host_network.0,
            terminal: matches!(status.phase.0.as_deref(), Some("Succeeded" | "Failed")),
            started_ns: status.start_time.0.as_deref().and_then(rfc3339_ns),
            addresses: status.into_addresses(),
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

#[derive(Default)]
pub(super) struct Metadata {
    name: Text,
    namespace: Text,
    uid: Text,
    pub(super) version: Text,
    pub(super) more: Text,
    controller: Option<OwnerReference>,
    template_hash: Text,
    config_hash: Text,
}

impl Lenient for Metadata {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => self.name = value(map)?,
            "namespace" => self.namespace = value(map)?,
            "uid" => self.uid = value(map)?,
            "resourceVersion" => self.version = value(map)?,
            "continue" => self.more = value(map)?,
            "labels" => self.template_hash = value::<Labels, A>(map)?.template_hash,
            "annotations" => self.config_hash = value::<Annotations, A>(map)?.config_hash,
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

#[derive(Default)]
struct Labels {
    template_hash: Text,
}

impl Lenient for Labels {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "pod-template-hash" => self.template_hash = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Annotations {
    config_hash: Text,
}

impl Lenient for Annotations {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "kubernetes.io/config.hash" => self.config_hash = value(map)?,
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

#[derive(Default)]
struct Spec {
    node_name: Text,
    host_network: Flag,
}

impl Lenient for Spec {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "nodeName" => self.node_name = value(map)?,
            "hostNetwork" => self.host_network = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct PodStatus {
    phase: Text,
    start_time: Text,
    pod_ip: Text,
    pod_ips: Vec<Addr>,
}

impl Lenient for PodStatus {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "phase" => self.phase = value(map)?,
            "startTime" => self.start_time = value(map)?,
            "podIP" => self.pod_ip = value(map)?,
            "podIPs" => {
                self.pod_ips.clear();
                lenient::each(map, |pod_ip: PodIp| push_address(&mut self.pod_ips, &pod_ip.ip))?;
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

impl PodStatus {
    fn into_addresses(mut self) -> Vec<Addr> {
        push_address(&mut self.pod_ips, &self.pod_ip);
        self.pod_ips
    }
}

fn push_address(addresses: &mut Vec<Addr>, text: &Text) {
    let parsed = text.0.as_deref().and_then(|text| text.parse::<IpAddr>().ok()).map(Addr::from);
    if let Some(addr) = parsed.filter(|addr| !addr.is_unspecified() && !addr.is_loopback())
        && addresses.len() < ADDRESSES_MAX
        && !addresses.contains(&addr)
    {
        addresses.push(addr);
    }
}

#[derive(Default)]
struct PodIp {
    ip: Text,
}

impl Lenient for PodIp {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "ip" => self.ip = value(map)?,
            _ => skip(map)?,
        }
        Ok(())
    }
}

/// Of a `Status`.
#[derive(Default)]
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
