//! What is known of a mail once all has been asked. Says what is so, not what follows from it.

use std::net::IpAddr;

/// How a mail came: what the checks start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub address: IpAddr,
    pub helo: String,
    /// `local@domain` of MAIL FROM; `None` is `<>`.
    pub sender: Option<String>,
    /// Our own name: the authserv-id of RFC 8601.
    pub receiver: String,
}

impl Arrival {
    /// The domain that SPF asks for: the sender's, or that of HELO (RFC 7208 2.4).
    pub fn domain(&self) -> &str {
        match &self.sender {
            Some(sender) => sender.rsplit_once('@').map_or("", |(_, domain)| domain),
            None => &self.helo,
        }
    }
}

/// `None` of a check that the settings leave out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub spf: Option<SpfResult>,
    /// One for each signature that was looked at, in the order of the header.
    pub dkim: Option<Vec<Dkim>>,
    pub arc: Option<Arc>,
    pub dmarc: Option<Dmarc>,
}

impl Facts {
    /// Whether the DNS left something open.
    pub fn are_open(&self) -> bool {
        self.spf == Some(SpfResult::TempError)
            || self.dkim.iter().flatten().any(|dkim| dkim.result == DkimResult::TempError)
            || self.arc.as_ref().is_some_and(|arc| arc.result == ArcResult::TempError)
            || self.dmarc.as_ref().is_some_and(|dmarc| dmarc.result == DmarcResult::TempError)
    }
}

/// RFC 7208 2.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpfResult {
    None,
    Neutral,
    Pass,
    Fail,
    SoftFail,
    TempError,
    PermError,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dkim {
    pub result: DkimResult,
    pub domain: String,
    pub selector: String,
    /// How the signature begins, base64: tells signatures of one domain apart (RFC 6008).
    pub begins: String,
    /// Empty where it passed.
    pub why: String,
}

/// RFC 8601 2.7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DkimResult {
    Pass,
    Fail,
    Neutral,
    TempError,
    PermError,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arc {
    pub result: ArcResult,
    /// The domain of the last seal; empty without one.
    pub sealer: String,
}

/// RFC 8617 4.2, and what the DNS leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArcResult {
    None,
    Pass,
    Fail,
    TempError,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dmarc {
    pub result: DmarcResult,
    /// Of From; empty where it names none, or several.
    pub domain: String,
    /// What the domain asks for.
    pub policy: DmarcPolicy,
    /// From names several domains, or there are several such fields: for whom would the check be?
    pub ambiguous: bool,
}

/// RFC 7489 11.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmarcResult {
    None,
    Pass,
    Fail,
    TempError,
    PermError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmarcPolicy {
    None,
    Quarantine,
    Reject,
}

/// What is known before a mail is read: of its client, and of the names that the client gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub listed: Listed,
    /// `None` where the settings do not ask.
    pub client_name: Option<ClientName>,
    /// Of HELO or EHLO.
    pub helo: Domain,
    /// Of MAIL FROM.
    pub sender_domain: Domain,
}

/// In a DNS block list (RFC 5782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// No list is asked.
    Unasked,
    No,
    Yes {
        zone: String,
        /// Of the list, in printable ASCII; empty where it says nothing.
        text: String,
    },
    /// A list does not tell, and none of the others has it.
    Unknown,
}

/// Of the client's address: its name, and whether that leads back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientName {
    Right,
    /// The address has none.
    Missing,
    /// It has one, which has no address.
    WithoutAddress,
    /// It has one, which has other addresses.
    OfAnother,
    Unknown,
}

/// A domain that a client names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// None is named, or an address literal: there is nothing to ask.
    Absent,
    /// Not a full name: it has no dot, or the DNS cannot hold it.
    NotFull,
    /// A full name; the settings ask no more of it.
    Full,
    Found,
    Missing,
    /// RFC 7505: it takes no mail.
    NullMx,
    Unknown,
}
