//! F7 and F8: real proxies, for both schemes, with and without a password; and what is said when one says no.

use std::process::{Command, Stdio};

use netmon::clock::{self, MS};
use netmon::config::proxy::Proxy;
use netmon::export::dakr::transport::{Failure, Http, Transport};

use super::stage::{Place, Server, alone, answer, dakr, send, until_it_listens};

const PROXY: &str = "127.0.0.2:3128";

fn tinyproxy(place: &Place, more: &str) -> Server {
    let config = format!("Port 3128\nListen 127.0.0.2\nTimeout 30\nMaxClients 20\nLogLevel Info\n{more}\n");
    let file = place.folder.write("tinyproxy.conf", config);
    let server = place.server("tinyproxy", &["-d", "-c", &file.display().to_string()]);
    until_it_listens(PROXY);
    server
}

fn squid(place: &Place) -> Server {
    // Debian's own rules: CONNECT to 443 alone, and only these ports at all.
    let config = format!(
        "http_port {PROXY}\nacl safe port 80 443 1025-65535\nacl tls port 443\nacl connect method CONNECT\n\
         http_access deny !safe\nhttp_access deny connect !tls\nhttp_access allow all\ncache deny all\n\
         pid_filename none\naccess_log none\ncache_log /dev/null\nshutdown_lifetime 0 seconds\n\
         cache_effective_user nobody\ncache_effective_group nogroup\npinger_enable off\nnetdb_filename none\nhosts_file /etc/hosts\n"
    );
    let file = place.folder.write("squid.conf", config);
    let server = place.server("squid", &["-N", "-f", &file.display().to_string()]);
    until_it_listens(PROXY);
    server
}

fn by(url: &str, proxy: &str) -> Http {
    Http::new(url, None, Some(Proxy::parse(proxy, "HTTP_PROXY").expect("a proxy")))
}

