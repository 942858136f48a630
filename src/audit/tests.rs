use std::sync::{Arc, Mutex};

use super::*;

/// A node's links, whose counters the test sets.
#[derive(Default)]
struct World {
    links: Vec<(Link, bool)>,
    counters: Vec<(u32, TxRx)>,
    routes: Vec<(Addr, Hop)>,
    asked: u32,
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
    fn odd_packets(&mut self) -> u64 {
        self.0.lock().expect("ours").odd
    }
    fn uncounted_packets(&mut self, _: &Link) -> [u64; 3] {
        self.0.lock().expect("ours").neighbours
    }
}

const NETFILTER: Knows = Knows { tunnels: true, invalid: false, timestamps: true };
const FAR: Addr = Addr::from_v4([192, 0, 2, 99]);
const NEAR: Addr = Addr::from_v4([10, 244, 1, 11]);

fn link(index: u32, name: &str, kind: LinkKind) -> Link {
    let mut link = Link { index, name: [0; 16], kind, lower: 0, master: 0, mtu: 1500, is_ethernet: true };
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
fn rule_19_what_crosses_an_uplink_is_in_its_equation_and_nothing_else_is() {
    let fake = Fake::node();
    let mut audit = Audit::new(Box::new(fake.clone()), NETFILTER);
    closed(&mut audit);
    let (far, near) = (audit.path_to(FAR), audit.path_to(NEAR));
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
    let far = audit.path_to(FAR);
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
    audit.path_to(NEAR);
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
        audit.path_to(FAR);
    }
    assert_eq!(fake.asked() - before, 1);
    audit.look();
    audit.path_to(FAR);
    assert_eq!(fake.asked() - before, 2, "routes change");
}

#[test]
fn what_is_shown_never_falls() {
    let fake = Fake::node();
    let mut audit = Audit::new(Box::new(fake.clone()), NETFILTER);
    closed(&mut audit);
    fake.carry(2, both(5_000 + 14, 1));
    closed(&mut audit);
    let far = audit.path_to(FAR);
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
    let far = audit.path_to(FAR);
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
