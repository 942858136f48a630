use super::*;

const A: Addr = Addr::from_v4([10, 0, 0, 1]);

fn site(n: u32) -> (Addr, u32) {
    (Addr::from_v4((0xc000_0200 + n).to_be_bytes()), 60)
}

fn all(lookups: &mut Lookups) -> Vec<Lookup> {
    let mut out = Vec::new();
    lookups.take_all(&mut |lookup| out.push(lookup));
    out
}

#[test]
fn answers_for_one_client_and_name_are_one_lookup() {
    let mut lookups = Lookups::default();
    let name: Arc<str> = "a.test".into();
    assert!(lookups.add(A, 1, &name, &[site(1), site(2)], 5).is_new);
    assert!(!lookups.add(A, 1, &name, &[site(2), site(3), site(3)], 9).is_new);
    assert!(lookups.add(site(9).0, 1, &name, &[site(1)], 9).is_new, "another client");
    let out = all(&mut lookups);
    assert_eq!(out.len(), 2);
    assert_eq!(out[0].addresses, [site(1).0, site(2).0, site(3).0]);
    assert_eq!(out[0].answered_mono_ns, 9);
    assert!(lookups.add(A, 1, &name, &[site(1)], 10).is_new, "another window");
}

#[test]
fn what_comes_back_stays_as_it_is_and_goes_first() {
    let mut lookups = Lookups::default();
    let name: Arc<str> = "a.test".into();
    lookups.add(A, 1, &name, &[site(1)], 5);
    let first = all(&mut lookups).remove(0);
    lookups.add(A, 1, &name, &[site(2)], 9);
    assert_eq!(lookups.put_back(first.clone()), 0);
    let out = all(&mut lookups);
    assert_eq!((out[0].clone(), out[1].addresses.clone()), (first, vec![site(2).0]));
    assert_eq!(lookups.bytes, 0);
}

#[test]
fn the_oldest_make_room_and_are_counted() {
    let mut lookups = Lookups::default();
    let name: Arc<str> = "a.test".into();
    let added: Vec<Added> = (0..u64::from(CAPACITY) + 10).map(|n| lookups.add(A, n, &name, &[site(1)], n)).collect();
    assert_eq!(added.iter().filter(|a| a.is_new).count(), CAPACITY as usize + 10);
    let lost = added.iter().map(|a| a.lost).sum::<u64>();
    let out = all(&mut lookups);
    assert_eq!(out.len() as u64 + lost, u64::from(CAPACITY) + 10);
    assert_eq!(out[0].answered_mono_ns, lost);
}

#[test]
fn one_with_many_addresses_is_closed_and_another_begins() {
    let mut lookups = Lookups::default();
    let name: Arc<str> = "a.test".into();
    let new: Vec<bool> = (0..600).map(|n| lookups.add(A, 1, &name, &[site(n)], 1).is_new).collect();
    assert_eq!(new.iter().filter(|new| **new).count(), 3);
    let out = all(&mut lookups);
    assert_eq!(out.iter().map(|l| l.addresses.len()).collect::<Vec<_>>(), [256, 256, 88]);
}
