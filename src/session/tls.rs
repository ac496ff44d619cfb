//! The mail services' certificate: that of the cluster, or of files of the box; replaced while sessions go on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tracing::{error, info};

use super::channel;
use crate::certificate::read::{self, Facts, Validity};
use crate::state::certificate::Certificate;

/// TLS 1.2 and 1.3, with the cluster's certificate, or while it has none with that of the box's own files.
#[derive(Default)]
pub struct TlsStore {
    files: Option<Files>,
    of_files: ArcSwapOption<Acceptor>,
    of_cluster: ArcSwapOption<Acceptor>,
    /// What `of_cluster` was made of, or could not be made of.
    followed: Mutex<Option<Arc<Certificate>>>,
}

struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// Takes the handshakes of connections that are shown one certificate.
#[derive(Clone)]
pub struct Acceptor {
    pub tls: TlsAcceptor,
    /// What the certificate binds SCRAM to (RFC 5929 4).
    pub end_point: Option<Arc<[u8]>>,
    /// `None`: the certificate does not say it in a way that we read.
    pub validity: Option<Validity>,
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
        let of_files = ArcSwapOption::from(Some(load(cert, key)?));
        let files = Some(Files { cert: cert.to_owned(), key: key.to_owned() });
        Ok(Self { files, of_files, ..Self::default() })
    }

    /// Where the box's own chain is read from.
    pub fn file(&self) -> Option<&Path> {
        self.files.as_ref().map(|files| files.cert.as_path())
    }

    /// Whether the cluster's is shown.
    pub fn is_of_cluster(&self) -> bool {
        self.of_cluster.load().is_some()
    }

    /// Reads the files anew, if there are any. Blocking. On an error what they held before stays in use.
    pub fn reload(&self) -> Result<(), TlsFault> {
        if let Some(Files { cert, key }) = &self.files {
            self.of_files.store(Some(load(cert, key)?));
        }
        Ok(())
    }

    /// From now on this is the cluster's; one that cannot be used changes nothing.
    pub fn follow(&self, known: Option<&Arc<Certificate>>) {
        let mut followed = self.followed.lock().expect("no holder of this lock panics");
        if followed.as_deref() == known.map(Arc::as_ref) {
            return;
        }
        *followed = known.cloned();
        let Some(certificate) = known else {
            self.of_cluster.store(None);
            let instead =
                if self.files.is_some() { "the files of this box are shown" } else { "no TLS is offered" };
            return info!("the cluster's certificate is removed: {instead}");
        };
        match read::server_of(certificate) {
            Ok(server) => {
                let leaf = certificate.chain.first().map_or(&[][..], Vec::as_slice);
                self.of_cluster.store(Some(acceptor(server, leaf)));
                info!("new connections get the cluster's certificate");
            }
            Err(why) => error!("the cluster's certificate cannot be used here: {why}"),
        }
    }

    /// Of the certificate in use.
    pub fn validity(&self) -> Option<Validity> {
        self.acceptor()?.validity
    }

    /// For the next connection; `None`: there is no certificate yet.
    pub fn acceptor(&self) -> Option<Acceptor> {
        let shown = self.of_cluster.load_full().or_else(|| self.of_files.load_full());
        shown.as_deref().cloned()
    }
}

fn load(cert: &Path, key: &Path) -> Result<Arc<Acceptor>, TlsFault> {
    let bad_cert = |problem: String| TlsFault::Certificate { path: cert.to_owned(), problem };
    let pem = std::fs::read(cert).map_err(|error| bad_cert(error.to_string()))?;
    let chain: Vec<CertificateDer<'static>> = read::chain(&pem).map_err(bad_cert)?;
    let bad_key = |problem: String| TlsFault::Key { path: key.to_owned(), problem };
    let pem = std::fs::read(key).map_err(|error| bad_key(error.to_string()))?;
    let private: PrivateKeyDer<'static> = read::private_key(&pem).map_err(bad_key)?;
    let leaf = chain[0].clone();
    let server = read::server(chain, private).map_err(|error| TlsFault::Mismatch {
        cert: cert.to_owned(),
        key: key.to_owned(),
        problem: error.to_string(),
    })?;
    Ok(acceptor(server, &leaf))
}

fn acceptor(server: rustls::ServerConfig, leaf: &[u8]) -> Arc<Acceptor> {
    let (end_point, validity) = (channel::end_point(leaf), Facts::of(leaf).map(|facts| facts.validity));
    Arc::new(Acceptor { tls: TlsAcceptor::from(Arc::new(server)), end_point, validity })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;
    use crate::mail::ids::Timestamp;
    use crate::state::secret::Secret;

    #[test]
    fn the_clusters_certificate_comes_and_goes_and_a_useless_one_changes_nothing() {
        let made = |name: &str| {
            let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
            let private = Secret(signing_key.serialize_pem());
            let (chain, taken) = (vec![cert.der().to_vec()], Timestamp(1));
            Arc::new(Certificate { chain, private, from: None, taken })
        };
        let store = TlsStore::default();
        let shown = || store.acceptor().map(|acceptor| acceptor.end_point);
        assert!(shown().is_none());
        let (one, other) = (made("a.test"), made("b.test"));
        store.follow(Some(&one));
        let first = shown().unwrap();
        store.follow(Some(&Arc::new(Certificate {
            private: other.private.clone(),
            ..Certificate::clone(&one)
        })));
        assert_eq!(shown(), Some(first.clone()), "it does not fit its key");
        store.follow(Some(&other));
        assert_ne!(shown(), Some(first.clone()));
        store.follow(None);
        assert!(shown().is_none() && store.validity().is_none());

        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let CertifiedKey { cert: own, signing_key } =
            generate_simple_self_signed(["own.test".to_owned()]).unwrap();
        std::fs::write(&cert, own.pem()).unwrap();
        std::fs::write(&key, signing_key.serialize_pem()).unwrap();
        let store = TlsStore::from_pem(&cert, &key).unwrap();
        let shown = || store.acceptor().unwrap().end_point;
        let of_files = shown();
        assert!(of_files.is_some() && !store.is_of_cluster());
        store.follow(Some(&one));
        assert_eq!((shown(), store.is_of_cluster()), (first.clone(), true));
        store.reload().unwrap();
        assert_ne!(shown(), of_files, "the cluster's goes before them");
        store.follow(None);
        assert_eq!(shown(), of_files);
    }
}
