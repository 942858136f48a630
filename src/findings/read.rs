//! Looks at the node: files of `/proc` and `/sys`, and questions to nf_tables, to IPsec and for hooks. It changes nothing,
//! and asks IPsec and for hooks only where something of the kind is loaded.

use std::fs;
use std::path::Path;

use super::node::{Conntrack, Facts, Flowtable};
use crate::clock::{self, MS};
use crate::sys::links::Links;
use crate::sys::netlink::{Family, RequestSocket};
use crate::sys::privileges::Capabilities;
use crate::sys::{cgroup, kernel, options, privileges};
use crate::wire::netlink::{Attributes, DONE, ERROR, Messages, Writer, u16_ne, u32_be};
use crate::wire::rtnetlink::{Link, LinkKind};

/// Bytes of an Ethernet header, which interface counters include.
const LINK_HEADER_BYTES: u64 = 14;
/// `NFNL_SUBSYS_NFTABLES` << 8 | `NFT_MSG_GETFLOWTABLE` (linux/netfilter/nf_tables.h).
const GET_FLOWTABLE: u16 = 10 << 8 | 23;
/// `NFT_MSG_GETRULE`, of the same subsystem.
const GET_RULE: u16 = 10 << 8 | 7;
/// `NFNL_SUBSYS_HOOK` << 8 | `NFNL_MSG_HOOK_GET` (linux/netfilter/nfnetlink_hook.h).
const GET_HOOK: u16 = 12 << 8;
/// `XFRM_MSG_GETPOLICY` (linux/xfrm.h).
const GET_POLICY: u16 = 0x15;
/// `NLM_F_REQUEST` | `NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// `NFT_FLOWTABLE_COUNTER`.
const COUNTER: u32 = 2;

