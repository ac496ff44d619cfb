//! Certificates and keys as files and the replicated state hold them.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::mail::ids::Timestamp;
use crate::state::certificate::Certificate;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// As it spells them.
    pub names: Vec<String>,
    pub issuer: String,
    pub validity: Validity,
}

/// From when to when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub begins: Timestamp,
    pub ends: Timestamp,
}

impl Validity {
    /// Milliseconds of its whole time.
    pub fn length_ms(&self) -> u64 {
        self.ends.0.saturating_sub(self.begins.0)
    }

    /// Whether it ends within that, or has ended. One of a short time has a quarter of it: by then whoever renews it by itself,
    /// as ours are at two thirds, is late.
    pub fn ends_within(&self, ms: u64, now: Timestamp) -> bool {
        self.ends.0.saturating_sub(now.0) <= ms.min(self.length_ms() / 4)
    }
}

impl Facts {
    /// `None`: it is none that we can read.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let alternatives = parsed.subject_alternative_name().ok()?;
        let alternatives = alternatives.iter().flat_map(|found| &found.value.general_names);
        let names = alternatives.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(octets) => shown_address(octets),
            _ => None,
        });
        let at = |seconds: i64| Some(Timestamp(u64::try_from(seconds).ok()?.saturating_mul(1_000)));
        let validity = parsed.validity();
        Some(Self {
            names: names.collect(),
            issuer: parsed.issuer().to_string(),
            validity: Validity {
                begins: at(validity.not_before.timestamp())?,
                ends: at(validity.not_after.timestamp())?,
            },
        })
    }

    /// Of the leaf.
    pub fn of_leaf(certificate: &Certificate) -> Option<Self> {
        certificate.chain.first().and_then(|leaf| Self::of(leaf))
    }

    /// By name, or as one label below a name with an asterisk (RFC 9525 6.3).
    pub fn has(&self, name: &str) -> bool {
        let above = name.split_once('.').map(|(_, above)| above);
        let is = |known: &str| match known.strip_prefix("*.") {
            Some(domain) => above.is_some_and(|above| above.eq_ignore_ascii_case(domain)),
            None => known.eq_ignore_ascii_case(name),
        };
        self.names.iter().any(|known| is(known))
    }
}

fn shown_address(octets: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from));
    address.ok().map(|address| address.to_string())
}

/// The certificates of a PEM text, in their order: at least one.
pub fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("no certificate in it".to_owned()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(error.to_string()),
    }
}

pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())
}

/// TLS 1.2 and 1.3 with that chain, the leaf first. `Err`: it does not fit the key.
pub fn server(
    chain: Vec<CertificateDer<'static>>,
    private: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    // Named rather than the process default: other rooms may bring a provider of their own.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, private)
}

/// As [`server`], of what is replicated.
pub fn server_of(certificate: &Certificate) -> Result<ServerConfig, String> {
    let chain = certificate.chain.iter().cloned().map(CertificateDer::from).collect();
    let private = private_key(certificate.private.0.as_bytes())?;
    server(chain, private).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CertifiedKey, KeyPair, generate_simple_self_signed};

    use super::*;

    #[test]
    fn a_certificate_says_whose_it_is_and_for_how_long() {
        let names = ["mx.a.test", "*.b.test", "192.0.2.1", "2001:db8::1"].map(str::to_owned);
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2026, 4, 2);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let facts = Facts::of(made.der()).unwrap();
        assert_eq!(facts.names, names);
        assert!(["MX.a.test", "x.B.test"].iter().all(|name| facts.has(name)));
        assert!(!["a.test", "b.test", "x.y.b.test", "x.a.test"].iter().any(|name| facts.has(name)));
        let (validity, day_ms) = (facts.validity, 86_400_000);
        assert_eq!(validity.length_ms(), 90 * day_ms);
        let before = |days: u64| Timestamp(validity.ends.0 - days * day_ms);
        assert!(
            validity.ends_within(14 * day_ms, before(14)) && !validity.ends_within(14 * day_ms, before(15))
        );
        assert!(
            validity.ends_within(365 * day_ms, before(22)) && !validity.ends_within(365 * day_ms, before(23))
        );
        assert!(validity.ends_within(0, Timestamp(validity.ends.0 + 1)));
        assert_eq!(Facts::of(b"\x30\x03abc"), None);
    }

    #[test]
    fn a_chain_fits_its_own_key_alone() {
        let made = || generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let (CertifiedKey { cert, signing_key }, other) = (made(), made());
        let chain = || chain(cert.pem().as_bytes()).unwrap();
        let key = |pair: &KeyPair| private_key(pair.serialize_pem().as_bytes()).unwrap();
        assert!(server(chain(), key(&signing_key)).is_ok());
        let misfit = server(chain(), key(&other.signing_key)).unwrap_err();
        assert!(misfit.to_string().contains("keys"), "{misfit}");
        assert!(super::chain(b"").unwrap_err().contains("no certificate"));
        assert!(super::chain(b"-----BEGIN CERTIFICATE-----\nAA").is_err());
        assert!(private_key(cert.pem().as_bytes()).is_err());
    }
}
