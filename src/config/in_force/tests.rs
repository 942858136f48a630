use std::ffi::OsString;

use super::*;
use crate::config::{Command, parse};

fn lines_of(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let variable = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
    match parse(arguments.iter().map(OsString::from), variable, Some("host".into())) {
        Ok(Command::Run(config)) => lines(&config.given),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_setting_says_where_it_comes_from_and_nothing_secret_is_shown() {
    let text = lines_of(
        &["-standalone", "-read-interval=1s", "-read-interval", "2s"],
        &[("DAKR_URL", "https://user:password@dakr.example.com/x"), ("CLUSTER_TOKEN", "sesame"), ("NODE_NAME", "n")],
    );
    let line = |name: &str| text.lines().find(|line| line.split('\t').next() == Some(name)).expect(name).to_owned();
    assert_eq!(line("-standalone"), "-standalone\ttrue\tflag");
    assert_eq!(line("-read-interval"), "-read-interval\t2s\tflag", "the last of several");
    assert_eq!(line("-cleanup-interval"), "-cleanup-interval\t60s\tdefault");
    assert_eq!(line("NODE_NAME"), "NODE_NAME\tn\tenvironment");
    assert_eq!(line("CLUSTER_TOKEN"), "CLUSTER_TOKEN\t(not shown)\tenvironment");
    assert_eq!(line("DAKR_URL"), "DAKR_URL\t(not shown)\tenvironment", "it may hold a password");
    assert!(!text.contains("sesame") && !text.contains("password"), "{text}");
    assert_eq!(text.lines().count(), SETTINGS.len());
    assert!(lines(&[]).contains("CLUSTER_TOKEN\tnone\tdefault"));
}
