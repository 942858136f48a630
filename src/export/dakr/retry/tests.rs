//! Every row of the delivery table, every code and every status, on virtual time.

use proptest::prelude::*;
use prost::Message as _;

use super::super::framing::{Answer, Code};
use super::super::outcome::retry_after_ns;
use super::super::schema::{NetworkTrafficItem, SendNetworkTrafficMetricsRequest};
use super::*;
use crate::batch::Message;

mod fleet;
mod rows;
mod size;

const FLUSH_NS: u64 = 60 * SECOND;

fn body(items: u32) -> Vec<u8> {
    let items = (0..items).map(|i| NetworkTrafficItem { tx_bytes: 10 + i64::from(i), ..Default::default() }).collect();
    SendNetworkTrafficMetricsRequest { node_name: "n".into(), items, ..Default::default() }.encode_to_vec()
}

/// A batch of messages with so many items each.
fn batch(items: &[u32]) -> Batch {
    let mut first_item = 0;
    let mut messages = Vec::new();
    for (part, items) in items.iter().enumerate() {
        messages.push(Message { part: part as u32, first_item, items: *items, total_bytes: 7, body: body(*items) });
        first_item += items;
    }
    Batch { seq: 1, frozen_wall_ns: 0, messages }
}

/// A delivery under test, with its clock.
struct Bench {
    delivery: Delivery,
    now_ns: u64,
    settled: Vec<Settled>,
    ambiguous_bytes: u64,
}

impl Bench {
    fn new(protocol: DakrProtocol, items: &[u32]) -> Bench {
        let delivery = Delivery::new(protocol, FLUSH_NS, Jitter::new(7));
        let mut bench = Bench { delivery, now_ns: 1000 * SECOND, settled: Vec::new(), ambiguous_bytes: 0 };
        bench.delivery.accept(batch(items), &mut bench.settled).expect("idle");
        bench
    }

    /// Waits until a message is due, and returns how long that took; `None` if all is settled before.
    fn wait(&mut self) -> Option<u64> {
        let started_ns = self.now_ns;
        loop {
            self.ambiguous_bytes += self.delivery.pass(self.now_ns, &mut self.settled);
            match self.delivery.next(self.now_ns) {
                Ok(_) => return Some(self.now_ns - started_ns),
                Err(u64::MAX) => return None,
                Err(again_ns) => {
                    assert!(again_ns > self.now_ns, "asked to come back at once, with nothing due");
                    self.now_ns = again_ns;
                }
            }
        }
    }

    /// Sends what is due, to that end. Returns its name.
    fn send(&mut self, end: &SendEnd) -> String {
        let due = self.delivery.next(self.now_ns).expect("due");
        let (index, name) = (due.index, due.name.to_owned());
        self.delivery.ended(index, end, self.now_ns, &mut self.settled);
        name
    }

    fn body(&mut self) -> Vec<u8> {
        self.delivery.next(self.now_ns).expect("due").body.to_vec()
    }

    /// What was settled so far: ranges and verdicts, and whether the batch came back.
    fn settled(&mut self) -> (Vec<(u32, u32, Verdict)>, bool) {
        let mut back = false;
        let ranges = self.settled.drain(..).filter_map(|settled| match settled {
            Settled::Items { first_item, items, verdict } => Some((first_item, items, verdict)),
            Settled::Batch(_) => {
                back = true;
                None
            }
            other => panic!("{other:?}"),
        });
        (ranges.collect(), back)
    }
}

fn status(status: u16) -> SendEnd {
    SendEnd::Answered { status, answer: Answer::Foreign, retry_after_ns: None }
}

fn status_after(code: u16, seconds: u64) -> SendEnd {
    SendEnd::Answered { status: code, answer: Answer::Foreign, retry_after_ns: Some(seconds * SECOND) }
}

fn code(code: Code, message: &str) -> SendEnd {
    SendEnd::Answered { status: 418, answer: Answer::Error { code, message: message.into() }, retry_after_ns: None }
}

