//! A server proves its name by a certificate of somebody who is trusted: by the operator, or by the box's system.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::sync::OnceCell;

use super::verifier::{Judge, Shown};
use crate::state::authorities::Authorities;

#[derive(Debug)]
pub struct Named {
    /// `None`: the operator trusts nobody for this host beside the system.
    own: Option<Arc<WebPkiServerVerifier>>,
    /// `Err`: the system trusts nobody, or cannot say whom.
    system: Result<Arc<Verifier>, String>,
}

impl Named {
    pub async fn new(
        host: &str,
        authorities: &Authorities,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let own = by_the_operator(host, authorities, provider)?;
        let system = by_the_system(provider).await;
        match (&own, &system) {
            (None, Err(why)) => Err(format!("nobody is trusted here: {why}")),
            _ => Ok(Self { own, system }),
        }
    }

    pub fn is_by_the_system(&self) -> bool {
        self.own.is_none()
    }
}

fn by_the_operator(
    host: &str,
    authorities: &Authorities,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>, String> {
    let mut roots = RootCertStore::empty();
    let certificates = authorities.of(host).map(|it| CertificateDer::from(it.certificate.as_slice()));
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Ok(None);
    }
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    builder.build().map(Some).map_err(|error| error.to_string())
}

/// Read once: what the system comes to trust later counts from the next start on.
async fn by_the_system(provider: &Arc<CryptoProvider>) -> Result<Arc<Verifier>, String> {
    static SYSTEM: OnceCell<Arc<Verifier>> = OnceCell::const_new();
    let read = async || {
        let provider = Arc::clone(provider);
        let made = tokio::task::spawn_blocking(move || Verifier::new(provider)).await;
        let verifier = made.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok::<_, String>(Arc::new(verifier))
    };
    SYSTEM.get_or_try_init(read).await.cloned()
}

impl Judge for Named {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let Shown { leaf, above, name, now } = shown;
        let by = |verifier: &dyn ServerCertVerifier| {
            verifier.verify_server_cert(leaf, above, name, &[], *now).map(drop)
        };
        let own = match &self.own {
            Some(own) => match by(own.as_ref()) {
                Ok(()) => return Ok(()),
                Err(error) => Some(error),
            },
            None => None,
        };
        let system = match &self.system {
            Ok(system) => by(system.as_ref()),
            Err(_) => Err(CertificateError::UnknownIssuer.into()),
        };
        // That one does not know the issuer is no news where the other one does.
        system.map_err(|error| match own {
            Some(own) if own != Error::InvalidCertificate(CertificateError::UnknownIssuer) => own,
            _ => error,
        })
    }
}
