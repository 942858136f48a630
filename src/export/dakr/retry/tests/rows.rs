//! Each row of the table of outcomes.

use super::*;

#[test]
fn every_status_has_its_row() {
    use Outcome::*;
    for code in 0..=999u16 {
        let expected = match code {
            200 | 404 | 405 | 415 | 501 | 505 => WrongFraming,
            300..=399 => NotCounted,
            401 | 403 => Denied,
            413 => TooLarge,
            429 => Busy,
            400 | 402 | 406 | 407 | 410..=412 | 414 | 416..=428 | 430..=498 => Refused,
            // 408, 409, 499, other 2xx, every 5xx, and what is no status at all.
            _ => Unknown,
        };
        assert_eq!(status(code).outcome(), expected, "{code}");
        let expected = if code == 503 { Busy } else { expected };
        assert_eq!(status_after(code, 5).outcome(), expected, "{code} with Retry-After");
    }
}

#[test]
fn every_code_has_its_row_whatever_the_status() {
    use Outcome::*;
    for (name, expected) in [
        ("canceled", Unknown),
        ("unknown", Unknown),
        ("invalid_argument", Refused),
        ("deadline_exceeded", Unknown),
        ("not_found", Refused),
        ("already_exists", Refused),
        ("permission_denied", Denied),
        ("resource_exhausted", Busy),
        ("failed_precondition", Refused),
        ("aborted", Unknown),
        ("out_of_range", TooLarge),
        ("unimplemented", Refused),
        ("internal", Unknown),
        ("unavailable", Unknown),
        ("data_loss", Unknown),
        ("unauthenticated", Denied),
    ] {
        let known = Code::from_name(name).expect("a code");
        for status in [200, 401, 404, 413, 429, 500, 501, 503] {
            for retry_after_ns in [None, Some(SECOND)] {
                let answer = Answer::Error { code: known, message: String::new() };
                assert_eq!(SendEnd::Answered { status, answer, retry_after_ns }.outcome(), expected, "{name}");
            }
        }
    }
    let too_large = code(Code::ResourceExhausted, "message size 15182 is larger than configured max 1000");
    assert_eq!(too_large.outcome(), TooLarge);
}

#[test]
fn row_1_what_was_not_sent_is_merged_back_and_the_next_send_waits_with_jitter() {
    for end in [SendEnd::Unsent, status(301), status(307)] {
        let mut bench = Bench::new(DakrProtocol::Auto, &[3]);
        bench.send(&end);
        assert_eq!(bench.settled(), (ONE_MERGED.to_vec(), true));
        // A new batch waits for its turn; each failure doubles the wait, up to a minute.
        for failures in 1..12 {
            bench.delivery.accept(batch(&[3]), &mut bench.settled).expect("idle");
            let whole_ns = (SECOND << (failures - 1)).min(60 * SECOND);
            let waited_ns = bench.wait().expect("due");
            assert!((whole_ns / 2..=whole_ns).contains(&waited_ns), "{failures}: {waited_ns}");
            bench.send(&end);
        }
        // A success forgets the failures.
        bench.settled.clear();
        bench.delivery.accept(batch(&[3]), &mut bench.settled).expect("idle");
        bench.wait();
        bench.send(&ok());
        bench.delivery.accept(batch(&[3]), &mut bench.settled).expect("idle");
        assert_eq!(bench.wait(), Some(0));
    }
}

#[test]
fn row_2_a_busy_server_gets_its_time_and_the_message_goes_back() {
    for (end, at_least_ns) in [
        (status(429), 0),
        (status_after(429, 30), 30 * SECOND),
        (status_after(503, 30), 30 * SECOND),
        (code(Code::ResourceExhausted, "quota"), 0),
    ] {
        let mut bench = Bench::new(DakrProtocol::Auto, &[3, 2]);
        bench.send(&end);
        // Kept frozen meanwhile, and the second message waits too.
        assert_eq!(bench.settled(), (vec![], false));
        let waited_ns = bench.wait().expect("the second message");
        assert!(waited_ns >= at_least_ns.max(SECOND / 2) && waited_ns <= at_least_ns.max(SECOND), "{waited_ns}");
        assert_eq!(bench.settled(), (ONE_MERGED.to_vec(), false));
        assert_eq!(bench.send(&ok()), "1");
        assert_eq!(bench.settled(), (vec![(3, 2, Verdict::Acknowledged)], true));
    }
}

#[test]
fn row_2_no_wait_is_longer_than_five_minutes() {
    let mut bench = Bench::new(DakrProtocol::Auto, &[3, 2]);
    bench.send(&status_after(429, 86_400));
    assert_eq!(bench.wait(), Some(300 * SECOND));
}

