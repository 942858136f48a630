//! Services: what kube-proxy and the port map translate.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::judge::{Expected, TCP, UDP};
use crate::kube::{Namespace, Pod, eventually, run, translated};
use crate::node::{Before, Cluster, NODE, WORLD, WORLD_V6};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a literal")
}

/// A client and a server that listens, in a namespace of their own.
fn pair(cluster: &Cluster, name: &str, listen: &str) -> Result<(Namespace, Before, Pod, Pod), String> {
    let (namespace, before) = cluster.case(name)?;
    let [client, server] = namespace.pods(["client", "server"])?;
    server.tell(&format!("listen {listen}"))?;
    Ok((namespace, before, client, server))
}

fn address_of(service: &Value) -> Result<&str, String> {
    service["spec"]["clusterIP"].as_str().ok_or_else(|| format!("no ClusterIP: {service}"))
}

/// A name of CoreDNS, a ClusterIP, another port behind it.
pub fn cluster_ip(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before, client, server) = pair(cluster, "cluster-ip", "tcp 9100")?;
    namespace.service("web", "server", json!([{"port": 80, "targetPort": 9100}]), Value::Null)?;
    client.tell_until(&format!("tcp web.{}.svc.cluster.local 80 40000 900000", namespace.name))?;
    let mut rows = Expected::between(&client, &server, (TCP, 9100));
    rows.push(Expected::outbound(&client.owner, client.v4, cluster.dns()?, (UDP, 53)));
    cluster.judge(&namespace, &before, &rows)
}

/// Datagrams through a service.
pub fn udp_service(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before, client, server) = pair(cluster, "udp-service", "udp 9110")?;
    let ports = json!([{"port": 5300, "targetPort": 9110, "protocol": "UDP"}]);
    let service = namespace.service("ask", "server", ports, Value::Null)?;
    client.tell_until(&format!("udp {} 5300 300 1000 50", address_of(&service)?))?;
    cluster.judge(&namespace, &before, &Expected::between(&client, &server, (UDP, 9110)))
}

/// A NodePort of either policy, asked by a pod and from beyond the node.
pub fn node_port(cluster: &Cluster) -> Result<(), String> {
    for policy in ["Cluster", "Local"] {
        let name = format!("node-port-{}", policy.to_lowercase());
        let (namespace, before, client, server) = pair(cluster, &name, "tcp 9120")?;
        let more = json!({"type": "NodePort", "externalTrafficPolicy": policy});
        let service = namespace.service("web", "server", json!([{"port": 80, "targetPort": 9120}]), more)?;
        let port = service["spec"]["ports"][0]["nodePort"].as_u64().ok_or("no NodePort")?;
        client.tell_until(&format!("tcp {NODE} {port} 15000 200000"))?;
        cluster.world_sends(&format!("tcp {NODE} {port} 25000 310000"))?;
        let mut rows = Expected::between(&client, &server, (TCP, 9120));
        rows.push(Expected::inbound(&server.owner, server.v4, ip(WORLD), (TCP, 9120)).outside());
        cluster.judge(&namespace, &before, &rows)?;
    }
    Ok(())
}

/// An address that a cloud's balancer has, and hands to the node as it came, with either policy.
pub fn load_balancer(cluster: &Cluster) -> Result<(), String> {
    for (policy, address) in [("Cluster", "192.0.2.20"), ("Local", "192.0.2.21")] {
        let name = format!("balancer-{}", policy.to_lowercase());
        let (namespace, before, client, server) = pair(cluster, &name, "tcp 9220")?;
        let more = json!({"type": "LoadBalancer", "externalTrafficPolicy": policy});
        namespace.service("web", "server", json!([{"port": 80, "targetPort": 9220}]), more)?;
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}).to_string();
        let patch =
            ["-n", &namespace.name, "patch", "service", "web", "--subresource=status", "--type=merge", "-p", &status];
        run("kubectl", &patch)?;
        translated(address)?;
        client.tell_until(&format!("tcp {address} 80 14000 180000"))?;
        cluster.world_sends(&format!("tcp {address} 80 23000 270000"))?;
        let mut rows = Expected::between(&client, &server, (TCP, 9220));
        rows.push(Expected::inbound(&server.owner, server.v4, ip(WORLD), (TCP, 9220)).outside());
        cluster.judge(&namespace, &before, &rows)?;
    }
    Ok(())
}

