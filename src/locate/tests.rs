use std::fs;
use std::io::Write;
use std::path::PathBuf;

use super::*;
use crate::flow::Addr;
use crate::topology::Scope;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("netmon-locate-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("topology")
    }

    /// As another file, which is what a mounted ConfigMap does.
    fn write(&self, bytes: impl AsRef<[u8]>) {
        let next = self.0.join("next");
        fs::write(&next, bytes).expect("ours");
        fs::rename(&next, self.file()).expect("ours");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn own(zone: &str, region: &str) -> Own {
    Own { zone: zone.to_owned(), region: region.to_owned() }
}

fn locator(folder: &Folder) -> Locator {
    let settings = Settings { file: Some(folder.file()), labels: own("a1", "a"), ..Settings::default() };
    Locator::new(settings, Names::default(), Arc::default())
}

fn scope(topology: &Topology, last: u8) -> Scope {
    topology.charge(Addr::from_v4([10, 0, 0, last]), false, true).way.scope()
}

fn refused(locator: &Locator) -> Vec<(&'static str, u64)> {
    let cells = TopologyRefused::ALL.iter().zip(&locator.stats.topology_refused);
    cells.map(|(reason, cell)| (reason.as_str(), cell.get())).filter(|(_, n)| *n > 0).collect()
}

const GOOD: &str = "10.0.0.0/25 zone=a1 region=a\n10.0.0.128/25 zone=a2 region=a\n";

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn a_file_is_read_when_it_changed_and_not_else() {
    let folder = Folder::new("changes");
    let mut locator = locator(&folder);
    assert!(locator.look().is_none(), "there is no file");
    folder.write(GOOD);
    let first = locator.look().expect("it is there now");
    assert_eq!((scope(&first, 1), scope(&first, 200)), (Scope::Zone, Scope::Region));
    assert!(locator.look().is_none(), "nothing changed");
    folder.write("10.0.0.0/24 zone=b1 region=b\n");
    let second = locator.look().expect("it changed");
    assert_eq!(scope(&second, 1), Scope::CrossRegion);
    assert_eq!(scope(&first, 1), Scope::Zone, "who has the old one has it still");
    folder.write(packed(GOOD));
    assert_eq!(scope(&locator.look().expect("packed"), 200), Scope::Region);
    assert_eq!(locator.stats.topology_ranges.get(), 2);
}

/// It was warned of and counted by the main thread and by thread `locate`.
#[test]
fn a_missing_file_is_told_once() {
    let folder = Folder::new("missing");
    let mut locator = locator(&folder);
    let lines = crate::logging::heard::lines(|| {
        for _ in 0..3 {
            assert!(locator.look().is_none());
            locator.set_node(own("b1", "b"));
        }
    });
    assert_eq!((lines.len(), refused(&locator)), (1, vec![("file", 1)]), "{lines:?}");
    folder.write(GOOD);
    assert!(locator.look().is_some(), "it is there now");
    let _ = fs::remove_file(folder.file());
    assert!(locator.look().is_none() && locator.look().is_none());
    assert_eq!(refused(&locator), [("file", 2)], "it went, which is told once too");
}

/// Each leaves the table before in use, and is counted once.
#[test]
fn what_is_wrong_leaves_the_old_table_and_is_counted() {
    let folder = Folder::new("wrong");
    let mut locator = locator(&folder);
    folder.write(GOOD);
    locator.look().expect("it is well");
    let many: String =
        (0..70_000u32).map(|n| format!("10.{}.{}.{} zone=a\n", n >> 16, n >> 8 & 255, n & 255)).collect();
    let whole = packed(&many);
    let cases: [(&[u8], &str, &str); 10] = [
        (b"", "cut", "empty"),
        (b"10.0.0.0/24 zone=b", "cut", "line 1: the text ends within this line"),
        (b"# zxporter-netmon topology 1 generation 5 ranges 2\n10.0.0.0/24 zone=b\n", "cut", "line 2: "),
        (b"# zxporter-netmon topology 7 generation 5 ranges 1\n10.0.0.0/24 zone=b\n", "version", "line 1: "),
        (b"10.0.0.1/24 zone=b\n", "line", "is 10.0.0.0/24 meant?"),
        (b"::ffff:10.0.0.0/120 zone=b\n", "line", "write it as IPv4"),
        (b"10.0.0.0/24 zone=b\n\xff\xfe\n", "file", ""),
        (many.as_bytes(), "line", "line 65537: "),
        (&whole[..whole.len() / 2], "file", ""),
        (b"10.0.0.0/24 zone=b zones=c\n", "line", "line 1: \"zones=c\" is not understood"),
    ];
    let look = |locator: &mut Locator| {
        let mut found = None;
        let lines = crate::logging::heard::lines(|| found = locator.look());
        (found, lines)
    };
    for (n, (bytes, reason, says)) in cases.iter().enumerate() {
        let before = refused(&locator);
        folder.write(bytes);
        let (found, heard) = look(&mut locator);
        assert!(found.is_none(), "case {n}");
        let [line] = &heard[..] else { panic!("case {n}: {heard:?}") };
        let path = folder.file().display().to_string();
        assert!(line.contains(&path) && line.contains(says) && line.contains("2 ranges stay in use"), "{line}");
        let grown: Vec<&str> =
            refused(&locator).into_iter().filter(|now| !before.contains(now)).map(|(name, _)| name).collect();
        assert_eq!(grown, [*reason], "case {n}");
        assert!(
            locator.look().is_none() && refused(&locator).iter().map(|(_, n)| n).sum::<u64>() == n as u64 + 1,
            "told once"
        );
        assert_eq!(scope(&locator.topology(), 200), Scope::Region, "case {n}");
    }
    let _ = fs::remove_file(folder.file());
    fs::create_dir(folder.file()).expect("ours");
    let before = refused(&locator).iter().map(|(_, n)| n).sum::<u64>();
    let (found, heard) = look(&mut locator);
    assert!(found.is_none() && heard.len() == 1, "{heard:?}");
    assert_eq!(refused(&locator).iter().map(|(_, n)| n).sum::<u64>(), before + 1, "a folder is counted");
    assert_eq!(scope(&locator.topology(), 200), Scope::Region, "a folder");
    fs::remove_dir(folder.file()).expect("ours");
    folder.write("10.0.0.0/24 zone=b1 region=b\n");
    assert_eq!(scope(&locator.look().expect("it is well again"), 200), Scope::CrossRegion);
}

/// It is used all the same.
#[test]
fn a_zone_that_one_line_alone_names_is_warned_of_unless_a_node_is_there() {
    let folder = Folder::new("lonely");
    folder.write("10.0.0.0/24 zone=a1 region=a\n10.0.1.0/24 zone=a-1 region=a\n10.0.2.0/24 zone=a2 region=a\n");
    let mut locator = with_source(&folder, TopologySource::Nodes);
    let places = vec![("a2".into(), "a".into())];
    locator.set_nodes(Found { ranges: Vec::new(), places }, own("a1", "a"));
    let lines = crate::logging::heard::lines(|| assert_eq!(locator.look().expect("used").ranges(), 3));
    let warned: Vec<&String> = lines.iter().filter(|line| line.contains("misspelt")).collect();
    assert!(matches!(warned[..], [line] if line.contains("line 2") && line.contains("\"a-1\"")), "{lines:?}");
}

#[test]
fn a_text_beyond_the_bound_is_not_unpacked() {
    let folder = Folder::new("long");
    let mut locator = locator(&folder);
    let bomb = packed(&"#".repeat(lines::MAX_BYTES + 1));
    assert!(bomb.len() < 64 << 10);
    folder.write(bomb);
    assert!(locator.look().is_none());
    assert_eq!(refused(&locator), [("file", 1)]);
}

#[test]
fn a_published_table_that_is_older_is_not_used() {
    let folder = Folder::new("older");
    let mut locator = locator(&folder);
    let text = |generation: u64, zone: &str| {
        format!("# zxporter-netmon topology 1 generation {generation} ranges 1\n10.0.0.0/24 zone={zone} region=a\n")
    };
    folder.write(text(7, "a1"));
    locator.look().expect("the first");
    folder.write(text(6, "a2"));
    assert!(locator.look().is_none());
    assert_eq!(refused(&locator), [("older", 1)]);
    folder.write(text(7, "a2"));
    assert_eq!(scope(&locator.look().expect("not older"), 1), Scope::Region);
}

#[test]
fn the_first_that_knows_tells_where_this_node_is() {
    let folder = Folder::new("own");
    folder.write("10.0.0.0/24 zone=z region=r\n");
    let with = |labels: Own, node: Own, fallback: Own| {
        let settings = Settings { file: Some(folder.file()), labels, fallback, ..Settings::default() };
        let mut locator = Locator::new(settings, Names::default(), Arc::default());
        let asks = locator.asks_for_node();
        locator.set_node(node);
        (asks, scope(&locator.look().expect("a file"), 1))
    };
    let no = Own::default;
    assert_eq!(with(own("z", "r"), own("y", "r"), own("x", "q")), (false, Scope::Zone), "no question");
    assert_eq!(with(no(), own("y", "r"), own("x", "q")), (true, Scope::Region));
    assert_eq!(with(no(), no(), own("x", "q")), (true, Scope::CrossRegion));
    assert_eq!(with(no(), no(), no()), (true, Scope::Unknown));
    let without = Locator::new(Settings::default(), Names::default(), Arc::default());
    assert!(!without.asks_for_node(), "without a table it does not matter");
}

#[test]
fn numbers_of_a_refused_text_are_given_again() {
    let folder = Folder::new("names");
    let mut locator = locator(&folder);
    folder.write("10.0.0.0/24 zone=bad\n10.0.1.1/24 zone=a\n");
    assert!(locator.look().is_none());
    assert!(locator.names.places().all(|(zone, _)| zone != "bad"));
}

fn range(text: &str) -> Cidr {
    lines::range_of(text).expect("a range")
}

fn with_source(folder: &Folder, source: TopologySource) -> Locator {
    let settings = Settings { file: Some(folder.file()), source, labels: own("a1", "a"), fallback: Own::default() };
    Locator::new(settings, Names::default(), Arc::default())
}

#[test]
fn nodes_tell_what_the_file_does_not_and_the_longest_range_wins_over_both() {
    let folder = Folder::new("nodes");
    folder.write("10.0.0.0/25 zone=a1 region=a\n10.0.0.0/16 region=a via=peering\n");
    let mut locator = with_source(&folder, TopologySource::Nodes);
    assert!(!locator.asks_for_node(), "it is among them");
    locator.look().expect("a file");
    let found = Found {
        ranges: vec![(range("10.0.0.0/25"), 1), (range("10.0.0.128/25"), 0), (range("10.0.0.200/32"), 1)],
        places: vec![("a2".into(), "a".into()), ("b1".into(), "b".into())],
    };
    let topology = locator.set_nodes(found.clone(), own("a1", "a"));
    assert_eq!(scope(&topology, 1), Scope::Zone, "of the same range the file counts");
    assert_eq!(scope(&topology, 130), Scope::Region, "a longer one than the file's");
    assert_eq!(scope(&topology, 200), Scope::CrossRegion, "the node's own address");
    assert_eq!(locator.stats.topology_ranges.get(), 4);
    // A new label of this node is heard by the watch, while the pod has the one of its start.
    let moved = locator.set_nodes(found, own("a2", "a"));
    assert_eq!((scope(&moved, 1), scope(&moved, 130)), (Scope::Region, Scope::Zone));
    // A file that changes or is refused leaves what the nodes tell.
    folder.write("10.0.0.0/25 zone=a2 region=a\n");
    assert_eq!(scope(&locator.look().expect("it changed"), 130), Scope::Zone);
    folder.write("10.0.0.1/25 zone=a2\n");
    assert!(locator.look().is_none());
    assert_eq!(scope(&locator.topology(), 130), Scope::Zone);
    // All nodes gone: so are their ranges.
    let none = locator.set_nodes(Found::default(), Own::default());
    assert_eq!((scope(&none, 130), locator.stats.topology_ranges.get()), (Scope::Unknown, 1));
}

#[test]
fn a_range_lies_where_the_file_says_its_next_hop_is() {
    let folder = Folder::new("routes");
    folder.write("192.168.1.0/24 zone=a1 region=a\n192.168.2.0/24 zone=a2 region=a\n192.168.3.0/24 scope=region\n");
    let mut locator = with_source(&folder, TopologySource::Routes);
    locator.look().expect("a file");
    let hop = |range_: &str, node: [u8; 4]| (range(range_), Addr::from_v4(node));
    let hops = vec![
        hop("10.0.0.0/26", [192, 168, 1, 7]),
        hop("10.0.0.64/26", [192, 168, 2, 7]),
        hop("10.0.0.128/26", [192, 168, 3, 7]),
        hop("10.0.0.192/26", [172, 16, 0, 1]),
    ];
    let topology = locator.set_hops(Teller::Routes, hops.clone()).expect("new");
    let scopes = [1, 65, 129, 193].map(|last| scope(&topology, last));
    assert_eq!(
        scopes,
        [Scope::Zone, Scope::Region, Scope::Unknown, Scope::Unknown],
        "a place is taken over, nothing else"
    );
    assert!(locator.set_hops(Teller::Routes, hops).is_none(), "nothing changed");
    // The node moved to another subnet, or the lines say another zone of it.
    folder.write("192.168.1.0/24 zone=a2 region=a\n");
    let moved = locator.look().expect("it changed");
    assert_eq!([1, 65].map(|last| scope(&moved, last)), [Scope::Region, Scope::Unknown]);
}

#[test]
fn cilium_comes_behind_the_file_and_the_routes() {
    let folder = Folder::new("cilium");
    let nodes = "192.168.1.0/24 zone=a1 region=a\n192.168.2.0/24 zone=a2 region=a\n192.168.3.0/24 zone=b1 region=b\n";
    folder.write(format!("{nodes}10.0.0.1/32 zone=b1 region=b\n10.0.0.0/25 zone=a2 region=a\n"));
    let mut locator = with_source(&folder, TopologySource::Routes);
    locator.look().expect("a file");
    let hop = |range_: &str, node: u8| (range(range_), Addr::from_v4([192, 168, node, 7]));
    let hops = vec![hop("10.0.0.1/32", 1), hop("10.0.0.2/32", 1), hop("10.0.0.128/26", 1), hop("10.0.0.192/26", 1)];
    locator.set_hops(Teller::Cilium, hops.clone()).expect("new");
    let routes = vec![hop("10.0.0.128/26", 3)];
    let topology = locator.set_hops(Teller::Routes, routes).expect("new");
    let scopes = [1, 2, 3, 129, 193].map(|last| scope(&topology, last));
    let expected = [Scope::CrossRegion, Scope::Zone, Scope::Region, Scope::CrossRegion, Scope::Zone];
    assert_eq!(scopes, expected, "of one range the file counts, then the route; else the longest wins");
    assert!(locator.set_hops(Teller::Cilium, hops).is_none(), "nothing changed");
    let gone = locator.set_hops(Teller::Cilium, Vec::new()).expect("new");
    assert_eq!([2, 129, 193].map(|last| scope(&gone, last)), [Scope::Region, Scope::CrossRegion, Scope::Unknown]);
}

/// The table before would be of no use: addresses of pods pass from node to node.
#[test]
fn more_than_there_is_room_for_leaves_out_what_cilium_tells_and_says_so_once() {
    let folder = Folder::new("crowded");
    folder.write("192.168.1.0/24 zone=a1 region=a\n192.168.2.0/24 zone=a2 region=a\n");
    let mut locator = with_source(&folder, TopologySource::Routes);
    locator.look().expect("a file");
    let node = |last| Addr::from_v4([192, 168, last, 7]);
    locator.set_hops(Teller::Routes, vec![(range("10.0.0.0/26"), node(1))]).expect("new");
    let every_other = |n: u32| Cidr::new(Addr::from_v4((0x0a00_0080 + 2 * n).to_be_bytes()), 32).expect("one");
    let of = |count: u32| (0..count).map(|n| (every_other(n), node(2))).collect::<Vec<_>>();
    let lines = crate::logging::heard::lines(|| {
        for count in [65_534, 65_535] {
            let topology = locator.set_hops(Teller::Cilium, of(count)).expect("new");
            assert_eq!([1, 128].map(|last| scope(&topology, last)), [Scope::Zone, Scope::Unknown], "{count}");
            assert_eq!(topology.ranges(), 3);
        }
    });
    assert_eq!((lines.len(), refused(&locator)), (1, vec![("source", 1)]), "{lines:?}");
    let fits = locator.set_hops(Teller::Cilium, of(65_533)).expect("new");
    assert_eq!((scope(&fits, 128), fits.ranges()), (Scope::Region, 65_536));
    locator.set_hops(Teller::Cilium, of(65_534)).expect("new");
    assert_eq!(refused(&locator), [("source", 2)], "it fitted meanwhile");
}

#[test]
fn more_than_a_table_holds_leaves_the_old_one_and_is_counted() {
    let folder = Folder::new("too-much");
    folder.write(GOOD);
    let mut locator = with_source(&folder, TopologySource::Nodes);
    locator.look().expect("a file");
    let every_other = |n: u32| (Cidr::new(Addr::from_v4((0x0b00_0000 + 2 * n).to_be_bytes()), 32).expect("one"), 0);
    let found = Found { ranges: (0..65_535).map(every_other).collect(), places: vec![("a1".into(), "a".into())] };
    let topology = locator.set_nodes(found, own("a1", "a"));
    assert_eq!((scope(&topology, 200), topology.ranges()), (Scope::Region, 2));
    assert_eq!(refused(&locator), [("source", 1)]);
}
