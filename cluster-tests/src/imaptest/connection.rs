//! One connection of a script: whole replies, and where its message numbers have gone.

use std::io;
use std::net::SocketAddr;

use crate::wire::{Wire, refused};

pub struct Connection {
    wire: Wire,
    tags: u32,
    /// Messages of the selected mailbox, as this connection was told.
    pub exists: u32,
    pub greeting: Vec<u8>,
    /// What the server parted with.
    pub bye: Option<String>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let mut connection =
            Connection { wire: Wire::connect(address)?, tags: 0, exists: 0, greeting: Vec::new(), bye: None };
        connection.greeting = connection.reply()?;
        Ok(connection)
    }

    /// Sends a command; returns its tag.
    pub fn send(&mut self, command: &[u8]) -> io::Result<String> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.wire.send(&[tag.as_bytes(), b" ", command, b"\r\n"].concat())?;
        Ok(tag)
    }

    /// One whole reply; each literal stands in it as `{n}`, CRLF and its octets.
    pub fn reply(&mut self) -> io::Result<Vec<u8>> {
        let mut reply = Vec::new();
        loop {
            let line = self.wire.line_bytes()?;
            reply.extend_from_slice(&line);
            let octets = line.strip_suffix(b"}").and_then(|rest| {
                let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
                let digits = &rest[rest.len() - digits..];
                let announced = rest[..rest.len() - digits.len()].ends_with(b"{");
                String::from_utf8_lossy(digits).parse::<usize>().ok().filter(|_| announced)
            });
            let Some(octets) = octets else { return Ok(reply) };
            reply.extend_from_slice(b"\r\n");
            reply.extend_from_slice(&self.wire.exact(octets)?);
        }
    }

    /// A command of the interpreter's own: it must end with OK. Returns the untagged replies without their `* `.
    pub fn must(&mut self, command: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let (status, replies) = self.run(command)?;
        if status.starts_with("OK") {
            return Ok(replies);
        }
        Err(refused(format!("{} -> {status}", String::from_utf8_lossy(command))))
    }

    /// Any command: what follows its tag, and the untagged replies.
    pub fn run(&mut self, command: &[u8]) -> io::Result<(String, Vec<Vec<u8>>)> {
        let tag = self.send(command)?;
        let mut replies = Vec::new();
        loop {
            let reply = self.reply()?;
            if let Some(rest) = reply.strip_prefix(tag.as_bytes()) {
                return Ok((String::from_utf8_lossy(rest).trim_start().to_owned(), replies));
            }
            if let Some(untagged) = reply.strip_prefix(b"* ") {
                self.take_note(untagged);
                replies.push(untagged.to_vec());
            }
        }
    }

    /// Keeps count of the selected mailbox, and a farewell.
    pub fn take_note(&mut self, untagged: &[u8]) -> Option<NumbersChanged> {
        let text = String::from_utf8_lossy(untagged);
        if let Some(farewell) = text.strip_prefix("BYE ") {
            self.bye = Some(farewell.to_owned());
        }
        let mut words = text.split(' ');
        let number: u32 = words.next()?.parse().ok()?;
        match words.next()?.to_ascii_uppercase().as_str() {
            "EXPUNGE" => {
                self.exists = self.exists.saturating_sub(1);
                Some(NumbersChanged::Expunged(number))
            }
            "EXISTS" => {
                self.exists = number;
                Some(NumbersChanged::Exists(number))
            }
            _ => None,
        }
    }
}

/// What a reply does to message numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumbersChanged {
    Expunged(u32),
    Exists(u32),
}

/// Where each number that was valid at first is now.
#[derive(Debug, Clone)]
pub struct Followed(pub Vec<Option<u32>>);

impl Followed {
    pub fn from(exists: u32) -> Followed {
        Followed((1..=exists).map(Some).collect())
    }

    pub fn take_in(&mut self, change: NumbersChanged) {
        match change {
            NumbersChanged::Expunged(gone) => {
                for number in &mut self.0 {
                    *number = match *number {
                        Some(number) if number == gone => None,
                        Some(number) if number > gone => Some(number - 1),
                        other => other,
                    };
                }
            }
            NumbersChanged::Exists(exists) => {
                let known = self.0.iter().flatten().count() as u32;
                self.0.extend((known + 1..=exists).map(Some));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_followed() {
        let mut numbers = Followed::from(3);
        numbers.take_in(NumbersChanged::Expunged(2));
        numbers.take_in(NumbersChanged::Exists(3));
        assert_eq!(numbers.0, [Some(1), None, Some(2), Some(3)]);
    }
}
