use super::*;
use crate::flow::Cidr;

fn addr(text: &str) -> Addr {
    Addr::from(text.parse::<std::net::IpAddr>().expect("an address"))
}

fn route(table: u32, range: &str, metric: u32, link: u32) -> Route {
    let (first, prefix) = range.split_once('/').expect("a range");
    let range = Cidr::new(addr(first), prefix.parse().expect("a prefix")).expect("a range");
    Route { range, table, metric, hop: Some(Hop { link, mtu: 0 }), own_link: 0 }
}

fn usual(rules: &mut Rules) {
    for table in [TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT] {
        rules.add(Rule::Table { table, is_for_all: true });
    }
}

fn of(routes: &[Route]) -> Routes {
    let mut builder = Builder::default();
    builder.rules.iter_mut().for_each(usual);
    routes.iter().for_each(|route| builder.add(*route));
    builder.finish()
}

/// The link, `None` where the kernel is asked.
fn link(routes: &Routes, addr: &str) -> Option<u32> {
    routes.find(self::addr(addr)).map(|found| routes.hop(found).link)
}

#[test]
fn the_longest_route_says_which_link() {
    let routes = of(&[
        route(TABLE_MAIN, "0.0.0.0/0", 100, 2),
        route(TABLE_MAIN, "10.244.0.0/16", 0, 4),
        route(TABLE_MAIN, "10.244.1.7/32", 0, 5),
        route(TABLE_LOCAL, "10.0.0.1/32", 0, 0),
        route(TABLE_MAIN, "fd00::/64", 256, 2),
        route(77, "192.0.2.0/24", 0, 9),
    ]);
    for (addr, want) in [
        ("192.0.2.1", Some(2)),
        ("10.244.9.9", Some(4)),
        ("10.244.1.7", Some(5)),
        ("10.0.0.1", Some(0)),
        ("fd00::5", Some(2)),
        ("2001:db8::1", Some(0)),
        ("224.0.0.1", None),
        ("255.255.255.255", None),
        ("ff02::1", None),
        ("0.0.0.0", None),
    ] {
        assert_eq!(link(&routes, addr), want, "{addr}");
    }
}

#[test]
fn what_more_than_the_address_decides_is_asked() {
    let open = |table, range| Route { hop: None, ..route(table, range, 0, 0) };
    let routes = of(&[
        route(TABLE_MAIN, "0.0.0.0/0", 200, 3),
        route(TABLE_MAIN, "0.0.0.0/0", 100, 2),
        open(TABLE_MAIN, "10.1.0.0/16"),
        route(TABLE_MAIN, "10.2.0.0/16", 5, 2),
        route(TABLE_MAIN, "10.2.0.0/16", 5, 3),
        route(TABLE_LOCAL, "127.0.0.0/8", 0, 0),
        route(TABLE_MAIN, "127.1.0.0/16", 0, 3),
        route(TABLE_LOCAL, "10.3.0.1/32", 0, 0),
        route(TABLE_MAIN, "10.3.0.1/32", 0, 3),
        route(TABLE_MAIN, "::/0", 1, 2),
        route(TABLE_MAIN, "::/0", 2, 3),
    ]);
    assert_eq!(link(&routes, "192.0.2.1"), Some(2), "the better of two");
    assert_eq!(link(&routes, "10.1.0.1"), None, "several ways, or a kind that is not known");
    assert_eq!(link(&routes, "10.2.0.1"), None, "two of one metric");
    assert_eq!(link(&routes, "127.1.0.1"), None, "the order of tables decides");
    assert_eq!(link(&routes, "127.2.0.1"), Some(0));
    assert_eq!(link(&routes, "10.3.0.1"), Some(0), "the host's own");
    assert_eq!(link(&routes, "2001:db8::1"), None, "by who is reachable");
}

#[test]
fn rules_that_choose_another_table_leave_it_to_the_kernel() {
    let with = |rules: &[Rule]| {
        let mut builder = Builder::default();
        usual(&mut builder.rules[1]);
        rules.iter().for_each(|rule| builder.rules[0].add(*rule));
        builder.add(route(TABLE_MAIN, "0.0.0.0/0", 0, 2));
        let routes = builder.finish();
        assert_eq!(link(&routes, "2001:db8::1"), Some(0), "the other family has its own");
        link(&routes, "192.0.2.1")
    };
    let table = |table, is_for_all| Rule::Table { table, is_for_all };
    let [local, main, default] = [TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT].map(|of| table(of, true));
    for (rules, want) in [
        (&[local, main, default][..], Some(2)),
        (&[local, main], Some(2)),
        (&[Rule::Never, local, Rule::Never, main, default], Some(2)),
        (&[local, table(TABLE_MAIN, false), main, default], Some(2)),
        (&[local, table(100, true), main, default], None),
        (&[local, table(100, false), main, default], None),
        (&[local, Rule::Odd, main, default], None),
        (&[table(TABLE_MAIN, false), local, main], None),
        (&[main, local], None),
        (&[local], None),
        (&[], None),
    ] {
        assert_eq!(with(rules), want, "{rules:?}");
    }
    let routes = of(&[route(TABLE_MAIN, "0.0.0.0/0", 0, 2), route(TABLE_DEFAULT, "10.0.0.0/8", 0, 3)]);
    assert_eq!(link(&routes, "192.0.2.1"), None, "the third table has routes");
}

#[test]
fn of_more_routes_than_are_kept_the_kernel_is_asked() {
    let some = |count: u32| -> Vec<Route> {
        let first = |n: u32| Addr::from_v4((10 << 24 | n).to_be_bytes());
        let range = |n| Cidr::new(first(n), 32).expect("a range");
        (0..count).map(|n| Route { range: range(n), ..route(TABLE_MAIN, "0.0.0.0/0", 0, 2) }).collect()
    };
    assert_eq!(link(&of(&some(8_192)), "10.0.0.9"), Some(2));
    assert_eq!(link(&of(&some(8_193)), "10.0.0.9"), None);
}

#[test]
fn what_an_answer_means_is_kept_with_it() {
    let mut routes = of(&[route(TABLE_MAIN, "0.0.0.0/0", 0, 2)]);
    let found = routes.find(Addr::from_v4([192, 0, 2, 1])).expect("an answer");
    assert_eq!(routes.path(found), None);
    let path = super::super::Path::of_number(3);
    routes.keep(found, path);
    assert_eq!(routes.path(found), Some(path));
    assert_eq!(routes.path(Found::NoWay), Some(super::super::Path::UNKNOWN));
}

#[test]
fn the_link_of_an_own_address_is_known_unless_routes_are_missing() {
    let own = |range: &str, own_link| Route { own_link, ..route(TABLE_LOCAL, range, 0, 0) };
    let some = [
        own("192.168.1.10/32", 2),
        own("10.0.0.1/32", 5),
        own("fe80::1/128", 5),
        route(TABLE_MAIN, "10.0.0.2/32", 0, 5),
        Route { table: 77, ..own("10.0.0.3/32", 5) },
    ];
    let routes = of(&some);
    for (addr, want) in
        [("192.168.1.10", Some(2)), ("10.0.0.1", Some(5)), ("fe80::1", Some(5)), ("10.0.0.2", None), ("10.0.0.3", None)]
    {
        assert_eq!(routes.link_of(self::addr(addr)), want, "{addr}");
    }
    assert!(routes.know_own() && !of(&some[3..]).know_own());
    let many = vec![some[0]; 8_193];
    assert!(!of(&many).know_own(), "others may be among those that were not kept");
}
