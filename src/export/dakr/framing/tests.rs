//! Recorded answers of connect-go (`tests/golden/dakr/wire`), golden request frames, and answers that lie.

use proptest::prelude::*;

use super::*;

macro_rules! golden {
    ($file:literal) => {
        &include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/dakr/", $file))[..]
    };
}

/// A recorded answer as an HTTP/1.1 client that drops trailers hands it over.
fn recorded(raw: &[u8]) -> Reply {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(raw).expect("recorded") else { panic!("cut") };
    let headers: Vec<(String, String)> = response
        .headers
        .iter()
        .map(|h| (h.name.to_ascii_lowercase(), String::from_utf8_lossy(h.value).into_owned()))
        .collect();
    let mut rest = &raw[head..];
    let mut body = Vec::new();
    if headers.iter().any(|h| h.0 == "transfer-encoding") {
        while let httparse::Status::Complete((at, size @ 1..)) = httparse::parse_chunk_size(rest).expect("chunks") {
            body.extend_from_slice(&rest[at..at + size as usize]);
            rest = &rest[at + size as usize + 2..];
        }
    } else {
        body.extend_from_slice(rest);
    }
    Reply { status: response.code.expect("a status"), headers, body, cut: false }
}

fn error(code: Code, message: &str) -> Answer {
    Answer::Error { code, message: message.to_owned() }
}

#[test]
fn recorded_answers_of_a_connect_server() {
    use Framing::Connect;
    let said = |raw| Connect.answer(&recorded(raw));
    assert_eq!(said(golden!("wire/connect_ok_identity.http")), Answer::Ok(vec![8, 2]));
    assert_eq!(said(golden!("wire/connect_ok_gzip.http")), Answer::Ok(vec![8, 2]));
    assert_eq!(said(golden!("wire/connect_health_collect_now.http")), Answer::Ok(vec![8, 1]));
    assert_eq!(said(golden!("wire/connect_404.http")), Answer::Foreign);
    assert_eq!(said(golden!("wire/connect_415.http")), Answer::Foreign);
    assert_eq!(
        said(golden!("wire/connect_error_bad_encoding.http")),
        error(Code::Unimplemented, "unknown compression \"br\": supported encodings are gzip")
    );
    assert_eq!(
        said(golden!("wire/connect_error_resource_exhausted.http")),
        error(Code::ResourceExhausted, "message size 15182 is larger than configured max 1000")
    );
    assert_eq!(said(golden!("wire/connect_error_unauthenticated.http")), error(Code::Unauthenticated, "bad token"));
    assert_eq!(
        said(golden!("wire/connect_error_unavailable.http")),
        error(Code::Unavailable, "overloaded: back off and retry")
    );
    assert_eq!(
        said(golden!("wire/connect_error_unimplemented.http")),
        error(Code::Unimplemented, "api.v1.MetricsCollectorService.SendTelemetryLogs is not implemented")
    );
}

#[test]
fn recorded_answers_of_a_grpc_web_server() {
    let said = |raw| Framing::GrpcWeb.answer(&recorded(raw));
    assert_eq!(said(golden!("wire/grpcweb_ok_identity.http")), Answer::Ok(vec![8, 2]));
    assert_eq!(said(golden!("wire/grpcweb_ok_gzip.http")), Answer::Ok(vec![8, 2]));
    assert_eq!(
        said(golden!("wire/grpcweb_error_trailers_only.http")),
        error(Code::Unavailable, "overloaded: back off and retry")
    );
    assert_eq!(said(golden!("wire/connect_ok_identity.http")), Answer::Foreign);
}

#[test]
fn recorded_answers_of_a_grpc_server() {
    let said = |raw| Framing::Grpc.answer(&recorded(raw));
    assert_eq!(said(golden!("wire/grpc_h1_ok.http")), Answer::Ok(vec![8, 2]));
    // The reason stands in the trailers, which are gone.
    assert_eq!(said(golden!("wire/grpc_h1_error.http")), Answer::Unreadable);
    assert_eq!(said(golden!("wire/grpcweb_ok_identity.http")), Answer::Foreign);
}

