//! Service addresses, forwarding, tunnels: what a node does to packets on their way.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use netmon::flow::{Addr, Counts, Ends, Traffic, TxRx, protocol};
use netmon::source::ebpf::Settings;
use netmon::source::translation::{Answer, Services, Translation};
use netmon::wire::conntrack::OneWay;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::UdpGsoSegment;

use crate::bench::*;

const C4: &str = "10.77.1.2";
const SERVICE: &str = "10.96.0.10";

/// A client `a` behind node `b`, a server `c` behind it on another device; the node translates the service's address,
/// and masquerades what it sends itself.
struct Node {
    bench: Bench,
    c: String,
}

impl Node {
    fn new() -> Node {
        let bench = Bench::new();
        let (a, b, c) = (bench.a.clone(), bench.b.clone(), bench.a.replace("-a", "-c"));
        run(&format!("ip netns add {c}"));
        let node = Node { bench, c };
        let c = &node.c;
        run(&format!("ip -n {b} link add v1 type veth peer name v0 netns {c}"));
        run(&format!("ip -n {b} addr add 10.77.1.1/24 dev v1 && ip -n {b} link set v1 up"));
        run(&format!("ip -n {c} addr add {C4}/24 dev v0 && ip -n {c} link set v0 up"));
        run(&format!("ip -n {c} route add default via 10.77.1.1 && ip -n {a} route add default via {B4}"));
        run(&format!("ip -n {b} route add 10.96.0.0/16 via {A4}"));
        run(&format!("ip netns exec {b} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'"));
        let dnat = format!("ip daddr {SERVICE} tcp dport 80 dnat to {C4}:8080");
        run_with(
            &format!("ip netns exec {b} nft -f -"),
            &format!(
                "table ip nat {{
                   chain pre {{ type nat hook prerouting priority -100; {dnat}; }}
                   chain out {{ type nat hook output priority -100; {dnat}; }}
                   chain post {{ type nat hook postrouting priority 100; oifname \"v1\" ip saddr {B4} masquerade; }}
                 }}\n"
            ),
        );
        node
    }

    fn ask_the_service(&self, from: &str) {
        let listener = self.bench.within(&self.c, || TcpListener::bind(at(C4, 8080)).expect("listen"));
        talk(&self.bench, &listener, 5_000, 50_000, || {
            self.bench.within(from, || TcpStream::connect(at(SERVICE, 80)).expect("connect"))
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.c]).status();
    }
}

/// Says always the same.
struct Says(fn(&OneWay, Option<bool>) -> Answer);

impl Services for Says {
    fn begin_sweep(&mut self) {}
    fn look_up(&mut self, sent: &OneWay, opened_by_local: Option<bool>) -> Answer {
        self.0(sent, opened_by_local)
    }
    fn may_have_sent(&self, _: Addr) -> bool {
        true
    }
    fn trouble(&self) -> &str {
        ""
    }
}

#[test]
fn root_a_service_address_becomes_its_backend() {
    let node = Node::new();
    // Conntrack is read in the namespace that the source is opened in: the node's.
    let counting = node.bench.within(&node.bench.b, || node.bench.open(Settings::default()));
    becomes_its_backend(&node, counting);
}

/// Kube-proxy may translate behind Cilium.
#[test]
fn root_conntrack_goes_before_those_who_know_of_no_translation() {
    let node = Node::new();
    let mut counting = node.bench.within(&node.bench.b, || node.bench.open(Settings::default()));
    let plain = |sent: &OneWay, opener| Answer::Plain(Translation::plain(sent, opener != Some(false)));
    counting.source.instead_of(&[], Box::new(Says(plain)));
    becomes_its_backend(&node, counting);
}

fn becomes_its_backend(node: &Node, mut counting: Counting) {
    let bench = &node.bench;
    node.ask_the_service(&bench.a);
    node.ask_the_service(&bench.b);
    counting.sweep();
    let service: Addr = ip(SERVICE).into();
    let backend: Addr = ip(C4).into();
    assert!(counting.records.iter().all(|r| (r.backend, r.backend_port) == (backend, 8080)), "{:?}", counting.records);
    for client in [A4, B4] {
        let records = counting.of(client, protocol::TCP);
        assert!(records.iter().all(|r| r.ends == Ends::Originator && r.key.dst == service && r.key.dport == 80));
        // The server's records name the client, not the address that it was masqueraded with.
        let client: Addr = ip(client).into();
        let served = counting.records.iter().filter(|r| r.ends == Ends::Responder && r.key.src == client);
        let (mut to_server, mut to_client) = (Counts::ZERO, Counts::ZERO);
        for record in served {
            to_server += record.traffic.orig;
            to_client += record.traffic.reply;
        }
        let sent: Traffic = records.iter().fold(Traffic::ZERO, |sum, r| sum + r.traffic);
        assert_eq!((sent.orig.bytes, sent.reply.bytes), (to_server.bytes, to_client.bytes));
        assert!(sent.orig.bytes > 5_000 && sent.reply.bytes > 50_000);
    }
}

