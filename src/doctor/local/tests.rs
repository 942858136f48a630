use super::*;
use crate::findings::Verdict;

#[test]
fn a_port_is_free_or_an_agents_or_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let answers: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\n\r\n{\"components\":{\"dakr\":{\"status\":2,\"message\":\"down\"},\"monitor\":{\"status\":1}},\"status\":\"degraded\"}\n",
        b"HTTP/1.1 200 OK\r\n\r\n{\"components\":{},\"status\":\"healthy\"}",
        b"SSH-2.0\r\n",
    ];
    let server = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 256]);
            let _ = stream.write_all(answer);
        }
        listener
    });
    let agent = port(address);
    assert_eq!((agent.verdict, agent.text), (Verdict::Warn, format!("{address}: an agent answers, degraded")));
    assert_eq!(agent.cure, "it says: dakr: down");
    for _ in 0..2 {
        let other = port(address);
        assert_eq!((other.verdict, other.text), (Verdict::Fail, format!("{address} is taken by another program")));
        assert!(other.cure.contains("-metrics-bind-address"));
    }
    drop(server.join().expect("served"));
    assert_eq!(port(address).verdict, Verdict::Ok);
    let foreign = port("192.0.2.1:80".parse().expect("a literal"));
    assert_eq!(foreign.verdict, Verdict::Fail, "{foreign:?}");
}

#[test]
fn a_state_folder_that_cannot_be_used_is_said_with_its_cure() {
    assert_eq!(state_folder(None), None);
    let missing = state_folder(Some(Path::new("/nonexistent/x"))).expect("a finding");
    assert_eq!((missing.verdict, missing.text.as_str()), (Verdict::Fail, "/nonexistent/x: no such folder"));
    let here = state_folder(Some(Path::new(env!("CARGO_MANIFEST_DIR")))).expect("a finding");
    assert_eq!(here.verdict, Verdict::Ok, "{here:?}");
}

/// An agent on the loopback of one family, asked about every address of both.
#[test]
fn an_agent_is_found_where_it_listens_on_a_part_of_what_is_asked() {
    let addresses = reachable("[::]:8081".parse().expect("a literal"));
    assert_eq!(addresses, ["[::1]:8081", "127.0.0.1:8081"].map(|text| text.parse().expect("a literal")));
    assert_eq!(reachable("0.0.0.0:1".parse().expect("a literal")), ["127.0.0.1:1".parse().expect("a literal")]);
}
