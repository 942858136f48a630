//! TLS: whom we trust, and what is said of a certificate that we do not.
//!
//! Chains are webpki's to judge. Beside that, a certificate in the operator's own file is trusted for its own names,
//! while it is valid and for servers. It is trusted byte for byte, and nothing that it signed is. That is what Go does
//! with one that is self-signed with CA:TRUE, or is given instead of its authority.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme, StreamOwned,
};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, LazyBuffers, NextTimeout, Transport, TransportAdapter};

use super::trouble::NetError;
use crate::wire::x509::Certificate;

/// Whom to trust.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Authorities, those of `own` among them.
    pub roots: Vec<CertificateDer<'static>>,
    /// What the operator's file holds: trusted for themselves too.
    pub own: Vec<CertificateDer<'static>>,
    /// What an operator does about an authority that is not known.
    pub cure: String,
}

impl Trust {
    /// The settings of connections to servers that these vouch for.
    ///
    /// # Errors
    /// When none of them can be used.
    pub fn client_config(self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.roots.iter().cloned());
        let webpki = WebPkiServerVerifier::builder_with_provider(store.into(), provider.clone())
            .build()
            .map_err(|_| format!("there is no CA certificate that can be used: {}", self.cure))?;
        let verifier = Arc::new(Verifier { webpki, trust: self });
        let config = ClientConfig::builder_with_provider(provider as Arc<CryptoProvider>)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

/// What is wrong with a certificate.
#[derive(Debug)]
struct CertificateTrouble(String);

impl fmt::Display for CertificateTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CertificateTrouble {}

#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    trust: Trust,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let Err(rustls::Error::InvalidCertificate(why)) = verdict else { return verdict };
        if self.is_own(end_entity, server_name, now) {
            return Ok(ServerCertVerified::assertion());
        }
        let words = self.words(&why, end_entity, intermediates, server_name, now);
        Err(match words {
            Some(words) => {
                let trouble = OtherError(Arc::new(CertificateTrouble(words)));
                rustls::Error::InvalidCertificate(CertificateError::Other(trouble))
            }
            None => rustls::Error::InvalidCertificate(why),
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

impl Verifier {
    /// Whether this is a certificate of the operator's file, valid now, for servers, and for this name.
    fn is_own(&self, end_entity: &CertificateDer<'_>, server_name: &ServerName<'_>, now: UnixTime) -> bool {
        if !self.trust.own.iter().any(|own| own.as_ref() == end_entity.as_ref()) {
            return false;
        }
        let (Ok(read), Ok(parsed)) = (Certificate::read(end_entity), ParsedCertificate::try_from(end_entity)) else {
            return false;
        };
        read.is_for_servers
            && (read.not_before_s..=read.not_after_s).contains(&now.as_secs())
            && verify_server_name(&parsed, server_name).is_ok()
    }

    fn words(
        &self,
        why: &CertificateError,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Option<String> {
        use CertificateError as E;
        let server = Certificate::read(end_entity).ok()?;
        let chain: Vec<Certificate> = intermediates.iter().filter_map(|der| Certificate::read(der).ok()).collect();
        let cure = &self.trust.cure;
        let host = server_name.to_str();
        let shown = format!("\"{}\"", server.subject);
        if server.version < 3 {
            return Some(format!(
                "the server's certificate {shown} is of version {}: it must be of version 3, with subjectAltName {host}",
                server.version
            ));
        }
        Some(match why {
            E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. } => {
                let all = || std::iter::once(&server).chain(&chain);
                let now_s = now.as_secs();
                let is_off = |one: &&Certificate| !(one.not_before_s..=one.not_after_s).contains(&now_s);
                let one = all().find(is_off).unwrap_or(&server);
                let (verb, at_s) = if now_s > one.not_after_s {
                    ("expired on", one.not_after_s)
                } else {
                    ("is valid only from", one.not_before_s)
                };
                format!(
                    "the certificate \"{}\" from \"{}\" {verb} {}; the clock here says {}",
                    one.subject,
                    one.issuer,
                    date(at_s),
                    date(now_s)
                )
            }
            E::NotValidForName | E::NotValidForNameContext { .. } if server.names.is_empty() => {
                format!(
                    "the server's certificate {shown} names no host (a common name does not count): it must have subjectAltName {host}"
                )
            }
            E::NotValidForName | E::NotValidForNameContext { .. } => {
                format!("the server's certificate is for {}, not for {host}", server.names.join(", "))
            }
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
                format!("the certificate {shown} is not for servers (its extended key usage)")
            }
            _ if self.is_on_p521(&server, &chain) => format!(
                "the certificate {shown} or its authority is on the curve P-521, which is not supported: use P-256, P-384, \
                 Ed25519 or RSA"
            ),
            // A new authority under the old name looks like a bad signature of the old one.
            E::UnknownIssuer | E::BadSignature if server.is_self_issued => {
                format!("the server's certificate {shown} is signed by itself: {cure}")
            }
            E::UnknownIssuer | E::BadSignature => {
                let authority = &chain.last().unwrap_or(&server).issuer;
                format!("the server's certificate {shown} is from \"{authority}\", which is not trusted here: {cure}")
            }
            E::Other(_) if server.is_self_issued => {
                format!("the server's certificate {shown} is an authority's own: {cure}")
            }
            _ => return None,
        })
    }

    fn is_on_p521(&self, server: &Certificate, chain: &[Certificate]) -> bool {
        let own = self.trust.own.iter().filter_map(|der| Certificate::read(der).ok());
        let last = chain.last().unwrap_or(server);
        server.is_p521
            || chain.iter().any(|one| one.is_p521)
            || own.into_iter().any(|own| own.is_p521 && own.subject == last.issuer)
    }
}

fn date(unix_s: u64) -> String {
    // What is later has too many digits for a date.
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_s.min(253_402_300_799)))
}

/// Speaks TLS over `inner` with `host`.
pub fn wrap(
    inner: Box<dyn Transport>,
    host: &str,
    config: &Result<Arc<ClientConfig>, String>,
    details: &ConnectionDetails<'_>,
) -> Result<Box<dyn Transport>, Error> {
    let config = config.as_ref().map_err(|why| NetError::NoTls(why.clone()))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(bare.to_owned())
        .map_err(|_| NetError::NoTls(format!("{bare} is no name that a certificate can hold")))?;
    let mut conn = ClientConnection::new(Arc::clone(config), name)?;
    let mut sock = TransportAdapter::new(inner, Arc::clone(&details.current_time));
    sock.set_timeout(details.timeout);
    match conn.complete_io(&mut sock) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(NetError::Handshake.into()),
        Err(error) => return Err(error.into()),
    }
    let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
    Ok(Box::new(Tls { buffers, stream: StreamOwned { conn, sock } }))
}

struct Tls {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Transport for Tls {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        Ok(std::io::Write::write_all(&mut self.stream, output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let read = std::io::Read::read(&mut self.stream, self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