/// Rule 15: what a node forwards ends in no socket of its own; the ends' sockets count it, the node does not.
#[test]
fn root_forwarded_traffic_counts_at_its_ends_alone() {
    let node = Node::new();
    let bench = &node.bench;
    let mut counting = bench.open(Settings::default());
    node.ask_the_service(&bench.a);
    counting.sweep();
    let [a, c] = [A4, C4].map(|end| counting.sum(end, protocol::TCP));
    assert_eq!((a.tx.bytes, a.rx.bytes), (c.rx.bytes, c.tx.bytes));
    assert_eq!(a, bench.truth(&bench.a, 4, "tcp"));
    let ends: [Addr; 2] = [ip(A4).into(), ip(C4).into()];
    assert!(counting.records.iter().all(|r| ends.contains(&counting.local(r))), "{:?}", counting.records);
}

/// Rule 15: a kernel's tunnel socket sends packets that belong to the sockets within, so they count once, as those.
#[test]
fn root_a_kernel_tunnel_is_not_counted_beside_its_content() {
    let bench = Bench::new();
    for (ns, far, inner) in [(&bench.a, B4, "10.79.0.1"), (&bench.b, A4, "10.79.0.2")] {
        run(&format!("ip -n {ns} link add vx type vxlan id 7 remote {far} dstport 4789 dev v0"));
        run(&format!("ip -n {ns} addr add {inner}/24 dev vx && ip -n {ns} link set vx up"));
    }
    let mut counting = bench.open(Settings::default());
    let server = bench.within(&bench.b, || UdpSocket::bind(at("10.79.0.2", 7100)).expect("bind"));
    let client = bench.within(&bench.a, || UdpSocket::bind(at("10.79.0.1", 0)).expect("bind"));
    for _ in 0..10 {
        client.send_to(&[1; 500], at("10.79.0.2", 7100)).expect("send");
        server.recv(&mut [0; 600]).expect("receive");
    }
    counting.sweep();
    assert_eq!(counting.sum("10.79.0.1", protocol::UDP).tx, Counts { bytes: 5280, packets: 10 });
    assert_eq!(counting.sum("10.79.0.2", protocol::UDP).rx, Counts { bytes: 5280, packets: 10 });
    assert_eq!((counting.sum(A4, protocol::UDP), counting.sum(B4, protocol::UDP)), (TxRx::ZERO, TxRx::ZERO));
    // What nft counts is both.
    let both = bench.truth(&bench.a, 4, "udp").tx;
    assert!(both.packets >= 20, "{both:?}: nothing went through the tunnel");
}

/// Rule 15: the kernel answers an echo request without a socket of the pod's.
#[test]
fn root_an_echo_reply_is_not_counted_where_no_socket_sends_it() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    run(&format!("ip netns exec {} ping -qc 3 -i 0.2 {B4}", bench.a));
    counting.sweep();
    let asker = counting.sum(A4, protocol::ICMP);
    assert_eq!((asker.tx.packets, asker.rx.packets, asker.tx.bytes), (3, 3, 3 * 84));
    assert!(counting.of(A4, protocol::ICMP).iter().all(|r| r.ends == Ends::Originator && r.backend_port == 0));
    // Before 5.18 each namespace had answering sockets of its own, which belong to the cgroup that made the namespace: here
    // the test's, in a cluster the container runtime's.
    let answers = counting.sum(B4, protocol::ICMP);
    let of_the_maker = TxRx { tx: Counts { bytes: 3 * 84, packets: 3 }, rx: Counts::ZERO };
    assert!(answers.is_zero() || (kernel_is_before((5, 18)) && answers == of_the_maker), "{answers:?}");
}

/// Rule 15: a UDP packet of many segments, from a sender on this node, reaches a socket that did not ask for such as its
/// segments, each with headers of its own; conntrack saw one packet.
#[test]
fn root_udp_segments_count_as_their_socket_takes_them() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    let server = bench.within(&bench.b, || UdpSocket::bind(at(B4, 7110)).expect("bind"));
    let client = bench.within(&bench.a, || UdpSocket::bind(at(A4, 0)).expect("bind"));
    setsockopt(&client, UdpGsoSegment, &1000).expect("UDP_SEGMENT");
    client.send_to(&[1; 10_000], at(B4, 7110)).expect("send");
    for _ in 0..10 {
        assert_eq!(server.recv(&mut [0; 2000]).expect("receive"), 1000);
    }
    counting.sweep();
    let sent = counting.sum(A4, protocol::UDP).tx;
    assert_eq!((sent, sent), (bench.truth(&bench.a, 4, "udp").tx, Counts { bytes: 10_028, packets: 1 }));
    assert_eq!(counting.sum(B4, protocol::UDP).rx, Counts { bytes: 10_280, packets: 10 });
    // Before 5.18 the veth pair did not carry such packets whole, so that nft saw the segments, too.
    let truth = bench.truth(&bench.b, 4, "udp").rx;
    let segments = Counts { bytes: 10_280, packets: 10 };
    assert!(truth == sent || (kernel_is_before((5, 18)) && truth == segments), "{truth:?}");
}