/// Looks for so long at what interfaces carry; a look of 0 sees no traffic.
pub fn facts(cgroup_root: Option<&Path>, look_ns: u64) -> Facts {
    let before = carried();
    if look_ns > 0 {
        clock::sleep_ns(look_ns);
    }
    let after = carried();
    let grown = after.iter().map(|(name, bytes)| {
        let base = before.iter().find(|(known, _)| known == name).map_or(*bytes, |(_, bytes)| *bytes);
        (name.clone(), bytes.saturating_sub(base))
    });
    Facts {
        release: kernel::release(),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        held: privileges::held().map_or(Capabilities::NONE, |held| held.effective.and(held.permitted)),
        cgroup_root: cgroup::find(cgroup_root).map(|root| root.display().to_string()).map_err(|why| why.to_string()),
        cgroup_v1: has_v1_of_sockets(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()),
        v1_of_pods: cgroup::v1_of_pods().map(|path| path.display().to_string()),
        conntrack: conntrack(),
        carried: grown.max_by_key(|(_, bytes)| *bytes).filter(|(_, bytes)| *bytes > 0),
        looked_ms: look_ns / MS,
        ipvs_services: ipvs_services(&fs::read_to_string("/proc/net/ip_vs").unwrap_or_default()),
        ipvs_conntrack: number("/proc/sys/net/ipv4/vs/conntrack") == Some(1),
        flowtables: flowtables().ok(),
        notrack: notrack().unwrap_or_default().into_iter().chain(legacy_notrack()).collect(),
        bridges: bridges().unwrap_or_default(),
        bridged_is_tracked: number("/proc/sys/net/bridge/bridge-nf-call-iptables") == Some(1),
        ipsec: has_ipsec().unwrap_or(false),
        ipvlan_l3s: has_ipvlan_l3s().unwrap_or(false),
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn conntrack() -> Option<Conntrack> {
    let of = |name: &str| number(&format!("/proc/sys/net/netfilter/nf_conntrack_{name}"));
    Some(Conntrack {
        count: of("count")?,
        max: of("max").unwrap_or(0),
        accounting: of("acct") == Some(1),
        events: of("events").and_then(|events| u8::try_from(events).ok()),
    })
}

/// Whether a controller of cgroup v1 is mounted that writes into sockets (proc(5): mountinfo).
fn has_v1_of_sockets(mountinfo: &str) -> bool {
    mountinfo.lines().filter_map(|line| line.split_once(" - cgroup ")).any(|(_, rest)| {
        let options = rest.split(' ').nth(1).unwrap_or_default();
        options.split(',').any(|option| matches!(option, "net_cls" | "net_prio"))
    })
}

/// Services begin their lines with their protocol, destinations with an arrow.
fn ipvs_services(table: &str) -> usize {
    table.lines().filter(|line| ["TCP ", "UDP ", "SCTP ", "FWM "].iter().any(|name| line.starts_with(name))).count()
}

/// Bridges of this network namespace with two ports or more, between which packets can pass. Of `/sys` it may see
/// another namespace's.
fn bridges() -> std::io::Result<Vec<String>> {
    let mut links = Vec::new();
    Links::open()?.list(&mut |link| links.push(*link))?;
    let ports = |bridge: &Link| links.iter().filter(|port| port.master == bridge.index).count();
    let bridges = links.iter().filter(|link| link.kind == LinkKind::Bridge && ports(link) >= 2);
    Ok(bridges.map(|bridge| text(bridge.name.split(|byte| *byte == 0).next().unwrap_or_default())).collect())
}

/// Bytes of layer 3 that each interface has carried, loopback left out (proc_pid_net(5)).
fn carried() -> Vec<(String, u64)> {
    let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let parsed = lines.map(|(name, fields)| {
        let fields: Vec<u64> = fields.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        let at = |n: usize| fields.get(n).copied().unwrap_or(0);
        let headers = (at(1) + at(9)).saturating_mul(LINK_HEADER_BYTES);
        (name.trim().to_owned(), at(0).saturating_add(at(8)).saturating_sub(headers))
    });
    parsed.filter(|(name, _)| name != "lo").collect()
}

fn flowtables() -> std::io::Result<Vec<Flowtable>> {
    let mut tables = Vec::new();
    dump(GET_FLOWTABLE, |payload| {
        tables.extend(flowtable(payload));
        false
    })?;
    Ok(tables)
}

/// Chains with a rule that takes packets out of tracking; [`legacy_notrack`] knows those of iptables-legacy.
fn notrack() -> std::io::Result<Vec<String>> {
    let mut chains: Vec<String> = Vec::new();
    dump(GET_RULE, |payload| {
        let chain = chain_of_notrack(payload);
        chains.extend(chain.filter(|chain| !chains.contains(chain)));
        false
    })?;
    Ok(chains)
}

/// Tables of iptables-legacy with such a rule. Only the table `raw` can have one.
fn legacy_notrack() -> Vec<String> {
    let families = [(true, "ip", "/proc/net/ip_tables_names"), (false, "ip6", "/proc/net/ip6_tables_names")];
    let is_there = |names: &str| fs::read_to_string(names).is_ok_and(|text| text.lines().any(|name| name == "raw"));
    let with = families.into_iter().filter(|(is_v4, _, names)| {
        is_there(names) && options::legacy_table(*is_v4, "raw").is_ok_and(|table| says_notrack(&table, *is_v4))
    });
    with.map(|(_, family, _)| format!("{family} raw of iptables-legacy")).collect()
}

/// Whether one of the entries of `struct ipt_entry` or `ip6t_entry` has such a target (`struct xt_entry_target`).
fn says_notrack(mut table: &[u8], is_v4: bool) -> bool {
    // Behind the addresses that a rule is for, and `nfcache`.
    let offsets = if is_v4 { 88 } else { 140 };
    while let (Some(target), Some(next)) = (u16_ne(table, offsets), u16_ne(table, offsets + 2)) {
        let target = table.get(usize::from(target)..).unwrap_or_default();
        if is_target_notrack(target.get(2..31).unwrap_or_default(), target.get(32..).unwrap_or_default()) {
            return true;
        }
        // An entry of no length would never end.
        table = table.get(usize::from(next).max(1)..).unwrap_or_default();
    }
    false
}

/// Of iptables' targets these are NOTRACK, and CT with the flag `XT_CT_NOTRACK` (linux/netfilter/xt_CT.h).
fn is_target_notrack(name: &[u8], info: &[u8]) -> bool {
    match name.split(|byte| *byte == 0).next() {
        Some(b"NOTRACK") => true,
        Some(b"CT") => u16_ne(info, 0).is_some_and(|flags| flags & 1 != 0),
        _ => false,
    }
}

/// Whether a policy protects what is sent. The kernel's part of it is there only where it is loaded.
fn has_ipsec() -> std::io::Result<bool> {
    let sockets = fs::read_to_string("/proc/thread-self/net/netlink")?;
    // The second column is the protocol, NETLINK_XFRM.
    if !sockets.lines().any(|line| line.split_whitespace().nth(1) == Some("6")) {
        return Ok(false);
    }
    // struct xfrm_userpolicy_id: of whomever.
    found_by(Family::Xfrm, GET_POLICY, |request| request.raw(&[0; 64]), protects_sent)
}

/// Whether a policy (`struct xfrm_userpolicy_info`) is for sent packets of any socket, and has a template
/// (`XFRMA_TMPL`). Without a template it lets packets pass as they are.
fn protects_sent(payload: &[u8]) -> bool {
    const DIRECTION: usize = 160;
    const POLICY_BYTES: usize = 168;
    const OUT: u8 = 1;
    let templates = || Attributes::of(payload.get(POLICY_BYTES..).unwrap_or_default()).map_while(Result::ok);
    payload.get(DIRECTION) == Some(&OUT) && templates().any(|attribute| attribute.kind == 5)
}

/// Whether ipvlan hooks into what comes in for the node, which it does in mode L3S alone. The devices are the pods'.
fn has_ipvlan_l3s() -> std::io::Result<bool> {
    if !Path::new("/sys/module/ipvlan").exists() {
        return Ok(false);
    }
    let fill = |request: &mut Writer| {
        // nfgenmsg of NFPROTO_IPV4, NFNLA_HOOK_HOOKNUM of NF_INET_LOCAL_IN.
        request.raw(&[2, 0, 0, 0]);
        request.attribute(1, &1_u32.to_be_bytes());
    };
    found_by(Family::Netfilter, GET_HOOK, fill, is_of_ipvlan)
}

/// Whether a hook's function (`NFNLA_HOOK_FUNCTION_NAME`) is ipvlan's.
fn is_of_ipvlan(payload: &[u8]) -> bool {
    let mut all = Attributes::of(payload.get(4..).unwrap_or_default()).map_while(Result::ok);
    all.any(|attribute| attribute.kind == 4 && attribute.value.starts_with(b"ipvlan_"))
}

/// Whether one of the messages of a dump is such a one.
fn found_by(
    family: Family,
    kind: u16,
    fill: impl FnOnce(&mut Writer),
    is_such: fn(&[u8]) -> bool,
) -> std::io::Result<bool> {
    let mut is_found = false;
    ask(family, kind, fill, |payload| {
        is_found |= is_such(payload);
        is_found
    })?;
    Ok(is_found)
}

/// Asks nf_tables for all objects of a kind, of every family.
fn dump(kind: u16, each: impl FnMut(&[u8]) -> bool) -> std::io::Result<()> {
    // nfgenmsg: every family, version 0.
    ask(Family::Netfilter, kind, |request| request.raw(&[0; 4]), each)
}

/// Asks for a dump, until `each` has had enough.
fn ask(
    family: Family,
    kind: u16,
    fill: impl FnOnce(&mut Writer),
    mut each: impl FnMut(&[u8]) -> bool,
) -> std::io::Result<()> {
    let socket = RequestSocket::open(family)?;
    let mut request = Writer::default();
    request.message(kind, DUMP, 1);
    fill(&mut request);
    socket.send(&request.finish())?;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let length = socket.receive(&mut buffer)?;
        for message in Messages::of(buffer.get(..length).unwrap_or_default()).map_while(Result::ok) {
            match message.kind {
                DONE => return Ok(()),
                ERROR => return Err(std::io::Error::from_raw_os_error(message.errno())),
                _ if each(message.payload) => return Ok(()),
                _ => {}
            }
        }
    }
}

/// `NFPROTO_*`, as nft writes it.
fn family(number: u8) -> &'static str {
    match number {
        1 => "inet",
        2 => "ip",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "?",
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned()
}

/// `family table chain` of a rule (`NFTA_RULE_TABLE`, `_CHAIN`, `_EXPRESSIONS`) that says notrack, by nft or by iptables.
fn chain_of_notrack(payload: &[u8]) -> Option<String> {
    let (mut table, mut chain, mut says) = (String::new(), String::new(), false);
    for attribute in Attributes::of(payload.get(4..)?).map_while(Result::ok) {
        match attribute.kind {
            1 => table = text(attribute.value),
            2 => chain = text(attribute.value),
            4 => says = Attributes::of(attribute.value).map_while(Result::ok).any(|one| is_notrack(one.value)),
            _ => {}
        }
    }
    says.then(|| format!("{} {table} {chain}", family(*payload.first().unwrap_or(&0))))
}

/// An expression: `NFTA_EXPR_NAME` and `_DATA`, of a target of iptables `NFTA_TARGET_NAME` and `_INFO`.
fn is_notrack(expression: &[u8]) -> bool {
    let of =
        |bytes, kind| Attributes::of(bytes).map_while(Result::ok).find(|one| one.kind == kind).map(|one| one.value);
    let is = |value: Option<&[u8]>, name: &str| value.is_some_and(|value| text(value) == name);
    let (name, data) = (of(expression, 1), of(expression, 2).unwrap_or_default());
    let (target, info) = (of(data, 1).unwrap_or_default(), of(data, 3).unwrap_or_default());
    is(name, "notrack") || is(name, "target") && is_target_notrack(target, info)
}

/// `NFTA_FLOWTABLE_TABLE`, `_NAME` and `_FLAGS` behind the family.
fn flowtable(payload: &[u8]) -> Option<Flowtable> {
    let family = family(*payload.first()?);
    let (mut table, mut name, mut flags) = (String::new(), String::new(), 0);
    for attribute in Attributes::of(payload.get(4..)?).map_while(Result::ok) {
        match attribute.kind {
            1 => table = text(attribute.value),
            2 => name = text(attribute.value),
            7 => flags = u32_be(attribute.value).unwrap_or(0),
            _ => {}
        }
    }
    Some(Flowtable { name: format!("{family} {table} {name}"), counts: flags & COUNTER != 0 })
}

#[cfg(test)]
mod tests;
