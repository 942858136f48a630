use super::*;

fn controlled(kind: &str, name: &str, hash: Option<&str>) -> Option<(String, String)> {
    let controller = OwnerReference { kind: kind.into(), name: name.into(), ..OwnerReference::default() };
    let pod = PodView { controller: Some(controller), template_hash: hash.map(str::to_owned), ..PodView::default() };
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
