use super::*;

fn names(resolv: &str, host: &str) -> Vec<String> {
    Resolv::read(resolv, "node-1").candidates(host)
}

#[test]
fn f6_suffixes_come_before_or_behind_the_name_by_its_dots() {
    let cluster =
        "search ns.svc.cluster.local svc.cluster.local. corp.example\nnameserver 10.96.0.10\noptions ndots:5\n";
    assert_eq!(
        names(cluster, "dakr.example.com"),
        [
            "dakr.example.com.ns.svc.cluster.local.",
            "dakr.example.com.svc.cluster.local.",
            "dakr.example.com.corp.example.",
            "dakr.example.com."
        ]
    );
    assert_eq!(names(cluster, "dakr.example.com."), ["dakr.example.com."]);
    assert_eq!(names("search a.b\n", "dakr.example"), ["dakr.example.", "dakr.example.a.b."]);
    assert_eq!(names("search a.b\n", "dakr"), ["dakr.a.b.", "dakr."]);
    assert_eq!(names("search a\ndomain b\n", "dakr"), ["dakr.b.", "dakr."]);
    assert_eq!(names("search .\n", "dakr"), ["dakr."]);
    assert_eq!(Resolv::read("", "node-1.corp.example").candidates("dakr"), ["dakr.corp.example.", "dakr."]);
}

#[test]
fn f6_a_search_line_of_2048_characters_is_read_whole() {
    let suffixes: Vec<String> = (0..32).map(|n| format!("{n:02}.{}", "x".repeat(60))).collect();
    let line = format!("search {}\n", suffixes.join(" "));
    assert!(line.len() > 2048);
    let found = names(&line, "dakr");
    assert_eq!(found.len(), 33);
    assert_eq!(found[31], format!("dakr.31.{}.", "x".repeat(60)));
    // What would be longer than a name may be is left out.
    assert_eq!(names(&format!("search {}\n", ["y".repeat(60).as_str(); 5].join(".")), "dakr"), ["dakr."]);
}

#[test]
fn servers_and_options_are_read() {
    let resolv = Resolv::read(
        "# x\n; y\nnameserver 10.0.0.1\nnameserver bad\nnameserver fd00::1\nnameserver fe80::1%7\nnameserver 10.0.0.4\n\
         options timeout:2 attempts:9 rotate single-request use-vc ndots:99\n",
        "",
    );
    let servers: Vec<String> = resolv.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.1:53", "[fd00::1]:53", "[fe80::1%7]:53"]);
    assert_eq!((resolv.timeout_ns, resolv.attempts, resolv.ndots), (2 * SECOND, 5, 15));
    assert!(resolv.rotates && resolv.one_by_one && resolv.by_tcp);
    let local: Vec<String> = Resolv::read("", "").servers.iter().map(ToString::to_string).collect();
    assert_eq!(local, ["127.0.0.1:53", "[::1]:53"]);
}

#[test]
fn hosts_gives_every_address_of_a_name() {
    let text = "127.0.0.1 localhost\n# 10.0.0.9 dakr\n10.0.0.1\tDAKR.Example dakr # the first\nfd00::1 dakr.example.\n10.0.0.1 dakr\nbad dakr\n";
    let of = |host| in_hosts(text, host).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(of("dakr.example"), ["10.0.0.1", "fd00::1"]);
    assert_eq!(of("Dakr."), ["10.0.0.1"]);
    assert_eq!(of("example"), Vec::<String>::new());
}
