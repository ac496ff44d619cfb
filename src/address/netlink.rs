//! Two messages of rtnetlink(7), and its answer: an address is added for a while, or taken away.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

use super::rule::LIFETIME_SECONDS;

const NLMSG_ERROR: u16 = 2;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
/// Whether another box has it is settled otherwise; until then IPv6 would not serve it (RFC 4862 5.4).
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
const HEADER_BYTES: usize = 16;

pub struct Netlink(OwnedFd);

impl Netlink {
    pub fn open() -> nix::Result<Self> {
        let kind = (AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC);
        socket(kind.0, kind.1, kind.2, SockProtocol::NetlinkRoute).map(Self)
    }

    /// Adds the address to the interface for its lifetime from now on, or again for that long.
    pub fn add(&self, address: IpAddr, interface: u32) -> io::Result<()> {
        self.ask(&add(address, interface))
    }

    /// One that is not there is gone, too.
    pub fn remove(&self, address: IpAddr, interface: u32) -> io::Result<()> {
        match self.ask(&remove(address, interface)) {
            Err(error) if error.raw_os_error() == Some(Errno::EADDRNOTAVAIL as i32) => Ok(()),
            done => done,
        }
    }

    fn ask(&self, message: &[u8]) -> io::Result<()> {
        let fd = self.0.as_raw_fd();
        sendto(fd, message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        // The kernel does it, and answers, before `sendto` returns.
        let mut answer = [0; 512];
        let octets = recv(fd, &mut answer, MsgFlags::MSG_DONTWAIT)?;
        match errno(&answer[..octets]) {
            Some(0) => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Err(io::Error::other("rtnetlink's answer cannot be read")),
        }
    }
}

fn add(address: IpAddr, interface: u32) -> Vec<u8> {
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE | NLM_F_CREATE;
    let mut message = message(RTM_NEWADDR, flags, (address, interface));
    attribute(&mut message, IFA_FLAGS, &(IFA_F_NODAD | IFA_F_NOPREFIXROUTE).to_ne_bytes());
    // Preferred for no time at all: what this box sends by itself comes from its own addresses.
    let lifetimes = [0, LIFETIME_SECONDS, 0, 0].map(u32::to_ne_bytes).concat();
    attribute(&mut message, IFA_CACHEINFO, &lifetimes);
    finished(message)
}

fn remove(address: IpAddr, interface: u32) -> Vec<u8> {
    finished(message(RTM_DELADDR, NLM_F_REQUEST | NLM_F_ACK, (address, interface)))
}

/// `nlmsghdr`, whose length comes last; `ifaddrmsg` with the longest prefix and global scope; the address.
fn message(kind: u16, flags: u16, (address, interface): (IpAddr, u32)) -> Vec<u8> {
    let (family, prefix, octets) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, 32, address.octets().to_vec()),
        IpAddr::V6(address) => (AddressFamily::Inet6, 128, address.octets().to_vec()),
    };
    let mut message = vec![0; HEADER_BYTES];
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&flags.to_ne_bytes());
    message.extend([family as u8, prefix, 0, 0]);
    message.extend(interface.to_ne_bytes());
    attribute(&mut message, IFA_LOCAL, &octets);
    attribute(&mut message, IFA_ADDRESS, &octets);
    message
}

/// All of ours are multiples of four octets, and need no padding.
fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend((value.len() as u16 + 4).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
}

fn finished(mut message: Vec<u8>) -> Vec<u8> {
    let length = (message.len() as u32).to_ne_bytes();
    message[..4].copy_from_slice(&length);
    message
}

/// 0 is an acknowledgement; `None`: it is no answer.
fn errno(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(HEADER_BYTES..HEADER_BYTES + 4)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then(|| code.wrapping_neg())
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// As `ip address replace 192.0.2.10/32 dev IF valid_lft 1 preferred_lft 0 nodad noprefixroute` sends them.
    #[test]
    fn the_messages_are_those_of_rtnetlink() {
        let header = "4400000014000505".to_owned() + "0000000000000000";
        let address = "02200000".to_owned() + "07000000" + "08000200c000020a" + "08000100c000020a";
        let lifetime = "0800080002020000".to_owned() + "14000600" + "00000000" + "01000000" + &"00".repeat(8);
        assert_eq!(hex(&add([192, 0, 2, 10].into(), 7)), header + &address + &lifetime);
        let six: IpAddr = "2001:db8::10".parse().unwrap();
        let octets = "20010db8000000000000000000000010";
        let header = "4000000015000500".to_owned() + "0000000000000000";
        let address = format!("0a80000001010000{}{octets}{}{octets}", "14000200", "14000100");
        assert_eq!(hex(&remove(six, 257)), header + &address);
    }

    #[test]
    fn answers_are_acknowledgements_errors_or_nothing() {
        let answer = |kind: u16, code: i32| {
            let mut bytes = vec![0; HEADER_BYTES];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes
        };
        assert_eq!(errno(&answer(NLMSG_ERROR, 0)), Some(0));
        assert_eq!(errno(&answer(NLMSG_ERROR, -1)), Some(Errno::EPERM as i32));
        assert_eq!(errno(&answer(NLMSG_ERROR, i32::MIN)), Some(i32::MIN));
        assert_eq!(errno(&answer(3, 0)), None);
        assert_eq!(errno(&answer(NLMSG_ERROR, 0)[..19]), None);
    }
}
