//! A line-based connection with time-outs, for the clients of the stories.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// A client waits this long for any one answer: longer than the server's own bound for a write (10 s).
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

pub struct Wire {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

/// Bound to this address of our own. No process that is started later shares it: it would keep a connection open.
pub fn socket_from(source: IpAddr) -> io::Result<OwnedFd> {
    let family = if source.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    Ok(socket)
}

/// Connected from it.
pub fn connected_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket_from(source)?;
    rustix::net::connect(&socket, &address)?;
    Ok(TcpStream::from(socket))
}

impl Wire {
    pub fn connect(address: SocketAddr) -> io::Result<Wire> {
        Self::over(TcpStream::connect_timeout(&address, Duration::from_secs(2))?)
    }

    /// From this address of our own.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<Wire> {
        Self::over(connected_from(source, address)?)
    }

    fn over(stream: TcpStream) -> io::Result<Wire> {
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        stream.set_nodelay(true)?;
        Ok(Wire { writer: stream.try_clone()?, reader: BufReader::new(stream) })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// One line without its CRLF, as text.
    pub fn line(&mut self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&self.line_bytes()?).into_owned())
    }

    /// One line without its CRLF.
    pub fn line_bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed"));
        }
        while matches!(line.last(), Some(b'\r' | b'\n')) {
            line.pop();
        }
        Ok(line)
    }

    pub fn exact(&mut self, octets: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; octets];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// The server answered, and the answer is no.
pub fn refused(answer: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, answer)
}

/// True when the server said no for good; false when nobody knows what became of the request. A
/// temporary refusal (4xx, UNAVAILABLE, SYS/TEMP) may follow a proposal that is committed later.
pub fn is_refusal(error: &io::Error) -> bool {
    let text = error.to_string();
    let temporary = text.starts_with('4') || text.contains("UNAVAILABLE") || text.contains("SYS/TEMP");
    error.kind() == io::ErrorKind::PermissionDenied && !temporary && !text.starts_with("* BYE")
}
