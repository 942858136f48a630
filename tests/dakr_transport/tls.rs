//! The same over TLS, and through a proxy.

use netmon::config::proxy::{Proxy, route};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

struct Tls {
    ca_pem: std::path::PathBuf,
    config: Arc<rustls::ServerConfig>,
}

fn tls() -> &'static Tls {
    static TLS: OnceLock<Tls> = OnceLock::new();
    TLS.get_or_init(|| {
        let made =
            rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("made");
        let ca_pem = std::env::temp_dir().join(format!("netmon-ca-{}.pem", std::process::id()));
        std::fs::write(&ca_pem, made.cert.pem()).expect("written");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(made.cert.der().to_vec())], key)
            .expect("a certificate");
        Tls { ca_pem, config: Arc::new(config) }
    })
}

/// A TLS server; `each` gets the stream and its socket.
fn serve_tls(
    each: impl Fn(&mut rustls::StreamOwned<rustls::ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> u16 {
    serve(move |socket| {
        let connection = rustls::ServerConnection::new(tls().config.clone()).expect("a connection");
        each(&mut rustls::StreamOwned::new(connection, socket));
    })
}

#[test]
fn tls_with_an_extra_ca_and_without() {
    let port = serve_tls(|stream| {
        if read_some(stream, usize::MAX).1 {
            stream.write_all(ANSWER).expect("written");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{port}");
        let reply = send(&mut Http::new(&url, Some(&tls().ca_pem), None), b"x", 5 * SECOND).expect("trusted");
        assert_eq!((reply.status, reply.body), (200, vec![8, 2]));
        // Neither an unknown issuer nor a file without a certificate lets a request out.
        for ca in [None, Some(std::path::Path::new("Cargo.toml")), Some(std::path::Path::new("/nonexistent"))] {
            let result = send(&mut Http::new(&url, ca, None), b"x", 5 * SECOND);
            assert!(matches!(result, Err(Failure::Unsent(_))), "{result:?}");
        }
    }
}

#[test]
fn tls_knows_as_well_whether_a_request_left_whole() {
    let url = |port| format!("https://127.0.0.1:{port}");
    let body = Arc::new(large_body());
    for fault in FAULTS {
        for offset in [0, 1, 200, 16_384, 100_000] {
            let aimed = Aimed::new(fault);
            let server = aimed.clone();
            let port = serve_tls(move |stream| {
                assert!(!read_some(stream, offset).1);
                server.strike(&stream.sock);
            });
            let result = aimed.send(Http::new(&url(port), Some(&tls().ca_pem), None), &body);
            assert!(matches!(result, Err(Failure::Unsent(_))), "{fault:?} at {offset}: {result:?}");
        }
        for small in [true, false] {
            let aimed = Aimed::new(fault);
            let server = aimed.clone();
            let port = serve_tls(move |stream| {
                assert!(read_some(stream, usize::MAX).1);
                server.strike(&stream.sock);
            });
            let body = if small { &b"x"[..] } else { &body };
            let result = aimed.send(Http::new(&url(port), Some(&tls().ca_pem), None), body);
            assert!(matches!(result, Err(Failure::Unknown(_))), "{fault:?} after the request: {result:?}");
        }
    }
}

#[test]
fn a_handshake_that_fails_at_any_byte_is_unsent() {
    for fault in FAULTS {
        for offset in [0, 1, 5, 50, 200] {
            let aimed = Aimed::new(fault);
            let server = aimed.clone();
            let port = serve(move |mut stream| {
                let mut chunk = vec![0; offset];
                let _ = stream.read_exact(&mut chunk);
                server.strike(&stream);
            });
            let result = aimed.send(Http::new(&format!("https://127.0.0.1:{port}"), Some(&tls().ca_pem), None), b"x");
            assert!(matches!(result, Err(Failure::Unsent(_))), "{fault:?} at {offset}: {result:?}");
        }
    }
}

/// A proxy that counts its tunnels, or refuses them.
fn proxy(tunnels: Arc<AtomicUsize>, refuse: bool) -> u16 {
    serve(move |mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        assert!(!text.contains("dakr-secret"), "the token is for DAKR alone");
        if refuse {
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        tunnels.fetch_add(1, Ordering::SeqCst);
        let target = text.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).expect("CONNECT");
        let upstream = TcpStream::connect(target).expect("the target");
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("written");
        let (mut from, mut back) = (stream.try_clone().expect("cloned"), upstream.try_clone().expect("cloned"));
        let up = std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut &upstream);
            let _ = upstream.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut back, &mut &stream);
        let _ = stream.shutdown(Shutdown::Write);
        up.join().expect("no panic");
    })
}

#[test]
fn a_proxy_is_used_unless_no_proxy_names_the_host() {
    let port = serve_tls(|stream| {
        while read_some(stream, usize::MAX).1 {
            stream.write_all(ANSWER).expect("written");
        }
    });
    let url = format!("https://127.0.0.1:{port}");
    let tunnels = Arc::new(AtomicUsize::new(0));
    let through = |port: u16, no_proxy: &str| {
        let environment = |name: &str| match name {
            "HTTPS_PROXY" => Some(format!("http://127.0.0.1:{port}")),
            "NO_PROXY" => Some(no_proxy.to_owned()),
            _ => None,
        };
        // By its name, for an address of loopback is never reached by a proxy.
        let route = route("https://dakr.example.com", &environment).expect("a route");
        Http::new(&url, Some(&tls().ca_pem), route.proxy().cloned())
    };
    let open = proxy(tunnels.clone(), false);
    assert_eq!(send(&mut through(open, ""), b"x", 5 * SECOND).expect("through the proxy").body, [8, 2]);
    assert_eq!(tunnels.load(Ordering::SeqCst), 1);
    assert_eq!(send(&mut through(open, "example.com"), b"x", 5 * SECOND).expect("past the proxy").body, [8, 2]);
    assert_eq!(tunnels.load(Ordering::SeqCst), 1);
    let result = send(&mut through(proxy(tunnels, true), ""), b"x", 5 * SECOND);
    let Err(Failure::Unsent(cause)) = result else { panic!("{result:?}") };
    assert_eq!(cause, "the proxy answers \"HTTP/1.1 403 Forbidden\": it must allow CONNECT to this host and port");
    // A proxy that wants TLS on the way to a DAKR that does not.
    let strange = Proxy::parse(&format!("https://127.0.0.1:{port}"), "HTTP_PROXY").expect("a proxy");
    let result = send(&mut Http::new("http://127.0.0.1:9", None, Some(strange)), b"x", 5 * SECOND);
    assert!(matches!(result, Err(Failure::Unsent(_))), "{result:?}");
}
