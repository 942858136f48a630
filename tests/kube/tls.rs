//! Certificates: whose the server's is, whose ours is, and whether it is the right time for either.

use std::path::Path;
use std::sync::Arc;

use netmon::health::Status;
use netmon::kube::credentials::in_cluster;
use netmon::kube::endpoint::Endpoint;
use netmon::kube::secret::Material;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::fake_kube::fixtures::{list, pod, scratch, uid};
use crate::fake_kube::{FakeKube, Part, Request, json, watch_open};
use crate::harness::{Running, endpoint, pace, timeouts, wait_until};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("signed");
    Authority { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    pem: String,
}

impl Authority {
    fn signs(&self, name: &str, years: (i32, i32)) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Identity { chain: vec![certificate.der().clone()], pem: certificate.pem(), key }
    }

    fn server(&self, name: &str, years: (i32, i32), clients: Option<&Authority>) -> Arc<ServerConfig> {
        let identity = self.signs(name, years);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the default versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.der.clone()).expect("a root");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        let key = PrivateKeyDer::try_from(identity.key.serialize_der()).expect("a key");
        Arc::new(builder.with_single_cert(identity.chain, key).expect("they fit"))
    }
}

const LONG: (i32, i32) = (2000, 2100);

fn script(request: &Request) -> Vec<Part> {
    match request.watch {
        false => json(&list(&[pod("web-1", &uid(1), "10.0.0.1")], "1")),
        true => watch_open(&[]),
    }
}

fn trusting(server: &FakeKube, ca: &str) -> Endpoint {
    Endpoint { ca: Some(Material::Text(ca.as_bytes().to_vec())), ..endpoint(&server.https()) }
}

fn run(endpoint: Endpoint) -> Running {
    Running::start_with(endpoint, pace(), timeouts())
}

#[test]
fn a_server_is_trusted_by_its_authority_and_its_address() {
    let (ours, other) = (authority(), authority());
    let server = FakeKube::start_tls(Some(ours.server("127.0.0.1", LONG, None)), script);
    let kube = run(trusting(&server, &ours.pem));
    wait_until("a watch", || server.counts() == (1, 1));
    assert!(kube.stop().as_millis() < 1000, "a blocked watch ends at once over TLS, too");
    // Two in one file, as while they are exchanged.
    run(trusting(&server, &(other.pem.clone() + &ours.pem))).wait_for_state(Status::Healthy, "informer synced");

    run(trusting(&server, &other.pem))
        .wait_for_state(Status::Degraded, "TLS: the server's certificate is not from our");
    let elsewhere = FakeKube::start_tls(Some(ours.server("kubernetes.default", LONG, None)), script);
    run(trusting(&elsewhere, &ours.pem)).wait_for_state(Status::Degraded, "TLS: ");
    assert_eq!(elsewhere.requests(), [], "no token is sent to whom we do not trust");
    run(Endpoint { insecure: true, ..endpoint(&elsewhere.https()) }).wait_for_state(Status::Healthy, "informer synced");
}

#[test]
fn a_wrong_clock_is_named() {
    let ours = authority();
    for years in [(2000, 2016), (2090, 2100)] {
        let server = FakeKube::start_tls(Some(ours.server("127.0.0.1", years, None)), script);
        let kube = run(trusting(&server, &ours.pem));
        kube.wait_for_state(Status::Degraded, "clock: ");
        kube.wait_for_state(Status::Degraded, "is the clock of this node or of the server wrong?");
    }
}

#[test]
fn an_authority_that_changes_is_followed_and_rubbish_is_not() {
    let (first, second) = (authority(), authority());
    let directory = scratch("ca");
    let path = directory.path().join("ca.crt");
    std::fs::write(&path, &first.pem).expect("writable");
    let server = FakeKube::start_tls(Some(first.server("127.0.0.1", LONG, None)), script);
    let kube = run(Endpoint { ca: Some(Material::File(path.clone())), ..endpoint(&server.https()) });
    kube.wait_for_state(Status::Healthy, "informer synced");

    server.set_tls(second.server("127.0.0.1", LONG, None));
    kube.wait_for_state(
        Status::Degraded,
        "TLS: the server's certificate is not from our certificate authority; pods as of",
    );
    assert!(kube.name("10.0.0.1").is_some(), "what is known stays");
    std::fs::write(&path, &second.pem).expect("writable");
    kube.wait_for_state(Status::Healthy, "informer synced");

    // While the server is the old one again, the file becomes rubbish, empty, and goes: the old roots stay.
    server.set_tls(first.server("127.0.0.1", LONG, None));
    kube.wait_for_state(Status::Degraded, "TLS: ");
    for (n, rubbish) in [Some("rubbish"), Some(""), None].into_iter().enumerate() {
        match rubbish {
            Some(text) => std::fs::write(&path, text).expect("writable"),
            None => std::fs::remove_file(&path).expect("written before"),
        }
        let before = kube.stats.kube_renewals_failed.get();
        wait_until(&format!("a renewal that fails, {n}"), || kube.stats.kube_renewals_failed.get() > before + 1);
    }
    server.set_tls(second.server("127.0.0.1", LONG, None));
    kube.wait_for_state(Status::Healthy, "informer synced");
    assert_eq!(server.counts().0, 1, "and all that with one list");
}

