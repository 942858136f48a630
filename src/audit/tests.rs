use std::io;
use std::sync::{Arc, Mutex};

use super::equation::Closed;
use super::links::ANYWHERE;
use super::*;
use crate::flow::Cidr;
use crate::wire::genetlink::Family;
use crate::wire::rtnetlink::{Route, Rule, TABLE_LOCAL, TABLE_MAIN};

/// A node's links, whose counters the test sets.
#[derive(Default)]
struct World {
    links: Vec<(Link, bool)>,
    counters: Vec<(u32, TxRx)>,
    routes: Vec<(Addr, Hop)>,
    asked: u32,
    /// Who was asked for more ports.
    families: Vec<Family>,
    /// What a dump of them shows; none where that fails.
    tables: Option<Vec<Route>>,
    dumps: u32,
    have_changed: bool,
    odd: u64,
    neighbours: [u64; 3],
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<World>>);

impl Kernel for Fake {
    fn links(&mut self, each: &mut dyn FnMut(&Link, bool)) -> io::Result<()> {
        self.0.lock().expect("ours").links.iter().for_each(|(link, has_device)| each(link, *has_device));
        Ok(())
    }
    fn more_ports(&mut self, family: Family, link: &Link, each: &mut dyn FnMut(u16)) -> io::Result<()> {
        let mut world = self.0.lock().expect("ours");
        world.families.push(family);
        match family {
            Family::WireGuard if link.index == 5 => return Err(io::ErrorKind::PermissionDenied.into()),
            Family::WireGuard => each(4444),
            Family::Fou => [5555, 5556].into_iter().for_each(each),
        }
        Ok(())
    }
    fn counters(&mut self, link: u32) -> io::Result<TxRx> {
        let world = self.0.lock().expect("ours");
        world
            .counters
            .iter()
            .find(|(index, _)| *index == link)
            .map(|found| found.1)
            .ok_or(io::ErrorKind::NotFound.into())
    }
    fn route(&mut self, addr: Addr) -> io::Result<Hop> {
        let mut world = self.0.lock().expect("ours");
        world.asked += 1;
        world.routes.iter().find(|(to, _)| *to == addr).map(|found| found.1).ok_or(io::ErrorKind::NotFound.into())
    }
    fn routes(&mut self, into: &mut routes::Builder) -> io::Result<()> {
        let mut world = self.0.lock().expect("ours");
        world.dumps += 1;
        for table in [TABLE_LOCAL, TABLE_MAIN] {
            into.rules.iter_mut().for_each(|rules| rules.add(Rule::Table { table, is_for_all: true }));
        }
        world.tables.as_ref().ok_or(io::ErrorKind::Unsupported)?.iter().for_each(|route| into.add(*route));
        Ok(())
    }
    fn have_routes_changed(&mut self) -> bool {
        std::mem::take(&mut self.0.lock().expect("ours").have_changed)
    }
    fn odd_packets(&mut self) -> u64 {
        self.0.lock().expect("ours").odd
    }
    fn uncounted_packets(&mut self, _: &Link) -> [u64; 3] {
        self.0.lock().expect("ours").neighbours
    }
}

const NETFILTER: Knows = Knows { tunnels: true, invalid: false, timestamps: true };
const FAR: Addr = Addr::from_v4([192, 0, 2, 99]);
/// On eth0.
const NODE: Addr = Addr::from_v4([192, 168, 1, 10]);
const NEAR: Addr = Addr::from_v4([10, 244, 1, 11]);

fn link(index: u32, name: &str, kind: LinkKind) -> Link {
    let mut link = Link {
        index,
        name: [0; 16],
        kind,
        lower: 0,
        master: 0,
        mtu: 1500,
        is_ethernet: true,
        port: 0,
        more_ports: None,
    };
    link.name.iter_mut().zip(name.as_bytes()).for_each(|(to, from)| *to = *from);
    link
}

