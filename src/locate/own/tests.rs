use super::*;

fn told(text: &str) -> (String, String) {
    let Own { zone, region } = labels(text.as_bytes());
    (zone, region)
}

#[test]
fn labels_of_a_node() {
    let both = r#"{"kind":"Node","metadata":{"name":"n","labels":{"topology.kubernetes.io/zone":"a1","failure-domain.beta.kubernetes.io/zone":"old","topology.kubernetes.io/region":"a","x":"y"}},"spec":{}}"#;
    assert_eq!(told(both), ("a1".to_owned(), "a".to_owned()));
    let old = r#"{"metadata":{"labels":{"failure-domain.beta.kubernetes.io/region":"r"}}}"#;
    assert_eq!(told(old), (String::new(), "r".to_owned()));
    for none in ["", "{}", "[]", r#"{"metadata":{}}"#, r#"{"metadata":{"labels":{}}}"#] {
        assert_eq!(told(none), (String::new(), String::new()), "{none}");
    }
}