fn ok() -> SendEnd {
    SendEnd::Answered { status: 200, answer: Answer::Ok(vec![]), retry_after_ns: None }
}

fn unreadable() -> SendEnd {
    SendEnd::Answered { status: 200, answer: Answer::Unreadable, retry_after_ns: None }
}

const ONE_MERGED: &[(u32, u32, Verdict)] = &[(0, 3, Verdict::Merge)];

#[test]
fn once_in_doubt_no_refusal_merges_a_message_back() {
    for end in [SendEnd::Unsent, status(302), status(429), status_after(503, 3), status(401), status(403)] {
        let mut bench = Bench::new(DakrProtocol::Auto, &[3]);
        let first = bench.body();
        bench.send(&SendEnd::NoAnswer);
        while bench.wait().is_some() {
            assert_eq!(bench.body(), first);
            bench.send(&end);
        }
        assert_eq!(bench.settled(), (vec![(0, 3, Verdict::MergeAmbiguous)], true), "{end:?}");
    }
}

#[test]
fn messages_are_small_in_grpc_framing() {
    let mut bench = Bench::new(DakrProtocol::Grpc, &[2001]);
    let mut sent = 0;
    while bench.wait().is_some() {
        let due = bench.delivery.next(bench.now_ns).expect("due");
        assert!(due.items <= MAX_GRPC_ITEMS);
        sent += due.items;
        bench.send(&ok());
    }
    assert_eq!(sent, 2001);
    assert_eq!(bench.settled().0.iter().map(|s| s.1).sum::<u32>(), 2001);
}

#[test]
fn an_empty_batch_comes_back_at_once_and_a_second_one_is_not_taken() {
    let mut bench = Bench::new(DakrProtocol::Auto, &[]);
    assert_eq!(bench.settled(), (vec![], true));
    bench.delivery.accept(batch(&[1]), &mut bench.settled).expect("idle");
    assert_eq!(bench.delivery.accept(batch(&[2]), &mut bench.settled), Err(batch(&[2])));
}