/// An address that is nobody's, routed to the node.
pub fn external_ip(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before, client, server) = pair(cluster, "external-ip", "tcp 9130")?;
    let more = json!({"externalIPs": ["192.0.2.10"]});
    namespace.service("web", "server", json!([{"port": 80, "targetPort": 9130}]), more)?;
    client.tell_until("tcp 192.0.2.10 80 9000 120000")?;
    cluster.world_sends("tcp 192.0.2.10 80 7000 90000")?;
    let mut rows = Expected::between(&client, &server, (TCP, 9130));
    rows.push(Expected::inbound(&server.owner, server.v4, ip(WORLD), (TCP, 9130)).outside());
    cluster.judge(&namespace, &before, &rows)
}

/// A port of the node that is one pod's.
pub fn host_port(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("host-port")?;
    let mut pod = namespace.pod("server");
    pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 9140, "hostPort": 18080}]);
    let [server, client] = namespace.start([pod, namespace.pod("client")])?;
    server.tell("listen tcp 9140")?;
    client.tell_until(&format!("tcp {NODE} 18080 9000 120000"))?;
    cluster.world_sends(&format!("tcp {NODE} 18080 7000 90000"))?;
    let mut rows = Expected::between(&client, &server, (TCP, 9140));
    rows.push(Expected::inbound(&server.owner, server.v4, ip(WORLD), (TCP, 9140)).outside());
    cluster.judge(&namespace, &before, &rows)
}

/// Two backends, of which a client always gets the same.
pub fn session_affinity(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("affinity")?;
    let [client, one, two] = namespace.pods(["client", "one", "two"])?;
    for server in [&one, &two] {
        server.tell("listen tcp 9150")?;
        let label = ["-n", &namespace.name, "label", "pod", server.name(), "app=both", "--overwrite"];
        run("kubectl", &label)?;
    }
    let more = json!({"sessionAffinity": "ClientIP"});
    let service = namespace.service("web", "both", json!([{"port": 80, "targetPort": 9150}]), more)?;
    eventually("both are endpoints", std::time::Duration::from_secs(20), || {
        let slices = namespace.list("endpointslices")?;
        let count: usize = slices.iter().map(|s| s["endpoints"].as_array().map_or(0, Vec::len)).sum();
        if count == 2 { Ok(()) } else { Err(format!("{count} endpoints")) }
    })?;
    for _ in 0..8 {
        client.tell_until(&format!("tcp {} 80 2000 30000", address_of(&service)?))?;
    }
    let rows: Vec<Vec<Expected>> = [&one, &two].map(|server| Expected::between(&client, server, (TCP, 9150))).into();
    let asked: Vec<Vec<Expected>> =
        rows.into_iter().filter(|rows| cluster.carried(&before, rows).is_ok_and(|carried| carried)).collect();
    if asked.len() != 1 {
        return Err(format!("{} backends were asked", asked.len()));
    }
    cluster.judge(&namespace, &before, &asked.concat())
}

/// A name that stands for the pod itself.
pub fn headless(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before, client, server) = pair(cluster, "headless", "tcp 9160")?;
    namespace.service("web", "server", json!([{"port": 9160}]), json!({"clusterIP": "None"}))?;
    client.tell_until(&format!("tcp web.{}.svc.cluster.local 9160 11000 140000", namespace.name))?;
    let mut rows = Expected::between(&client, &server, (TCP, 9160));
    rows.push(Expected::outbound(&client.owner, client.v4, cluster.dns()?, (UDP, 53)));
    cluster.judge(&namespace, &before, &rows)
}

