//! What a transaction has gathered: sender, recipients, and what was said of the body.

use crate::mail::address::{Address, ForwardPath, ReversePath};
pub use crate::mail::dsn::{Notify, Ret};
use crate::state::routing::LocalTarget;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub from: ReversePath,
    pub params: MailParams,
    pub to: Vec<Recipient>,
    /// Its client sends without a login, as a user would with one.
    pub trusted: bool,
}

/// Parameters of MAIL (RFC 1870, 6152, 6531, 3461, 4954, 8689).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailParams {
    pub size: Option<u64>,
    pub eight_bit: bool,
    pub smtputf8: bool,
    pub ret: Option<Ret>,
    /// As xtext.
    pub envid: Option<String>,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub path: ForwardPath,
    pub params: RcptParams,
    pub targets: Vec<LocalTarget>,
    /// Elsewhere.
    pub remote: Vec<Address>,
}

impl Recipient {
    /// It stands for several, here or elsewhere.
    pub fn is_for_several(&self) -> bool {
        self.targets.len() + self.remote.len() > 1
    }

    /// It leads to addresses elsewhere that the client did not name.
    pub fn is_passed_on(&self) -> bool {
        match &self.path {
            ForwardPath::Postmaster => !self.remote.is_empty(),
            ForwardPath::Address(address) => self.remote.iter().any(|remote| remote != address),
        }
    }
}

/// Parameters of RCPT (RFC 3461).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RcptParams {
    pub notify: Option<Notify>,
    /// `type;xtext`.
    pub orcpt: Option<String>,
}

/// `<local@domain>` or `<>`.
pub fn show_sender(path: &ReversePath) -> String {
    match path {
        ReversePath::Null => "<>".to_owned(),
        ReversePath::Address(address) => format!("<{address}>"),
    }
}

pub fn show_recipient(path: &ForwardPath) -> String {
    match path {
        ForwardPath::Postmaster => "<postmaster>".to_owned(),
        ForwardPath::Address(address) => format!("<{address}>"),
    }
}