fn both(bytes: u64, packets: u64) -> TxRx {
    TxRx { tx: Counts { bytes, packets }, rx: Counts { bytes, packets } }
}

impl Fake {
    /// eth0 with a device, a pod's pair, a tunnel.
    fn node() -> Fake {
        let fake = Fake::default();
        {
            let mut world = fake.0.lock().expect("ours");
            world.links.push((link(2, "eth0", LinkKind::Plain), true));
            world.links.push((link(3, "veth1", LinkKind::Veth), false));
            world.links.push((link(4, "flannel.1", LinkKind::Tunnel { overhead: 50 }), false));
            world.counters = vec![(2, TxRx::ZERO), (3, TxRx::ZERO), (4, TxRx::ZERO)];
            world.routes.push((FAR, Hop { link: 2, mtu: 0 }));
            world.routes.push((NEAR, Hop { link: 3, mtu: 0 }));
        }
        fake
    }

    fn carry(&self, link: u32, what: TxRx) {
        let mut world = self.0.lock().expect("ours");
        world.counters.iter_mut().filter(|(index, _)| *index == link).for_each(|(_, sum)| *sum += what);
    }

    fn asked(&self) -> u32 {
        self.0.lock().expect("ours").asked
    }
}

fn closed(audit: &mut Audit) -> Vec<(String, bool, Closed)> {
    audit.read();
    audit.close();
    audit.accounts().iter().map(|account| (account.interface().to_owned(), account.is_tx, account.closed)).collect()
}

#[test]
fn f38_ports_of_tunnels_are_asked_of_those_who_know_them() {
    let fake = Fake::node();
    let tunnel = |index, port, more_ports| {
        (Link { port, more_ports, ..link(index, "tunnel", LinkKind::Tunnel { overhead: 20 }) }, false)
    };
    let ports = |links: Vec<(Link, bool)>| {
        fake.0.lock().expect("ours").links.extend(links);
        let (mut audit, mut ports) = (Audit::new(Box::new(fake.clone()), NETFILTER), Vec::new());
        audit.tunnel_ports(&mut |port| ports.push(port));
        ports
    };
    assert!(ports(vec![]).is_empty() && fake.0.lock().expect("ours").families.is_empty(), "nobody is asked in vain");
    let (wireguard, fou) = (Some(Family::WireGuard), Some(Family::Fou));
    let links = vec![tunnel(5, 0, wireguard), tunnel(6, 0, wireguard), tunnel(7, 7_000, fou), tunnel(8, 7_001, fou)];
    assert_eq!(ports(links), [7_000, 7_001, 4_444, 5_555, 5_556], "one that may not be asked keeps no other from it");
    assert_eq!(fake.0.lock().expect("ours").families, [Family::WireGuard, Family::WireGuard, Family::Fou]);
}

#[test]
fn rule_19_what_crosses_an_uplink_is_in_its_equation_and_nothing_else_is() {
    let fake = Fake::node();
    let mut audit = Audit::new(Box::new(fake.clone()), NETFILTER);
    closed(&mut audit);
    let (far, near) = (audit.path_to(FAR, NODE), audit.path_to(NEAR, NODE));
    audit.cross(far, Part::Rows, (6, true), both(1_000, 10), None);
    audit.cross(near, Part::Rows, (6, true), both(7_777, 77), None);
    fake.carry(2, both(1_000 + 14 * 10, 10));
    let found = closed(&mut audit);
    assert_eq!(found.len(), 2, "the pod's pair is no uplink");
    for (name, _, closed) in found {
        assert_eq!((name.as_str(), closed.layer3_bytes), ("eth0", 1_000));
        assert_eq!((closed.part(Part::Rows), closed.part(Part::Unexplained)), (1_000, 0));
    }
}

