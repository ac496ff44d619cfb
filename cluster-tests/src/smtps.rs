//! A user's mail program that hands mail in over TLS (RFC 8314), and says what SMTP may say with it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::smtp::base64;
use crate::tls::{TlsStream, handshake};
use crate::wire::refused;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);

pub struct Smtps {
    stream: BufReader<TlsStream>,
    /// What EHLO was answered with.
    pub offers: Vec<String>,
}

impl Smtps {
    pub fn login(address: SocketAddr, user: &str) -> io::Result<Smtps> {
        let socket = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        socket.set_write_timeout(Some(ANSWER_WITHIN))?;
        let mut smtp = Smtps { stream: BufReader::new(handshake(socket)?), offers: Vec::new() };
        smtp.answer("220")?;
        smtp.offers = smtp.command("EHLO client.example.test", "250")?;
        let secret = format!("\0{user}\0{}", crate::cluster::password(user));
        smtp.command(&format!("AUTH PLAIN {}", base64(secret.as_bytes())), "235")?;
        Ok(smtp)
    }

    /// `wish` follows MAIL, such as ` REQUIRETLS`. The answer is the server's last word.
    pub fn submit(&mut self, user: &str, wish: &str, to: &str, content: &str) -> io::Result<String> {
        self.command(&format!("MAIL FROM:<{user}@example.test>{wish}"), "250")?;
        self.command(&format!("RCPT TO:<{to}>"), "250")?;
        self.command("DATA", "354")?;
        self.command(&format!("{content}\r\n."), "250").map(|lines| lines.concat())
    }

    fn command(&mut self, line: &str, code: &str) -> io::Result<Vec<String>> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.stream.get_mut().flush()?;
        self.answer(code)
    }

    fn answer(&mut self, code: &str) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed"));
            }
            let line = line.trim_end().to_owned();
            let more = line.as_bytes().get(3) == Some(&b'-');
            if !line.starts_with(code) {
                return Err(refused(line));
            }
            lines.push(line);
            if !more {
                return Ok(lines);
            }
        }
    }
}
