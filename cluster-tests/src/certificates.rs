//! Certificates of the stories' own making, for the far side to show.

use std::fmt::Write;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer,
    KeyPair, SanType,
};
use rustls::pki_types::CertificateSigningRequestDer;

use ring::digest::{SHA256, digest};

use crate::sink::Identity;

pub struct Ca {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub fn new(name: &str) -> Ca {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("there are dice");
        let certificate = params.self_signed(&key).expect("a good certificate");
        Ca { certificate, issuer: Issuer::new(params, key) }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// What a request asks for, if it asks for these names; in PEM, with this CA's own certificate behind it.
    pub fn grant(&self, request: &[u8], names: &[String], until: i32) -> Option<String> {
        let request = CertificateSigningRequestDer::from(request);
        let mut asked = CertificateSigningRequestParams::from_der(&request).ok()?;
        let named = |name: &String| {
            let wanted = |known: &SanType| matches!(known, SanType::DnsName(known) if known.as_str() == name);
            asked.params.subject_alt_names.iter().any(wanted)
        };
        if asked.params.subject_alt_names.len() != names.len() || !names.iter().all(named) {
            return None;
        }
        asked.params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        asked.params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let leaf = asked.signed_by(&self.issuer).ok()?;
        Some(leaf.pem() + &self.pem())
    }

    /// Good for `host` up to the year.
    pub fn leaf(&self, host: &str, until: i32) -> Identity {
        let key = KeyPair::generate().expect("there are dice");
        let leaf = params(host, until).signed_by(&key, &self.issuer).expect("a good certificate");
        Identity { chain: vec![leaf.der().to_vec()], key: key.serialize_der() }
    }
}

/// Signed by nobody else.
pub fn of_its_own(host: &str, until: i32) -> Identity {
    let key = KeyPair::generate().expect("there are dice");
    let leaf = params(host, until).self_signed(&key).expect("a good certificate");
    Identity { chain: vec![leaf.der().to_vec()], key: key.serialize_der() }
}

/// The data of a TLSA record that names a certificate by its SHA-256 (RFC 6698 2.1).
pub fn tlsa(usage: u8, certificate: &[u8]) -> String {
    let mut data = format!("{usage} 0 1 ");
    for octet in digest(&SHA256, certificate).as_ref() {
        write!(data, "{octet:02x}").expect("a string takes everything");
    }
    data
}

fn params(host: &str, until: i32) -> CertificateParams {
    let mut params = CertificateParams::new([host.to_owned()]).expect("a good name");
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    params
}