/// From a pod to the world, with the node's address on the wire: the row has the pod's.
pub fn masquerade(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("masquerade")?;
    let [client] = namespace.pods(["client"])?;
    let world = cluster.world_actor()?;
    world.tell("listen tcp 9170")?;
    client.tell_until(&format!("tcp {WORLD} 9170 30000 400000"))?;
    client.tell_until(&format!("tcp {WORLD_V6} 9170 3000 40000"))?;
    let rows = [
        Expected::outbound(&client.owner, client.v4, ip(WORLD), (TCP, 9170)).outside(),
        Expected::outbound(&client.owner, client.v6()?, ip(WORLD_V6), (TCP, 9170)).outside(),
    ];
    cluster.judge(&namespace, &before, &rows)
}

/// Both families: pods directly, and a service with an address of each.
pub fn dual_stack(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before, client, server) = pair(cluster, "dual-stack", "tcp 9180")?;
    let more = json!({"ipFamilyPolicy": "RequireDualStack"});
    let service = namespace.service("web", "server", json!([{"port": 80, "targetPort": 9180}]), more)?;
    client.tell(&format!("tcp {} 9180 5000 60000", server.v6()?))?;
    for address in service["spec"]["clusterIPs"].as_array().into_iter().flatten() {
        client.tell_until(&format!("tcp {} 80 6000 70000", address.as_str().unwrap_or_default()))?;
    }
    let mut rows = Expected::between(&client, &server, (TCP, 9180));
    rows.push(Expected::outbound(&client.owner, client.v6()?, server.v6()?, (TCP, 9180)));
    rows.push(Expected::inbound(&server.owner, server.v6()?, client.v6()?, (TCP, 9180)));
    cluster.judge(&namespace, &before, &rows)
}

/// A pod that asks a service and is answered by itself.
pub fn hairpin(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before, _, server) = pair(cluster, "hairpin", "tcp 9190")?;
    let service = namespace.service("web", "server", json!([{"port": 80, "targetPort": 9190}]), Value::Null)?;
    server.tell_until(&format!("tcp {} 80 12000 150000", address_of(&service)?))?;
    cluster.judge(&namespace, &before, &Expected::between(&server, &server, (TCP, 9190)))
}

/// A service whose pod is on the node's network.
pub fn host_network_backend(cluster: &Cluster) -> Result<(), String> {
    let (namespace, before) = cluster.case("host-backend")?;
    let mut pod = namespace.pod("server");
    pod["spec"]["hostNetwork"] = json!(true);
    let [server, client] = namespace.start([pod, namespace.pod("client")])?;
    server.tell("listen tcp 9200")?;
    let service = namespace.service("web", "server", json!([{"port": 80, "targetPort": 9200}]), Value::Null)?;
    client.tell_until(&format!("tcp {} 80 13000 160000", address_of(&service)?))?;
    cluster.judge(&namespace, &before, &Expected::between(&client, &server, (TCP, 9200)))
}

/// The services again, translated by nftables.
pub fn proxy_nftables(cluster: &Cluster) -> Result<(), String> {
    let switch = |mode: &str| {
        cluster.part(&["stop", "kube-proxy"])?;
        cluster.part(&["proxy", mode])?;
        cluster.part(&["start", "kube-proxy"])
    };
    switch("nftables")?;
    let cases = [
        ("cluster_ip", cluster_ip as fn(&Cluster) -> Result<(), String>),
        ("udp_service", udp_service),
        ("node_port", node_port),
        ("load_balancer", load_balancer),
        ("external_ip", external_ip),
        ("session_affinity", session_affinity),
        ("dual_stack", dual_stack),
        ("hairpin", hairpin),
        ("host_network_backend", host_network_backend),
    ];
    let judged = cases.into_iter().try_for_each(|(name, case)| case(cluster).map_err(|e| format!("{name}: {e}")));
    switch("iptables").and(judged)
}
