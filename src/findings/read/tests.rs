use super::*;

#[test]
fn what_the_kernels_files_say_is_read() {
    let table = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\nTCP  0A600001:01BB rr\n  -> 0A000002:1900      Masq    1      0          0\nUDP  0A60000A:0035 rr\n";
    assert_eq!((ipvs_services(table), ipvs_services("")), (2, 0));
    let v1 = "31 23 0:27 / /sys/fs/cgroup/net_cls,net_prio rw,nosuid - cgroup cgroup rw,net_cls,net_prio\n";
    let v2 = "29 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n30 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
    assert!(has_v1_of_sockets(&format!("{v2}{v1}")) && !has_v1_of_sockets(v2));
}

/// As `nft add flowtable inet t f { hook ingress priority 0; counter; }` is dumped.
#[test]
fn a_flow_table_is_read_with_its_counter() {
    let message = |flags: u32| {
        let mut writer = Writer::default();
        writer.message(0, 0, 0);
        writer.raw(&[1, 0, 0, 0]);
        writer.attribute(1, b"t\0");
        writer.attribute(2, b"f\0");
        writer.nested(3, |hook| hook.attribute(1, &0u32.to_be_bytes()));
        writer.attribute(7, &flags.to_be_bytes());
        writer.finish().split_off(16)
    };
    assert_eq!(flowtable(&message(2)), Some(Flowtable { name: "inet t f".to_owned(), counts: true }));
    assert_eq!(flowtable(&message(0)).map(|table| table.counts), Some(false));
    assert_eq!(flowtable(&[]), None);
}

/// As `ip xfrm policy add ... dir out tmpl ...` is dumped.
#[test]
fn a_policy_that_protects_what_is_sent_is_known() {
    let policy = |direction: u8, attribute: u16| {
        let mut writer = Writer::default();
        writer.message(0, 0, 0);
        let mut head = [0; 168];
        head[160] = direction;
        writer.raw(&head);
        writer.attribute(attribute, &[0; 64]);
        protects_sent(&writer.finish()[16..])
    };
    assert!(policy(1, 5));
    assert!(!policy(0, 5) && !policy(2, 5), "what is received, or forwarded");
    assert!(!policy(4, 5), "of one socket");
    assert!(!policy(1, 16), "no template");
    assert!(!protects_sent(&[]));
}

/// As `nft list hooks` asks for them.
#[test]
fn a_hook_of_ipvlan_is_known() {
    let hook = |function: &[u8]| {
        let mut writer = Writer::default();
        writer.message(0, 0, 0);
        writer.raw(&[2, 0, 0, 0]);
        writer.attribute(1, &1_u32.to_be_bytes());
        writer.attribute(4, function);
        writer.attribute(5, b"ipvlan\0");
        is_of_ipvlan(&writer.finish()[16..])
    };
    assert!(hook(b"ipvlan_nf_input\0") && !hook(b"nf_confirm\0") && !is_of_ipvlan(&[]));
}

#[test]
fn this_node_is_looked_at_without_a_fault() {
    let facts = facts(None, 0);
    assert!(!facts.release.is_empty());
    assert_eq!(facts.carried, None, "no time, no traffic");
}

/// As `nft add rule inet t pre notrack`, and iptables' two targets, are dumped.
#[test]
fn a_rule_that_takes_packets_out_of_tracking_is_found() {
    let rule = |name: &[u8], target: Option<(&[u8], u16)>| {
        let mut writer = Writer::default();
        writer.message(0, 0, 0);
        writer.raw(&[1, 0, 0, 0]);
        writer.attribute(1, b"t\0");
        writer.attribute(2, b"pre\0");
        writer.nested(4, |expressions| {
            expressions.nested(1, |one| one.attribute(1, b"payload\0"));
            expressions.nested(1, |one| {
                one.attribute(1, name);
                if let Some((target, flags)) = target {
                    one.nested(2, |data| {
                        data.attribute(1, target);
                        data.attribute(3, &[flags.to_ne_bytes(), [0; 2]].concat());
                    });
                }
            });
        });
        chain_of_notrack(&writer.finish()[16..])
    };
    let found = Some("inet t pre".to_owned());
    assert_eq!(rule(b"notrack\0", None), found);
    assert_eq!(rule(b"target\0", Some((b"NOTRACK\0", 0))), found);
    assert_eq!(rule(b"target\0", Some((b"CT\0", 1))), found);
    assert_eq!(rule(b"target\0", Some((b"CT\0", 0))), None, "a helper, or a zone");
    assert_eq!(rule(b"counter\0", None), None);
    assert_eq!(chain_of_notrack(&[]), None);
}
