//! DANE (RFC 6698, 7671, 7672): the DNS says which certificate, or whose, a server shows. Pure: records and a chain go
//! in, a verdict comes out.
//!
//! What it must never do: believe a chain that no record names.

use std::sync::{Arc, OnceLock};

use ring::digest::{SHA256, SHA512, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, Der, ServerName, TrustAnchor, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};

use super::verifier::{Judge, Shown};
use crate::dns::Tlsa;

/// Records of one server that are looked at; RFC 7671 4 tells of two or three.
pub const RECORDS_MAX: usize = 32;
/// Certificates of a chain that are looked at.
const CHAIN_MAX: usize = 16;

const DANE_TA: u8 = 2;
const DANE_EE: u8 = 3;
const FULL: u8 = 0;
const SHA2_256: u8 = 1;
const SHA2_512: u8 = 2;

/// What the DNS says of one server, as far as it is of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dane {
    /// Where the records are: the TLSA base domain, which the server hears as the name that is asked for.
    pub base: String,
    /// RFC 7672 3.2.2: a certificate by a trust anchor is for one of these.
    names: Vec<String>,
    records: Vec<Tlsa>,
}

impl Dane {
    /// `names` are others beside `base`. `None`: no record is usable (RFC 7672 2.2: encrypted it must be all the same).
    pub fn of(base: &str, names: &[&str], records: Vec<Tlsa>) -> Option<Self> {
        let mut usable: Vec<Tlsa> = records.into_iter().filter(is_usable).collect();
        // RFC 7671 9: of digests of one thing the strongest counts alone.
        let strong: Vec<(u8, u8)> =
            usable.iter().filter(|it| it.matching == SHA2_512).map(|it| (it.usage, it.selector)).collect();
        usable.retain(|it| it.matching != SHA2_256 || !strong.contains(&(it.usage, it.selector)));
        usable.truncate(RECORDS_MAX);
        if usable.is_empty() {
            return None;
        }
        let mut all = vec![base.to_owned()];
        all.extend(names.iter().filter(|name| **name != base).map(|name| (*name).to_owned()));
        Some(Self { base: base.to_owned(), names: all, records: usable })
    }
}

impl Dane {
    /// The records that count, as zone files have them (RFC 6698 2.2).
    pub fn lines(&self) -> Vec<String> {
        let line = |it: &Tlsa| {
            let data: String = it.data.iter().map(|octet| format!("{octet:02x}")).collect();
            format!("{} {} {} {data}", it.usage, it.selector, it.matching)
        };
        self.records.iter().map(line).collect()
    }
}

/// RFC 7672 3.1.3: the usages of the public CAs, 0 and 1, are none for mail.
fn is_usable(record: &Tlsa) -> bool {
    let whole = match record.matching {
        FULL => !record.data.is_empty(),
        SHA2_256 => record.data.len() == 32,
        SHA2_512 => record.data.len() == 64,
        _ => false,
    };
    matches!(record.usage, DANE_TA | DANE_EE) && record.selector <= 1 && whole
}

/// Which kind of record a server was believed by; words for logs.
const BY_ITS_OWN: &str = "dane-ee";
const BY_ITS_ANCHOR: &str = "dane-ta";

/// Of one connection.
#[derive(Debug)]
pub struct ByTheDns {
    dane: Arc<Dane>,
    provider: Arc<CryptoProvider>,
    believed: OnceLock<&'static str>,
}

impl ByTheDns {
    pub fn new(dane: Arc<Dane>, provider: Arc<CryptoProvider>) -> Self {
        Self { dane, provider, believed: OnceLock::new() }
    }

