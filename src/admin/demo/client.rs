//! The smallest mail clients that can play the tour: a line out, an answer in.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// One answer may take this long: a fail-over lies well within it.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Bytes of one line that the tour reads.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// A connection to one of the demo's ports.
pub struct Client {
    reader: BufReader<TcpStream>,
    tag: u32,
}

impl Client {
    fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        stream.set_nodelay(true)?;
        Ok(Client { reader: BufReader::new(stream), tag: 0 })
    }

    /// Sends one mail by SMTP; returns the reply that took responsibility for it.
    pub fn send_mail(port: u16, to: &str, subject: &str) -> io::Result<String> {
        let mut smtp = Client::connect(port)?;
        smtp.expect("220")?;
        smtp.dialogue("EHLO demo.example.test", "250")?;
        smtp.dialogue("MAIL FROM:<demo@elsewhere.test>", "250")?;
        smtp.dialogue(&format!("RCPT TO:<{to}>"), "250")?;
        smtp.dialogue("DATA", "354")?;
        let text = format!(
            "From: The demo <demo@elsewhere.test>\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nHello from the demo.\r\n."
        );
        let reply = smtp.dialogue(&text, "250")?;
        smtp.dialogue("QUIT", "221")?;
        Ok(reply)
    }

    /// Logs in by IMAP and selects INBOX; returns the client and how many messages EXIST.
    pub fn open_inbox(port: u16, user: &str) -> io::Result<(Client, u32)> {
        let mut imap = Client::connect(port)?;
        imap.expect("* OK")?;
        imap.imap(&format!("LOGIN {user} demo-{user}"))?;
        let untagged = imap.imap("SELECT INBOX")?;
        let exists =
            untagged.iter().find_map(|line| line.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse().ok());
        Ok((imap, exists.ok_or_else(|| io::Error::other("SELECT did not say EXISTS"))?))
    }

    /// One IMAP command; returns its untagged lines (literals as lines of their own).
    pub fn imap(&mut self, command: &str) -> io::Result<Vec<String>> {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        self.send(&format!("{tag}{command}"))?;
        let mut untagged = Vec::new();
        loop {
            let line = self.line()?;
            match line.strip_prefix(&tag) {
                Some(rest) if rest.starts_with("OK") => return Ok(untagged),
                Some(rest) => return Err(io::Error::other(format!("{command}: {rest}"))),
                None => untagged.push(line),
            }
        }
    }

    /// Starts IDLE; the server has said that it listens when this returns.
    pub fn start_idle(&mut self) -> io::Result<()> {
        self.send("idle IDLE")?;
        self.expect("+").map(drop)
    }

    /// Waits until the server says by itself how many messages EXIST.
    pub fn wait_for_exists(&mut self) -> io::Result<u32> {
        loop {
            let line = self.line()?;
            let count = line.strip_prefix("* ").and_then(|rest| rest.strip_suffix(" EXISTS"));
            if let Some(count) = count.and_then(|digits| digits.parse().ok()) {
                return Ok(count);
            }
        }
    }

    /// Logs in by POP3, retrieves the last message, and returns how many there are and its text.
    pub fn pop3_last(port: u16, user: &str) -> io::Result<(u32, String)> {
        let mut pop3 = Client::connect(port)?;
        pop3.expect("+OK")?;
        pop3.dialogue(&format!("USER {user}"), "+OK")?;
        pop3.dialogue(&format!("PASS demo-{user}"), "+OK")?;
        let count = pop3.dialogue("STAT", "+OK")?;
        let count: u32 = count.split(' ').nth(1).and_then(|count| count.parse().ok()).unwrap_or(0);
        pop3.dialogue(&format!("RETR {count}"), "+OK")?;
        let mut text = String::new();
        loop {
            let line = pop3.line()?;
            if line == "." {
                break;
            }
            text.push_str(&line);
            text.push('\n');
        }
        pop3.dialogue("QUIT", "+OK")?;
        Ok((count, text))
    }

    /// Sends a line and reads the answer, which must begin with `wanted`.
    fn dialogue(&mut self, line: &str, wanted: &str) -> io::Result<String> {
        self.send(line)?;
        self.expect(wanted)
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        self.reader.get_mut().write_all(format!("{line}\r\n").as_bytes())
    }

    /// Reads one answer; lines like `250-…` go before the last.
    fn expect(&mut self, wanted: &str) -> io::Result<String> {
        loop {
            let line = self.line()?;
            if !line.starts_with(wanted) {
                return Err(io::Error::other(format!("the server said: {line}")));
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}