#[test]
fn every_prefix_of_an_answer_is_no_success() {
    for (framing, raw) in [
        (Framing::GrpcWeb, golden!("wire/grpcweb_ok_identity.http")),
        (Framing::GrpcWeb, golden!("wire/grpcweb_ok_gzip.http")),
        (Framing::Grpc, golden!("wire/grpc_h1_ok.http")),
    ] {
        let whole = recorded(raw);
        for len in 0..whole.body.len() {
            let cut = Reply { body: whole.body[..len].to_vec(), ..whole.clone() };
            assert_eq!(framing.answer(&cut), Answer::Unreadable, "{framing:?} cut at {len}");
        }
    }
    let packed = recorded(golden!("wire/connect_ok_gzip.http"));
    for len in 0..packed.body.len() {
        let cut = Reply { body: packed.body[..len].to_vec(), ..packed.clone() };
        assert_eq!(Framing::Connect.answer(&cut), Answer::Unreadable, "cut at {len}");
    }
}

#[test]
fn small_messages_travel_as_they_are() {
    let message = golden!("traffic_basic.bin");
    let mut body = Vec::new();
    let headers = Framing::Connect.request(message, 15_000, &mut body);
    assert_eq!(body, message);
    assert!(headers.contains(&("content-type", "application/proto".to_owned())));
    assert!(headers.contains(&("connect-timeout-ms", "15000".to_owned())));
    assert!(!headers.iter().any(|h| h.0 == "content-encoding"));
    for framing in [Framing::GrpcWeb, Framing::Grpc] {
        let headers = framing.request(message, 15_000, &mut body);
        assert_eq!(body, golden!("traffic_basic.grpc_frame"));
        assert!(headers.contains(&("grpc-timeout", "15000m".to_owned())));
    }
    // No message at all is a body of no bytes, or an empty envelope.
    Framing::Connect.request(golden!("traffic_empty.bin"), 1, &mut body);
    assert!(body.is_empty());
}

#[test]
fn large_messages_travel_compressed() {
    let message = golden!("traffic_200_flows.bin");
    let mut body = Vec::new();
    let headers = Framing::Connect.request(message, 15_000, &mut body);
    assert!(headers.contains(&("content-encoding", "gzip".to_owned())));
    assert_eq!(gunzip(&body).as_deref(), Some(message));
    // Within a tenth of what the reference compressor (zlib, level 6) makes of it.
    assert!(body.len() * 10 <= golden!("traffic_200_flows.bin.gz").len() * 11, "{}", body.len());
    for framing in [Framing::GrpcWeb, Framing::Grpc] {
        let headers = framing.request(message, 15_000, &mut body);
        assert!(headers.contains(&("grpc-encoding", "gzip".to_owned())));
        assert_eq!((body[0], &body[1..5]), (1, &(body.len() as u32 - 5).to_be_bytes()[..]));
        assert_eq!(gunzip(&body[5..]).as_deref(), Some(message));
    }
    // A resend is the very same bytes.
    let mut again = Vec::new();
    Framing::Grpc.request(message, 15_000, &mut again);
    assert_eq!(body, again);
}

#[test]
fn the_golden_compressed_frame_is_read_back() {
    let body = golden!("traffic_basic.grpc_frame_gzip").to_vec();
    let headers = vec![
        ("content-type".to_owned(), "application/grpc".to_owned()),
        ("grpc-encoding".to_owned(), "gzip".to_owned()),
    ];
    let reply = Reply { status: 200, headers, body, cut: false };
    assert_eq!(Framing::Grpc.answer(&reply), Answer::Ok(golden!("traffic_basic.bin").to_vec()));
}

fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let headers = headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    Reply { status, headers, body: body.to_vec(), cut: false }
}

