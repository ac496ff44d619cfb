//! An IMAP client for the stories: literals in, whole responses out.

use std::io;
use std::net::SocketAddr;

use crate::history::Row;
use crate::ledger::token_of;
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

impl From<Fetched> for Row {
    fn from(fetched: Fetched) -> Row {
        let token = token_of(&fetched.body).unwrap_or_default();
        Row { uid: fetched.uid, token, flags: fetched.flags, modseq: fetched.modseq }
    }
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
        self.open("SELECT", mailbox)
    }

    /// SELECT that changes nothing.
    pub fn examine(&mut self, mailbox: &str) -> io::Result<Selected> {
        self.open("EXAMINE", mailbox)
    }

    fn open(&mut self, verb: &str, mailbox: &str) -> io::Result<Selected> {
        let (untagged, _) = self.command(&format!("{verb} \"{mailbox}\" (CONDSTORE)"))?;
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

    /// The listed messages: UID, flags, mod-sequence and the token in the Subject.
    pub fn rows(&mut self, uids: &str) -> io::Result<Vec<Row>> {
        let asked = "(UID FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (SUBJECT)])";
        let (untagged, _) = self.command(&format!("UID FETCH {uids} {asked}"))?;
        Ok(untagged.into_iter().filter_map(parse_fetch).map(Row::from).collect())
    }

    /// APPEND with a synchronising literal. Returns the APPENDUID's UID.
    pub fn append(&mut self, mailbox: &str, content: &[u8]) -> io::Result<u32> {
        self.append_flagged(mailbox, &[], content).map(|(_, uid)| uid)
    }

    /// The same, with flags. Returns UIDVALIDITY and UID.
    pub fn append_flagged(
        &mut self,
        mailbox: &str,
        flags: &[String],
        content: &[u8],
    ) -> io::Result<(u32, u32)> {
        let flags = flags.join(" ");
        let tag = self.begin(&format!("APPEND \"{mailbox}\" ({flags}) {{{}}}", content.len()))?;
        let mut response = self.response()?;
        while response.text.starts_with("* ") && !response.text.starts_with("* BYE") {
            response = self.response()?;
        }
        if !response.text.starts_with('+') {
            return Err(refused(response.text));
        }
        self.wire.send(content)?;
        self.wire.send(b"\r\n")?;
        let (_, ok) = self.finish(&tag)?;
        pair_after(&ok, "APPENDUID ").ok_or_else(|| io::Error::other(format!("no APPENDUID in {ok}")))
    }

    /// UID COPY or UID MOVE (`verb`) of one message. Returns UIDVALIDITY and UID of what it became, `None` when
    /// there was nothing to take.
    pub fn take(&mut self, verb: &str, uid: u32, to: &str) -> io::Result<Option<(u32, u32)>> {
        let (untagged, ok) = self.command(&format!("UID {verb} {uid} \"{to}\""))?;
        let told = untagged.iter().map(|response| response.text.as_str()).chain([ok.as_str()]);
        let code = told.filter_map(|text| text.split_once("COPYUID ")).map(|(_, rest)| rest).next();
        Ok(code.and_then(|rest| {
            let mut words = rest.split([' ', ']']);
            let validity = words.next()?.parse().ok()?;
            Some((validity, words.nth(1)?.parse().ok()?))
        }))
    }
}

fn code<T: std::str::FromStr>(text: &str, name: &str) -> Option<T> {
    let rest = text.split_once(&format!("[{name} "))?.1;
    rest.split(']').next()?.parse().ok()
}

/// The two numbers behind `name`.
fn pair_after(text: &str, name: &str) -> Option<(u32, u32)> {
    let mut words = text.split_once(name)?.1.split([' ', ']']);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
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
