//! Watches addresses that move between boxes: what the boxes' kernels have at each moment, and who speaks for an address on
//! the wire. The one asks the kernel, the other believes nothing but frames.

use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, recv, socket};

use crate::node::Node;

/// While it lives it watches; [`AddressWatch::finish`] tells what it saw.
pub struct AddressWatch {
    addresses: Vec<IpAddr>,
    /// A process in each box, whose view of the box's network the watch reads.
    eyes: Vec<Child>,
    ended: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

/// In the order in which it happened.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// For each address, the boxes that had it one after the other.
    pub boxes: Vec<Vec<usize>>,
    /// For each address, the MAC addresses that spoke for it one after the other.
    pub macs: Vec<Vec<[u8; 6]>>,
    /// Announcements of each.
    pub announced: Vec<usize>,
    /// What must not be: an address on two boxes at once.
    pub twice: Vec<String>,
}

impl AddressWatch {
    pub fn start(nodes: &[Node], addresses: &[IpAddr]) -> AddressWatch {
        let eye = |node: &Node| {
            let mut sleep = node.program("sleep".as_ref());
            sleep.arg("3600").stdin(Stdio::null()).spawn().expect("sleep runs")
        };
        let eyes: Vec<Child> = nodes.iter().map(eye).collect();
        let count = addresses.len();
        let nothing = Seen {
            boxes: vec![Vec::new(); count],
            macs: vec![Vec::new(); count],
            announced: vec![0; count],
            twice: Vec::new(),
        };
        let (ended, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(nothing)));
        let pids: Vec<u32> = eyes.iter().map(Child::id).collect();
        let (all, end, told) = (addresses.to_vec(), ended.clone(), seen.clone());
        let kernels = spawn(move || ask_kernels(&pids, &all, (&end, &told)));
        let (all, end, told) = (addresses.to_vec(), ended.clone(), seen.clone());
        let wire = spawn(move || listen(&all, (&end, &told)));
        AddressWatch { addresses: addresses.to_vec(), eyes, ended, seen, threads: vec![kernels, wire] }
    }

    /// Which boxes have the address now.
    pub fn has(&self, at: usize, address: IpAddr) -> bool {
        has(self.eyes[at].id(), address)
    }

    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    pub fn twice(&self) -> Vec<String> {
        self.seen.lock().expect("no holder panics").twice.clone()
    }

    pub fn finish(mut self) -> Seen {
        self.ended.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.join().expect("the watch does not panic");
        }
        self.seen.lock().expect("no holder panics").clone()
    }
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        for eye in &mut self.eyes {
            let _ = eye.kill();
            let _ = eye.wait();
        }
    }
}

/// As the process sees its network: local routes of IPv4, addresses of IPv6.
fn has(pid: u32, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let tries = read_to_string(format!("/proc/{pid}/net/fib_trie")).unwrap_or_default();
            let leaf = format!("|-- {address}");
            let mut lines = tries.lines();
            while lines.any(|line| line.trim() == leaf) {
                if lines
                    .clone()
                    .take_while(|line| line.trim().starts_with('/'))
                    .any(|it| it.contains("host LOCAL"))
                {
                    return true;
                }
            }
            false
        }
        IpAddr::V6(address) => {
            let all = read_to_string(format!("/proc/{pid}/net/if_inet6")).unwrap_or_default();
            let own = address.octets().map(|octet| format!("{octet:02x}")).concat();
            all.lines().any(|line| line.starts_with(&own))
        }
    }
}

fn ask_kernels(pids: &[u32], addresses: &[IpAddr], (ended, seen): (&AtomicBool, &Mutex<Seen>)) {
    while !ended.load(Ordering::Acquire) {
        for (which, address) in addresses.iter().enumerate() {
            let holders: Vec<usize> = (0..pids.len()).filter(|at| has(pids[*at], *address)).collect();
            let mut seen = seen.lock().expect("no holder panics");
            // It may have moved while the boxes were asked one after the other: not if the first of them has it still.
            if let [first, .., last] = holders[..]
                && has(pids[first], *address)
            {
                seen.twice.push(format!("{address} is on box {first} and box {last} at once"));
            } else if let [holder] = holders[..]
                && seen.boxes[which].last() != Some(&holder)
            {
                seen.boxes[which].push(holder);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn listen(addresses: &[IpAddr], (ended, seen): (&AtomicBool, &Mutex<Seen>)) {
    // ETH_P_ALL, in the network's order: each frame of each interface here.
    let everything = NonZeroU32::new(u32::from(3u16.to_be())).map(Protocol::from_raw);
    let socket = socket(AddressFamily::PACKET, SocketType::RAW, everything).expect("the story is root");
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(50))).expect("it is a socket");
    let mut frame = vec![0; 2_048];
    while !ended.load(Ordering::Acquire) {
        let Ok((octets, _)) = recv(&socket, &mut frame[..], RecvFlags::empty()) else { continue };
        let Some(spoken) = Spoken::of(&frame[..octets]) else { continue };
        let Some(which) = addresses.iter().position(|address| *address == spoken.address) else { continue };
        let mut seen = seen.lock().expect("no holder panics");
        seen.announced[which] += usize::from(spoken.announces);
        if seen.macs[which].last() != Some(&spoken.mac) {
            seen.macs[which].push(spoken.mac);
        }
    }
}

const SYN: u8 = 0x02;

/// A frame whose sender has, as it says, the address.
struct Spoken {
    mac: [u8; 6],
    address: IpAddr,
    announces: bool,
}

impl Spoken {
    fn of(frame: &[u8]) -> Option<Spoken> {
        let mac: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
        let six = |at: usize| -> Option<Ipv6Addr> {
            let octets: [u8; 16] = frame.get(at..at + 16)?.try_into().ok()?;
            Some(octets.into())
        };
        let four = |at: usize| -> Option<[u8; 4]> { frame.get(at..at + 4)?.try_into().ok() };
        let (address, announces) = match frame.get(12..14)? {
            // ARP: the sender's address; an announcement asks for that one itself.
            [0x08, 0x06] => (four(28)?.into(), four(28)? == four(38)?),
            [0x08, 0x00] => (four(26)?.into(), false),
            // A neighbour advertisement: the target; one to all nodes was not asked for.
            [0x86, 0xdd] if frame.get(20) == Some(&58) && frame.get(54) == Some(&136) => {
                (six(62)?.into(), frame.get(38..40)? == [0xff, 0x02])
            }
            // What is left of a connection that was open before: Linux sends its end, also when IPv6's address has gone. By that
            // nobody is led to the box; one that begins is accepted where the address is.
            [0x86, 0xdd] if frame.get(20) == Some(&6) && frame.get(67)? & SYN == 0 => return None,
            [0x86, 0xdd] => (six(22)?.into(), false),
            _ => return None,
        };
        Some(Spoken { mac, address, announces })
    }
}

/// The MACs of the boxes, each once.
pub fn distinct(macs: &[[u8; 6]]) -> BTreeSet<[u8; 6]> {
    macs.iter().copied().collect()
}
