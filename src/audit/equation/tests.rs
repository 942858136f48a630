use super::*;

fn counts(bytes: u64, packets: u64) -> Counts {
    Counts { bytes, packets }
}

/// A side over Ethernet that carried so many frames and layer-3 bytes.
fn side(layer3_bytes: u64, frames: u64) -> Side {
    Side { carried: counts(layer3_bytes + 14 * frames, frames), ..Side::new(14) }
}

fn parts(closed: &Closed) -> Vec<(&'static str, i64)> {
    Part::ALL.iter().map(|part| (part.as_str(), closed.part(*part))).filter(|(_, bytes)| *bytes != 0).collect()
}

#[test]
fn rule_19_what_became_of_it_stands_by_its_part() {
    let mut side = side(1_111_111, 70);
    let told = [
        (Part::Rows, 1_000_000),
        (Part::Withheld, 100_000),
        (Part::Unattributed, 10_000),
        (Part::Held, 1_000),
        (Part::Lost, 100),
        (Part::Tunnels, 10),
        (Part::Vlans, 1),
    ];
    for (part, bytes) in told {
        side.counted[part as usize] = counts(bytes, 10);
    }
    let closed = side.close(Odd::default());
    assert_eq!(closed.layer3_bytes, 1_111_111);
    assert_eq!(parts(&closed), told.map(|(part, bytes)| (part.as_str(), bytes as i64)));
    assert_eq!(closed.unexplained_ppm(), 0);
}

#[test]
fn rule_19_the_parts_sum_up_to_what_the_interface_carried() {
    for (rest_bytes, rest_frames, odd) in [(0, 0, 0), (5_200, 100, 0), (84, 3, 0), (900, 1, 5), (70_000, 50, 0)] {
        let mut side = side(1_000_000 + rest_bytes, 1_000 + rest_frames);
        side.counted[Part::Rows as usize] = counts(1_000_000, 1_000);
        side.segments.add(counts(5_200, 100));
        let closed = side.close(Odd { packets: 0, at_most: odd });
        assert_eq!(closed.parts.iter().sum::<i64>(), closed.layer3_bytes as i64);
    }
}

fn with_rest(bytes: u64, frames: u64, segments: &[Counts], odd: u64) -> Vec<(&'static str, i64)> {
    let mut side = side(1_000_000 + bytes, 1_000 + frames);
    side.counted[Part::Rows as usize] = counts(1_000_000, 1_000);
    segments.iter().for_each(|more| side.segments.add(*more));
    let mut found = parts(&side.close(Odd { packets: 0, at_most: odd }));
    found.retain(|(part, _)| *part != "rows");
    found
}

#[test]
fn rule_19_frames_that_packets_were_cut_into_are_segmentation() {
    let tcp = counts(52 * 700, 700);
    assert_eq!(with_rest(52 * 700, 700, &[tcp], 0), [("segmentation", 52 * 700)]);
    assert_eq!(with_rest(0, 0, &[tcp], 0), [], "the interface counts what they are cut from");
    assert_eq!(with_rest(52 * 300, 300, &[tcp], 0), [("segmentation", 52 * 300)], "some of them");
    let mixed = [tcp, counts(72 * 100, 100), counts(20 * 5, 5)];
    assert_eq!(with_rest(52 * 700 + 72 * 100 + 20 * 5, 805, &mixed, 0), [("segmentation", 43_700)]);
    assert_eq!(with_rest(52 * 695, 695, &[tcp], 0), [("segmentation", 52 * 695)], "an estimate is not exact");
    assert_eq!(with_rest(52 * 700, 700, &[], 0), [("unexplained", 52 * 700)], "nothing could be cut");
}

