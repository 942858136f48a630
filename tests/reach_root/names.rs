//! F6: names that Go resolves are resolved, whatever the servers do to the names of the search list before.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::OnceLock;

use netmon::clock::{self, SECOND};
use netmon::export::dakr::transport::{Failure, Http};

use super::stage::{Place, Server, alone, dakr, go, send, until_it_answers, until_it_listens};

const HOST: &str = "dakr.example.com";
const CLUSTER: &str = "search ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";

const GO: &str = r#"package main

import ("context"; "fmt"; "net"; "os"; "time")

func main() {
	limit, end := context.WithTimeout(context.Background(), 60*time.Second)
	defer end()
	resolver := net.Resolver{PreferGo: true}
	found, err := resolver.LookupHost(limit, os.Args[1])
	if err != nil { fmt.Println("error"); os.Exit(0) }
	fmt.Println(found)
}
"#;

/// Whether Go resolves the name too.
fn control(host: &str) {
    static CONTROL: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    if let Some(program) = go("resolve", GO, &CONTROL) {
        let output = Command::new(program).arg(host).output().expect("it runs");
        assert!(!output.stdout.starts_with(b"error"), "Go does not resolve {host} here, so why should we");
    }
}

fn dnsmasq(place: &Place, address: &str, more: &[&str]) -> Server {
    let listen = format!("--listen-address={address}");
    let fixed = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"];
    let user = ["--user=root", "--group=root", "--pid-file=", &listen];
    let server = place.server("dnsmasq", &[&fixed[..], &user, more].concat());
    until_it_answers(address);
    server
}

/// Unbound that does this to every name below `svc.cluster.local`, and knows the host.
fn unbound(place: &Place, address: &str, fault: &str) -> Server {
    let zone = match fault {
        // Nobody listens where it is to ask.
        "servfail" => "forward-zone:\n name: svc.cluster.local.\n forward-addr: 127.0.0.1@9\n".to_owned(),
        kind => format!("server:\n local-zone: svc.cluster.local. {kind}\n"),
    };
    let config = format!(
        "server:\n interface: {address}\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n directory: \"{folder}\"\n \
         pidfile: \"\"\n use-syslog: no\n module-config: iterator\n access-control: 0.0.0.0/0 allow\n \
         do-not-query-localhost: no\n local-zone: cluster.local. static\n local-zone: example.com. static\n \
         local-zone: ready.test. static\n local-data: \"{HOST}. A 127.0.0.1\"\nremote-control:\n control-enable: no\n{zone}",
        folder = place.folder.0.display()
    );
    // Its zones of the same name give way to the forwarder.
    let config = if fault == "servfail" { config.replace(" local-zone: cluster.local. static\n", "") } else { config };
    let file = place.folder.write("unbound.conf", config);
    let server = place.server("unbound", &["-d", "-c", &file.display().to_string()]);
    until_it_answers(address);
    server
}

fn reached(host: &str) {
    let started_ns = clock::now().mono_ns;
    let reply = send(&mut Http::new(&format!("http://{host}:8080"), None, None)).expect("reached");
    assert_eq!(reply.status, 200);
    let took_ns = clock::now().mono_ns - started_ns;
    assert!(took_ns < 15 * SECOND, "{} ms", took_ns / clock::MS);
}

fn behind_a_suffix_that(fault: &str) {
    alone(|place| {
        let _server = unbound(place, "127.0.0.53", fault);
        place.etc("resolv.conf", &format!("nameserver 127.0.0.53\n{CLUSTER}"));
        dakr(8080);
        reached(HOST);
        control(HOST);
    });
}

#[test]
fn f6_a_suffix_that_is_answered_by_servfail_does_not_end_the_search() {
    behind_a_suffix_that("servfail");
}

#[test]
fn f6_a_suffix_that_is_refused_does_not_end_the_search() {
    behind_a_suffix_that("always_refuse");
}

#[test]
fn f6_a_suffix_that_is_answered_by_nothing_does_not_end_the_search() {
    behind_a_suffix_that("always_nodata");
}

#[test]
fn f6_a_suffix_that_is_not_answered_does_not_end_the_search() {
    behind_a_suffix_that("always_deny");
}

#[test]
fn f6_the_next_server_is_asked() {
    alone(|place| {
        let _without_upstream = dnsmasq(place, "127.0.0.51", &[]);
        let _knows = dnsmasq(place, "127.0.0.53", &["--address=/dakr.example.com/127.0.0.1"]);
        dakr(8080);
        for before in [
            // Refuses; nobody listens; nobody is there.
            "nameserver 127.0.0.51\n",
            "nameserver 127.0.0.52\n",
            "nameserver 203.0.113.1\n",
            "nameserver 127.0.0.51\nnameserver 127.0.0.52\n",
        ] {
            place.etc("resolv.conf", &format!("{before}nameserver 127.0.0.53\n"));
            reached(HOST);
            control(HOST);
        }
        // Silence: a socket that is never read.
        let _silent = UdpSocket::bind("127.0.0.54:53").expect("the port");
        place.etc("resolv.conf", "nameserver 127.0.0.54\nnameserver 127.0.0.53\noptions timeout:2\n");
        reached(HOST);
        control(HOST);
    });
}

