//! Tells the network at whose interface an address is now: a gratuitous ARP request (RFC 5227 3: an ARP Announcement), an
//! unsolicited neighbour advertisement (RFC 4861 7.2.6). The kernel says nothing by itself when an address is added.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};

type Mac = [u8; 6];

/// All nodes (RFC 4291 2.7.1), and the group of Ethernet that it goes to (RFC 2464 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const EVERYBODY: Mac = [0xff; 6];
const ICMPV6: u8 = 58;

pub struct Announcer(OwnedFd);

impl Announcer {
    /// Of frames as they are; nothing is received by it. Needs CAP_NET_RAW.
    pub fn open() -> nix::Result<Self> {
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).map(Self)
    }

    pub fn announce(&self, address: IpAddr, at: &LinkAddr) -> io::Result<()> {
        let Some(mac) = at.addr() else { return Ok(()) };
        sendto(self.0.as_raw_fd(), &frame(address, mac), at, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

fn frame(address: IpAddr, mac: Mac) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp_announcement(address, mac),
        IpAddr::V6(address) => neighbour_advertisement(address, mac),
    }
}

/// A request for the address by the address (RFC 826, RFC 5227 3).
fn arp_announcement(address: Ipv4Addr, mac: Mac) -> Vec<u8> {
    let mut frame = ethernet(EVERYBODY, mac, 0x0806);
    // Ethernet and IPv4, whose addresses have 6 and 4 octets; a request.
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// RFC 4861 4.4 and 7.2.6: to all nodes, not solicited, overriding what they keep.
fn neighbour_advertisement(address: Ipv6Addr, mac: Mac) -> Vec<u8> {
    const OVERRIDE: u8 = 0x20;
    let mut advertisement = vec![136, 0, 0, 0, OVERRIDE, 0, 0, 0];
    advertisement.extend(address.octets());
    // Option 2, one unit of eight octets: the target's link-layer address.
    advertisement.extend([2, 1]);
    advertisement.extend(mac);
    let checksum = icmpv6_checksum(address, ALL_NODES, &advertisement);
    advertisement[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = ethernet(ALL_NODES_MAC, mac, 0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((advertisement.len() as u16).to_be_bytes());
    // RFC 4861 7.1.2: with any other hop limit it is not believed.
    frame.extend([ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(advertisement);
    frame
}

fn ethernet(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    [&to[..], &from[..], &kind.to_be_bytes()[..]].concat()
}

/// Over the pseudo-header of RFC 8200 8.1 and the message, whose length is even.
fn icmpv6_checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = (message.len() as u32).to_be_bytes();
    let summed =
        [&from.octets()[..], &to.octets()[..], &length[..], &[0, 0, 0, ICMPV6][..], message].concat();
    let words =
        summed.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [0x02, 0, 0, 0, 0, 0x0a];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn an_arp_announcement_asks_for_the_address_by_the_address() {
        let frame = frame([192, 0, 2, 10].into(), MAC);
        let wanted = [
            "ffffffffffff",
            "02000000000a",
            "0806",
            "0001080006040001",
            "02000000000a",
            "c000020a",
            "000000000000",
            "c000020a",
        ];
        assert_eq!(hex(&frame), wanted.concat());
    }

    #[test]
    fn a_neighbour_advertisement_goes_to_all_nodes_and_adds_up() {
        let address: Ipv6Addr = "2001:db8::10".parse().unwrap();
        let frame = frame(address.into(), MAC);
        let checksum = hex(&frame[56..58]);
        let wanted = [
            "333300000001",
            "02000000000a",
            "86dd",
            "60000000",
            "0020",
            "3aff",
            "20010db8000000000000000000000010",
            "ff020000000000000000000000000001",
            "8800",
            &checksum,
            "20000000",
            "20010db8000000000000000000000010",
            "0201",
            "02000000000a",
        ];
        assert_eq!(hex(&frame), wanted.concat());
        // What is summed with its checksum in it adds up to all ones (RFC 1071 1).
        assert_eq!(icmpv6_checksum(address, ALL_NODES, &frame[54..]), 0);
        assert_ne!(checksum, "0000");
    }
}
