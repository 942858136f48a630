use super::*;
use std::net::TcpStream;

#[test]
fn every_address_means_both_families() {
    let listener = listener("[::]:0".parse().expect("a literal")).expect("free");
    let port = listener.local_addr().expect("bound").port();
    TcpStream::connect(("127.0.0.1", port)).expect("IPv4");
    TcpStream::connect(("::1", port)).expect("IPv6");
}

#[test]
fn a_port_that_is_taken_is_said_so() {
    let first = listener("127.0.0.1:0".parse().expect("a literal")).expect("free");
    let addr = first.local_addr().expect("bound");
    let error = listener(addr).expect_err("taken");
    assert!(matches!(error, BindError::Taken(a) if a == addr), "{error}");
    drop(first);
    listener(addr).expect("free again");
}
