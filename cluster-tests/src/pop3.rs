//! A POP3 client for the stories.

use std::io;
use std::net::SocketAddr;

use crate::wire::{Wire, refused};

pub struct Pop3 {
    wire: Wire,
}

impl Pop3 {
    pub fn login(address: SocketAddr, user: &str, password: &str) -> io::Result<Pop3> {
        let mut pop3 = Pop3 { wire: Wire::connect(address)? };
        pop3.expect()?;
        pop3.command(&format!("USER {user}"))?;
        pop3.command(&format!("PASS {password}"))?;
        Ok(pop3)
    }

    /// A command with a one-line answer.
    pub fn command(&mut self, line: &str) -> io::Result<String> {
        self.wire.send(format!("{line}\r\n").as_bytes())?;
        self.expect()
    }

    /// A command with a multi-line answer, unstuffed, line ends kept.
    pub fn listing(&mut self, line: &str) -> io::Result<Vec<u8>> {
        self.command(line)?;
        let mut text = Vec::new();
        loop {
            let line = self.wire.line()?;
            if line == "." {
                return Ok(text);
            }
            text.extend_from_slice(line.strip_prefix('.').unwrap_or(&line).as_bytes());
            text.extend_from_slice(b"\r\n");
        }
    }

    fn expect(&mut self) -> io::Result<String> {
        let line = self.wire.line()?;
        if line.starts_with("+OK") { Ok(line) } else { Err(refused(line)) }
    }
}
