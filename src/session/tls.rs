//! The mail services' certificate: read from PEM files, replaced while sessions go on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::channel;
use crate::mail::ids::Timestamp;

/// TLS 1.2 and 1.3 with the certificate last loaded.
pub struct TlsStore {
    cert: PathBuf,
    key: PathBuf,
    loaded: ArcSwap<Acceptor>,
}

/// Takes the handshakes of connections that are shown one certificate.
#[derive(Clone)]
pub struct Acceptor {
    pub tls: TlsAcceptor,
    /// What the certificate binds SCRAM to (RFC 5929 4).
    pub end_point: Option<Arc<[u8]>>,
    /// When the certificate ends; `None`: it does not say so in a way that we read.
    pub ends: Option<Timestamp>,
}

/// One line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    #[error("{}: cannot be read as PEM ({problem}); give a certificate chain, leaf first", path.display())]
    Certificate { path: PathBuf, problem: String },
    #[error("{}: cannot be read as a PEM private key ({problem})", path.display())]
    Key { path: PathBuf, problem: String },
    #[error("{}: does not fit the key in {}: {problem}", cert.display(), key.display())]
    Mismatch { cert: PathBuf, key: PathBuf, problem: String },
}

impl TlsStore {
    /// Reads the chain (leaf first) and its key. Blocking: call at start, off the runtime's threads.
    pub fn from_pem(cert: &Path, key: &Path) -> Result<Self, TlsFault> {
        let loaded = ArcSwap::new(load(cert, key)?);
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), loaded })
    }

    /// Where the chain is read from.
    pub fn cert(&self) -> &Path {
        &self.cert
    }

    /// Reads the files anew. Blocking. On an error the old certificate stays in use.
    pub fn reload(&self) -> Result<(), TlsFault> {
        self.loaded.store(load(&self.cert, &self.key)?);
        Ok(())
    }

    /// When the certificate in use ends.
    pub fn ends(&self) -> Option<Timestamp> {
        self.loaded.load().ends
    }

    /// For the next connection.
    pub fn acceptor(&self) -> Acceptor {
        Acceptor::clone(&self.loaded.load())
    }
}

fn load(cert: &Path, key: &Path) -> Result<Arc<Acceptor>, TlsFault> {
    let bad_cert = |problem: String| TlsFault::Certificate { path: cert.to_owned(), problem };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| bad_cert(error.to_string()))?;
    if chain.is_empty() {
        return Err(bad_cert("no certificate in it".to_owned()));
    }
    let (end_point, ends) = (channel::end_point(&chain[0]), end_of(&chain[0]));
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| TlsFault::Key { path: key.to_owned(), problem: error.to_string() })?;
    let mismatch = |error: rustls::Error| TlsFault::Mismatch {
        cert: cert.to_owned(),
        key: key.to_owned(),
        problem: error.to_string(),
    };
    // Named rather than the process default: other rooms may bring a provider of their own.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(mismatch)?;
    Ok(Arc::new(Acceptor { tls: TlsAcceptor::from(Arc::new(config)), end_point, ends }))
}

fn end_of(certificate: &[u8]) -> Option<Timestamp> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    Some(Timestamp(seconds.saturating_mul(1_000)))
}
