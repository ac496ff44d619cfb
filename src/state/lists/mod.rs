//! Rules that an administrator keeps in order: whom to refuse, whom to trust, who may send on. Replicated rows; what a
//! session asks is [`Lists`], made of them. Never resolves a name: a client's host name is told to it.

mod client;
mod pattern;
#[cfg(test)]
mod tests;
mod view;

use bincode::{Decode, Encode};

pub use client::{ClientPattern, RELAY_BITS_V4_MIN, RELAY_BITS_V6_MIN};
pub use pattern::canonical;
pub use view::{Lists, Seen};

use crate::mail::ids::Timestamp;

/// Rules of the whole cluster.
pub const RULES_MAX: u32 = 10_000;
pub const NAME_BYTES_MAX: usize = 64;
pub const PATTERN_BYTES_MAX: usize = 320;

/// What a pattern is held against. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum RuleKind {
    /// The address in MAIL FROM, or `@domain`. `<>` is nobody's.
    Sender,
    /// The address in RCPT TO.
    Recipient,
    /// One IP address of a client.
    Ip,
    /// Several: a network, a range, an address with a mask.
    Mask,
    /// The domain in MAIL FROM.
    Domain,
    /// Any of the client patterns, its verified host name too.
    Client,
}

/// What follows. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum RuleAction {
    /// Blacklist: 250, and nobody gets it.
    Discard,
    /// Blacklist: 554.
    Reject,
    /// Whitelist.
    Allow,
    /// The manual reject list: 554, whatever the whitelist says.
    Refuse,
    /// The client sends without a login, to other servers too.
    Relay,
}

/// One rule. The lists are read from the lowest order on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    pub order: u64,
    pub kind: RuleKind,
    pub pattern: String,
    pub action: RuleAction,
    /// By the clock of the node that took the command.
    pub created: Timestamp,
}

/// A rule that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewRule {
    pub name: String,
    pub kind: RuleKind,
    pub pattern: String,
    pub action: RuleAction,
    /// The rule that it is to stand before; `None`: behind all.
    pub before: Option<String>,
}

impl RuleKind {
    pub const ALL: [Self; 6] =
        [Self::Sender, Self::Recipient, Self::Ip, Self::Mask, Self::Domain, Self::Client];

    pub fn word(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Recipient => "recipient",
            Self::Ip => "ip",
            Self::Mask => "mask",
            Self::Domain => "domain",
            Self::Client => "client",
        }
    }

    /// What a rule of this kind may do.
    pub fn actions(self) -> &'static [RuleAction] {
        use RuleAction::{Allow, Discard, Refuse, Reject, Relay};
        match self {
            Self::Sender => &[Discard, Reject, Allow, Refuse],
            Self::Recipient | Self::Ip | Self::Mask => &[Discard, Reject, Allow],
            Self::Domain => &[Allow],
            Self::Client => &[Relay],
        }
    }
}

impl RuleAction {
    pub const ALL: [Self; 5] = [Self::Discard, Self::Reject, Self::Allow, Self::Refuse, Self::Relay];

    pub fn word(self) -> &'static str {
        match self {
            Self::Discard => "discard",
            Self::Reject => "reject",
            Self::Allow => "allow",
            Self::Refuse => "refuse",
            Self::Relay => "relay",
        }
    }
}
