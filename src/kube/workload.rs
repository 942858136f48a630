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
mod tests {
    use super::*;

    fn controlled(kind: &str, name: &str, hash: Option<&str>) -> Option<(String, String)> {
        let controller = OwnerReference { kind: kind.into(), name: name.into(), ..OwnerReference::default() };
        let pod =
            PodView { controller: Some(controller), template_hash: hash.map(str::to_owned), ..PodView::default() };
        workload(&pod).map(|workload| (workload.kind.into(), workload.name.into()))
    }

    fn is(kind: &str, name: &str) -> Option<(String, String)> {
        Some((kind.to_owned(), name.to_owned()))
    }

    #[test]
    fn a_deployment_is_found_through_its_replica_set() {
        assert_eq!(controlled("ReplicaSet", "web-7d4b9c6f58", Some("7d4b9c6f58")), is("Deployment", "web"));
        assert_eq!(controlled("ReplicaSet", "my-web-app-abc", Some("abc")), is("Deployment", "my-web-app"));
    }

    #[test]
    fn a_replica_set_of_its_own_is_not_taken_for_a_deployments() {
        assert_eq!(controlled("ReplicaSet", "web-7d4b9c6f58", None), is("ReplicaSet", "web-7d4b9c6f58"));
        assert_eq!(controlled("ReplicaSet", "web-7d4b9c6f58", Some("other")), is("ReplicaSet", "web-7d4b9c6f58"));
        assert_eq!(controlled("ReplicaSet", "abc", Some("abc")), is("ReplicaSet", "abc"));
    }

    #[test]
    fn a_cron_job_is_found_through_its_jobs_minutes() {
        assert_eq!(controlled("Job", "backup-29925720", None), is("CronJob", "backup"));
        for job in ["backup", "backup-20261124", "backup-1", "backup-2992572x", "-29925720", "backup-299257200"] {
            assert_eq!(controlled("Job", job, None), is("Job", job));
        }
    }

    #[test]
    fn others_are_named_as_they_are() {
        assert_eq!(controlled("StatefulSet", "db", None), is("StatefulSet", "db"));
        assert_eq!(controlled("DaemonSet", "agent", None), is("DaemonSet", "agent"));
        assert_eq!(controlled("Rollout", "canary", None), is("Rollout", "canary"));
        assert_eq!(controlled("Node", "n1", None), None);
        assert_eq!(workload(&PodView::default()), None);
    }
}
