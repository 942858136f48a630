use super::*;

fn counts(bytes: u64, packets: u64) -> Counts {
    Counts { bytes, packets }
}

#[test]
fn rule_17_a_packet_of_tcp_is_as_many_frames_as_its_data_fills() {
    // 100,000 bytes of data in two packets: 70 frames of at most 1448.
    let found = more(counts(100_000 + 104, 2), protocol::TCP, true, 1500, true);
    assert_eq!(found, counts(68 * 52, 68));
    assert_eq!(more(counts(100_000 + 80, 2), protocol::TCP, true, 1500, false), counts(67 * 40, 67));
    assert_eq!(more(counts(100_000 + 144, 2), protocol::TCP, false, 1500, true), counts(69 * 72, 69));
    assert_eq!(more(counts(100_000 + 104, 2), protocol::TCP, true, 9001, true), counts(10 * 52, 10));
}

#[test]
fn rule_17_some_packets_end_in_a_frame_that_is_not_full() {
    // What a capture on the far side showed of bulk over a fast link: bytes, packets, and frames on the wire.
    for (bytes, packets, frames) in
        [(15_075_460, 1_451, 10_733), (15_161_440, 1_378, 10_785), (15_060_220, 1_089, 10_842)]
    {
        let found = more(counts(bytes, packets), protocol::TCP, true, 1500, true);
        let off = (found.packets + packets).abs_diff(frames) * 52;
        assert!(off * 1_000 < bytes, "{found:?}: {off} bytes beside {frames} frames");
    }
    // Two frames at once, as a sender paces them, are full ones.
    let paced = counts(5_000 * 2_948, 5_000);
    assert_eq!(more(paced, protocol::TCP, true, 1500, true), counts(5_000 * 52, 5_000));
    let whole = counts(5_000 * (52 + 44 * 1_448), 5_000);
    let found = more(whole, protocol::TCP, true, 1500, true).bytes - 5_000 * 43 * 52;
    assert!(found * 1_000 < whole.bytes, "{found}");
}

#[test]
fn rule_17_what_fits_is_a_frame() {
    assert_eq!(more(counts(52_000, 1000), protocol::TCP, true, 1500, true), Counts::ZERO);
    assert_eq!(more(counts(15_000, 10), protocol::TCP, true, 1500, true), Counts::ZERO);
    assert_eq!(more(counts(15_000, 10), protocol::UDP, true, 1500, true), Counts::ZERO);
    assert_eq!(more(counts(1_000_000, 3), protocol::TCP, true, 0, true), Counts::ZERO, "nobody knows the link");
    assert_eq!(more(counts(1_000_000, 0), protocol::UDP, true, 1500, true), Counts::ZERO);
    assert_eq!(more(counts(u64::MAX, u64::MAX), protocol::TCP, true, 68, true), Counts::ZERO);
}

#[test]
fn rule_17_a_datagram_goes_in_fragments() {
    // 8000 bytes and the header of UDP: five of 1480 and one of 608.
    assert_eq!(more(counts(8_028 * 3, 3), protocol::UDP, true, 1500, true), counts(15 * 20, 15));
    assert_eq!(more(counts(8_048 * 3, 3), protocol::UDP, false, 1500, true), counts(15 * 48 + 3 * 8, 15));
}
