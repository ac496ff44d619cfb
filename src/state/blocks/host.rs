//! Whom limits and blocks are for: an IPv4 address, or an IPv6 network of 64 bits. Who has one address of such a network
//! has them all.

// Of `core`: addresses, and no sockets.
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bincode::{Decode, Encode};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Host {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Host {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }

    /// An address, or a network as it is shown.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix("/64") {
            Some(network) => network.parse::<Ipv6Addr>().ok().map(|address| Self::of(address.into())),
            None => text.parse().ok().map(Self::of),
        }
    }

    pub fn octets(&self) -> &[u8] {
        match self {
            Self::V4(octets) => octets,
            Self::V6(octets) => octets,
        }
    }

    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        match octets.len() {
            4 => octets.try_into().ok().map(Self::V4),
            8 => octets.try_into().ok().map(Self::V6),
            _ => None,
        }
    }

    /// The first of its addresses.
    pub fn address(&self) -> IpAddr {
        match self {
            Self::V4(octets) => Ipv4Addr::from(*octets).into(),
            Self::V6([a, b, c, d, e, f, g, h]) => {
                Ipv6Addr::from([*a, *b, *c, *d, *e, *f, *g, *h, 0, 0, 0, 0, 0, 0, 0, 0]).into()
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(_) => write!(f, "{}", self.address()),
            Self::V6(_) => write!(f, "{}/64", self.address()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_of_ipv4_or_a_network_of_ipv6_and_reads_as_it_is_shown() {
        for (address, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:0:7::25", "2001:db8:0:7::/64"),
            ("2001:db8:0:7:ffff::1", "2001:db8:0:7::/64"),
            ("::1", "::/64"),
        ] {
            let host = Host::of(address.parse().unwrap());
            assert_eq!(host.to_string(), shown);
            assert_eq!([Host::parse(shown), Host::parse(address)], [Some(host); 2]);
            assert_eq!(Host::from_octets(host.octets()), Some(host));
        }
        for wrong in ["", "192.0.2.1/64", "192.0.2.0/24", "2001:db8::/48", "mx.example.test"] {
            assert_eq!(Host::parse(wrong), None, "{wrong}");
        }
    }
}
