//! Size limits together with everything else: with doubt, at the end, and from a server that refuses everything.

use super::*;

/// Every way to say that a message is too large.
fn too_large() -> [SendEnd; 3] {
    let message = "message size 15182 is larger than configured max 1000";
    [status(413), code(Code::OutOfRange, ""), code(Code::ResourceExhausted, message)]
}

/// Every way to leave a message in doubt.
fn doubts() -> Vec<SendEnd> {
    let statuses = [408, 409, 499, 201, 500, 502, 503, 504, 599].map(status);
    let codes = [Code::Canceled, Code::Unknown, Code::DeadlineExceeded, Code::Aborted, Code::Internal];
    let more = [Code::Unavailable, Code::DataLoss].map(|known| code(known, ""));
    let codes = codes.map(|known| code(known, "")).into_iter().chain(more);
    statuses.into_iter().chain(codes).chain([SendEnd::NoAnswer, unreadable()]).collect()
}

const FRAMINGS: [DakrProtocol; 4] =
    [DakrProtocol::Auto, DakrProtocol::Connect, DakrProtocol::GrpcWeb, DakrProtocol::Grpc];

#[test]
fn f1_what_is_in_doubt_is_never_cut_in_no_framing_until_its_hour_is_over() {
    for protocol in FRAMINGS {
        for doubt in doubts() {
            for large in too_large() {
                let mut bench = Bench::new(protocol, &[8]);
                let (whole, started_ns) = (bench.body(), bench.now_ns);
                bench.send(&doubt);
                let others = [large.clone(), doubt.clone(), large.clone(), status(413), SendEnd::Unsent, status(429)];
                let mut sends = 0;
                while bench.wait().is_some() {
                    assert_eq!(bench.body(), whole, "{doubt:?}, {large:?}");
                    assert_eq!(bench.send(&others[sends % others.len()]), "0");
                    sends += 1;
                }
                assert!(sends > 60, "it is resent");
                assert_eq!(bench.now_ns - started_ns, AMBIGUITY_NS);
                assert_eq!(bench.settled(), (vec![(0, 8, Verdict::MergeAmbiguous)], true));
            }
        }
    }
}

#[test]
fn f1_a_half_in_doubt_is_not_cut_again_and_the_other_is() {
    let mut bench = Bench::new(DakrProtocol::Connect, &[8]);
    bench.send(&status(413));
    assert_eq!(bench.send(&status(502)), "0.0");
    assert_eq!(bench.send(&status(413)), "0.1");
    assert!(bench.wait() > Some(0), "the second refusal for size");
    assert_eq!(bench.send(&ok()), "0.1.0");
    assert_eq!(bench.send(&ok()), "0.1.1");
    for _ in 0..5 {
        bench.wait();
        assert_eq!(bench.send(&status(413)), "0.0");
    }
    bench.wait();
    assert_eq!(bench.send(&ok()), "0.0");
    let acked = Verdict::Acknowledged;
    assert_eq!(bench.settled(), (vec![(4, 2, acked), (6, 2, acked), (0, 4, acked)], true));
}

#[test]
fn f1_a_change_of_framing_does_not_cut_what_is_in_doubt() {
    let mut bench = Bench::new(DakrProtocol::Auto, &[2001]);
    let whole = bench.body();
    bench.send(&status(502));
    for framing in [Framing::Connect, Framing::GrpcWeb] {
        bench.wait();
        assert_eq!(bench.delivery.framing(), framing);
        bench.send(&status(415));
    }
    bench.wait();
    assert_eq!((bench.delivery.framing(), bench.body()), (Framing::Grpc, whole));
}

#[test]
fn f1_at_the_end_what_is_in_doubt_stays_whole() {
    for keeps in [true, false] {
        for large in too_large() {
            let mut bench = Bench::new(DakrProtocol::Connect, &[8, 8]);
            bench.send(&SendEnd::NoAnswer);
            bench.delivery.last_round();
            for part in ["0", "1", "1.0", "1.1"] {
                let taken = if part.starts_with("1.") { ok() } else { large.clone() };
                assert_eq!(bench.send_finally(&taken), part);
            }
            assert!(bench.delivery.next(bench.now_ns).is_err());
            bench.delivery.finish(keeps, &mut bench.settled);
            let acked = [(8, 4, Verdict::Acknowledged), (12, 4, Verdict::Acknowledged)];
            if keeps {
                assert!(matches!(bench.settled.pop(), Some(Settled::Left)));
                assert_eq!(bench.settled(), (acked.to_vec(), false));
            } else {
                let unknown = (0, 8, Verdict::Drop(Lost::ShutdownAmbiguous));
                assert_eq!(bench.settled(), ([&acked[..], &[unknown]].concat(), true));
            }
        }
    }
}

