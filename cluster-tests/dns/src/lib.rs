//! A DNS server of the tests' own: fixture zones on loopback, over UDP and TCP.
//!
//! It answers as a recursive server would (RFC 1034, 2308, 6891), and misbehaves where the zones say so. It knows no
//! DNS library, so that no mistake of one is on both sides of a test.
//!
//! Zones are lines, names without their last dot, `;` begins a comment:
//!
//! ```text
//! example.test       MX    10 mx1.example.test
//! mx1.example.test   A     192.0.2.1
//! example.test       TXT   "v=spf1 " "mx -all"
//! www.example.test   CNAME mx1.example.test
//! broken.test        SERVFAIL          ; to any question
//! slow.test          SILENT  TXT       ; to this one alone
//! big.test           TRUNCATED         ; over UDP only a word to come by TCP
//! signed.test        SECURE            ; this name and those below it are validated: the AD bit, for those who ask
//! ```
//!
//! A name that no line has is NXDOMAIN, unless a longer one ends in it; one that lacks the type asked for is NODATA.

mod message;
mod zones;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use message::Query;
pub use zones::{Behaviour, Data, Zones};

/// One question that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// In lower case, without the last dot.
    pub name: String,
    /// `MX`, or `TYPE99` of one that has no name here.
    pub kind: String,
    pub tcp: bool,
}

/// The running server; it stops when dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    zones: Mutex<Zones>,
    asked: Mutex<Vec<Asked>>,
    stopped: AtomicBool,
}

/// Attempts to find a port that is free for UDP and TCP.
const PORT_ATTEMPTS_MAX: usize = 20;

impl Server {
    /// On 127.0.0.1 and a port of its own. Panics where the zones cannot be read.
    pub fn start(zones: &str) -> Self {
        Self::serve(Zones::parse(zones))
    }

    pub fn serve(zones: Zones) -> Self {
        Self::serve_at(Ipv4Addr::LOCALHOST, zones)
    }

    /// On another address of this machine, for those who do not share its loopback.
    pub fn serve_at(address: Ipv4Addr, zones: Zones) -> Self {
        let (udp, tcp) = sockets(address);
        let address = udp.local_addr().expect("a bound socket has an address");
        let (zones, asked, stopped) = (Mutex::new(zones), Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { zones, asked, stopped });
        let (by_udp, by_tcp) = (Arc::clone(&shared), Arc::clone(&shared));
        thread::spawn(move || serve_udp(&udp, &by_udp));
        thread::spawn(move || serve_tcp(&tcp, &by_tcp));
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it knows from now on, instead of what it knew.
    pub fn set(&self, zones: &str) {
        *lock(&self.shared.zones) = Zones::parse(zones);
    }

    /// Every question so far, in the order they came.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// How often this was asked, by UDP or TCP.
    pub fn count(&self, name: &str, kind: &str) -> usize {
        let alike = |asked: &&Asked| asked.name == name && asked.kind == kind;
        lock(&self.shared.asked).iter().filter(alike).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Both threads wait for something to come.
        if let Ok(socket) = UdpSocket::bind((self.address.ip(), 0)) {
            let _ = socket.send_to(&[], self.address);
        }
        let _ = TcpStream::connect(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

fn sockets(address: Ipv4Addr) -> (UdpSocket, TcpListener) {
    for _ in 0..PORT_ATTEMPTS_MAX {
        let udp = UdpSocket::bind((address, 0)).expect("it is an address of this machine");
        let address = udp.local_addr().expect("a bound socket has an address");
        if let Ok(tcp) = TcpListener::bind(address) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        if let Some(answer) = shared.answer(&buffer[..length], false) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        thread::spawn(move || serve_stream(stream, &shared));
    }
}

/// RFC 1035 4.2.2: two octets of length before each message. Ends with the client's end.
fn serve_stream(mut stream: TcpStream, shared: &Shared) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut query).is_err() {
            return;
        }
        let Some(answer) = shared.answer(&query, true) else { continue };
        let length = u16::try_from(answer.len()).expect("fixtures fit a message");
        if stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).is_err() {
            return;
        }
    }
}

impl Shared {
    /// `None`: silence.
    fn answer(&self, bytes: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let query = Query::parse(bytes)?;
        let (name, kind) = (query.name.clone(), zones::kind_name(query.kind));
        lock(&self.asked).push(Asked { name, kind, tcp });
        let answer = lock(&self.zones).answer(&query.name, query.kind)?;
        Some(query.reply(&answer, tcp))
    }
}