#[test]
fn rule_19_forwarded_traffic_crosses_at_each_of_its_ends() {
    let fake = Fake::node();
    let mut audit = Audit::new(Box::new(fake), NETFILTER);
    closed(&mut audit);
    let one_way = TxRx { tx: Counts { bytes: 100, packets: 1 }, rx: Counts { bytes: 40, packets: 1 } };
    audit.pass(FAR, NEAR, 17, Part::Held, one_way);
    let found = closed(&mut audit);
    assert_eq!(found[0].2.part(Part::Held), 40, "sent to the client is what the backend sent");
    assert_eq!(found[1].2.part(Part::Held), 100);
    audit.pass(FAR, FAR, 17, Part::Unattributed, one_way);
    assert_eq!(closed(&mut audit)[0].2.part(Part::Unattributed), 140, "in by the uplink and out again");
}

#[test]
fn rule_19_the_audit_begins_with_a_complete_sweep() {
    let fake = Fake::node();
    fake.carry(2, both(99_999, 99));
    let mut audit = Audit::new(Box::new(fake.clone()), NETFILTER);
    let far = audit.path_to(FAR, NODE);
    audit.cross(far, Part::Rows, (6, true), both(55_555, 55), None);
    assert!(closed(&mut audit).iter().all(|(_, _, closed)| *closed == Closed::default()));
    fake.carry(2, both(500 + 14, 1));
    audit.cross(far, Part::Lost, (6, true), both(500, 1), None);
    let found = closed(&mut audit);
    assert_eq!((found[0].2.part(Part::Lost), found[0].2.part(Part::Unexplained)), (500, 0));
    audit.restart();
    assert_eq!(closed(&mut audit)[0].2, Closed::default(), "what was counted until now has no counterpart");
}

#[test]
fn rule_19_a_bond_a_bridge_and_a_vlan_are_uplinks_by_what_is_below() {
    let fake = Fake::default();
    {
        let mut world = fake.0.lock().expect("ours");
        world.links.push((Link { master: 5, ..link(2, "eth0", LinkKind::Plain) }, true));
        world.links.push((link(5, "bond0", LinkKind::Gathered), false));
        world.links.push((Link { lower: 5, ..link(6, "bond0.7", LinkKind::Vlan) }, false));
        world.links.push((link(7, "cni0", LinkKind::Gathered), false));
        world.links.push((Link { master: 7, ..link(8, "veth1", LinkKind::Veth) }, false));
        world.counters = (2..9).map(|index| (index, TxRx::ZERO)).collect();
    }
    let mut audit = Audit::new(Box::new(fake), NETFILTER);
    let names: Vec<String> =
        closed(&mut audit).into_iter().filter(|(_, is_tx, _)| *is_tx).map(|(name, ..)| name).collect();
    assert_eq!(names, ["bond0", "bond0.7"]);
}

#[test]
fn rule_19_a_node_that_is_a_container_has_the_links_that_routes_name() {
    let fake = Fake::node();
    fake.0.lock().expect("ours").links.iter_mut().for_each(|(_, has_device)| *has_device = false);
    fake.0.lock().expect("ours").routes.push((ANYWHERE, Hop { link: 2, mtu: 0 }));
    let mut audit = Audit::new(Box::new(fake), NETFILTER);
    assert_eq!(closed(&mut audit).len(), 2, "the way to everywhere");
    audit.path_to(NEAR, NODE);
    assert_eq!(closed(&mut audit).len(), 4, "and what is reached by another");
}

#[test]
fn rule_19_what_waits_makes_no_uplink_of_a_pods_link() {
    let fake = Fake::node();
    fake.0.lock().expect("ours").links.iter_mut().for_each(|(_, has_device)| *has_device = false);
    fake.0.lock().expect("ours").routes.push((ANYWHERE, Hop { link: 2, mtu: 0 }));
    let mut audit = Audit::new(Box::new(fake), NETFILTER);
    audit.pass(NEAR, FAR, 17, Part::Held, both(10, 1));
    assert_eq!(closed(&mut audit).len(), 2);
}

