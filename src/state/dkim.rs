//! Keys that mail to other servers is signed with (RFC 6376, RFC 8463): of each domain some, parted by their selectors.
//! Replicated; what a key says is not looked at here.

use bincode::{Decode, Encode};

use super::secret::Secret;
use crate::mail::ids::Timestamp;

/// Keys of the whole cluster.
pub const KEYS_MAX: usize = 1_000;
/// Of a domain that sign at once: each adds a signature to each mail.
pub const SIGNING_MAX: usize = 4;
/// Octets of a selector (one or more labels, RFC 6376 3.1).
pub const SELECTOR_BYTES_MAX: usize = 63;
/// Octets of a private key in PEM; RSA with 8,192 bits has 6,400 and is more than the DNS should carry.
pub const PRIVATE_BYTES_MAX: usize = 4_096;

/// Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum DkimAlgorithm {
    RsaSha256,
    Ed25519Sha256,
}

impl DkimAlgorithm {
    pub const ALL: [Self; 2] = [Self::RsaSha256, Self::Ed25519Sha256];

    /// As in a signature's `a=`.
    pub fn word(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimKey {
    pub domain: String,
    pub selector: String,
    pub algorithm: DkimAlgorithm,
    /// PEM.
    pub private: Secret,
    /// Whether mail is signed with it; else it is kept for later, or until what it signed has arrived.
    pub signs: bool,
    /// By the clock of the node that took the command.
    pub created: Timestamp,
}

/// A key that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewDkimKey {
    pub domain: String,
    pub selector: String,
    pub algorithm: DkimAlgorithm,
    pub private: Secret,
    pub signs: bool,
}

/// All keys, by domain and selector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DkimKeys(Vec<DkimKey>);

impl DkimKeys {
    pub fn new(mut keys: Vec<DkimKey>) -> Self {
        keys.sort_by(|one, other| (&one.domain, &one.selector).cmp(&(&other.domain, &other.selector)));
        Self(keys)
    }

    pub fn all(&self) -> &[DkimKey] {
        &self.0
    }

    pub fn get(&self, domain: &str, selector: &str) -> Option<&DkimKey> {
        self.0.iter().find(|key| key.domain == domain && key.selector == selector)
    }

    /// What mail by authors of this domain is signed with.
    pub fn signing(&self, domain: &str) -> impl Iterator<Item = &DkimKey> {
        self.0.iter().filter(move |key| key.signs && key.domain == domain).take(SIGNING_MAX)
    }
}
