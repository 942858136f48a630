//! Many connections, under the limits that the chart sets.

use std::fs;

use crate::judge::{Expected, TCP};
use crate::kube::run;
use crate::node::Cluster;

use super::life::undisturbed;

/// A thousand connections a second for twenty seconds: all of them arrive, and no probe fails.
pub fn thousand_a_second(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("thousand")?;
    let [client, server] = namespace.pods(["client", "server"])?;
    server.tell("listen tcp 9240")?;
    let spec = &cluster.product()?["spec"]["containers"][0]["resources"]["limits"];
    let (processor, memory) = (spec["cpu"].as_str().unwrap_or("no"), spec["memory"].as_str().unwrap_or("no"));
    println!("    limits: {processor} processor, {memory} of memory");
    if (processor, memory) != ("100m", "128Mi") {
        return Err("the limits are not the chart's".into());
    }
    let spent_ms = processor_ms()?;
    undisturbed(cluster, || {
        let rate = client.tell(&format!("many {} 9240 200 1000 20000 1000", server.v4))?;
        println!("    {rate} connections a second");
        let rows = Expected::between(&client, &server, (TCP, 9240));
        cluster.judge(&namespace, &before, &rows)
    })?;
    println!("    {} ms of processor; {}", processor_ms()? - spent_ms, memory_of()?);
    Ok(())
}

fn process() -> Result<String, String> {
    Ok(run("pgrep", &["-x", "zxporter-netmon"])?.trim().to_owned())
}

/// User and system time so far.
fn processor_ms() -> Result<u64, String> {
    let path = format!("/proc/{}/stat", process()?);
    let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<u64>().ok()).ok_or(format!("{path}: {text}"));
    Ok((ticks(11)? + ticks(12)?) * 10)
}

fn memory_of() -> Result<String, String> {
    let path = format!("/proc/{}/status", process()?);
    let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let lines = text.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS"));
    Ok(lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", "))
}
