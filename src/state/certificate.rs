//! The certificate that the mail services of all nodes show, and how it is ordered of an ACME
//! server (RFC 8555): one order at a time, by whichever node leads. Replicated; what a chain or a key says is the affair of
//! whoever proposes it.

use bincode::{Decode, Encode};

use super::secret::Secret;
use crate::mail::ids::{NodeId, Timestamp};

/// Certificates of a chain.
pub const CHAIN_MAX: usize = 8;
/// Octets of one in DER; with a key of RSA 4,096 and twenty names it has some 3,500.
pub const CERTIFICATE_BYTES_MAX: usize = 5_120;
/// Octets of a private key in PEM; RSA with 4,096 bits has 3,300.
pub const PRIVATE_BYTES_MAX: usize = 4_096;
/// Names in a certificate that is ordered.
pub const NAMES_MAX: usize = 20;
/// Octets of an ACME server's address.
pub const DIRECTORY_BYTES_MAX: usize = 512;
/// Octets of what an account is known by, before they are sealed.
pub const CREDENTIALS_BYTES_MAX: usize = 2_048;
/// Octets of a token (RFC 8555 8.3: base64url of 128 bits or more), and of what it is answered with.
pub const TOKEN_BYTES_MAX: usize = 128;
/// Octets of why an order failed; more are cut off.
pub const FAILURE_BYTES_MAX: usize = 400;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// In DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PEM.
    pub private: Secret,
    /// The ACME server that gave it; `None`: the operator did.
    pub from: Option<String>,
    /// By the clock of the node that took it.
    pub taken: Timestamp,
}

/// One that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewCertificate {
    pub chain: Vec<Vec<u8>>,
    pub private: Secret,
}

/// What is known of orders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acme {
    pub account: Option<AcmeAccount>,
    /// The last one that did not end well, or the one that is under way.
    pub order: Option<AcmeOrder>,
    /// Orders that failed, one after the other.
    pub failures: u32,
    pub renewal: Option<Renewal>,
    /// What the server is told when it asks by HTTP.
    pub answers: Vec<AcmeAnswer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AcmeAccount {
    /// The server's address.
    pub directory: String,
    /// As the client's library writes them, with the account's key.
    pub credentials: Secret,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AcmeOrder {
    pub by: NodeId,
    /// Parts this order from others.
    pub began: Timestamp,
    /// `None`: it is under way, or its node died over it.
    pub failed: Option<String>,
}

/// The operator wants a new certificate before its time. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Renewal {
    SameKey,
    NewKey,
}

/// RFC 8555 8.3: shown under `/.well-known/acme-challenge/`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AcmeAnswer {
    pub token: String,
    pub authorization: String,
}

/// A step of the order that began at that moment; refused as `Changed` once another one has begun, or this one has failed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AcmeStep {
    pub began: Timestamp,
    pub what: AcmeWhat,
}

/// Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AcmeWhat {
    /// In the place of the order that is known to whoever begins.
    Begin {
        by: NodeId,
        before: Option<Timestamp>,
    },
    Account(AcmeAccount),
    /// All of them.
    Answers(Vec<AcmeAnswer>),
    Failed(String),
    /// By this server.
    Issued {
        directory: String,
        certificate: NewCertificate,
    },
}

impl Acme {
    /// Why the last order failed; `None`: it did not, or is under way.
    pub fn failed(&self) -> Option<&str> {
        self.order.as_ref()?.failed.as_deref()
    }

    /// What is to be said of this token.
    pub fn answer(&self, token: &str) -> Option<&str> {
        let answer = self.answers.iter().find(|answer| answer.token == token)?;
        Some(&answer.authorization)
    }
}
