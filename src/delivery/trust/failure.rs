//! Why TLS with a server came to nothing.

use std::io;

use rustls::{CertificateError, Error};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsFailure {
    NotOffered,
    /// Its certificate is for others.
    OtherName,
    Expired,
    /// Nobody who is believed speaks for its certificate.
    NotTrusted,
    /// The handshake broke off.
    Handshake,
    /// This node could not begin one.
    Ours,
}

impl TlsFailure {
    pub fn of(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        inner.map_or(Self::Handshake, Self::of_tls)
    }

    pub fn of_tls(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(why) => match why {
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::OtherName
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                _ => Self::NotTrusted,
            },
            // What our own judges say where no word of the library fits.
            Error::General(_) => Self::NotTrusted,
            _ => Self::Handshake,
        }
    }

    /// Trying again will not help: it is so, and not a matter of the moment.
    pub fn is_lasting(self) -> bool {
        match self {
            Self::NotOffered | Self::OtherName | Self::Expired | Self::NotTrusted => true,
            Self::Handshake | Self::Ours => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_told_apart_from_what_broke() {
        let of = |error: Error| TlsFailure::of(&io::Error::new(io::ErrorKind::InvalidData, error));
        let certificate = |why| of(Error::InvalidCertificate(why));
        assert_eq!(certificate(CertificateError::NotValidForName), TlsFailure::OtherName);
        assert_eq!(certificate(CertificateError::Expired), TlsFailure::Expired);
        assert_eq!(certificate(CertificateError::UnknownIssuer), TlsFailure::NotTrusted);
        assert_eq!(of(Error::General("no TLSA record".to_owned())), TlsFailure::NotTrusted);
        assert_eq!(of(Error::HandshakeNotComplete), TlsFailure::Handshake);
        assert_eq!(TlsFailure::of(&io::ErrorKind::ConnectionReset.into()), TlsFailure::Handshake);
    }
}
