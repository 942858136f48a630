//! What controls a pod, from the pod alone: its controller reference and the names that the controllers make.
//!
//! No request is spent on it. Where a name cannot be shown to be made by a rule, the controller itself is named.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::decode::PodView;
use crate::owner::Workload;

/// Minutes since the epoch that a CronJob can have put into a Job's name: 2015, before there were any, to 2084.
/// A date such as `20261124` lies before them.
const CRON_MINUTES: std::ops::RangeInclusive<u64> = 23_668_000..=60_000_000;

/// What controls the pod; none for a pod of its own.
pub fn workload(pod: &PodView) -> Option<Workload> {
    let OwnerReference { kind, name, .. } = pod.controller.as_ref()?;
    let (kind, name) = match kind.as_str() {
        // A ReplicaSet of a Deployment is called `<deployment>-<pod-template-hash>`, and its pods bear the hash as a
        // label. One made by hand has no such label.
        "ReplicaSet" => match deployment(name, pod.template_hash.as_deref()) {
            Some(deployment) => ("Deployment", deployment),
            None => ("ReplicaSet", name.as_str()),
        },
        // A Job of a CronJob is called `<cronjob>-<minutes since the epoch at which it was due>`.
        "Job" => match cron_job(name) {
            Some(cron_job) => ("CronJob", cron_job),
            None => ("Job", name.as_str()),
        },
        // The kubelet's mirrors of static pods are controlled by the node: no workload.
        "Node" => return None,
        kind => (kind, name.as_str()),
    };
    Some(Workload { kind: kind.into(), name: name.into() })
}

fn deployment<'a>(replica_set: &'a str, hash: Option<&str>) -> Option<&'a str> {
    replica_set.strip_suffix(hash?)?.strip_suffix('-').filter(|name| !name.is_empty())
}

fn cron_job(job: &str) -> Option<&str> {
    let (name, minutes) = job.rsplit_once('-')?;
    let due = minutes.len() == 8 && minutes.bytes().all(|b| b.is_ascii_digit());
    (due && !name.is_empty() && minutes.parse().is_ok_and(|minutes: u64| CRON_MINUTES.contains(&minutes)))
        .then_some(name)
}

#[cfg(test)]
mod tests;