    /// By which records, once it was.
    pub fn believed(&self) -> Option<&'static str> {
        self.believed.get().copied()
    }

    fn verdict(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<&'static str, Error> {
        let is_named = |usage: u8, certificate: &CertificateDer<'_>| {
            self.dane.records.iter().any(|it| it.usage == usage && names(it, certificate))
        };
        // RFC 7672 3.1.1: neither names nor dates of it are looked at.
        if is_named(DANE_EE, leaf) {
            return Ok(BY_ITS_OWN);
        }
        let mut why = Error::General("no TLSA record names the certificate".to_owned());
        for anchor in self.anchors(leaf, above) {
            match self.by_anchor(anchor, (leaf, above), now) {
                Ok(()) => return Ok(BY_ITS_ANCHOR),
                Err(error) if is_telling(&error) || !is_telling(&why) => why = error,
                Err(_) => {}
            }
        }
        Err(why)
    }

    /// What the records of usage 2 name: certificates of the chain, or what they hold whole.
    fn anchors(&self, leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>]) -> Vec<TrustAnchor<'static>> {
        let mut anchors = Vec::new();
        for record in self.dane.records.iter().filter(|it| it.usage == DANE_TA) {
            let shown = above.iter().filter(|it| names(record, it)).cloned();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(shown);
            match (record.selector, record.matching) {
                (0, FULL) => {
                    roots.add_parsable_certificates([CertificateDer::from(record.data.as_slice())]);
                }
                (1, FULL) => {
                    // RFC 7671 5.2.2: a bare key, whose holder calls itself as those say that it signed.
                    let all = [leaf].into_iter().chain(above);
                    roots.roots.extend(all.filter_map(|signed| bare(&record.data, signed)));
                }
                _ => {}
            }
            anchors.append(&mut roots.roots);
        }
        anchors
    }

    fn by_anchor(
        &self,
        anchor: TrustAnchor<'static>,
        (leaf, above): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        now: UnixTime,
    ) -> Result<(), Error> {
        let roots = Arc::new(RootCertStore { roots: vec![anchor] });
        let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider));
        let verifier = builder.build().map_err(|error| Error::General(error.to_string()))?;
        let mut why = Error::InvalidCertificate(CertificateError::NotValidForName);
        for name in &self.dane.names {
            let Ok(name) = ServerName::try_from(name.as_str()) else { continue };
            match verifier.verify_server_cert(leaf, above, &name, &[], now) {
                Ok(_) => return Ok(()),
                Err(error) => why = error,
            }
        }
        Err(why)
    }
}

/// Of several anchors, those that have nothing to do with a chain are no news.
fn is_telling(why: &Error) -> bool {
    use CertificateError::{BadSignature, UnknownIssuer};
    matches!(why, Error::InvalidCertificate(error) if !matches!(error, BadSignature | UnknownIssuer))
}

/// Whether a record is about this certificate.
fn names(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        // What cannot be read has no key that could be looked for.
        return record.selector == 0 && fits(record, certificate);
    };
    match record.selector {
        0 => fits(record, certificate),
        _ => fits(record, parsed.tbs_certificate.subject_pki.raw),
    }
}

fn fits(record: &Tlsa, content: &[u8]) -> bool {
    match record.matching {
        FULL => record.data == content,
        SHA2_256 => record.data == digest(&SHA256, content).as_ref(),
        SHA2_512 => record.data == digest(&SHA512, content).as_ref(),
        _ => false,
    }
}

/// A trust anchor with this key, and the name of whoever signed a certificate.
fn bare(key: &[u8], signed: &CertificateDer<'_>) -> Option<TrustAnchor<'static>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(signed).ok()?;
    Some(TrustAnchor {
        subject: Der::from(inside(parsed.tbs_certificate.issuer.as_raw())?.to_vec()),
        subject_public_key_info: Der::from(inside(key)?.to_vec()),
        name_constraints: None,
    })
}

/// The content of a SEQUENCE in DER, which is all there is.
fn inside(der: &[u8]) -> Option<&[u8]> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, content) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 | 0x82 => {
            let (octets, content) = rest.split_at_checked(usize::from(first & 0x0f))?;
            (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), content)
        }
        _ => return None,
    };
    (*tag == 0x30 && content.len() == length).then_some(content)
}

impl Judge for ByTheDns {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let above = &shown.above[..shown.above.len().min(CHAIN_MAX)];
        let believed = self.verdict(shown.leaf, above, shown.now)?;
        self.believed.get_or_init(|| believed);
        Ok(())
    }
}