#[test]
fn row_3_a_refused_token_is_tried_again_no_faster_than_the_flush() {
    for end in [status(401), status(403), code(Code::Unauthenticated, ""), code(Code::PermissionDenied, "")] {
        let mut bench = Bench::new(DakrProtocol::Auto, &[3, 2]);
        assert_eq!(end.outcome(), Outcome::Denied);
        bench.send(&end);
        assert_eq!(bench.settled(), (ONE_MERGED.to_vec(), false));
        assert_eq!(bench.wait(), Some(FLUSH_NS));
    }
}

#[test]
fn row_4_what_is_too_large_is_halved_down_to_one_item_and_that_is_kept_for_ten_flushes() {
    let largest = |end: SendEnd| {
        let mut bench = Bench::new(DakrProtocol::Auto, &[2, 5]);
        assert_eq!(bench.send(&ok()), "0");
        let whole = bench.body();
        let mut sends = Vec::new();
        let mut items = Vec::new();
        // The server takes two items at most, and never the last one.
        while let Some(waited_ns) = bench.wait() {
            let request = SendNetworkTrafficMetricsRequest::decode(&bench.body()[..]).expect("protobuf");
            let refuse = request.items.len() > 2 || request.items.iter().any(|i| i.tx_bytes == 14);
            if !refuse {
                items.extend(request.items);
            }
            sends.push((bench.send(&if refuse { end.clone() } else { ok() }), waited_ns));
        }
        let (names, waits): (Vec<String>, Vec<u64>) = sends.into_iter().unzip();
        assert_eq!(names[..7], ["1", "1.0", "1.0.0", "1.0.1", "1.1", "1.1.0", "1.1.1"]);
        assert!(waits[2] >= SECOND, "a half was refused: not at once");
        assert!(waits[..7].iter().enumerate().all(|(at, wait_ns)| at == 2 || *wait_ns == 0), "{waits:?}");
        assert_eq!((&names[7..], &waits[7..]), (&vec!["1.1.1".to_owned(); 10][..], &[FLUSH_NS; 10][..]));
        let whole = SendNetworkTrafficMetricsRequest::decode(&whole[..]).expect("protobuf");
        assert_eq!(items, whole.items[..4]);
        bench.settled()
    };
    for end in [status(413), code(Code::OutOfRange, ""), code(Code::ResourceExhausted, "9 is larger than 8")] {
        let (settled, back) = largest(end);
        assert_eq!(
            settled,
            [
                (0, 2, Verdict::Acknowledged),
                (2, 2, Verdict::Acknowledged),
                (4, 1, Verdict::Acknowledged),
                (5, 1, Verdict::Acknowledged),
                (6, 1, Verdict::Drop(Lost::TooLarge)),
            ]
        );
        assert!(back);
    }
}

#[test]
fn row_5_framings_are_tried_at_once_while_none_has_worked() {
    for end in [200, 404, 405, 415, 501, 505].map(status) {
        let mut bench = Bench::new(DakrProtocol::Auto, &[3]);
        for framing in Framing::ALL {
            assert_eq!(bench.wait(), Some(0));
            assert_eq!(bench.delivery.framing(), framing);
            bench.send(&end);
        }
        // None is left: kept as a refusal, and the search starts anew.
        assert_eq!(bench.settled(), (vec![], false));
        assert_eq!(bench.wait(), Some(FLUSH_NS));
        assert_eq!(bench.delivery.framing(), Framing::Connect);
        bench.send(&end);
        bench.wait();
        assert_eq!(bench.delivery.framing(), Framing::GrpcWeb);
        bench.send(&ok());
        // This one works. From now on the same answers are what they are.
        bench.delivery.accept(batch(&[3]), &mut bench.settled).expect("idle");
        bench.send(&end);
        assert_eq!(bench.delivery.framing(), Framing::GrpcWeb);
        let SendEnd::Answered { status, .. } = end else { panic!() };
        let waited_ns = bench.wait().expect("resent");
        if (400..500).contains(&status) {
            assert_eq!(waited_ns, FLUSH_NS);
        } else {
            assert!(waited_ns <= SECOND, "{status} is in doubt: backoff");
        }
    }
}

#[test]
fn row_5_a_pinned_framing_stays() {
    for (protocol, framing) in [
        (DakrProtocol::Connect, Framing::Connect),
        (DakrProtocol::GrpcWeb, Framing::GrpcWeb),
        (DakrProtocol::Grpc, Framing::Grpc),
    ] {
        let mut bench = Bench::new(protocol, &[3]);
        for _ in 0..3 {
            bench.wait();
            assert_eq!(bench.delivery.framing(), framing);
            bench.send(&status(404));
        }
        assert_eq!(bench.settled(), (vec![], false));
    }
}

#[test]
fn row_5_a_code_of_the_server_itself_is_no_reason_to_change_the_framing() {
    let mut bench = Bench::new(DakrProtocol::Auto, &[3]);
    bench.send(&code(Code::Unimplemented, "not here"));
    assert_eq!(bench.wait(), Some(FLUSH_NS));
    assert_eq!(bench.delivery.framing(), Framing::Connect);
}