#[test]
fn client_certificates_are_shown_and_what_is_wrong_with_them_is_said() {
    let (ours, theirs) = (authority(), authority());
    let server = FakeKube::start_tls(Some(ours.server("127.0.0.1", LONG, Some(&theirs))), script);
    let me = theirs.signs("netmon", LONG);
    let text = |text: &str| Material::Text(text.as_bytes().to_vec());
    let with = |certificate: &str, key: &str| Endpoint {
        client: Some((text(certificate), text(key))),
        ..trusting(&server, &ours.pem)
    };
    run(with(&me.pem, &me.key.serialize_pem())).wait_for_state(Status::Healthy, "informer synced");

    let other = KeyPair::generate().expect("a key").serialize_pem();
    run(with(&me.pem, &other)).wait_for_state(Status::Degraded, "credentials: the client certificate cannot be used");
    run(with("rubbish", &other)).wait_for_state(Status::Degraded, "it contains no certificate");
    run(with(&me.pem, "rubbish")).wait_for_state(Status::Degraded, "its key is not a PEM key");
    run(trusting(&server, &ours.pem)).wait_for_state(Status::Degraded, "credentials: the server refuses our");
    let stranger = ours.signs("netmon", LONG);
    run(with(&stranger.pem, &stranger.key.serialize_pem())).wait_for_state(Status::Degraded, "credentials: ");
    let late = theirs.signs("netmon", (2000, 2010));
    run(with(&late.pem, &late.key.serialize_pem())).wait_for_state(Status::Degraded, "credentials: ");
}

#[test]
fn an_authority_that_is_missing_or_rubbish_at_the_start_is_said_and_waited_for() {
    let ours = authority();
    let directory = scratch("late-ca");
    let server = FakeKube::start_tls(Some(ours.server("127.0.0.1", LONG, None)), script);
    let port = server.https().rsplit_once(':').expect("a port").1.to_owned();
    let env = move |name: &str| match name {
        "KUBERNETES_SERVICE_HOST" => Some("127.0.0.1".to_owned()),
        "KUBERNETES_SERVICE_PORT" => Some(port.clone()),
        _ => None,
    };
    let endpoint = in_cluster(&env, directory.path()).expect("usable").expect("in a cluster");
    std::fs::write(directory.path().join("token"), "t").expect("writable");
    let kube = run(endpoint);
    kube.wait_for_state(Status::Degraded, "TLS: certificate authority: cannot read");
    std::fs::write(directory.path().join("ca.crt"), "rubbish").expect("writable");
    kube.wait_for_state(Status::Degraded, "contains no usable certificate");
    std::fs::write(directory.path().join("ca.crt"), &ours.pem).expect("writable");
    kube.wait_for_state(Status::Healthy, "informer synced");
    assert!(server.requests().iter().all(|request| request.authorization == "Bearer t"));
    assert!(Path::new(&directory.path().join("ca.crt")).exists());
}

#[test]
fn f24_a_client_certificate_of_version_1_is_refused_with_the_cure() {
    let directory = crate::fake_kube::fixtures::scratch("f24-version-1");
    let openssl = |arguments: &[&str]| {
        let output = std::process::Command::new("openssl").args(arguments).current_dir(directory.path()).output();
        assert!(output.expect("openssl (script/setup)").status.success(), "{arguments:?}");
    };
    // Without an extension openssl makes version 1, as MicroK8s and many scripts did.
    openssl(&["req", "-nodes", "-newkey", "rsa:2048", "-keyout", "key", "-out", "request", "-subj", "/CN=admin"]);
    openssl(&["x509", "-req", "-in", "request", "-signkey", "key", "-out", "pem", "-days", "30"]);
    let ours = authority();
    let server = FakeKube::start_tls(Some(ours.server("127.0.0.1", LONG, None)), script);
    let material = |name: &str| Material::File(directory.path().join(name));
    let kube = run(Endpoint { client: Some((material("pem"), material("key"))), ..trusting(&server, &ours.pem) });
    kube.wait_for_state(Status::Degraded, "\"admin\" is an X.509 certificate of version 1");
    kube.wait_for_state(Status::Degraded, "have it issued anew with an extension");
}
