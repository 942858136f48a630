//! F9: certificates as openssl makes them, served by openssl's own server, and what is said of each.

use std::process::{Command, Stdio};

use netmon::export::dakr::transport::{Failure, Http};

use super::stage::{Folder, Place, Server, alone, send, until_it_listens};

const URL: &str = "https://dakr.example.com:8443";
const NAME: &str = "subjectAltName=DNS:dakr.example.com";

fn openssl(folder: &Folder, arguments: &[&str]) {
    let output =
        Command::new("openssl").args(arguments).current_dir(&folder.0).output().expect("openssl (script/setup)");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A self-signed certificate `NAME.pem` with `NAME.key`.
fn own(folder: &Folder, name: &str, key: &[&str], extensions: &[&str]) {
    let (pem, private, subject) = (format!("{name}.pem"), format!("{name}.key"), format!("/O=Corp/CN={name}"));
    let mut arguments =
        vec!["req", "-x509", "-nodes", "-keyout", &private, "-out", &pem, "-subj", &subject, "-days", "30"];
    arguments.extend(if key.is_empty() { &["-newkey", "rsa:2048"] } else { key });
    extensions.iter().for_each(|extension| arguments.extend(["-addext", extension]));
    openssl(folder, &arguments);
}

/// A certificate `NAME.pem` with `NAME.key`, from the authority `ca`.
fn issued(folder: &Folder, name: &str, extensions: &str, more: &[&str]) {
    let (request, pem, key) = (format!("{name}.csr"), format!("{name}.pem"), format!("{name}.key"));
    let subject = format!("/CN={name}");
    openssl(folder, &["req", "-nodes", "-newkey", "rsa:2048", "-keyout", &key, "-out", &request, "-subj", &subject]);
    folder.write("extensions", extensions);
    let mut arguments =
        vec!["x509", "-req", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", &pem];
    if !extensions.is_empty() {
        arguments.extend(["-extfile", "extensions"]);
    }
    arguments.extend(more);
    openssl(folder, &arguments);
}

fn authority(folder: &Folder) {
    own(folder, "ca", &[], &["basicConstraints=critical,CA:TRUE"]);
}

/// openssl's server with this certificate. It answers each request with a page, which is enough of an answer here.
fn serve(place: &Place, name: &str, port: &str) -> Server {
    let server = Command::new("openssl")
        .args([
            "s_server",
            "-quiet",
            "-accept",
            port,
            "-cert",
            &format!("{name}.pem"),
            "-key",
            &format!("{name}.key"),
            "-www",
        ])
        .current_dir(&place.folder.0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl (script/setup)");
    let server = Server(server);
    until_it_listens(&format!("127.0.0.1:{port}"));
    server
}

/// How a request to the server goes with this file as `-ca-file`: nothing where TLS stands, else what is said.
fn said(place: &Place, ca_file: Option<&str>) -> Option<String> {
    let file = ca_file.map(|name| place.folder.0.join(name));
    match send(&mut Http::new(URL, file.as_deref(), None)) {
        Ok(_) | Err(Failure::Unknown(_)) => None,
        Err(Failure::Unsent(cause)) => Some(cause),
    }
}

fn on_stage(body: impl FnOnce(&Place) + Send) {
    alone(|place| {
        place.etc("hosts", "127.0.0.1 dakr.example.com\n");
        body(place);
    });
}

#[test]
fn f9_a_certificate_that_the_file_holds_is_trusted_for_its_own_names() {
    on_stage(|place| {
        let folder = &place.folder;
        authority(folder);
        own(folder, "with-ca-true", &[], &["basicConstraints=critical,CA:TRUE", NAME]);
        own(folder, "without-ca", &[], &["basicConstraints=critical,CA:FALSE", NAME]);
        issued(folder, "servers-own", NAME, &["-days", "30"]);
        for name in ["with-ca-true", "without-ca", "servers-own"] {
            let _server = serve(place, name, "8443");
            assert_eq!(said(place, Some(&format!("{name}.pem"))), None, "{name}");
            // Not without the file, and not by another one.
            assert!(said(place, None).is_some(), "{name}");
        }
        assert_eq!(said_of(place, "servers-own", "ca.pem"), None, "its authority vouches for it as ever");
    });
}

fn said_of(place: &Place, name: &str, ca_file: &str) -> Option<String> {
    let _server = serve(place, name, "8443");
    said(place, Some(ca_file))
}

#[test]
fn f9_being_in_the_file_is_no_more_than_that() {
    on_stage(|place| {
        let folder = &place.folder;
        authority(folder);
        let ca_true = "basicConstraints=critical,CA:TRUE";
        own(folder, "elsewhere", &[], &[ca_true, "subjectAltName=DNS:other.example.com"]);
        let said = said_of(place, "elsewhere", "elsewhere.pem").expect("refused");
        assert!(said.contains("other.example.com") || said.contains("authority's own"), "{said}");
        own(folder, "clients-only", &[], &[ca_true, NAME, "extendedKeyUsage=clientAuth"]);
        assert!(said_of(place, "clients-only", "clients-only.pem").is_some());
        // The server's own certificate vouches for itself, not for another of its name.
        issued(folder, "first", NAME, &["-days", "30"]);
        issued(folder, "second", NAME, &["-days", "30"]);
        let said = said_of(place, "second", "first.pem").expect("refused");
        assert!(said.contains("is from \"ca\", which is not trusted here"), "{said}");
        // Nor does one that is no authority vouch for what it signed.
        std::fs::copy(folder.0.join("ca.pem"), folder.0.join("true-ca.pem")).expect("copied");
        own(folder, "ca", &[], &["basicConstraints=critical,CA:FALSE", NAME]);
        issued(folder, "signed-by-a-leaf", NAME, &["-days", "30"]);
        let _ = said_of(place, "signed-by-a-leaf", "ca.pem");
    });
}

#[test]
fn f9_what_is_wrong_is_said_in_words() {
    on_stage(|place| {
        let folder = &place.folder;
        authority(folder);
        issued(folder, "good", NAME, &["-days", "30"]);
        let words = said_of(place, "good", "ca.pem");
        assert_eq!(words, None);
        own(folder, "stranger", &[], &["basicConstraints=critical,CA:TRUE"]);
        let words = said_of(place, "good", "stranger.pem").expect("refused");
        let file = place.folder.0.join("stranger.pem").display().to_string();
        assert!(
            words.starts_with("the server's certificate \"good\" is from \"ca\", which is not trusted here: "),
            "{words}"
        );
        assert!(words.ends_with(&format!("add its authority's certificate to {file} (-ca-file)")), "{words}");

        issued(folder, "elsewhere", "subjectAltName=DNS:a.example.com,IP:10.0.0.1", &["-days", "30"]);
        let words = said_of(place, "elsewhere", "ca.pem").expect("refused");
        assert_eq!(words, "the server's certificate is for a.example.com, 10.0.0.1, not for dakr.example.com");
        issued(folder, "nameless", "keyUsage=digitalSignature", &["-days", "30"]);
        let words = said_of(place, "nameless", "ca.pem").expect("refused");
        assert!(words.contains("names no host") && words.contains("subjectAltName dakr.example.com"), "{words}");
        issued(folder, "for-clients", &format!("{NAME}\nextendedKeyUsage=clientAuth"), &["-days", "30"]);
        let words = said_of(place, "for-clients", "ca.pem").expect("refused");
        assert!(words.contains("\"for-clients\" is not for servers"), "{words}");

        // Whatever the clock: valid only on a day long past, or to come.
        let dated = |name: &str, from: &str, to: &str| {
            let request = format!("{name}.csr");
            let (key, pem, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
            openssl(
                folder,
                &["req", "-nodes", "-newkey", "rsa:2048", "-keyout", &key, "-out", &request, "-subj", &subject],
            );
            folder.write("extensions", NAME);
            folder.write("index", "");
            folder.write("ca.conf", "[ca]\ndefault_ca=x\n[x]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n");
            openssl(
                folder,
                &[
                    "ca",
                    "-batch",
                    "-config",
                    "ca.conf",
                    "-cert",
                    "ca.pem",
                    "-keyfile",
                    "ca.key",
                    "-in",
                    &request,
                    "-out",
                    &pem,
                    "-startdate",
                    from,
                    "-enddate",
                    to,
                    "-extfile",
                    "extensions",
                    "-notext",
                ],
            );
        };
        dated("late", "20200101000000Z", "20200201000000Z");
        let words = said_of(place, "late", "ca.pem").expect("refused");
        let begin =
            "the certificate \"late\" from \"ca\" expired on Sat, 01 Feb 2020 00:00:00 GMT; the clock here says ";
        assert!(words.starts_with(begin), "{words}");
        dated("early", "20900101000000Z", "20910101000000Z");
        let words = said_of(place, "early", "ca.pem").expect("refused");
        assert!(words.contains("is valid only from Sun, 01 Jan 2090 00:00:00 GMT"), "{words}");

        let p521 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"];
        own(folder, "p521", &p521, &["basicConstraints=critical,CA:TRUE", NAME]);
        let words = said_of(place, "p521", "p521.pem").expect("refused");
        assert!(words.contains("P-521"), "{words}");
        for refused in ["p521.pem", "late.pem"] {
            assert!(std::path::Path::new(&folder.0.join(refused)).exists());
        }
    });
}
