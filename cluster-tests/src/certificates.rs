//! Certificates of the stories' own making, for the far side to show.

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};

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

fn params(host: &str, until: i32) -> CertificateParams {
    let mut params = CertificateParams::new([host.to_owned()]).expect("a good name");
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    params
}
