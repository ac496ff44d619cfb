//! How clients are named: `192.168.0.1`, `192.168.0.`, `192.168.0.21-24`, `192.168.0.0/24`, `2001:db8::/32`,
//! `10.0.0.5/255.0.0.255`, `mx.example.com`. The one parser of these.

// Of `core`: addresses, and no sockets.
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::mail::address::canonical_domain;

/// Bits that a pattern must fix for its clients to be let send on: whoever names half the world names everybody. The
/// largest private networks are 10.0.0.0/8 and fc00::/7.
pub const RELAY_BITS_V4_MIN: u32 = 8;
pub const RELAY_BITS_V6_MIN: u32 = 7;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientPattern {
    Address(IpAddr),
    Network(IpNet),
    /// Both ends belong to it; they differ in the last number.
    Range(Ipv4Addr, Ipv4Addr),
    /// The bits of the mask must be alike, wherever they stand. What the mask leaves out is not kept.
    Mask {
        bits: u32,
        mask: u32,
    },
    /// The same of IPv6.
    Mask6 {
        bits: u128,
        mask: u128,
    },
    /// The client's verified host name, or one below it. In A-labels.
    Host(String),
}

impl ClientPattern {
    /// `None`: it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical()));
        }
        if let Some((address, mask)) = text.split_once('/') {
            return network(address, mask);
        }
        if let Some((first, last)) = text.split_once('-')
            && let Ok(first) = first.parse::<Ipv4Addr>()
        {
            return range(first, last);
        }
        let digits_only = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if digits_only && text.ends_with('.') {
            return prefix(text);
        }
        // A name whose last label is a number is an address that somebody mistyped (RFC 3696 2).
        let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        let host = canonical_domain(text)?;
        let last = host.rsplit('.').next().unwrap_or_default();
        (host.contains('.') && !numeric(last)).then_some(Self::Host(host))
    }

    /// By its address alone. A host name is not known by that.
    pub fn has(&self, client: IpAddr) -> bool {
        match (self, client.to_canonical()) {
            (Self::Address(address), client) => *address == client,
            (Self::Network(network), client) => network.contains(&client),
            (Self::Range(first, last), IpAddr::V4(client)) => (*first..=*last).contains(&client),
            (Self::Mask { bits, mask }, IpAddr::V4(client)) => client.to_bits() & mask == *bits,
            (Self::Mask6 { bits, mask }, IpAddr::V6(client)) => client.to_bits() & mask == *bits,
            (Self::Range(..) | Self::Mask { .. }, IpAddr::V6(_)) => false,
            (Self::Mask6 { .. }, IpAddr::V4(_)) | (Self::Host(_), _) => false,
        }
    }

    /// Whether so few clients are meant that they may send on.
    pub fn is_narrow(&self) -> bool {
        match self {
            Self::Address(address) => !address.is_unspecified(),
            Self::Range(..) | Self::Host(_) => true,
            Self::Network(IpNet::V4(network)) => u32::from(network.prefix_len()) >= RELAY_BITS_V4_MIN,
            Self::Network(IpNet::V6(network)) => u32::from(network.prefix_len()) >= RELAY_BITS_V6_MIN,
            Self::Mask { mask, .. } => mask.count_ones() >= RELAY_BITS_V4_MIN,
            Self::Mask6 { mask, .. } => mask.count_ones() >= RELAY_BITS_V6_MIN,
        }
    }
}

/// As it is kept: equal clients, equal text.
impl fmt::Display for ClientPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Network(network) => write!(f, "{network}"),
            Self::Range(first, last) => write!(f, "{first}-{}", last.octets()[3]),
            Self::Mask { bits, mask } => {
                write!(f, "{}/{}", Ipv4Addr::from_bits(*bits), Ipv4Addr::from_bits(*mask))
            }
            Self::Mask6 { bits, mask } => {
                write!(f, "{}/{}", Ipv6Addr::from_bits(*bits), Ipv6Addr::from_bits(*mask))
            }
            Self::Host(host) => f.write_str(host),
        }
    }
}

