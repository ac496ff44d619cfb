//! A ManageSieve client for the stories (RFC 5804).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ring::{digest, hmac, pbkdf2};

use crate::smtp::base64;
use crate::tls::{TlsStream, handshake};
use crate::wire::refused;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const SCRAM_NONCE: &str = "storystorystory";

pub struct ManageSieve {
    stream: BufReader<Stream>,
    /// What the server said last of what it can do.
    pub capabilities: Vec<String>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// An answer that is OK.
#[derive(Debug)]
pub struct Answer {
    /// The lines before it. A literal is one line.
    pub lines: Vec<String>,
    pub last: String,
}

impl ManageSieve {
    pub fn connect(address: SocketAddr) -> io::Result<ManageSieve> {
        let socket = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        socket.set_write_timeout(Some(ANSWER_WITHIN))?;
        let mut client =
            ManageSieve { stream: BufReader::new(Stream::Plain(socket)), capabilities: Vec::new() };
        client.capabilities = client.answer()?.lines;
        Ok(client)
    }

    /// By STARTTLS and PLAIN.
    pub fn login(address: SocketAddr, user: &str, password: &str) -> io::Result<ManageSieve> {
        let mut client = Self::connect(address)?.starttls()?;
        let message = base64(format!("\0{user}\0{password}").as_bytes());
        client.command(&format!("AUTHENTICATE \"PLAIN\" \"{message}\""))?;
        Ok(client)
    }

    /// By STARTTLS and SCRAM-SHA-256; the server must prove that it knows the password, too.
    pub fn login_by_scram(address: SocketAddr, user: &str, password: &str) -> io::Result<ManageSieve> {
        let mut client = Self::connect(address)?.starttls()?;
        let bare = format!("n={user},r={SCRAM_NONCE}");
        let first = base64(format!("n,,{bare}").as_bytes());
        client.send(&format!("AUTHENTICATE \"SCRAM-SHA-256\" \"{first}\"\r\n"))?;
        let challenge = client.line()?;
        let wrong = || refused(challenge.clone());
        let server_first = unbase64(challenge.trim_matches('"')).ok_or_else(wrong)?;
        let (last, proof_of_server) = prove(&bare, &server_first, password).ok_or_else(wrong)?;
        let answer = client.command(&format!("\"{}\"", base64(last.as_bytes())))?.last;
        match answer.contains(&format!("(SASL \"{}\")", base64(proof_of_server.as_bytes()))) {
            true => Ok(client),
            false => Err(refused(format!("the server has not proved itself: {answer}"))),
        }
    }

    /// The capabilities come again, unasked.
    pub fn starttls(mut self) -> io::Result<ManageSieve> {
        self.command("STARTTLS")?;
        assert!(self.stream.buffer().is_empty(), "nothing comes in the clear behind STARTTLS");
        let Stream::Plain(socket) = self.stream.into_inner() else {
            return Err(refused("TLS is there already".to_owned()));
        };
        let stream = Stream::Tls(Box::new(handshake(socket)?));
        let mut client = ManageSieve { stream: BufReader::new(stream), capabilities: Vec::new() };
        client.capabilities = client.answer()?.lines;
        Ok(client)
    }

    /// Up to the OK; NO and BYE are errors.
    pub fn command(&mut self, line: &str) -> io::Result<Answer> {
        self.send(&format!("{line}\r\n"))?;
        self.answer()
    }

    pub fn put(&mut self, name: &str, text: &str) -> io::Result<Answer> {
        self.command(&format!("PUTSCRIPT \"{name}\" {{{}+}}\r\n{text}", text.len()))
    }

    pub fn get(&mut self, name: &str) -> io::Result<String> {
        Ok(self.command(&format!("GETSCRIPT \"{name}\""))?.lines.concat())
    }

    /// As the server lists them: `"name"`, and `"name" ACTIVE`.
    pub fn list(&mut self) -> io::Result<Vec<String>> {
        Ok(self.command("LISTSCRIPTS")?.lines)
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let word = line.split(' ').next().unwrap_or_default();
            match word {
                "OK" => return Ok(Answer { lines, last: line }),
                "NO" | "BYE" => return Err(refused(line)),
                _ => lines.push(line),
            }
        }
    }

    /// A line, or a literal that stands alone.
    fn line(&mut self) -> io::Result<String> {
        let line = self.raw_line()?;
        let octets = line.strip_prefix('{').and_then(|line| line.strip_suffix('}'));
        let Some(octets) = octets.and_then(|octets| octets.parse().ok()) else { return Ok(line) };
        let mut literal = vec![0; octets];
        self.stream.read_exact(&mut literal)?;
        self.raw_line()?;
        Ok(String::from_utf8_lossy(&literal).into_owned())
    }

    fn raw_line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed"));
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// RFC 5802 3: the client's last message, and what the server's must be.
fn prove(bare: &str, server_first: &str, password: &str) -> Option<(String, String)> {
    let field = |name: &str| server_first.split(',').find_map(|field| field.strip_prefix(name));
    let (nonce, iterations) = (field("r=")?, field("i=")?.parse().ok()?);
    let salt = unbase64_bytes(field("s=")?)?;
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password.as_bytes(), &mut salted);
    let mac = |key: &[u8], message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let without_proof = format!("c=biws,r={nonce}");
    let signed = format!("{bare},{server_first},{without_proof}");
    let client_key = mac(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let signature = mac(stored_key.as_ref(), signed.as_bytes());
    let proof: Vec<u8> =
        client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, sign)| key ^ sign).collect();
    let of_server = mac(mac(&salted, b"Server Key").as_ref(), signed.as_bytes());
    Some((format!("{without_proof},p={}", base64(&proof)), format!("v={}", base64(of_server.as_ref()))))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn unbase64(text: &str) -> Option<String> {
    String::from_utf8(unbase64_bytes(text)?).ok()
}

fn unbase64_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let digits = text.trim_end_matches('=').as_bytes();
    for chunk in digits.chunks(4) {
        let value = |digit: &u8| ALPHABET.iter().position(|known| known == digit);
        let mut bits = 0;
        for place in 0..4 {
            bits = bits << 6 | chunk.get(place).map_or(Some(0), value)?;
        }
        let whole = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
        bytes.extend_from_slice(&whole[..chunk.len() - 1]);
    }
    Some(bytes)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_goes_there_and_back() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
            assert_eq!(unbase64(coded).as_deref(), Some(plain));
        }
    }
}
