use super::*;

const A: Addr = Addr::from_v4([10, 0, 0, 1]);
const B: Addr = Addr::from_v4([10, 0, 0, 2]);
const SITE: Addr = Addr::from_v4([192, 0, 2, 7]);

fn at(seconds: u64) -> u64 {
    seconds * SECOND
}

fn name(table: &NameTable, client: Addr, seconds: u64) -> Option<(String, Origin)> {
    let found = table.find(SITE, at(seconds), &mut [client].into_iter(), &|asked, _| asked == client);
    found.map(|(text, origin)| (text.to_string(), origin))
}

#[test]
fn each_client_has_its_own_name_and_the_node_the_last() {
    let mut table = NameTable::new();
    table.learn(A, SITE, &"a.test".into(), 60, at(0));
    table.learn(B, SITE, &"b.test".into(), 60, at(1));
    assert_eq!(name(&table, A, 2), Some(("a.test".into(), Origin::Own)));
    assert_eq!(name(&table, B, 2), Some(("b.test".into(), Origin::Own)));
    assert_eq!(name(&table, SITE, 2), Some(("b.test".into(), Origin::Node)));
    table.learn(A, SITE, &"c.test".into(), 60, at(3));
    assert_eq!(name(&table, A, 4), Some(("c.test".into(), Origin::Own)), "the last asked");
    assert_eq!(name(&table, SITE, 4), Some(("c.test".into(), Origin::Node)));
    let refused = table.find(SITE, at(4), &mut [A, B].into_iter(), &|client, _| client != A);
    assert_eq!(refused.map(|(text, _)| text.to_string()), Some("b.test".into()), "another's address by then");
}

#[test]
fn a_name_lives_for_its_ttl_between_floor_and_ceiling() {
    for (ttl_s, lives_s) in [(0, 120), (120, 120), (121, 121), (100_000, 3_600)] {
        let mut table = NameTable::new();
        table.learn(A, SITE, &"a.test".into(), ttl_s, at(0));
        assert!(name(&table, A, lives_s - 1).is_some(), "{ttl_s} s");
        assert_eq!(name(&table, A, lives_s), None, "{ttl_s} s");
        table.purge(at(lives_s - 1));
        assert_eq!(table.len(), 1);
        table.purge(at(lives_s));
        assert_eq!((table.len(), table.last.len(), table.text_bytes), (0, 0, 0));
    }
}

#[test]
fn the_oldest_names_make_room_and_are_counted() {
    let mut table = NameTable::new();
    let address = |n: u32| Addr::from_v4((0x0a00_0000 + n).to_be_bytes());
    let text: Arc<str> = "a.test".into();
    for n in 0..CAPACITY {
        assert_eq!(table.learn(A, address(n), &text, 60, at(0)), 0);
    }
    assert_eq!(table.learn(A, address(0), &text, 60, at(1)), 0, "known already");
    assert_eq!(table.learn(A, address(CAPACITY), &text, 60, at(1)), 1);
    assert_eq!(table.learn(A, address(CAPACITY + 1), &text, 60, at(120)), 0, "its time was over");
    assert_eq!(table.len(), CAPACITY);
    let long: Arc<str> = "x".repeat(1_000).into();
    let lost: u64 = (0..1_000).map(|n| table.learn(B, address(n), &long, 60, at(121))).sum();
    assert!(lost > 400 && table.text_bytes <= TEXT_BYTES);
}

#[test]
fn f15_no_client_displaces_the_names_of_others() {
    let address = |n: u32| Addr::from_v4((0xC633_0000u32 + n).to_be_bytes());
    for text in ["short.test".to_owned(), "x".repeat(250)] {
        let mut table = NameTable::new();
        let others: Vec<Addr> = (3..10).map(|n| Addr::from_v4([10, 0, 0, n])).collect();
        let learn = |table: &mut NameTable, client, n, seconds| {
            table.learn(client, address(n), &text.as_str().into(), 3600, at(seconds))
        };
        others.iter().for_each(|client| (0..20).for_each(|n| assert_eq!(learn(&mut table, *client, n, 0), 0)));
        let lost: u64 = (0..2 * CAPACITY).map(|n| learn(&mut table, A, n, 1)).sum();
        assert!(lost > 0 && table.len() <= CAPACITY && table.text_bytes <= TEXT_BYTES);
        // Who comes later finds room, too.
        for n in 0..20 {
            learn(&mut table, B, n, 2);
        }
        for client in others.iter().chain([&B]) {
            let found = (0..20).filter(|n| {
                table
                    .find(address(*n), at(3), &mut std::iter::once(*client), &|asked, _| asked == *client)
                    .is_some_and(|(_, origin)| origin == Origin::Own)
            });
            assert_eq!(found.count(), 20, "{client}");
        }
    }
}
