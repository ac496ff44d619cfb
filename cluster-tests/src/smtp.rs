//! An SMTP client that tells "acknowledged" from "refused" from "nobody knows".

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::wire::{Wire, is_refusal, refused};

pub struct Smtp {
    wire: Wire,
}

/// What became of one mail, as far as its sender can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Acknowledged,
    Refused,
    Unknown,
}

impl Smtp {
    pub fn connect(address: SocketAddr) -> io::Result<Smtp> {
        let mut smtp = Smtp::greeted(None, address)?;
        smtp.command("EHLO client.example.test", "250")?;
        Ok(smtp)
    }

    /// The same as a load balancer that connects for `client`: the node must take this machine for one (`session.proxies`).
    pub fn connect_for(address: SocketAddr, client: IpAddr) -> io::Result<Smtp> {
        let mut smtp = Smtp::ungreeted(None, address)?;
        let family = if client.is_ipv4() { "TCP4 {} 192.0.2.1" } else { "TCP6 {} 2001:db8::1" };
        let family = family.replace("{}", &client.to_string());
        smtp.wire.send(format!("PROXY {family} 40000 25\r\n").as_bytes())?;
        smtp.expect("220")?;
        smtp.command("EHLO client.example.test", "250")?;
        Ok(smtp)
    }

    /// The same from this address of our own.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<Smtp> {
        let mut smtp = Smtp::greeted(Some(source), address)?;
        smtp.command("EHLO client.example.test", "250")?;
        Ok(smtp)
    }

    /// Greeted, and nothing said yet. `source`: from this address of our own.
    pub fn greeted(source: Option<IpAddr>, address: SocketAddr) -> io::Result<Smtp> {
        let mut smtp = Smtp::ungreeted(source, address)?;
        smtp.expect("220")?;
        Ok(smtp)
    }

    /// Connected, and the greeting not waited for.
    pub fn ungreeted(source: Option<IpAddr>, address: SocketAddr) -> io::Result<Smtp> {
        let wire = match source {
            Some(source) => Wire::connect_from(source, address)?,
            None => Wire::connect(address)?,
        };
        Ok(Smtp { wire })
    }

    /// Connected, greeted, and logged in.
    pub fn login(address: SocketAddr, user: &str) -> io::Result<Smtp> {
        let mut smtp = Smtp::connect(address)?;
        let secret = format!("\0{user}\0{}", crate::cluster::password(user));
        smtp.command(&format!("AUTH PLAIN {}", base64(secret.as_bytes())), "235")?;
        Ok(smtp)
    }

    /// Hands in one mail of this user's, for anybody. The answer is the server's last word.
    pub fn submit(&mut self, user: &str, to: &[&str], content: &[u8]) -> io::Result<String> {
        self.command(&format!("MAIL FROM:<{user}@example.test>"), "250")?;
        for recipient in to {
            self.command(&format!("RCPT TO:<{recipient}>"), "250")?;
        }
        self.command("DATA", "354")?;
        // What stories make names a stranger, under whom no user may write.
        let text = String::from_utf8_lossy(content)
            .replace("From: sender@elsewhere.test", &format!("From: {user}@example.test"));
        self.content(text.as_bytes())
    }

    /// Sends one mail. `content` has CRLF line ends and needs no dot-stuffing by the caller.
    pub fn send(&mut self, to: &[&str], content: &[u8]) -> (Sent, io::Result<String>) {
        match self.envelope(to) {
            Ok(()) => {}
            Err(error) => return (Sent::Refused, Err(error)),
        }
        match self.content(content) {
            Ok(reply) => (Sent::Acknowledged, Ok(reply)),
            Err(error) if is_refusal(&error) => (Sent::Refused, Err(error)),
            Err(error) => (Sent::Unknown, Err(error)),
        }
    }

    fn envelope(&mut self, to: &[&str]) -> io::Result<()> {
        self.command("MAIL FROM:<sender@elsewhere.test>", "250")?;
        for recipient in to {
            self.command(&format!("RCPT TO:<{recipient}>"), "250")?;
        }
        self.command("DATA", "354").map(drop)
    }

    /// Sends the text and its final dot, and does not wait for what the server says to it.
    pub fn send_without_waiting(&mut self, to: &[&str], content: &[u8]) -> io::Result<()> {
        self.envelope(to)?;
        self.text(content)
    }

    /// What the server says to a text sent by [`Smtp::send_without_waiting`].
    pub fn reply(&mut self, code: &str) -> io::Result<String> {
        self.expect(code)
    }

    fn content(&mut self, content: &[u8]) -> io::Result<String> {
        self.text(content)?;
        self.expect("250")
    }

    fn text(&mut self, content: &[u8]) -> io::Result<()> {
        let mut stuffed = Vec::with_capacity(content.len() + 16);
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b".") {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        stuffed.extend_from_slice(b".\r\n");
        self.wire.send(&stuffed)
    }

    pub fn command(&mut self, line: &str, code: &str) -> io::Result<String> {
        self.wire.send(format!("{line}\r\n").as_bytes())?;
        self.expect(code)
    }

    fn expect(&mut self, code: &str) -> io::Result<String> {
        loop {
            let line = self.wire.line()?;
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            return if line.starts_with(code) { Ok(line) } else { Err(refused(line)) };
        }
    }
}

/// RFC 4648 4.
pub fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits =
            three.iter().fold(0u32, |bits, octet| (bits << 8) | u32::from(*octet)) << (8 * (3 - three.len()));
        let digit = |at: usize| match at <= three.len() {
            true => char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]),
            false => '=',
        };
        [0, 1, 2, 3].map(digit)
    };
    octets.chunks(3).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