#[test]
fn rule_19_frames_too_short_for_a_packet_are_not_ip() {
    assert_eq!(with_rest(28 * 3, 3, &[], 0), [("not_ip", 84)]);
    assert_eq!(with_rest(46 * 3, 3, &[], 0), [("not_ip", 138)], "padded");
    assert_eq!(with_rest(40 * 3, 3, &[], 0), [("unexplained", 120)], "packets of TCP are as short");
    let tcp = counts(52 * 700, 700);
    assert_eq!(with_rest(52 * 700 + 28 * 9, 709, &[tcp], 0), [("not_ip", 252), ("segmentation", 36_400)]);
    assert_eq!(with_rest(28 * 9, 9, &[tcp], 0), [("not_ip", 252)]);
    assert_eq!(
        with_rest(28 * 9, 9, &[counts(20 * 50, 50), tcp], 0),
        [("not_ip", 252)],
        "fragments' headers are shorter"
    );
}

#[test]
fn rule_19_arp_is_told_from_neighbour_discovery() {
    assert_eq!(with_rest(28 * 3 + 96, 4, &[], 1), [("untracked", 96), ("not_ip", 84)]);
    assert_eq!(with_rest(28 + 96, 2, &[], 9), [("untracked", 96), ("not_ip", 28)], "at most nine");
    assert_eq!(with_rest(28 + 96, 2, &[], 0), [("unexplained", 124)]);
    let mut cut_perhaps = side(1_000_000 + 28 + 76, 1_002);
    cut_perhaps.counted[Part::Rows as usize] = counts(1_000_000, 1_000);
    cut_perhaps.segments.add_estimate(Counts::ZERO, 50, 20, 20);
    let closed = cut_perhaps.close(Odd { packets: 1, at_most: 0 });
    assert_eq!((closed.part(Part::NotIp), closed.part(Part::Untracked)), (28, 76), "if the estimate has none");
    assert_eq!(with_rest(28 + 1_500, 2, &[], 1), [("unexplained", 1_528)], "too long");
}

#[test]
fn rule_19_packets_that_conntrack_refused_are_untracked_at_most() {
    assert_eq!(with_rest(4_000, 4, &[], 4), [("untracked", 4_000)]);
    assert_eq!(with_rest(4_000, 4, &[], 3), [("unexplained", 4_000)], "one packet too many");
    // Among frames of segments, those of neighbour discovery are told apart, for their number is known.
    let mut side = side(1_000_000 + 52 * 700 + 116, 1_701);
    side.counted[Part::Rows as usize] = counts(1_000_000, 1_000);
    side.segments.add(counts(52 * 700, 700));
    let closed = side.close(Odd { packets: 1, at_most: 0 });
    assert_eq!((closed.part(Part::Segmentation), closed.part(Part::Untracked)), (52 * 700, 116));
    let closed = side.close(Odd { packets: 0, at_most: 5 });
    assert_eq!((closed.part(Part::Segmentation), closed.part(Part::Untracked)), (52 * 700, 116), "at most five");
    // Nor does it matter that headers of two lengths are among them, of which some were not cut here.
    let mut side = self::side(1_000_000 + 40 * 500 + 76, 1_501);
    side.counted[Part::Rows as usize] = counts(1_000_000, 1_000);
    [counts(40 * 600, 600), counts(60 * 900, 900)].into_iter().for_each(|more| side.segments.add(more));
    assert_eq!(side.close(Odd { packets: 1, at_most: 0 }).part(Part::Unexplained), 0);
    // And fragments have headers that are shorter than ARP's packets.
    let mut side = self::side(1_000_000 + 20 * 100 + 96, 1_101);
    side.counted[Part::Rows as usize] = counts(1_000_000, 1_000);
    side.segments.add_estimate(counts(20 * 100, 100), 200, 20, 20);
    let closed = side.close(Odd { packets: 1, at_most: 0 });
    assert_eq!((closed.part(Part::Segmentation), closed.part(Part::Untracked)), (2_000, 96));
    assert_eq!(with_rest(76, 1, &[counts(40 * 9, 9)], 1), [("untracked", 76)], "no header is as long");
}

#[test]
fn rule_19_what_nothing_explains_is_unexplained() {
    let tcp = counts(52 * 700, 700);
    assert_eq!(with_rest(1_500_000, 1_000, &[], 0), [("unexplained", 1_500_000)]);
    let both = with_rest(52 * 700 + 1_500_000, 1_700, &[tcp], 0);
    assert_eq!(both, [("segmentation", 36_400), ("unexplained", 1_500_000)]);
    let mut short = side(900_000, 900);
    short.counted[Part::Rows as usize] = counts(1_000_000, 1_000);
    assert_eq!(short.close(Odd::default()).part(Part::Unexplained), -100_000, "more was counted than carried");
    assert_eq!(short.close(Odd::default()).unexplained_ppm(), 111_111);
}