#[test]
fn retry_after_as_seconds_date_and_nonsense() {
    // 1994-11-06T08:49:37Z, the example of RFC 9110 5.6.7.
    let wall_ns = 784_111_777 * SECOND;
    let said = |value| retry_after_ns(value, wall_ns - 20 * SECOND);
    assert_eq!(said("0"), Some(0));
    assert_eq!(said(" 120 "), Some(120 * SECOND));
    assert_eq!(said("3600"), Some(MAX_RETRY_AFTER_NS));
    assert_eq!(said("99999999999999999999999"), Some(MAX_RETRY_AFTER_NS));
    for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
        assert_eq!(said(date), Some(20 * SECOND), "{date}");
    }
    assert_eq!(said("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "in the past");
    assert_eq!(said("Fri, 31 Dec 9999 23:59:59 GMT"), Some(MAX_RETRY_AFTER_NS));
    for nonsense in ["", " ", "-1", "+1", "1.5", "soon", "1 2", "Sun, 06 Nov 1994", "Sun, 99 Nov 1994 08:49:37 GMT"] {
        assert_eq!(said(nonsense), None, "{nonsense:?}");
    }
}

#[test]
fn at_the_stop_each_message_is_sent_once_more() {
    let mut bench = Bench::new(DakrProtocol::Auto, &[1, 2, 3, 4]);
    bench.send(&SendEnd::NoAnswer);
    bench.send(&status(400));
    bench.send(&SendEnd::NoAnswer);
    bench.send(&status_after(429, 300));
    assert_eq!(bench.settled(), (vec![], false));
    // In doubt and acknowledged; refused and unknown; in doubt and unsent; busy and unsent.
    assert_eq!(bench.delivery.last_round(), 4);
    for end in [ok(), SendEnd::NoAnswer, SendEnd::Unsent, SendEnd::Unsent] {
        let index = bench.delivery.next(bench.now_ns).expect("due").index;
        bench.delivery.ended_finally(index, &end, bench.now_ns, &mut bench.settled);
    }
    assert!(bench.delivery.next(bench.now_ns).is_err(), "once");
    bench.delivery.finish(false, &mut bench.settled);
    let unknown = Verdict::Drop(Lost::ShutdownAmbiguous);
    let expected = vec![(0, 1, Verdict::Acknowledged), (1, 2, unknown), (3, 3, unknown), (6, 4, Verdict::Merge)];
    assert_eq!(bench.settled(), (expected, true));
}

proptest! {
    /// Whatever the ends, every item is settled once at most, in the end exactly once, and never merged in doubt.
    #[test]
    fn every_item_is_settled_exactly_once(
        items in prop::collection::vec(0u32..40, 1..4),
        ends in prop::collection::vec(0usize..12, 0..60),
    ) {
        let kinds = [
            SendEnd::Unsent, SendEnd::NoAnswer, ok(), status(200), status(400), status(401), status(404),
            status(413), status_after(429, 10), status(503), unreadable(), code(Code::OutOfRange, ""),
        ];
        let mut bench = Bench::new(DakrProtocol::Auto, &items);
        let mut doubtful = std::collections::HashSet::<String>::new();
        for kind in ends {
            if bench.wait().is_none() {
                break;
            }
            let due = bench.delivery.next(bench.now_ns).expect("due");
            let (index, name) = (due.index, due.name.to_owned());
            let outcome = bench.delivery.ended(index, &kinds[kind], bench.now_ns, &mut bench.settled);
            let halves = |whole: &String| name.strip_prefix(whole.as_str()).is_some_and(|rest| rest.starts_with('.'));
            prop_assert!(!doubtful.iter().any(halves), "{} is a half of what is in doubt", name);
            if outcome == Outcome::Unknown {
                doubtful.insert(name);
            }
        }
        while bench.wait().is_some() {
            bench.send(&ok());
        }
        let (mut settled, back) = bench.settled();
        prop_assert!(back);
        settled.sort_by_key(|s| s.0);
        let mut next = 0;
        for (first, count, verdict) in settled {
            prop_assert_eq!(first, next);
            next += count;
            if doubtful.is_empty() {
                prop_assert_ne!(verdict, Verdict::MergeAmbiguous);
            }
        }
        prop_assert_eq!(next, items.iter().sum::<u32>());
    }
}

#[test]
fn lookups_are_settled_with_the_message_or_the_half_that_holds_them() {
    use super::super::schema::DnsLookupItem;
    let with_lookups = |items: u32, lookups: usize| {
        let mut request = SendNetworkTrafficMetricsRequest::decode(&body(items)[..]).expect("our own");
        request.dns_lookups =
            (0..lookups).map(|n| DnsLookupItem { domain: format!("d{n}"), ..Default::default() }).collect();
        request.encode_to_vec()
    };
    let mut batch = batch(&[2, 3, 0]);
    for (message, lookups) in batch.messages.iter_mut().zip([1, 5, 2]) {
        message.body = with_lookups(message.items, lookups);
    }
    let mut bench = Bench::new(DakrProtocol::Connect, &[]);
    bench.delivery.accept(batch, &mut bench.settled).expect("idle");
    let answer = |status, answer| SendEnd::Answered { status, retry_after_ns: None, answer };
    let taken = || answer(200, Answer::Ok(Vec::new()));
    let too_large = answer(413, Answer::Foreign);
    for (end, name) in [(&taken(), "0"), (&too_large, "1"), (&taken(), "1.0"), (&taken(), "1.1"), (&taken(), "2")] {
        assert_eq!(bench.send(end), name);
    }
    let lookups: Vec<(u32, u32)> = bench
        .settled
        .iter()
        .filter_map(|settled| match settled {
            Settled::Lookups { first, count, verdict: Verdict::Acknowledged } => Some((*first, *count)),
            _ => None,
        })
        .collect();
    assert_eq!(lookups, [(0, 1), (1, 2), (3, 3), (6, 2)]);
}
