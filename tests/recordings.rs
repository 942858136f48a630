//! What conntrack wrote in networks that clusters have gives, when it is played, the rows that the agent showed when it
//! was recorded. The lab judged those by what nft counted in the pods' own namespaces (`tests/lab/scenario/networks`).

#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

const NETMON: &str = env!("CARGO_BIN_EXE_zxporter-netmon");

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/recordings").join(name)
}

/// The rows of a recording, as the lab writes them.
fn played(name: &str) -> BTreeSet<String> {
    let mut command = Command::new(NETMON);
    command.args(["replay", "-format", "json", "-standalone", "-local-cidrs", "10.244.1.0/24,fd00:244:1::/64"]);
    // The port of the VXLAN, which an agent reads from its link.
    command.args(["-dns", "off", "-overlay-ports", "5000"]).arg(file(&format!("{name}.recording")));
    let done = command.env_remove("KUBECONFIG").output().expect("it starts");
    let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{name}: {error}: {done:?}"));
    let items = said["items"].as_array().unwrap_or_else(|| panic!("{name}: {said}"));
    let rows = items.iter().filter(|item| item["class"] != "overlay" && item["class"] != "multicast").map(|item| {
        let text = |key: &str| item[key].as_str().unwrap_or_else(|| panic!("{key}: {item}"));
        let number = |key: &str| item[key].as_u64().unwrap_or_else(|| panic!("{key}: {item}"));
        format!(
            "{} {} {} {} {} tx {} {} rx {} {}",
            text("direction"),
            text("src_ip"),
            text("dst_ip"),
            number("protocol"),
            number("dst_port"),
            number("total_tx_bytes"),
            number("total_tx_packets"),
            number("total_rx_bytes"),
            number("total_rx_packets")
        )
    });
    rows.collect()
}

#[test]
fn recordings_of_five_networks_play_to_the_rows_that_were_judged() {
    for (name, least) in [("routed", 8), ("bridge_tracked", 8), ("bridge", 4), ("vxlan", 8), ("sandbox", 3)] {
        let rows = std::fs::read_to_string(file(&format!("{name}.rows"))).expect("rows");
        let want: BTreeSet<String> = rows.lines().map(str::to_owned).collect();
        assert!(want.len() >= least, "{name}: {want:#?}");
        assert_eq!(played(name), want, "{name}");
    }
}
