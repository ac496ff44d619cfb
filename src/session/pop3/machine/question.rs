//! What the session asks the world, and what it hears.

use bytes::Bytes;

use crate::cluster::replica::Fault;
use crate::mail::ids::{Uid, UidValidity};
use crate::session::login::{Authenticated, Claim, Keys, LoginRefused};

#[derive(Debug)]
pub enum Question {
    /// Check the login, then open its INBOX.
    Login(Claim),
    /// What SCRAM goes on with for this login.
    Keys(String),
    /// The raw message.
    Body(Uid),
    /// Expunge these. Up to 50,000 all or none, in one commit; more in portions.
    Delete(Vec<Uid>),
}

#[derive(Debug)]
pub enum Answer {
    Login(Result<(Authenticated, Maildrop), NoEntry>),
    Keys(Keys),
    /// `None`: another session has expunged it.
    Body(Result<Option<Bytes>, Fault>),
    Deleted(Result<(), Fault>),
}

#[derive(Debug)]
pub enum NoEntry {
    Refused(LoginRefused),
    Fault(Fault),
}

/// INBOX as it was at login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maildrop {
    pub uid_validity: UidValidity,
    /// Ascending by UID; sizes in octets. Message *n* is entry *n - 1*.
    pub messages: Vec<(Uid, u32)>,
}