#[test]
fn rule_19_tunnels_that_the_source_does_not_see_are_counted_by_their_links() {
    let fake = Fake::node();
    let mut audit = Audit::new(Box::new(fake.clone()), Knows { tunnels: false, ..NETFILTER });
    closed(&mut audit);
    fake.carry(4, both(1_000, 10));
    fake.carry(2, both(1_500 + 140, 10));
    let found = closed(&mut audit);
    assert_eq!((found[0].2.part(Part::Tunnels), found[0].2.part(Part::Unexplained)), (1_500, 0));
}

#[test]
fn rule_19_invalid_packets_are_looked_for_where_the_source_leaves_them_out() {
    for (knows, part) in [(NETFILTER, Part::Untracked), (Knows { invalid: true, ..NETFILTER }, Part::Unexplained)] {
        let fake = Fake::node();
        fake.0.lock().expect("ours").odd = 1_000;
        let mut audit = Audit::new(Box::new(fake.clone()), knows);
        closed(&mut audit);
        fake.0.lock().expect("ours").odd += 2;
        fake.carry(2, both(2_000 + 28, 2));
        assert_eq!(closed(&mut audit)[1].2.part(part), 2_000);
    }
}

#[test]
fn the_kernel_is_asked_once_for_an_address() {
    let fake = Fake::node();
    let mut audit = Audit::new(Box::new(fake.clone()), NETFILTER);
    let before = fake.asked();
    for _ in 0..3 {
        audit.path_to(FAR, NODE);
    }
    assert_eq!(fake.asked() - before, 1);
    audit.look();
    audit.path_to(FAR, NODE);
    assert_eq!(fake.asked() - before, 2, "routes change");
}

fn route(first: [u8; 4], prefix: u8, link: u32) -> Route {
    let range = Cidr::new(Addr::from_v4(first), prefix).expect("a range");
    Route { range, table: TABLE_MAIN, metric: 0, hop: Some(Hop { link, mtu: 0 }), own_link: 0 }
}

#[test]
fn routes_are_read_once_and_again_when_they_have_changed() {
    let fake = Fake::node();
    let world = || fake.0.lock().expect("ours");
    let asked = || {
        let world = world();
        (world.dumps, world.asked)
    };
    world().tables = Some(vec![route([0; 4], 0, 2), route([10, 244, 1, 0], 24, 3)]);
    let mut audit = Audit::new(Box::new(fake.clone()), NETFILTER);
    let way = |audit: &mut Audit, last: u8| {
        let path = audit.path_to(Addr::from_v4([192, 0, 2, last]), NODE);
        audit.paths.way(path).uplink
    };
    assert_eq!((way(&mut audit, 1), way(&mut audit, 2)), (Some(0), Some(0)));
    let near = audit.path_to(NEAR, NODE);
    assert_eq!(audit.paths.way(near).uplink, None, "a pod's pair");
    assert_eq!(asked(), (1, 0));
    // Until the sweep is over, nobody looks.
    world().tables = Some(vec![route([0; 4], 0, 2), route([192, 0, 2, 2], 32, 3)]);
    world().have_changed = true;
    audit.close();
    assert_eq!((way(&mut audit, 1), way(&mut audit, 2)), (Some(0), None));
    audit.close();
    way(&mut audit, 1);
    assert_eq!(asked(), (2, 0));
    // What the tables do not tell is asked for.
    world().tables = Some(vec![Route { hop: None, ..route([0; 4], 0, 0) }]);
    audit.look();
    let far = audit.path_to(FAR, NODE);
    assert_eq!((audit.paths.way(far).uplink, asked()), (Some(0), (3, 1)));
}

