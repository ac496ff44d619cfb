//! What names a TLS connection to both of its ends (channel bindings, RFC 5056), for SCRAM-SHA-256-PLUS.

use std::sync::Arc;

use ring::digest;
use rustls::{ProtocolVersion, ServerConnection};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Octets of what TLS 1.3 exports for this (RFC 9266 2).
const EXPORTER_BYTES: usize = 32;

/// The bindings of one connection; none where it has no TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelBindings {
    /// RFC 9266. Of TLS 1.3 alone: before, it names one connection only under conditions that a client may not see met.
    pub exporter: Option<[u8; EXPORTER_BYTES]>,
    /// RFC 5929 4.
    pub end_point: Option<Arc<[u8]>>,
}

impl ChannelBindings {
    /// Of a connection whose handshake is over. `end_point` is of the certificate that it was shown.
    pub fn of(connection: &ServerConnection, end_point: Option<Arc<[u8]>>) -> Self {
        let has_own_names = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let exported = || {
            let octets = [0; EXPORTER_BYTES];
            connection.export_keying_material(octets, b"EXPORTER-Channel-Binding", Some(b"")).ok()
        };
        Self { exporter: if has_own_names { exported() } else { None }, end_point }
    }

    /// True when -PLUS can be offered.
    pub fn any(&self) -> bool {
        self.exporter.is_some() || self.end_point.is_some()
    }

    /// By its registered name.
    pub fn named(&self, name: &str) -> Option<&[u8]> {
        match name {
            "tls-exporter" => self.exporter.as_ref().map(|octets| &octets[..]),
            "tls-server-end-point" => self.end_point.as_deref(),
            _ => None,
        }
    }
}

/// RFC 5929 4.1: the certificate's hash, by the hash of its own signature, or SHA-256 where that is an older one.
/// `None` for signatures that have no one hash (Ed25519, RSASSA-PSS with its parameters).
pub fn end_point(certificate: &[u8]) -> Option<Arc<[u8]>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let algorithm = match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        // MD5, SHA-1, SHA-256 with RSA; SHA-1, SHA-256 with ECDSA.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => &digest::SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &digest::SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(algorithm, certificate).as_ref().into())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    #[test]
    fn the_hash_is_that_of_the_certificates_own_signature() {
        let of = |algorithm| {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let certificate =
                CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
            (end_point(certificate.der()), certificate.der().to_vec())
        };
        let (bound, der) = of(&PKCS_ECDSA_P256_SHA256);
        assert_eq!(bound.as_deref(), Some(digest::digest(&digest::SHA256, &der).as_ref()));
        let (bound, der) = of(&PKCS_ECDSA_P384_SHA384);
        assert_eq!(bound.as_deref(), Some(digest::digest(&digest::SHA384, &der).as_ref()));
        assert_eq!(of(&PKCS_ED25519).0, None);
        assert_eq!(end_point(b"no certificate"), None);
    }
}