/// `address/length` or `address/mask`.
fn network(address: &str, mask: &str) -> Option<ClientPattern> {
    let decimal = !mask.is_empty() && mask.len() <= 3 && mask.bytes().all(|byte| byte.is_ascii_digit());
    let address: IpAddr = address.parse().ok()?;
    if decimal {
        let network = IpNet::new(address, mask.parse().ok()?).ok()?.trunc();
        return Some(ClientPattern::Network(unmapped(network)));
    }
    match (address, mask.parse().ok()?) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => {
            let (bits, mask) = (address.to_bits() & mask.to_bits(), mask.to_bits());
            // A mask without holes is a network.
            match mask.leading_ones() == mask.count_ones() {
                true => {
                    let network =
                        IpNet::new(Ipv4Addr::from_bits(bits).into(), mask.count_ones() as u8).ok()?;
                    Some(ClientPattern::Network(network))
                }
                false => Some(ClientPattern::Mask { bits, mask }),
            }
        }
        (IpAddr::V6(address), IpAddr::V6(mask)) => {
            let (bits, mask) = (address.to_bits() & mask.to_bits(), mask.to_bits());
            Some(ClientPattern::Mask6 { bits, mask })
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// `::ffff:192.0.2.0/120` is a network of IPv4: by that clients are known.
fn unmapped(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(six) if six.prefix_len() >= 96 => match six.addr().to_ipv4_mapped() {
            Some(four) => Ipv4Net::new(four, six.prefix_len() - 96).map_or(network, IpNet::V4),
            None => network,
        },
        IpNet::V4(_) | IpNet::V6(_) => network,
    }
}

/// `192.168.0.21-24`.
fn range(first: Ipv4Addr, last: &str) -> Option<ClientPattern> {
    let digits = (1..=3).contains(&last.len()) && last.bytes().all(|byte| byte.is_ascii_digit());
    let [a, b, c, from] = first.octets();
    let to: u8 = last.parse().ok().filter(|to| digits && *to >= from)?;
    Some(ClientPattern::Range(first, Ipv4Addr::new(a, b, c, to)))
}

/// `192.168.0.`, also of fewer numbers.
fn prefix(text: &str) -> Option<ClientPattern> {
    let mut octets = [0u8; 4];
    let mut count = 0u8;
    for part in text.strip_suffix('.')?.split('.') {
        // What stands in an address stands here: no number with a zero before it.
        let plain = part == "0" || (!part.is_empty() && !part.starts_with('0'));
        *octets.get_mut(usize::from(count)).filter(|_| plain && count < 3)? = part.parse().ok()?;
        count += 1;
    }
    let network = Ipv4Net::new(Ipv4Addr::from(octets), 8 * count).ok()?;
    Some(ClientPattern::Network(IpNet::V4(network)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(pattern: &str, client: &str) -> bool {
        let pattern = ClientPattern::parse(pattern).unwrap_or_else(|| panic!("{pattern} is a pattern"));
        pattern.has(client.parse().unwrap())
    }

    #[test]
    fn each_form_has_its_own_and_ends_at_its_edges() {
        for (pattern, inside, outside) in [
            ("192.168.0.1", vec!["192.168.0.1", "::ffff:192.168.0.1"], vec!["192.168.0.2", "::1"]),
            ("192.168.0.", vec!["192.168.0.0", "192.168.0.255"], vec!["192.167.255.255", "192.168.1.0"]),
            ("10.", vec!["10.0.0.0", "10.255.255.255"], vec!["9.255.255.255", "11.0.0.0"]),
            (
                "192.168.0.21-24",
                vec!["192.168.0.21", "192.168.0.22", "192.168.0.24", "::ffff:192.168.0.24"],
                vec!["192.168.0.20", "192.168.0.25", "192.168.1.22", "::1"],
            ),
            ("192.168.0.9-9", vec!["192.168.0.9"], vec!["192.168.0.8", "192.168.0.10"]),
            ("192.168.0.77/30", vec!["192.168.0.76", "192.168.0.79"], vec!["192.168.0.75", "192.168.0.80"]),
            ("::ffff:192.0.2.0/120", vec!["192.0.2.255"], vec!["192.0.3.0"]),
            ("2001:db8::/32", vec!["2001:db8::", "2001:db8:ffff::1"], vec!["2001:db9::", "192.0.2.1"]),
            (
                "10.0.0.5/255.0.0.255",
                vec!["10.0.0.5", "10.255.7.5"],
                vec!["10.0.0.4", "11.0.0.5", "10.5.0.0", "::a00:5"],
            ),
            ("10.1.2.3/255.255.0.0", vec!["10.1.0.0", "10.1.255.255"], vec!["10.2.0.0"]),
            ("10.1.2.3/0.0.0.0", vec!["0.0.0.0", "255.255.255.255"], vec!["::1"]),
            ("2001:db8::1/ffff:ffff::ffff", vec!["2001:db8:5::1"], vec!["2001:db8::2", "192.0.2.1"]),
        ] {
            inside.iter().for_each(|client| assert!(has(pattern, client), "{pattern} has {client}"));
            outside.iter().for_each(|client| assert!(!has(pattern, client), "{pattern} has not {client}"));
        }
        assert!(!has("mx.example.test", "192.0.2.1"), "an address is no name");
    }

    #[test]
    fn what_is_none_of_them_is_refused() {
        for bad in [
            "",
            ".",
            "..",
            "1.2.3",
            "256.0.0.1",
            "1.2.3.4.",
            "1..2.",
            "01.2.",
            "300.",
            "1.2.3.4-",
            "1.2.3.9-8",
            "1.2.3.4-256",
            "1.2.3.4-+9",
            "1.2.3.4-1.2.3.9",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "/8",
            "::/129",
            "::1/255.0.0.0",
            "1.2.3.4/ffff::",
            "a.test/8",
            "localhost",
            "a b.test",
            "-a.test",
            "1.2.3.4.5",
            "*",
        ] {
            assert_eq!(ClientPattern::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn equal_clients_are_kept_as_equal_text() {
        for (given, kept) in [
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.168.0.", "192.168.0.0/24"),
            ("192.168.0.7/24", "192.168.0.0/24"),
            ("192.168.0.7/255.255.255.0", "192.168.0.0/24"),
            ("10.9.9.5/255.0.0.255", "10.0.0.5/255.0.0.255"),
            ("192.168.0.21-024", "192.168.0.21-24"),
            ("2001:DB8:0::/32", "2001:db8::/32"),
            ("MX.B\u{fc}cher.test.", "mx.xn--bcher-kva.test"),
        ] {
            let pattern = ClientPattern::parse(given).unwrap();
            assert_eq!(pattern.to_string(), kept, "{given}");
            assert_eq!(ClientPattern::parse(kept), Some(pattern), "{kept}");
        }
    }

    #[test]
    fn nobody_names_everybody() {
        for wide in [
            "0.0.0.0/0",
            "::/0",
            "0.0.0.0/7",
            "fc00::/6",
            "9.9.9.9/0.0.0.0",
            "1.2.3.4/1.0.1.0",
            "0.0.0.0",
            "::",
            "::ffff:0:0/96",
        ] {
            assert!(!ClientPattern::parse(wide).unwrap().is_narrow(), "{wide}");
        }
        for narrow in
            ["10.0.0.0/8", "fc00::/7", "10.0.0.5/255.0.0.255", "192.0.2.1", "10.", "1.2.3.4-9", "a.test"]
        {
            assert!(ClientPattern::parse(narrow).unwrap().is_narrow(), "{narrow}");
        }
    }
}
