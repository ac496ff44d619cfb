//! The interfaces of this box, and on which of them an address belongs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{LinkAddr, SockaddrStorage};

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    pub name: String,
    pub index: u32,
    /// Of Ethernet, or of what behaves like it; what has none needs no announcements.
    pub ethernet: Option<LinkAddr>,
    pub usable: bool,
    pub addresses: Vec<IpNet>,
}

/// ARPHRD_ETHER (netdevice(7)).
const ETHERNET: u16 = 1;

/// All of them, by name.
pub fn links() -> nix::Result<Vec<Link>> {
    let mut links: BTreeMap<String, Link> = BTreeMap::new();
    for entry in getifaddrs()? {
        let link = links.entry(entry.interface_name.clone()).or_default();
        link.name = entry.interface_name;
        link.usable = entry.flags.contains(InterfaceFlags::IFF_UP)
            && !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let Some(address) = entry.address else { continue };
        if let Some(own) = address.as_link_addr() {
            link.index = own.ifindex() as u32;
            link.ethernet = (own.hatype() == ETHERNET && own.halen() == 6).then_some(*own);
        } else if let (Some(address), Some(mask)) = (ip(&address), entry.netmask.as_ref().and_then(ip)) {
            link.addresses.extend(IpNet::with_netmask(address, mask));
        }
    }
    Ok(links.into_values().collect())
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let four = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
    four.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
}

impl Link {
    /// As we hold it: on its own. As a part of the box's network it would go with the box's own address there.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.addresses.contains(&IpNet::from(address))
    }
}

/// Where the box is at home in the network of the address, by the longest prefix. `Err` is one line for the operator.
pub fn home(links: &[Link], address: IpAddr) -> Result<&Link, String> {
    let alone = IpNet::from(address).prefix_len();
    let networks = links.iter().flat_map(|link| link.addresses.iter().map(move |own| (link, own)));
    let networks = networks.filter(|(_, own)| own.prefix_len() < alone);
    if let Some((link, _)) = networks.clone().find(|(_, own)| own.addr() == address) {
        return Err(format!("it is {}'s own address on this box, whoever leads: choose another", link.name));
    }
    let at_home = networks.filter(|(link, own)| link.usable && own.contains(&address));
    let nearest = at_home.max_by_key(|(_, own)| own.prefix_len());
    nearest.map(|(link, _)| link).ok_or_else(|| "no interface of this box is in its network".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, usable: bool, addresses: &[&str]) -> Link {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Link { name: name.to_owned(), usable, addresses, ..Link::default() }
    }

    #[test]
    fn an_address_belongs_where_the_box_is_in_its_network() {
        let links = [
            link("lo", false, &["127.0.0.1/8", "::1/128"]),
            link("lan", true, &["192.0.2.11/24", "2001:db8::11/64", "198.51.100.9/32"]),
            link("narrow", true, &["192.0.2.65/26"]),
            link("down", false, &["203.0.113.1/24"]),
        ];
        for (address, at) in [
            ("192.0.2.10", Ok("lan")),
            ("192.0.2.70", Ok("narrow")),
            ("2001:db8::10", Ok("lan")),
            // What is there on its own is ours, and no home.
            ("198.51.100.9", Err("no interface")),
            ("203.0.113.9", Err("no interface")),
            ("127.0.0.2", Err("no interface")),
            ("192.0.2.11", Err("lan's own address")),
            ("203.0.113.1", Err("down's own address")),
        ] {
            let found = home(&links, address.parse().unwrap()).map(|link| link.name.as_str());
            match (found, at) {
                (Ok(found), Ok(at)) => assert_eq!(found, at, "{address}"),
                (Err(said), Err(why)) => assert!(said.contains(why), "{address}: {said}"),
                (found, _) => panic!("{address}: {found:?}"),
            }
        }
        assert!(links[1].holds("198.51.100.9".parse().unwrap()));
        assert!(!links[1].holds("192.0.2.11".parse().unwrap()));
    }
}