#[test]
fn an_answer_that_unpacks_to_more_than_the_cap_is_unreadable() {
    let mut bomb = Vec::new();
    assert!(put_compressed(&vec![0; 100 << 20], &mut bomb));
    let headers = [("content-type", "application/proto"), ("content-encoding", "gzip")];
    assert_eq!(Framing::Connect.answer(&reply(200, &headers, &bomb)), Answer::Unreadable);
    let mut largest = Vec::new();
    put_compressed(&vec![0; MAX_ANSWER_BYTES], &mut largest);
    assert!(matches!(Framing::Connect.answer(&reply(200, &headers, &largest)), Answer::Ok(_)));
}

#[test]
fn foreign_and_garbled_errors() {
    let json = [("content-type", "application/json; charset=utf-8")];
    let said = |status, body: &str| Framing::Connect.answer(&reply(status, &json, body.as_bytes()));
    assert_eq!(said(500, r#"{"code":"data_loss"}"#), error(Code::DataLoss, ""));
    assert_eq!(said(500, r#"{"code":"data_loss","message":null,"details":[{"type":"x"}]}"#), error(Code::DataLoss, ""));
    for body in ["", "{}", "[]", "null", r#"{"code":7}"#, r#"{"code":"nonsense"}"#, r#"{"message":"x"}"#, "{\"code\":"]
    {
        assert_eq!(said(500, body), Answer::Foreign, "{body}");
    }
    assert_eq!(said(200, r#"{"processedCount":2}"#), Answer::Foreign);
    assert_eq!(Framing::Connect.answer(&reply(200, &[], &[8, 2])), Answer::Foreign);
    let unknown = [("content-type", "application/proto"), ("content-encoding", "br")];
    assert_eq!(Framing::Connect.answer(&reply(200, &unknown, &[8, 2])), Answer::Unreadable);
}

#[test]
fn a_grpc_web_status_among_the_headers_counts_only_without_a_body() {
    let headers = [("content-type", "application/grpc-web+proto"), ("grpc-status", "8")];
    let trailers = b"\x80\0\0\0\x10grpc-status: 9\r\n";
    assert_eq!(Framing::GrpcWeb.answer(&reply(200, &headers, trailers)), error(Code::FailedPrecondition, ""));
    assert_eq!(Framing::GrpcWeb.answer(&reply(200, &headers, &[])), error(Code::ResourceExhausted, ""));
}

#[test]
fn a_grpc_status_among_the_headers_decides() {
    for framing in [Framing::GrpcWeb, Framing::Grpc] {
        let content_type = if framing == Framing::Grpc { "application/grpc" } else { "application/grpc-web+proto" };
        let said = |status: &str, message: &str| {
            let headers = [("content-type", content_type), ("grpc-status", status), ("grpc-message", message)];
            framing.answer(&reply(200, &headers, &[]))
        };
        for code in Code::ALL {
            assert_eq!(said(&(*code as u32).to_string(), "a%20b%C3%BC%zz%2"), error(*code, "a bü%zz%2"));
            assert_eq!(Code::from_name(code.as_str()), Some(*code));
        }
        assert_eq!(said("99", ""), error(Code::Unknown, ""));
        assert_eq!(said("0", ""), Answer::Unreadable);
        assert_eq!(said("-1", ""), Answer::Unreadable);
        assert_eq!(framing.answer(&reply(503, &[("content-type", content_type)], &[])), Answer::Foreign);
    }
}

proptest! {
    #[test]
    fn any_answer_is_read_without_a_panic(
        status in 0u16..700,
        kind in prop::sample::select(vec!["application/proto", "application/json", "application/grpc", "application/grpc-web"]),
        encoding in prop::sample::select(vec!["", "gzip", "identity", "br"]),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        for framing in Framing::ALL {
            let headers = [("content-type", kind), ("content-encoding", encoding), ("grpc-encoding", encoding)];
            framing.answer(&reply(status, &headers, &body));
        }
    }
}
