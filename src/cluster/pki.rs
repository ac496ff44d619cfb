//! The cluster CA and node certificates (rcgen), and the checks of them.

use std::fmt;
use std::str::FromStr;

use crate::mail::ids::{NodeId, Timestamp};

/// Names a cluster for ever: a random uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for ClusterId {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
        if digits.len() != 32 || text.len() != 36 {
            return Err(PkiError::ClusterId(text.to_owned()));
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| PkiError::ClusterId(text.to_owned()))?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| PkiError::ClusterId(text.to_owned()))?;
        }
        Ok(Self(id))
    }
}

/// SHA-256 of a certificate's DER: what a join token pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Fingerprint(pub [u8; 32]);

#[derive(Debug, Clone, thiserror::Error)]
pub enum PkiError {
    #[error("{0:?} is not a cluster id (a uuid is expected)")]
    ClusterId(String),
    #[error("the {what} cannot be used: {why}")]
    Unusable { what: &'static str, why: String },
}

/// The certificate authority of one cluster.
pub struct ClusterCa {
    cluster: ClusterId,
}

impl ClusterCa {
    pub fn create(_cluster: ClusterId, _now: Timestamp) -> Result<Self, PkiError> {
        unimplemented!()
    }
    /// Reads what [`ClusterCa::certificate_pem`] and [`ClusterCa::key_pem`] gave.
    pub fn from_pem(_certificate: &str, _key: &str) -> Result<Self, PkiError> {
        unimplemented!()
    }
    pub fn certificate_pem(&self) -> &str {
        unimplemented!()
    }
    /// Secret: whoever has it can make nodes.
    pub fn key_pem(&self) -> String {
        unimplemented!()
    }
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }
    pub fn fingerprint(&self) -> Fingerprint {
        unimplemented!()
    }
    /// A fresh key and its certificate, for the first node of a cluster.
    pub fn issue(&self, _node: NodeId, _now: Timestamp) -> Result<NodeIdentity, PkiError> {
        unimplemented!()
    }
    /// A certificate for a key made elsewhere ([`NodeKey::public`]), as PEM chain.
    pub fn certify(&self, _node: NodeId, _public: &[u8], _now: Timestamp) -> Result<String, PkiError> {
        unimplemented!()
    }
}

/// A node's private key before it has a certificate.
pub struct NodeKey {}

impl NodeKey {
    pub fn generate() -> Result<Self, PkiError> {
        unimplemented!()
    }
    /// The uncompressed P-256 point, 65 octets.
    pub fn public(&self) -> &[u8] {
        unimplemented!()
    }
    pub fn key_pem(&self) -> String {
        unimplemented!()
    }
}

/// What a node shows to others, and by what it checks them.
#[derive(Clone)]
pub struct NodeIdentity {
    pub chain_pem: String,
    pub key_pem: String,
    /// One CA, or two while it is being rotated.
    pub ca_pem: String,
}

impl NodeIdentity {
    /// Node and cluster as the certificate names them.
    pub fn name(&self) -> Result<(NodeId, ClusterId), PkiError> {
        unimplemented!()
    }
    /// All three parts in one PEM file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        unimplemented!()
    }
    pub fn from_bytes(_bytes: &[u8]) -> Result<Self, PkiError> {
        unimplemented!()
    }
}