#[test]
fn row_6_a_refused_message_is_resent_ten_times_at_each_flush() {
    for end in [
        status(400),
        status(418),
        status(422),
        code(Code::InvalidArgument, ""),
        code(Code::Unimplemented, ""),
        code(Code::FailedPrecondition, ""),
        code(Code::NotFound, ""),
        code(Code::AlreadyExists, ""),
    ] {
        let mut bench = Bench::new(DakrProtocol::Auto, &[3, 2]);
        let first = bench.body();
        assert_eq!(bench.send(&end), "0");
        // The other message does not wait.
        assert_eq!((bench.wait(), bench.send(&ok())), (Some(0), "1".to_owned()));
        bench.settled.clear();
        for _ in 0..10 {
            assert_eq!(bench.settled(), (vec![], false));
            assert_eq!(bench.wait(), Some(FLUSH_NS));
            assert_eq!(bench.body(), first);
            assert_eq!(bench.send(&end), "0");
        }
        assert_eq!(bench.settled(), (vec![(0, 3, Verdict::Drop(Lost::Refused))], true));
    }
}

/// What is in doubt is refused like anything else: the refusal says that it was not counted.
#[test]
fn row_6_what_is_in_doubt_is_dropped_as_refused_after_ten_refusals() {
    let mut bench = Bench::new(DakrProtocol::Auto, &[3]);
    let first = bench.body();
    bench.send(&status(502));
    for _ in 0..10 {
        assert!(bench.wait().is_some());
        assert_eq!(bench.settled(), (vec![], false));
        assert_eq!(bench.body(), first);
        bench.send(&status(400));
    }
    if bench.settled() == (vec![], false) {
        bench.wait();
        bench.send(&status(400));
    }
    assert_eq!(bench.settled(), (vec![(0, 3, Verdict::Drop(Lost::Refused))], true));
}

#[test]
fn row_7_an_unknown_outcome_is_resent_byte_for_byte_for_an_hour() {
    let statuses = [100, 201, 204, 408, 409, 499, 500, 502, 503, 504, 507, 599].map(status);
    let codes = [
        Code::Canceled,
        Code::Unknown,
        Code::DeadlineExceeded,
        Code::Aborted,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
    ];
    let ends = statuses.into_iter().chain(codes.map(|c| code(c, ""))).chain([SendEnd::NoAnswer, unreadable()]);
    for end in ends {
        let mut bench = Bench::new(DakrProtocol::Auto, &[3, 2]);
        let (first, started_ns) = (bench.body(), bench.now_ns);
        assert_eq!(bench.send(&end), "0");
        assert_eq!((bench.wait(), bench.send(&ok())), (Some(0), "1".to_owned()), "the other message does not wait");
        bench.settled.clear();
        let mut sends = 1;
        while let Some(waited_ns) = bench.wait() {
            let whole_ns = (SECOND << (sends - 1).min(20)).min(60 * SECOND);
            assert!((whole_ns / 2..=whole_ns).contains(&waited_ns), "{sends}: {waited_ns}");
            assert_eq!(bench.body(), first);
            assert_eq!(bench.send(&end), "0");
            sends += 1;
        }
        assert!(sends > 60, "a resend at least every minute");
        assert_eq!(bench.now_ns - started_ns, AMBIGUITY_NS);
        assert_eq!(bench.settled(), (vec![(0, 3, Verdict::MergeAmbiguous)], true));
        assert_eq!(bench.ambiguous_bytes, 7);
    }
}

#[test]
fn row_7_a_success_within_the_hour_ends_it() {
    let mut bench = Bench::new(DakrProtocol::Auto, &[3]);
    for _ in 0..20 {
        bench.send(&SendEnd::NoAnswer);
        bench.wait();
    }
    bench.send(&ok());
    assert_eq!(bench.settled(), (vec![(0, 3, Verdict::Acknowledged)], true));
    assert_eq!(bench.ambiguous_bytes, 0);
}

#[test]
fn row_7_retry_after_is_honoured_beside_a_code() {
    let mut bench = Bench::new(DakrProtocol::Auto, &[3]);
    let answer = Answer::Error { code: Code::Unavailable, message: String::new() };
    bench.send(&SendEnd::Answered { status: 503, answer, retry_after_ns: Some(40 * SECOND) });
    assert_eq!(bench.wait(), Some(40 * SECOND));
}

#[test]
fn row_8_acknowledged_in_order() {
    let mut bench = Bench::new(DakrProtocol::Auto, &[3, 1, 2]);
    let names: Vec<String> = (0..3).map(|_| bench.send(&ok())).collect();
    assert_eq!(names, ["0", "1", "2"]);
    let acked = |first, items| (first, items, Verdict::Acknowledged);
    assert_eq!(bench.settled(), (vec![acked(0, 3), acked(3, 1), acked(4, 2)], true));
    assert!(bench.delivery.is_idle());
}
