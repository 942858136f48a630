use super::*;

fn env(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    move |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

#[test]
fn the_cluster_is_found_by_its_environment() {
    let endpoint = |pairs| in_cluster(&env(pairs), Path::new("/sa")).map(|found| found.map(|found| found.url));
    assert_eq!(endpoint(&[]), Ok(None));
    assert_eq!(
        endpoint(&[("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "6443")]),
        Ok(Some("https://10.96.0.1:6443".to_owned()))
    );
    for host in ["fd00::1", "[fd00::1]"] {
        let pairs: &'static [(&str, &str)] = vec![("KUBERNETES_SERVICE_HOST", host)].leak();
        assert_eq!(endpoint(pairs), Ok(Some("https://[fd00::1]:443".to_owned())));
    }
    assert_eq!(
        endpoint(&[("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")]),
        Ok(Some("https://kubernetes.default.svc:443".to_owned()))
    );
    assert!(endpoint(&[("KUBERNETES_SERVICE_HOST", "a b")]).is_err());
    assert!(endpoint(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "x")]).is_err());
}

#[test]
fn nowhere_says_the_way_out() {
    let error = discover(None, &env(&[("HOME", "/nonexistent")])).expect_err("nothing is there").to_string();
    assert!(error.contains("-metrics-kubeconfig") && error.contains("-standalone"), "{error}");
}