/// A server that answers A, and does this to AAAA (or the other way round).
fn half_a_server(answered: u16, code: Option<u8>) {
    let socket = UdpSocket::bind("127.0.0.53:53").expect("the port");
    std::thread::spawn(move || {
        let mut room = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut room) {
            let end = 12 + room[12..length].iter().position(|byte| *byte == 0).expect("a name") + 5;
            let mut answer = room[..end].to_vec();
            let kind = u16::from_be_bytes([room[end - 4], room[end - 3]]);
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]);
            match (kind == answered, code) {
                (true, _) => {
                    let address = if kind == 1 {
                        Ipv4Addr::LOCALHOST.octets().to_vec()
                    } else {
                        [[0; 15].as_slice(), &[1]].concat()
                    };
                    answer[7] = 1;
                    answer.extend([0xc0, 12, 0, kind as u8, 0, 1, 0, 0, 0, 60, 0, address.len() as u8]);
                    answer.extend(address);
                }
                (false, Some(code)) => answer[3] |= code,
                (false, None) => continue,
            }
            let _ = socket.send_to(&answer, from);
        }
    });
}

#[test]
fn f6_one_family_that_fails_does_not_hide_the_other() {
    // SERVFAIL, NXDOMAIN (which is against RFC 8020), NOTIMP, REFUSED, silence.
    for code in [Some(2), Some(3), Some(4), Some(5), None] {
        for answered in [1, 28] {
            alone(|place| {
                place.etc("resolv.conf", "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n");
                half_a_server(answered, code);
                dakr(8080);
                reached(HOST);
                control(HOST);
            });
        }
    }
}

#[test]
fn f6_what_udp_does_not_hold_is_asked_by_tcp() {
    alone(|place| {
        let hosts: String = (1..=200).map(|n| format!("127.1.0.{n} {HOST}\n")).collect();
        let file = place.folder.write("many", hosts);
        let _server = dnsmasq(place, "127.0.0.53", &[&format!("--addn-hosts={}", file.display())]);
        place.etc("resolv.conf", "nameserver 127.0.0.53\n");
        until_it_listens("127.0.0.53:53");
        let found = netmon::net::resolve::addresses_of(HOST, &Default::default(), &|| u64::MAX).expect("found");
        assert_eq!(found.len(), 200, "all that TCP holds");
        dakr(8080);
        reached(HOST);
        control(HOST);
        // `use-vc`: only by TCP.
        place.etc("resolv.conf", "nameserver 127.0.0.53\noptions use-vc\n");
        reached(HOST);
    });
}

#[test]
fn f6_hosts_goes_first_and_changes_of_both_files_hold_at_once() {
    alone(|place| {
        let _server = dnsmasq(place, "127.0.0.53", &["--address=/dakr.example.com/127.0.0.1"]);
        place.etc("resolv.conf", "nameserver 127.0.0.52\n");
        dakr(8080);
        let mut http = Http::new(&format!("http://{HOST}:8080"), None, None);
        assert!(matches!(send(&mut http), Err(Failure::Unsent(_))));
        place.etc("hosts", &format!("127.0.0.1 other {HOST}\n"));
        assert_eq!(send(&mut http).expect("by hosts").status, 200);
        control(HOST);
        place.etc("hosts", "");
        place.etc("resolv.conf", "nameserver 127.0.0.53\n");
        let mut http = Http::new(&format!("http://{HOST}:8080"), None, None);
        assert_eq!(send(&mut http).expect("by the new server").status, 200);
    });
}

#[test]
fn f6_a_search_line_of_2048_characters_is_gone_through() {
    alone(|place| {
        let _server = dnsmasq(place, "127.0.0.53", &["--address=/dakr.last.example/127.0.0.1", "--local=/test/"]);
        let suffixes: Vec<String> = (0..31).map(|n| format!("{n:02}.{}.test", "x".repeat(56))).collect();
        let line = format!("search {} last.example\n", suffixes.join(" "));
        assert!(line.len() > 2000);
        place.etc("resolv.conf", &format!("nameserver 127.0.0.53\noptions ndots:5\n{line}"));
        dakr(8080);
        reached("dakr");
        control("dakr");
    });
}

#[test]
fn f6_a_look_up_ends_with_its_request() {
    alone(|place| {
        let _silent = UdpSocket::bind("127.0.0.53:53").expect("the port");
        place.etc("resolv.conf", &format!("nameserver 127.0.0.53\n{CLUSTER}"));
        let mut http = Http::new(&format!("http://{HOST}:8080"), None, None);
        let flight = http.flight();
        let started_ns = clock::now().mono_ns;
        let cut = std::thread::spawn(move || {
            clock::sleep_ns(SECOND);
            flight.set_ceiling(0);
        });
        assert!(matches!(send(&mut http), Err(Failure::Unsent(_))));
        assert!(clock::now().mono_ns - started_ns < 3 * SECOND);
        cut.join().expect("cut short");
    });
}
