//! An IMAP client for the stories: literals in, whole responses out.

use std::io;
use std::net::SocketAddr;

use crate::wire::{Wire, refused};

pub struct Imap {
    wire: Wire,
    tags: u32,
}

/// One untagged response: its text with each literal cut out as `{n}`, and the literals in order.
#[derive(Debug, Clone)]
pub struct Untagged {
    pub text: String,
    pub literals: Vec<Vec<u8>>,
}

/// A message as the checker wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub uid: u32,
    pub flags: Vec<String>,
    pub modseq: u64,
    pub body: Vec<u8>,
}

/// What SELECT said of a mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    pub exists: u32,
    pub uid_validity: u32,
    pub uid_next: u32,
    pub highest_modseq: u64,
}

impl Imap {
    pub fn connect(address: SocketAddr) -> io::Result<Imap> {
        let mut wire = Wire::connect(address)?;
        let greeting = wire.line()?;
        if greeting.starts_with("* OK") { Ok(Imap { wire, tags: 0 }) } else { Err(refused(greeting)) }
    }

    pub fn login(address: SocketAddr, user: &str, password: &str) -> io::Result<Imap> {
        let mut imap = Imap::connect(address)?;
        imap.command(&format!("LOGIN {user} {password}"))?;
        Ok(imap)
    }

    /// Sends one command; returns its untagged responses and the tagged OK's text.
    pub fn command(&mut self, line: &str) -> io::Result<(Vec<Untagged>, String)> {
        let tag = self.begin(line)?;
        self.finish(&tag)
    }

    /// Sends a command without waiting for its end (IDLE). Returns its tag.
    pub fn begin(&mut self, line: &str) -> io::Result<String> {
        self.tags += 1;
        let tag = format!("a{}", self.tags);
        self.wire.send(format!("{tag} {line}\r\n").as_bytes())?;
        Ok(tag)
    }

    /// Reads until the tagged answer.
    pub fn finish(&mut self, tag: &str) -> io::Result<(Vec<Untagged>, String)> {
        let mut untagged = Vec::new();
        loop {
            let response = self.response()?;
            if let Some(rest) = response.text.strip_prefix(tag) {
                let rest = rest.trim_start().to_string();
                return if rest.starts_with("OK") { Ok((untagged, rest)) } else { Err(refused(rest)) };
            }
            untagged.push(response);
        }
    }

    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.send(bytes)
    }

    /// One whole response, untagged, tagged or a continuation.
    pub fn response(&mut self) -> io::Result<Untagged> {
        let mut text = String::new();
        let mut literals = Vec::new();
        loop {
            let line = self.wire.line()?;
            text.push_str(&line);
            let octets =
                line.strip_suffix('}').and_then(|rest| rest.rsplit_once('{')).map(|(_, digits)| digits);
            match octets.and_then(|digits| digits.parse().ok()) {
                Some(octets) => literals.push(self.wire.exact(octets)?),
                None => return Ok(Untagged { text, literals }),
            }
        }
    }

    pub fn select(&mut self, mailbox: &str) -> io::Result<Selected> {
        let (untagged, _) = self.command(&format!("SELECT \"{mailbox}\" (CONDSTORE)"))?;
        let mut selected = Selected::default();
        for response in &untagged {
            let text = &response.text;
            if let Some(count) = text.strip_prefix("* ").and_then(|rest| rest.strip_suffix(" EXISTS")) {
                selected.exists = count.parse().unwrap_or(0);
            }
            selected.uid_validity = code(text, "UIDVALIDITY").unwrap_or(selected.uid_validity);
            selected.uid_next = code(text, "UIDNEXT").unwrap_or(selected.uid_next);
            selected.highest_modseq = code(text, "HIGHESTMODSEQ").unwrap_or(selected.highest_modseq);
        }
        Ok(selected)
    }

    /// Every message of the selected mailbox, with its body.
    pub fn fetch_all(&mut self) -> io::Result<Vec<Fetched>> {
        let (untagged, _) = self.command("UID FETCH 1:* (UID FLAGS MODSEQ BODY.PEEK[])")?;
        let fetched: Vec<Fetched> = untagged.into_iter().filter_map(parse_fetch).collect();
        Ok(fetched)
    }

    /// APPEND with a synchronising literal. Returns the APPENDUID's UID.
    pub fn append(&mut self, mailbox: &str, content: &[u8]) -> io::Result<u32> {
        let tag = self.begin(&format!("APPEND \"{mailbox}\" {{{}}}", content.len()))?;
        let response = self.response()?;
        if !response.text.starts_with('+') {
            return Err(refused(response.text));
        }
        self.wire.send(content)?;
        self.wire.send(b"\r\n")?;
        let (_, ok) = self.finish(&tag)?;
        let uid = ok.split("APPENDUID ").nth(1).and_then(|rest| rest.split([' ', ']']).nth(1));
        uid.and_then(|uid| uid.parse().ok()).ok_or_else(|| io::Error::other(format!("no APPENDUID in {ok}")))
    }
}

fn code<T: std::str::FromStr>(text: &str, name: &str) -> Option<T> {
    let rest = text.split_once(&format!("[{name} "))?.1;
    rest.split(']').next()?.parse().ok()
}

fn parse_fetch(response: Untagged) -> Option<Fetched> {
    let text = &response.text;
    if !text.contains(" FETCH (") {
        return None;
    }
    let after = |name: &str| text.split_once(name).map(|(_, rest)| rest);
    let uid = after("UID ")?.split([' ', ')']).next()?.parse().ok()?;
    let modseq = after("MODSEQ (")?.split(')').next()?.parse().ok()?;
    let flags = after("FLAGS (")?.split(')').next()?;
    let mut flags: Vec<String> = flags.split_whitespace().map(str::to_string).collect();
    flags.retain(|flag| flag != "\\Recent");
    flags.sort();
    Some(Fetched { uid, flags, modseq, body: response.literals.into_iter().next()? })
}
