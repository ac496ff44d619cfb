//! What a story needs to treat a server badly, and to measure from outside what it does to it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::wire::connected_from;

/// A blocking call of a hostile client gives up after this long: the server's bounds are all shorter.
pub const PATIENCE: Duration = Duration::from_secs(100);

/// How many descriptors this process, and what it starts from now on, may have without asking for more.
pub fn set_descriptors(soft: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    assert!(soft <= hard, "the story needs {soft} descriptors, the hard limit is {hard}");
    limit.current = Some(soft);
    setrlimit(Resource::Nofile, limit).expect("the soft limit is ours");
}

/// What a process holds of the machine's memory, bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Shared pages counted by their share.
    pub pss: u64,
    /// The most it ever held at once.
    pub peak: u64,
}

pub fn memory(pid: u32) -> Memory {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("the process lives");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says it");
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number of kB");
        kib * 1024
    };
    Memory { pss: field("smaps_rollup", "Pss:"), peak: field("status", "VmHWM:") }
}

/// The peak is counted anew from here.
pub fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the process is ours");
}

/// A connection that says what it likes.
pub struct Raw(BufReader<TcpStream>);

impl Raw {
    pub fn connect(address: SocketAddr) -> io::Result<Raw> {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// From this address of our own.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<Raw> {
        Self::over(connected_from(source, address)?)
    }

    fn over(socket: TcpStream) -> io::Result<Raw> {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        Ok(Raw(BufReader::with_capacity(1024, socket)))
    }

    /// Takes no more than a few KiB from the network before it is read.
    pub fn narrow(&self) {
        rustix::net::sockopt::set_socket_recv_buffer_size(self.0.get_ref(), 4096).expect("a socket has one");
    }

    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref())
    }

    /// The same bytes again and again, `total` in all.
    pub fn pour(&mut self, piece: &[u8], total: usize) -> io::Result<()> {
        let mut left = total;
        while left > 0 {
            let now = left.min(piece.len());
            self.say(&piece[..now])?;
            left -= now;
        }
        Ok(())
    }

    /// One line without its end; empty when the server has closed or does not answer.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line) {
            Ok(_) => String::from_utf8_lossy(&line).trim_end().to_owned(),
            Err(_) => String::new(),
        }
    }

    /// Reads lines until one starts with `end`. Panics with what came if none does.
    pub fn until(&mut self, end: &str) -> String {
        let mut heard = Vec::new();
        loop {
            let line = self.line();
            if line.starts_with(end) {
                return line;
            }
            assert!(!line.is_empty(), "no {end:?} after {heard:?}");
            heard.push(line);
        }
    }

    pub fn ask(&mut self, line: &str, end: &str) -> String {
        self.say(format!("{line}\r\n")).unwrap_or_else(|error| panic!("{line}: {error}"));
        self.until(end)
    }

    pub fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        (self.0.read(&mut byte).ok()? == 1).then_some(byte[0])
    }

    /// Everything until the server closes; `None` if it does not.
    pub fn rest(&mut self) -> Option<String> {
        self.rest_bytes().map(|rest| String::from_utf8_lossy(&rest).into_owned())
    }

    /// The same, whatever it is.
    pub fn rest_bytes(&mut self) -> Option<Vec<u8>> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            // What we sent last may meet a closed socket: then there is a reset and no more to read.
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => None,
            Ok(_) | Err(_) => Some(rest),
        }
    }

    pub fn socket(&self) -> &TcpStream {
        self.0.get_ref()
    }
}
