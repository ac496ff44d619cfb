//! Who may connect to which port, alike on every node (row 72). Replicated rows; what a node makes of them is
//! [`FirewallRules`], in their order. Nothing here knows of any firewall.

use core::net::IpAddr;

use bincode::{Decode, Encode};

use super::settings::ListenerName;
use crate::mail::ids::Timestamp;

/// Of the whole cluster.
pub const RULES_MAX: usize = 500;
pub const NAME_BYTES_MAX: usize = 64;
pub const PORTS_PER_RULE_MAX: usize = 32;
pub const SOURCES_PER_RULE_MAX: usize = 200;
/// Linux: IFNAMSIZ without its NUL.
pub const INTERFACE_BYTES_MAX: usize = 15;

/// What a rule speaks of. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum FirewallPort {
    /// One of ours, wherever it listens: its port moves, and the rule with it.
    Service(ListenerName),
    /// `first..=last`, of any program.
    Ports { protocol: Protocol, first: u16, last: u16 },
}

/// Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// What becomes of a connection. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum FirewallAction {
    /// And nobody else may whom no rule lets in.
    Allow,
    /// The client hears nothing.
    Drop,
    /// The client hears that nobody listens.
    Reject,
}

/// A network; `bits` of the address count, the others are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Source {
    pub address: IpAddr,
    pub bits: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirewallRule {
    pub name: String,
    pub ports: Vec<FirewallPort>,
    pub action: FirewallAction,
    /// Empty: everybody.
    pub sources: Vec<Source>,
    /// Only what comes in there. With `*` at its end: all whose names begin so.
    pub interface: Option<String>,
    pub created: Timestamp,
}

/// A rule that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewFirewallRule {
    pub name: String,
    pub ports: Vec<FirewallPort>,
    pub action: FirewallAction,
    pub sources: Vec<Source>,
    pub interface: Option<String>,
    /// The rule that it is to stand before; `None`: behind all.
    pub before: Option<String>,
}

/// All rules in their order: the first that fits a connection decides.
pub type FirewallRules = Vec<FirewallRule>;

impl Protocol {
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl FirewallAction {
    pub const ALL: [Self; 3] = [Self::Allow, Self::Drop, Self::Reject];

    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Drop => "drop",
            Self::Reject => "reject",
        }
    }
}

impl FirewallPort {
    /// As it is written: `imap`, `tcp/8080`, `udp/5000-5010`.
    pub fn words(&self) -> String {
        match self {
            Self::Service(name) => name.key().to_owned(),
            Self::Ports { protocol, first, last } if first == last => {
                format!("{}/{first}", protocol.word())
            }
            Self::Ports { protocol, first, last } => format!("{}/{first}-{last}", protocol.word()),
        }
    }
}

impl Source {
    /// Whether as many bits count as an address of its family has, and the others are zero.
    pub fn is_network(self) -> bool {
        let (width, address) = match self.address {
            IpAddr::V4(address) => (32, u128::from(u32::from(address)) << 96),
            IpAddr::V6(address) => (128, u128::from(address)),
        };
        self.bits <= width && address.checked_shl(u32::from(self.bits)).unwrap_or(0) == 0
    }

    /// Whether the address, of the same family, lies in it.
    pub fn holds(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(it)) => {
                let apart = u32::from(own) ^ u32::from(it);
                apart.checked_shr(32 - u32::from(self.bits.min(32))).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(it)) => {
                let apart = u128::from(own) ^ u128::from(it);
                apart.checked_shr(128 - u32::from(self.bits.min(128))).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// As it is written: `192.0.2.0/24`, `2001:db8::1`.
    pub fn words(self) -> String {
        let width = if self.address.is_ipv4() { 32 } else { 128 };
        match self.bits == width {
            true => self.address.to_string(),
            false => format!("{}/{}", self.address, self.bits),
        }
    }
}

/// Letters, digits, and what else stands in names of interfaces; `*` at the end alone.
pub fn is_interface(text: &str) -> bool {
    let stem = text.strip_suffix('*').unwrap_or(text);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@:".contains(&byte);
    !stem.is_empty() && text.len() <= INTERFACE_BYTES_MAX && stem.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_nothing_beyond_its_bits() {
        for (address, bits, good, words) in [
            ("192.0.2.0", 24, true, "192.0.2.0/24"),
            ("192.0.2.1", 24, false, "192.0.2.1/24"),
            ("192.0.2.1", 32, true, "192.0.2.1"),
            ("192.0.2.1", 33, false, "192.0.2.1/33"),
            ("0.0.0.0", 0, true, "0.0.0.0/0"),
            ("128.0.0.0", 0, false, "128.0.0.0/0"),
            ("2001:db8::", 32, true, "2001:db8::/32"),
            ("2001:db8::1", 127, false, "2001:db8::1/127"),
            ("2001:db8::1", 128, true, "2001:db8::1"),
            ("::", 129, false, "::/129"),
        ] {
            let source = Source { address: address.parse().unwrap(), bits };
            assert_eq!((source.is_network(), source.words().as_str()), (good, words));
        }
    }

    #[test]
    fn an_address_lies_in_a_network_of_its_family() {
        for (network, bits, address, within) in [
            ("192.0.2.0", 24, "192.0.2.255", true),
            ("192.0.2.0", 24, "192.0.3.0", false),
            ("192.0.2.1", 32, "192.0.2.1", true),
            ("192.0.2.1", 32, "192.0.2.0", false),
            ("0.0.0.0", 0, "255.255.255.255", true),
            ("0.0.0.0", 0, "::", false),
            ("2001:db8::", 32, "2001:db8:ffff::1", true),
            ("2001:db8::", 32, "2001:db9::", false),
            ("::", 0, "ffff::", true),
        ] {
            let source = Source { address: network.parse().unwrap(), bits };
            assert_eq!(source.holds(address.parse().unwrap()), within, "{network}/{bits} {address}");
        }
    }

    #[test]
    fn an_interface_is_a_name_that_quotes_nothing() {
        for good in ["eth0", "br-lan", "eth0.5", "wlan*", "a", &"x".repeat(INTERFACE_BYTES_MAX)] {
            assert!(is_interface(good), "{good}");
        }
        for bad in ["", "*", "a*b", "eth 0", "e\"", "e\n", "ü", &"x".repeat(INTERFACE_BYTES_MAX + 1)] {
            assert!(!is_interface(bad), "{bad}");
        }
    }
}