fn refused(http: &mut Http) -> String {
    match send(http) {
        Err(Failure::Unsent(cause)) => cause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn f7_squid_with_its_usual_rules_is_passed_without_tls() {
    alone(|place| {
        place.etc("hosts", "127.0.0.1 dakr.example.com\n");
        let _squid = squid(place);
        dakr(8080);
        let mut http = by("http://dakr.example.com:8080", &format!("http://{PROXY}"));
        // Twice on one connection: each request is made absolute.
        for _ in 0..2 {
            assert_eq!(send(&mut http).expect("through squid").status, 200);
        }
    });
}

#[test]
fn f7_tinyproxy_wants_the_password_and_gets_it() {
    alone(|place| {
        place.etc("hosts", "127.0.0.1 dakr.example.com\n");
        let _proxy = tinyproxy(place, "BasicAuth me hunter2\nAllow 127.0.0.1\nAllow 127.0.0.2\nConnectPort 8443");
        dakr(8080);
        let mut http = by("http://dakr.example.com:8080", &format!("http://me:hunter2@{PROXY}"));
        assert_eq!(send(&mut http).expect("through tinyproxy").status, 200);
        // For https:// it is CONNECT that bears the password; without, the refusal is said with the way out.
        let said = refused(&mut by("https://dakr.example.com:8443", &format!("http://{PROXY}")));
        assert!(said.contains("\"HTTP/1.0 407") || said.contains("\"HTTP/1.1 407"), "{said}");
        assert!(said.contains("user and password in its URL"), "{said}");
        let said = refused(&mut by("https://dakr.example.com:9443", &format!("http://me:hunter2@{PROXY}")));
        assert!(said.contains("it must allow CONNECT") && !said.contains("hunter2"), "{said}");
    });
}

#[test]
fn f8_what_cannot_be_reached_is_named_with_its_place() {
    alone(|place| {
        place.etc("hosts", "127.0.0.1 dakr.example.com\n127.0.0.2 proxy.example.com\n");
        let mut http = Http::new("http://dakr.example.com:8080", None, None);
        assert_eq!(refused(&mut http), "nothing listens at 127.0.0.1:8080 (connection refused)");
        assert_eq!(http.peer(), "dakr.example.com:8080");
        let mut http = by("http://dakr.example.com:8080", "http://me:hunter2@proxy.example.com:3128");
        assert_eq!(refused(&mut http), "nothing listens at proxy 127.0.0.2:3128 (connection refused)");
        assert_eq!(http.peer(), "dakr.example.com:8080 by proxy http://proxy.example.com:3128 (HTTP_PROXY)");
        let said = refused(&mut Http::new("http://203.0.113.1:8080", None, None));
        assert_eq!(said, "cannot connect to 203.0.113.1:8080: network is unreachable");
        let said = refused(&mut Http::new("http://nowhere.example.com", None, None));
        assert!(said.starts_with("cannot resolve nowhere.example.com: "), "{said}");
        assert!(said.ends_with(" (/etc/resolv.conf)"), "{said}");
        let said = refused(&mut by("http://dakr.example.com", "http://nowhere.example.com"));
        assert!(said.starts_with("cannot resolve nowhere.example.com: "), "{said}");
    });
}

#[test]
fn f7_the_agent_says_what_is_used_and_refuses_what_cannot_be() {
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new("timeout");
        command.args([
            "-s",
            "KILL",
            "20",
            env!("CARGO_BIN_EXE_zxporter-netmon"),
            "-standalone",
            "-metrics-bind-address",
        ]);
        // The address is taken, so the start ends by itself once it has spoken.
        command.args(["127.0.0.1:8081", "-conntrack-zone", "0"]).env_clear();
        command
            .envs([("DAKR_URL", "https://dakr.example.com"), ("CLUSTER_TOKEN", "t")])
            .envs(variables.iter().copied());
        let output = command.output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    alone(|_| {
        let _taken = std::net::TcpListener::bind("127.0.0.1:8081").expect("the port");
        for (variable, value) in [("HTTPS_PROXY", ":::::"), ("https_proxy", "foo://me:hunter2@proxy:1")] {
            let (status, said) = run(&[(variable, value)]);
            assert_eq!(status, Some(2), "{said}");
            assert!(said.contains(&format!("invalid value for {variable}")) && !said.contains("hunter2"), "{said}");
        }
        let proxy = ("HTTPS_PROXY", "http://me:hunter2@proxy.example.com:3128");
        let (_, said) = run(&[proxy]);
        let line = "pushing to dakr.example.com:443 by proxy http://proxy.example.com:3128 (HTTPS_PROXY)";
        assert!(said.contains(line) && !said.contains("hunter2"), "{said}");
        let (_, said) = run(&[proxy, ("NO_PROXY", "10.0.0.0/8, .example.com")]);
        assert!(
            said.contains("pushing to dakr.example.com:443, excepted from proxy http://proxy.example.com:3128"),
            "{said}"
        );
        let (_, said) = run(&[("HTTP_PROXY", "http://proxy.example.com")]);
        assert!(said.contains("pushing to dakr.example.com:443\n"), "{said}");
    });
}

/// The first line of the real agent's log that says that DAKR was not reached.
fn said_by_the_agent(place: &Place, url: &str, proxy: Option<&str>) -> String {
    let log = place.folder.0.join("agent.log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_zxporter-netmon"));
    command.args(["-standalone", "-metrics-bind-address", "127.0.0.1:8081", "-conntrack-zone", "0"]).env_clear();
    command.envs([("DAKR_URL", url), ("CLUSTER_TOKEN", "not-shown-5")]);
    command.envs(proxy.map(|proxy| ("HTTP_PROXY", proxy)));
    let file = std::fs::File::create(&log).expect("a log");
    let _agent = Server(command.stdin(Stdio::null()).stderr(file).spawn().expect("it runs"));
    for _ in 0..500 {
        let text = std::fs::read_to_string(&log).expect("UTF-8");
        if let Some(line) = text.lines().find(|line| line.contains("cannot send")) {
            return line.to_owned();
        }
        clock::sleep_ns(20 * MS);
    }
    panic!("{}", std::fs::read_to_string(&log).unwrap_or_default());
}

#[test]
fn f8_the_log_says_where_by_whom_and_what_to_do() {
    alone(|place| {
        place.etc("hosts", "127.0.0.1 dakr.example.com\n127.0.0.2 proxy.example.com\n");
        let ends = |said: String, end: &str| assert!(said.contains(&format!("heartbeat to {end}; failures")), "{said}");
        let said = said_by_the_agent(place, "http://dakr.example.com:8080", None);
        ends(said, "dakr.example.com:8080: nothing listens at 127.0.0.1:8080 (connection refused)");
        let proxy = Some("http://me:hunter2@proxy.example.com:3128");
        let said = said_by_the_agent(place, "http://dakr.example.com:8080", proxy);
        let through = "dakr.example.com:8080 by proxy http://proxy.example.com:3128 (HTTP_PROXY)";
        ends(said, &format!("{through}: nothing listens at proxy 127.0.0.2:3128 (connection refused)"));
        let said = said_by_the_agent(place, "https://nowhere.example.com", None);
        assert!(said.contains("heartbeat to nowhere.example.com:443: cannot resolve nowhere.example.com: "), "{said}");
        assert!(said.contains("(/etc/resolv.conf)"), "{said}");
    });
}

#[test]
fn f8_http_behind_https_is_said() {
    alone(|place| {
        place.etc("hosts", "127.0.0.1 dakr.example.com\n");
        let listener = std::net::TcpListener::bind("127.0.0.1:8080").expect("a port");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                use std::io::Write;
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
                std::thread::spawn(move || answer(stream));
            }
        });
        let said = refused(&mut Http::new("https://dakr.example.com:8080", None, None));
        assert_eq!(said, "the server does not speak TLS there: is this port for http://, without the s?");
    });
}