#[test]
fn what_is_shown_never_falls() {
    let fake = Fake::node();
    let mut audit = Audit::new(Box::new(fake.clone()), NETFILTER);
    closed(&mut audit);
    fake.carry(2, both(5_000 + 14, 1));
    closed(&mut audit);
    let far = audit.path_to(FAR, NODE);
    audit.cross(far, Part::Rows, (6, true), both(5_000, 1), None);
    closed(&mut audit);
    let account = audit.accounts()[0];
    assert_eq!(account.closed.part(Part::Unexplained), 0);
    assert_eq!((account.shown.part(Part::Unexplained), account.shown.part(Part::Rows)), (5_000, 5_000));
    audit.restart();
    closed(&mut audit);
    fake.carry(2, both(100 + 14, 1));
    closed(&mut audit);
    assert_eq!(audit.accounts()[0].shown.layer3_bytes(), 5_100);
}

#[test]
fn rule_19_what_a_vlan_carries_is_taken_out_of_the_link_below() {
    let fake = Fake::node();
    {
        let mut world = fake.0.lock().expect("ours");
        world.links.push((Link { lower: 2, ..link(6, "eth0.7", LinkKind::Vlan) }, false));
        world.counters.push((6, TxRx::ZERO));
    }
    let mut audit = Audit::new(Box::new(fake.clone()), NETFILTER);
    closed(&mut audit);
    // The tag is no byte of either: it goes beside the packet.
    fake.carry(6, both(1_000 + 14, 1));
    fake.carry(2, both(1_000 + 14, 1));
    let found = closed(&mut audit);
    assert_eq!(
        (found[0].0.as_str(), found[0].2.part(Part::Vlans), found[0].2.part(Part::Unexplained)),
        ("eth0", 1_000, 0)
    );
    assert_eq!((found[2].0.as_str(), found[2].2.part(Part::Unexplained)), ("eth0.7", 1_000));
}

#[test]
fn rule_19_frames_are_told_from_packets_without_knowing_how_many() {
    let fake = Fake::node();
    let mut audit = Audit::new(Box::new(fake.clone()), NETFILTER);
    closed(&mut audit);
    let far = audit.path_to(FAR, NODE);
    // Two packets of 3,000 bytes between acknowledgements: four frames more, where the estimate finds none.
    let sent = TxRx { tx: Counts { bytes: 2 * 3_052 + 20 * 52, packets: 22 }, rx: Counts::ZERO };
    audit.cross(far, Part::Rows, (6, true), sent, None);
    fake.carry(2, TxRx { tx: Counts { bytes: sent.tx.bytes + 4 * 52 + 26 * 14, packets: 26 }, rx: Counts::ZERO });
    let tx = closed(&mut audit)[0].2;
    assert_eq!((tx.part(Part::Segmentation), tx.part(Part::Unexplained)), (208, 0));
}

#[test]
fn rule_19_neighbour_discovery_is_untracked_whatever_the_source() {
    let fake = Fake::node();
    fake.0.lock().expect("ours").neighbours = [7; 3];
    let mut audit = Audit::new(Box::new(fake.clone()), Knows { invalid: true, ..NETFILTER });
    closed(&mut audit);
    fake.0.lock().expect("ours").neighbours = [8, 7, 7];
    fake.carry(2, both(116 + 14, 1));
    let found = closed(&mut audit);
    assert_eq!((found[0].2.part(Part::Untracked), found[0].2.part(Part::Unexplained)), (116, 0));
    assert_eq!((found[1].2.part(Part::Untracked), found[1].2.part(Part::Unexplained)), (0, 116), "none was received");
    fake.0.lock().expect("ours").neighbours = [8, 7, 8];
    assert_eq!(closed(&mut audit)[1].2.part(Part::Untracked), 116, "one was, for others");
}

