//! One-time join tokens: CA fingerprint, address, secret, expiry.

use std::fmt;
use std::str::FromStr;

use crate::cluster::pki::Fingerprint;
use crate::mail::ids::Timestamp;

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Role {
    /// Electable voter with bodies; serves mail.
    Data,
    /// Voter that never wants to lead; keeps no mail.
    Witness,
}

/// The 32 random octets that let a node in once. Its `Debug` shows nothing.
#[derive(Clone, Copy, bincode::Encode, bincode::Decode)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// What the cluster keeps instead of the secret: its BLAKE3 hash.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.0).as_bytes()
    }
}

/// All a new node needs to find the cluster, recognise it and be let in.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub struct JoinToken {
    pub ca: Fingerprint,
    /// Bulk addresses (host:port) of nodes that may be asked, at most [`ADDRESSES_MAX`].
    pub addresses: Vec<String>,
    pub role: Role,
    pub secret: Secret,
    pub expires: Timestamp,
}

pub const ADDRESSES_MAX: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("this is not a join token: copy the whole line that `pollux join-token` printed")]
    Malformed,
    #[error("the join token has expired: make a new one with `pollux join-token`")]
    Expired,
    #[error("the join token has been used already: make a new one with `pollux join-token`")]
    Used,
    #[error("the cluster does not know this join token: make a new one with `pollux join-token`")]
    Unknown,
    #[error("the join token is for another role: make one with `pollux join-token --role`")]
    WrongRole,
}

/// What the cluster remembers of a token it gave out.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct TokenRecord {
    /// [`Secret::hash`].
    pub hash: [u8; 32],
    pub role: Role,
    pub expires: Timestamp,
    pub used: bool,
}

/// Finds the record `secret` opens, looking at all of them in constant time each.
pub fn check(
    _records: &[TokenRecord],
    _secret: &Secret,
    _role: Role,
    _now: Timestamp,
) -> Result<usize, TokenError> {
    unimplemented!()
}

impl fmt::Display for JoinToken {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unimplemented!()
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(_text: &str) -> Result<Self, TokenError> {
        unimplemented!()
    }
}