#[test]
fn rule_19_packets_cut_before_they_were_counted_have_headers_of_their_own() {
    let mut side = side(1_000_000, 1_000);
    side.counted[Part::Rows as usize] = counts(1_000_000 + 52 * 30, 1_030);
    side.segments.add(counts(52 * 10, 10));
    assert_eq!(parts(&side.close(Odd::default())), [("rows", 1_001_560), ("segmentation", -1_560)]);
}

#[test]
fn rule_19_the_header_of_a_link_is_measured() {
    let mut side = Side::new(14);
    // A virtual link that counts behind the header: each frame is a packet, and nothing is between them.
    for window in 1..=3_u64 {
        side.carried = counts(window * 5_200, window * 100);
        side.counted[Part::Rows as usize] = counts(window * 5_200, window * 100);
        side.end_window();
        assert_eq!((side.header_bytes, side.is_measured), if window == 1 { (14, false) } else { (0, true) });
    }
    assert_eq!(parts(&side.close(Odd::default())), [("rows", 15_600)]);
    // A window with frames that are no packets tells nothing, nor does one with too few.
    side.carried += counts(1_000_018, 1_000);
    side.end_window();
    side.carried += counts(36, 2);
    side.counted[Part::Rows as usize] += counts(0, 2);
    side.end_window();
    assert_eq!(side.header_bytes, 0);
}

/// A side whose link counts so many bytes with each frame, after this many windows of so many packets.
fn over(header: u64, windows: u64, packets: u64) -> Side {
    let mut side = Side::new(14);
    for window in 1..=windows {
        side.carried = counts(window * packets * (header + 60), window * packets);
        side.counted[Part::Rows as usize] = counts(window * packets * 60, window * packets);
        side.end_window();
    }
    side
}

#[test]
fn rule_19_the_header_is_that_of_the_link_whatever_its_type() {
    // None, Ethernet's, with a VLAN's tag, with two, and none that there is: twice Ethernet's, and longer ones.
    for (header, want) in [(0, 0), (4, 4), (8, 8), (14, 14), (18, 18), (22, 22), (28, 14), (65, 14)] {
        let side = over(header, 2, 100);
        assert_eq!(side.header_bytes, want, "{header}");
        assert_eq!(side.close(Odd::default()).part(Part::Unexplained), (header as i64 - want as i64) * 200);
    }
    assert_eq!(over(18, 1, 100).header_bytes, 14, "one window is not enough");
    assert_eq!(over(18, 2, 3).header_bytes, 14, "nor are few packets");
}

#[test]
fn rule_19_the_header_of_a_busy_link_is_measured_too() {
    for (edge_frames, edge_bytes, want) in [(1, 1_500, 18), (-1, -1_500, 18), (0, 300, 18), (9, 13_500, 14)] {
        let mut side = Side::new(14);
        for window in 1..=2_i64 {
            let bytes = (window * 16_384 * (18 + 600) + window * edge_bytes) as u64;
            side.carried = counts(bytes, (window * (16_384 + edge_frames)) as u64);
            side.counted[Part::Rows as usize] = counts(window as u64 * 16_384 * 600, window as u64 * 16_384);
            side.end_window();
        }
        assert_eq!((side.header_bytes, side.is_measured), (want, want == 18), "{edge_frames} of {edge_bytes} bytes");
    }
}

#[test]
fn rule_19_each_part_has_its_line_in_the_guide() {
    let guide = include_str!("../../../docs/reconcile.md");
    let first = |line: &'static str| line.strip_prefix('|').and_then(|row| row.split('|').next()).unwrap_or_default();
    for part in Part::ALL {
        let word = format!("`{}`", part.as_str());
        assert_eq!(guide.lines().filter(|line| first(line).contains(&word)).count(), 1, "{word}");
    }
}