#[test]
fn rule_19_what_goes_to_many_leaves_by_the_link_of_its_senders_address() {
    let (group, second, on_loopback) =
        (Addr::from_v4([239, 1, 1, 1]), Addr::from_v4([172, 16, 0, 1]), Addr::from_v4([192, 168, 9, 9]));
    let own = |addr: Addr, own_link| {
        let range = Cidr::new(addr, 32).expect("a range");
        Route { range, table: TABLE_LOCAL, metric: 0, hop: Some(Hop { link: 0, mtu: 0 }), own_link }
    };
    let fake = Fake::node();
    {
        let mut world = fake.0.lock().expect("ours");
        world.links.push((link(1, "lo", LinkKind::Loopback), false));
        world.links.push((link(5, "eth1", LinkKind::Plain), true));
        world.counters.push((5, TxRx::ZERO));
        world.routes.push((group, Hop { link: 2, mtu: 0 }));
        world.tables = Some(vec![own(NODE, 2), own(second, 5), own(on_loopback, 1), route([0; 4], 0, 2)]);
    }
    let mut audit = Audit::new(Box::new(fake), NETFILTER);
    closed(&mut audit);
    let mut way = |from| {
        let path = audit.path_to(group, from);
        audit.paths.way(path).uplink
    };
    assert_eq!([NODE, second].map(&mut way), [Some(0), Some(1)]);
    assert_eq!(way(NEAR), None, "a pod's stays on the pod's link");
    assert_eq!(way(on_loopback), Some(0), "the kernel says");
    // What others sent came by an uplink, and left by none.
    audit.pass(FAR, group, 17, Part::Unattributed, TxRx { tx: Counts { bytes: 300, packets: 3 }, rx: Counts::ZERO });
    let parts: Vec<_> = closed(&mut audit).iter().map(|side| side.2.part(Part::Unattributed)).collect();
    assert_eq!(parts, [0, 300, 0, 0]);
}

#[test]
fn rule_19_what_was_held_is_taken_back_from_the_books_it_is_in() {
    let fake = Fake::node();
    let mut audit = Audit::new(Box::new(fake), NETFILTER);
    closed(&mut audit);
    let held = |audit: &mut Audit| closed(audit).iter().map(|side| side.2.part(Part::Held)).collect::<Vec<_>>();
    let way = TxRx { tx: Counts { bytes: 100, packets: 1 }, rx: Counts { bytes: 40, packets: 1 } };
    let crossing = audit.pass(NEAR, FAR, 6, Part::Held, way);
    audit.pass(FAR, NEAR, 6, Part::Held, way);
    assert_eq!(held(&mut audit), [140, 140]);
    audit.take_back(crossing, way);
    assert_eq!(held(&mut audit), [40, 100]);
    audit.restart();
    held(&mut audit);
    audit.pass(FAR, NEAR, 6, Part::Held, way);
    audit.take_back(crossing, way);
    assert_eq!(held(&mut audit), [40, 100], "it was in the books before");
    audit.take_back(Crossing::default(), way);
    assert_eq!(held(&mut audit), [40, 100], "it was in none");
}

#[test]
fn rule_19_what_was_placed_after_an_uplinks_first_reading_is_not_in_its_books() {
    let fake = Fake::node();
    fake.carry(2, both(9_000, 9));
    let mut audit = Audit::new(Box::new(fake.clone()), NETFILTER);
    let way = both(100, 1);
    // A sweep that shows the uplink, reads it, and then places what had waited for the owners.
    let far = audit.path_to(FAR, NODE);
    audit.read();
    audit.cross(far, Part::Rows, (6, true), both(5_000, 5), None);
    let crossing = audit.pass(NEAR, FAR, 6, Part::Held, way);
    audit.close();
    let parts = |audit: &Audit| audit.accounts().iter().map(|side| side.closed.parts).collect::<Vec<_>>();
    assert_eq!(parts(&audit), [[0; Part::ALL.len()]; 2]);
    audit.pass(NEAR, FAR, 6, Part::Held, way);
    audit.take_back(crossing, way);
    fake.carry(2, both(100 + 14, 1));
    assert!(
        closed(&mut audit).iter().all(|side| side.2.part(Part::Held) == 100 && side.2.part(Part::Unexplained) == 0)
    );
}
