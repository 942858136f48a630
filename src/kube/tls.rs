//! Converts PEM files to TLS settings of the HTTP client, and refuses those that would make it panic later.
//!
//! The client gets only settings that were tried before. A key that does not fit its certificate, or a bundle without a
//! usable certificate, becomes an error here.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};

use super::endpoint::Endpoint;
use super::watch::Failure;
use crate::wire::x509;

/// The certificates of a connection. They are compared to detect a change.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// Roots; empty if the server's certificate is not checked.
    pub roots: Vec<CertificateDer<'static>>,
    /// Client certificate and key.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

/// Reads the endpoint's files. `client` is a plugin's certificate, which takes precedence over the endpoint's own.
pub fn read(endpoint: &Endpoint, client: Option<(Vec<u8>, Vec<u8>)>) -> Result<Pem, Failure> {
    let roots = match &endpoint.ca {
        _ if endpoint.insecure || endpoint.url.starts_with("http://") => Vec::new(),
        Some(ca) => {
            let text = ca.read().map_err(|why| Failure::Tls(format!("certificate authority: {why}")))?;
            CertificateDer::pem_slice_iter(&text).flatten().collect()
        }
        // Not in a cluster, whose authority is private. A kubeconfig may name a server with a public certificate.
        None => rustls_native_certs::load_native_certs().certs,
    };
    let client = match (client, &endpoint.client) {
        (Some(client), _) => Some(client),
        (None, Some((certificate, key))) => {
            let read = || Ok((certificate.read()?, key.read()?));
            Some(read().map_err(|why: String| Failure::Credentials(format!("client certificate: {why}")))?)
        }
        (None, None) => None,
    };
    Ok(Pem { roots, client })
}

/// Returns the settings after a trial with the TLS library itself.
pub fn settings(pem: &Pem, insecure: bool, secure: bool) -> Result<TlsConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider.clone())
        .disable_verification(insecure);
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(pem.roots.iter().cloned());
    if usable == 0 && secure && !insecure {
        return Err(Failure::Tls("the certificate authority contains no usable certificate".to_owned()));
    }
    let roots: Vec<Certificate<'static>> = pem.roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let builder = builder.root_certs(RootCerts::new_with_certs(&roots));
    let Some((certificate, key)) = &pem.client else { return Ok(builder.client_cert(None).build()) };

    let chain: Vec<CertificateDer> = CertificateDer::pem_slice_iter(certificate).flatten().collect();
    let refuse = |why: &str| Failure::Credentials(format!("the client certificate cannot be used: {why}"));
    let Some(first) = chain.first() else { return Err(refuse("it contains no certificate")) };
    if let Ok(read) = x509::Certificate::read(first)
        && read.version < 3
    {
        let why = format!(
            "\"{}\" is an X.509 certificate of version {}, and TLS takes version 3 alone: have it issued anew with an extension \
             (openssl x509 -extfile; keyUsage=digitalSignature is enough), or use a token",
            read.subject, read.version
        );
        return Err(refuse(&why));
    }
    // Both parsers take the first key of the text.
    let der = PrivateKeyDer::from_pem_slice(key).map_err(|_| refuse("its key is not a PEM key"))?;
    let key = PrivateKey::from_pem(key).map_err(|_| refuse("its key is not a PEM key"))?;
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| refuse(&error.to_string()))?
        .with_root_certificates(store)
        .with_client_auth_cert(chain.clone(), der)
        .map_err(|error| refuse(&error.to_string()))?;
    let chain: Vec<Certificate<'static>> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    Ok(builder.client_cert(Some(ClientCert::new_with_certs(&chain, key))).build())
}