impl Bench {
    /// At the end: sends what is due, to that end. Returns its name.
    fn send_finally(&mut self, end: &SendEnd) -> String {
        let due = self.delivery.next(self.now_ns).expect("due");
        let (index, name) = (due.index, due.name.to_owned());
        self.delivery.ended_finally(index, end, self.now_ns, &mut self.settled);
        name
    }

    /// At the end: a server that takes so many items in a message. Returns how long it took.
    fn last_round_against(&mut self, limit: u32) -> u64 {
        let started_ns = self.now_ns;
        self.delivery.last_round();
        loop {
            match self.delivery.next(self.now_ns).map(|due| due.items) {
                Ok(items) => drop(self.send_finally(&if items > limit { status(413) } else { ok() })),
                Err(again_ns) if again_ns < started_ns + 15 * SECOND => self.now_ns = again_ns,
                Err(_) => return self.now_ns - started_ns,
            }
        }
    }
}

#[test]
fn f2_at_the_end_halves_go_on_until_everything_is_taken() {
    for (items, limit) in [(1000, 400), (1000, 30), (2000, 1), (5000, 3)] {
        let mut bench = Bench::new(DakrProtocol::Connect, &[items]);
        let took_ns = bench.last_round_against(limit);
        let (settled, back) = bench.settled();
        assert!(back && settled.iter().all(|settled| settled.2 == Verdict::Acknowledged), "{items} by {limit}");
        assert_eq!(settled.iter().map(|settled| settled.1).sum::<u32>(), items);
        assert!(took_ns < 12 * SECOND, "{items} by {limit}: {took_ns}");
    }
}

#[test]
fn f2_a_message_that_is_resent_at_the_end_is_halved_too() {
    for first in [status(400), status_after(429, 300), status_after(503, 60), status(422)] {
        let mut bench = Bench::new(DakrProtocol::Connect, &[100, 7]);
        bench.send(&first);
        bench.last_round_against(10);
        let (settled, back) = bench.settled();
        assert!(back && settled.iter().all(|settled| settled.2 == Verdict::Acknowledged), "{first:?}");
    }
}

#[test]
fn f2_at_the_end_what_is_refused_piece_by_piece_goes_back_unsent() {
    let mut bench = Bench::new(DakrProtocol::Connect, &[3]);
    bench.last_round_against(0);
    bench.delivery.finish(true, &mut bench.settled);
    let (mut settled, back) = bench.settled();
    settled.sort_by_key(|settled| settled.0);
    let merged = |item| (item, 1, Verdict::Merge);
    assert_eq!((settled, back), (vec![merged(0), merged(1), merged(2)], true));
}

/// What happens to a node whose proxy refuses everything for its size until `heals_ns`: when it sent, and what was
/// settled.
fn refused_until(heals_ns: u64, until_ns: u64, items: u32) -> (Vec<u64>, Vec<(u32, u32, Verdict)>) {
    let mut bench = Bench::new(DakrProtocol::Auto, &[items]);
    let (started_ns, mut sends) = (bench.now_ns, Vec::new());
    while bench.wait().is_some() && bench.now_ns - started_ns < until_ns {
        let at_ns = bench.now_ns - started_ns;
        sends.push(at_ns);
        bench.send(&if at_ns < heals_ns { status(413) } else { ok() });
    }
    (sends, bench.settled().0)
}

#[test]
fn f3_a_server_that_refuses_everything_for_its_size_is_asked_ever_less_often() {
    let (sends, settled) = refused_until(u64::MAX, 3600 * SECOND, 2000);
    assert!(sends.windows(3).all(|sends| sends[2] - sends[0] >= SECOND), "at most two in any second");
    assert!(sends.len() < 200, "{} sends in an hour", sends.len());
    let dropped: u32 = settled.iter().map(|settled| settled.1).sum();
    assert!(dropped < 10, "{dropped} of 2000 items are given up after an hour");
}

#[test]
fn f3_a_server_that_is_mended_within_ten_flushes_gets_everything_in_few_messages() {
    for flushes in [1, 3, 9] {
        let (sends, settled) = refused_until(flushes * FLUSH_NS, 3600 * SECOND, 2000);
        assert!(settled.iter().all(|settled| settled.2 == Verdict::Acknowledged), "{settled:?}");
        assert_eq!(settled.iter().map(|settled| settled.1).sum::<u32>(), 2000);
        assert!(settled.len() < 80 && sends.len() < 100, "{} messages, {} sends", settled.len(), sends.len());
    }
}

#[test]
fn f3_single_items_are_kept_for_ten_flushes_and_then_counted() {
    let mut bench = Bench::new(DakrProtocol::Auto, &[1]);
    for waited in 0..11 {
        assert_eq!(bench.wait(), Some(if waited == 0 { 0 } else { FLUSH_NS }));
        assert_eq!(bench.settled(), (vec![], false));
        bench.send(&status(413));
    }
    assert_eq!(bench.settled(), (vec![(0, 1, Verdict::Drop(Lost::TooLarge))], true));
}
