//! Slow links: datagrams between two nodes go through a proxy that keeps each for a while.
//!
//! The kernel here has no netem, and the nodes must not notice but by the delay. So nftables bends what one
//! sends to the other towards an address on which the proxy listens, and the proxy sends it on with the sender's
//! own address and port, through a raw socket, under a TTL by which the bending rule lets it pass.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use crate::lab::{Lab, PROXY_TTL};

/// The ports on which nodes speak to each other: Raft, and bodies.
const PORTS: [u16; 2] = [7401, 7402];
/// Datagrams on their way in one direction; beyond it they are lost, as in any router.
const ON_THEIR_WAY_MAX: usize = 4_096;
/// A datagram's octets at most.
const OCTETS_MAX: usize = 65_536;
/// How soon the threads notice the end.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Proxies between two nodes, until [`SlowLinks::end`].
pub struct SlowLinks {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

struct Datagram {
    due: Instant,
    from: SocketAddrV4,
    octets: Vec<u8>,
}

impl SlowLinks {
    pub fn between(lab: &mut Lab, pair: [Ipv4Addr; 2], delay_ms: u16) -> SlowLinks {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (from, to) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let decoy = decoy(to);
            for port in PORTS {
                let listen = UdpSocket::bind((decoy, port)).expect("the decoy is ours");
                listen.set_read_timeout(Some(LOOK_AGAIN)).expect("a time-out can be set");
                let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))
                    .expect("root may open a raw socket");
                let (send, receive) = sync_channel(ON_THEIR_WAY_MAX);
                let (until, delay) = (stop.clone(), Duration::from_millis(delay_ms.into()));
                threads.push(std::thread::spawn(move || take_in(&listen, &send, delay, &until)));
                let to = SocketAddrV4::new(to, port);
                threads.push(std::thread::spawn(move || send_on(&raw, &receive, to)));
            }
            lab.bend(&from.to_string(), &to.to_string(), &decoy.to_string());
        }
        SlowLinks { stop, threads }
    }

    /// The direct way again. What is still on its way arrives.
    pub fn end(self, lab: &mut Lab) {
        lab.heal();
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a proxy does not panic");
        }
    }
}

/// Where what is for `node` is bent to.
fn decoy(node: Ipv4Addr) -> Ipv4Addr {
    let [_, _, _, host] = node.octets();
    Ipv4Addr::new(127, 0, 1, host)
}

fn take_in(listen: &UdpSocket, send: &SyncSender<Datagram>, delay: Duration, stop: &AtomicBool) {
    let mut buffer = vec![0; OCTETS_MAX];
    while !stop.load(Ordering::Relaxed) {
        let (octets, from) = match listen.recv_from(&mut buffer) {
            Ok((octets, SocketAddr::V4(from))) => (buffer[..octets].to_vec(), from),
            // Nothing came, or the kernel tells of something sent earlier.
            Ok(_) | Err(_) => continue,
        };
        // A full way loses it.
        let _ = send.try_send(Datagram { due: Instant::now() + delay, from, octets });
    }
}

fn send_on(raw: &OwnedFd, receive: &Receiver<Datagram>, to: SocketAddrV4) {
    while let Ok(datagram) = receive.recv() {
        std::thread::sleep(datagram.due.saturating_duration_since(Instant::now()));
        // Lost, if it cannot be sent: that is allowed on a bad link.
        let _ = send_as(raw, datagram.from, to, &datagram.octets);
    }
}

/// Sends a datagram under somebody's address. The kernel fills in the IP length and checksum; UDP may go without one.
fn send_as(raw: &OwnedFd, from: SocketAddrV4, to: SocketAddrV4, octets: &[u8]) -> io::Result<()> {
    let length = u16::try_from(octets.len() + 8).map_err(io::Error::other)?;
    let mut packet = Vec::with_capacity(28 + octets.len());
    packet.extend([0x45, 0, 0, 0, 0, 0, 0, 0, PROXY_TTL, 17, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(octets);
    sendto(raw, &packet, SendFlags::empty(), &SocketAddrV4::new(*to.ip(), 0))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways: the receiver sees the sender's own address, and nothing but the delay.
    #[test]
    fn a_slow_link_keeps_addresses_and_order() {
        let Some(mut lab) = Lab::enter() else { return };
        let pair = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
        let ends = pair.map(|address| UdpSocket::bind((address, PORTS[0])).expect("it is free here"));
        ends.iter()
            .for_each(|end| end.set_read_timeout(Some(Duration::from_secs(20))).expect("it can be set"));
        let began = Instant::now();
        let links = SlowLinks::between(&mut lab, pair, 80);
        for (from, to) in [(0, 1), (1, 0)] {
            for text in [b"one", b"two"] {
                ends[from].send_to(text, (pair[to], PORTS[0])).expect("it is sent");
            }
            for text in [b"one", b"two"] {
                let mut buffer = [0; 8];
                let (octets, sender) = ends[to].recv_from(&mut buffer).expect("it arrives");
                assert_eq!(&buffer[..octets], text);
                assert_eq!(sender, SocketAddr::from((pair[from], PORTS[0])));
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(160), "each way takes its time");
        links.end(&mut lab);
        ends[0].send_to(b"three", (pair[1], PORTS[0])).expect("it is sent");
        assert_eq!(ends[1].recv_from(&mut [0; 8]).expect("it arrives").0, 5);
    }
}
