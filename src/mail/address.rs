//! Mailbox addresses and paths (RFC 5321 4.1.2, RFC 6531), normalised for comparison.

/// One mailbox: `local@domain`. The parts keep the sender's spelling; [`Address::canonical`] compares.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    local: String,
    domain: String,
}

/// MAIL FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: notices, to which nobody answers.
    Null,
    Address(Address),
}

/// RCPT TO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain (RFC 5321 4.1.1.3), in any case.
    Postmaster,
    Address(Address),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("the address is malformed")]
    Syntax,
    #[error("the local part is longer than 64 octets")]
    LocalTooLong,
    #[error("the domain is longer than 255 octets")]
    DomainTooLong,
    #[error("the path is longer than 256 octets")]
    PathTooLong,
    #[error("the address needs SMTPUTF8")]
    NeedsUtf8,
}

impl Address {
    /// `local@domain`, without angle brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let _ = text;
        unimplemented!("Address::parse")
    }
    /// The local part with quotes and backslashes taken off.
    pub fn local(&self) -> &str {
        &self.local
    }
    /// As given: a domain name, or an address literal in its brackets.
    pub fn domain(&self) -> &str {
        &self.domain
    }
    /// Lower case, domain in A-labels: equal strings are equal addresses.
    pub fn canonical(&self) -> String {
        unimplemented!("canonical")
    }
    /// True when a part holds characters beyond ASCII.
    pub fn is_utf8(&self) -> bool {
        !self.local.is_ascii() || !self.domain.is_ascii()
    }
}

/// The wire form: the local part quoted where it must be.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl ReversePath {
    /// Parses `<…>` at the front of `text`; the rest (parameters) is handed back untouched.
    pub fn parse(text: &str, utf8: bool) -> Result<(Self, &str), AddressError> {
        let _ = (text, utf8);
        unimplemented!("ReversePath::parse")
    }
}

impl ForwardPath {
    /// Parses `<…>` at the front of `text`; the rest (parameters) is handed back untouched.
    pub fn parse(text: &str, utf8: bool) -> Result<(Self, &str), AddressError> {
        let _ = (text, utf8);
        unimplemented!("ForwardPath::parse")
    }
}

/// A domain name for comparison and storage: IDNA A-labels, lower case, a leading or trailing dot
/// ignored (requirement 7). `None` if it is not a domain name.
pub fn canonical_domain(domain: &str) -> Option<String> {
    let _ = domain;
    unimplemented!("canonical_domain")
}
