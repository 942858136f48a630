//! What the agent makes of the kernel's routes is what the kernel answers for each address. Needs root and `ip`.

use std::io::Write;
use std::process::{Command, Stdio};

use netmon::audit::Kernel;
use netmon::audit::routes::{Builder, Routes};
use netmon::flow::Addr;
use netmon::sys::links::Links;
use nix::sched::{CloneFlags, unshare};

fn ip(batch: &str) {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("ip");
    child.stdin.take().expect("piped").write_all(batch.as_bytes()).expect("ip reads");
    assert!(child.wait().expect("ip").success(), "{batch}");
}

fn read(links: &mut Links) -> Routes {
    let mut builder = Builder::default();
    Kernel::routes(links, &mut builder).expect("routes");
    builder.finish()
}

/// Of these addresses so many are answered without the kernel, all of them as it answers.
fn agree(links: &mut Links, routes: &Routes, addresses: &[&str]) -> usize {
    let mut told = 0;
    for text in addresses {
        let addr = Addr::from(text.parse::<std::net::IpAddr>().expect("an address"));
        let said = links.route(addr).map(|hop| (hop.link, hop.mtu)).unwrap_or_default();
        if let Some(found) = routes.find(addr) {
            let hop = routes.hop(found);
            assert_eq!((hop.link, hop.mtu), said, "{text}");
            told += 1;
        }
    }
    told
}

#[test]
fn what_routes_say_is_what_the_kernel_answers() {
    unshare(CloneFlags::CLONE_NEWNET).expect("root, to make a network namespace");
    ip("link set lo up
        link add u0 type veth peer name p0
        link add u1 type veth peer name p1
        link set p0 up\nlink set p1 up\nlink set u0 up\nlink set u1 up
        addr add 10.0.0.1/24 dev u0
        addr add 10.0.1.1/24 dev u1
        addr add fd00::1/64 dev u0 nodad
        addr add fd01::1/64 dev u1 nodad
        route add default via 10.0.0.2 metric 100
        route add default via 10.0.1.2 metric 200
        route add 10.1.0.0/16 via 10.0.1.2 mtu 1400
        route add 10.1.2.0/24 via 10.0.0.2
        route add 10.1.2.3/32 dev u1
        route add blackhole 10.2.0.0/16
        route add unreachable 10.3.0.0/16
        route add throw 10.4.0.0/16
        route add 10.5.0.0/16 nexthop via 10.0.0.2 nexthop via 10.0.1.2
        route add 10.6.0.0/16 via 10.0.0.2 tos 0x10
        route add local 10.7.0.0/16 dev lo
        route add 10.7.1.0/24 via 10.0.0.2
        route add 10.8.0.0/16 via 10.0.1.2 table 77
        route add default via fd00::2 metric 10
        route add fd02::/32 via fd01::2 mtu 1300
        route add blackhole fd03::/32
        route add fd04::/32 nexthop via fd00::2 nexthop via fd01::2\n");
    let addresses = [
        "10.0.0.1",
        "10.0.0.7",
        "10.0.0.255",
        "10.0.1.1",
        "10.0.1.9",
        "10.1.1.1",
        "10.1.2.1",
        "10.1.2.3",
        "10.2.0.1",
        "10.3.0.1",
        "10.4.0.1",
        "10.5.0.1",
        "10.6.0.1",
        "10.7.0.1",
        "10.7.1.1",
        "10.8.0.1",
        "127.0.0.1",
        "127.9.9.9",
        "8.8.8.8",
        "224.0.0.5",
        "255.255.255.255",
        "240.0.0.1",
        "169.254.1.1",
        "fd00::1",
        "fd00::9",
        "fd01::1",
        "fd01::9",
        "fd02::1",
        "fd03::1",
        "fd04::1",
        "2001:db8::1",
        "fe80::1",
        "ff02::1",
        "::1",
    ];
    let mut links = Links::open().expect("rtnetlink");
    let routes = read(&mut links);
    let told = agree(&mut links, &routes, &addresses);
    assert!(told >= 22, "only {told} of {} are told", addresses.len());
    // What goes to many leaves by the link of its sender's address.
    for (own, link) in [("10.0.0.1", "u0"), ("10.0.1.1", "u1"), ("fd00::1", "u0"), ("fd01::1", "u1")] {
        let addr = Addr::from(own.parse::<std::net::IpAddr>().expect("an address"));
        assert_eq!(routes.link_of(addr), nix::net::if_::if_nametoindex(link).ok(), "{own}");
    }

    // Each change is heard of.
    for change in [
        "route add 8.8.8.0/24 via 10.0.1.2\n",
        "rule add from 10.0.0.9 lookup 77\n",
        "addr del 10.0.1.1/24 dev u1\n",
        "link set u1 down\n",
        "route add 2001:db8::/32 via fd00::3\n",
        "rule add fwmark 7 lookup 77\n",
    ] {
        links.have_routes_changed();
        assert!(!links.have_routes_changed(), "nothing has happened before {change}");
        ip(change);
        assert!(links.have_routes_changed(), "{change}");
        let routes = read(&mut links);
        assert!(agree(&mut links, &routes, &addresses) > 15, "{change}");
    }

    // A rule that chooses by the destination is the kernel's to judge, of its family alone.
    ip("rule add to 8.8.0.0/16 lookup 77\n");
    let routes = read(&mut links);
    assert_eq!(agree(&mut links, &routes, &addresses[..23]), 0);
    assert!(agree(&mut links, &routes, &addresses[23..]) > 5);
}
