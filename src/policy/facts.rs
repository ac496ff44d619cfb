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
