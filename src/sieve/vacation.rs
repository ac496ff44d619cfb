//! Replies of those who are away (RFC 5230, RFC 6131): what is decided of one in a run, and its text.
//! Whether one was sent to the same person lately is not known here: the caller looks that up by `handle`.

use super::encode::{self, one_line};
use crate::mail::address::Address;
use crate::mail::date::rfc5322_date;
use crate::mail::header;
use crate::mail::ids::Timestamp;

pub const SECONDS_PER_DAY: u64 = 86_400;
/// Where a script does not say (RFC 5230 4.1).
pub const SECONDS_DEFAULT: u64 = 7 * SECONDS_PER_DAY;
/// What a script asks for is brought within these (RFC 5230 4.1, RFC 6131 2).
pub const SECONDS_MIN: u64 = 60;
pub const SECONDS_MAX: u64 = 180 * SECONDS_PER_DAY;
/// Characters of a subject; the rest is left out.
pub const SUBJECT_CHARS_MAX: usize = 200;
/// Identifiers in References: the first and the last ones (RFC 5322 3.6.4 knows no bound).
pub const REFERENCES_MAX: usize = 20;
/// Octets of one identifier; a longer one is left out.
const IDENTIFIER_BYTES_MAX: usize = 250;

/// A reply that may be sent, unless one was lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vacation {
    /// Who gets it: the sender of the mail.
    pub to: Address,
    pub from: Mailbox,
    /// One line.
    pub subject: String,
    /// The text, or with `mime` an entity with its own fields (RFC 5230 4.4).
    pub reason: String,
    pub mime: bool,
    /// Replies of one handle are alike: each `to` gets one of them in `seconds` (RFC 5230 4.2).
    pub handle: [u8; 32],
    pub seconds: u64,
    pub answers: Answers,
}

/// An address with the name before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    pub name: Option<String>,
    pub address: Address,
}

/// The identifiers of a mail that is answered, each with its brackets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers {
    in_reply_to: Option<String>,
    references: Vec<String>,
}

impl Vacation {
    /// The whole message, lines ended by CRLF (RFC 5230 5). `message_id` without brackets. Nothing in it makes a field of
    /// its own, wherever it came from.
    pub fn compose(&self, date: Timestamp, message_id: &str) -> Vec<u8> {
        let mut text = String::new();
        let mut field = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\r\n"));
        field("Date", &rfc5322_date(date));
        field("From", &self.from.to_string());
        field("To", &format!("<{}>", one_line(&self.to.to_string())));
        field("Subject", &encode::unstructured(&self.subject));
        field("Message-ID", &format!("<{}>", identifier_text(message_id)));
        if let Some(id) = &self.answers.in_reply_to {
            field("In-Reply-To", id);
        }
        if !self.answers.references.is_empty() {
            field("References", &self.answers.references.join("\r\n\t"));
        }
        // RFC 3834 5, RFC 5230 5.7.
        field("Auto-Submitted", "auto-replied");
        field("MIME-Version", "1.0");
        match self.mime {
            true => self.entity(&mut text),
            false => {
                let (encoding, body) = encode::text_body(&self.reason);
                text.push_str("Content-Type: text/plain; charset=utf-8\r\n");
                text.push_str(&format!("Content-Transfer-Encoding: {encoding}\r\n\r\n{body}"));
            }
        }
        text.into_bytes()
    }

    /// RFC 5230 4.4: the entity brings the fields of its content, and no others.
    fn entity(&self, text: &mut String) {
        let reason = encode::with_crlf(&self.reason);
        let mut fields = header::fields(reason.as_bytes());
        let mut encoded = false;
        for field in fields.by_ref() {
            if field.name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-")) {
                encoded |= field.is("Content-Transfer-Encoding");
                text.push_str(&String::from_utf8_lossy(field.raw));
            }
        }
        if !text.ends_with("\r\n") {
            text.push_str("\r\n");
        }
        if !encoded && !reason.is_ascii() {
            text.push_str("Content-Transfer-Encoding: 8bit\r\n");
        }
        let body = fields.rest();
        let body = body.strip_prefix(b"\r\n").unwrap_or(body);
        text.push_str("\r\n");
        text.push_str(&String::from_utf8_lossy(body));
        if !text.ends_with("\r\n") {
            text.push_str("\r\n");
        }
    }
}

impl std::fmt::Display for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = one_line(&self.address.to_string());
        match &self.name {
            Some(name) if !name.is_empty() => write!(f, "{} <{address}>", encode::phrase(name)),
            _ => write!(f, "<{address}>"),
        }
    }
}

impl Answers {
    /// What an answer to a mail with these fields refers to (RFC 5322 3.6.4).
    pub(super) fn to(head: &[u8]) -> Self {
        let ids =
            |name: &str| header::find(head, name).map(|field| identifiers(field.value)).unwrap_or_default();
        let in_reply_to = ids("Message-ID").into_iter().next();
        let mut references = ids("References");
        if references.is_empty() {
            let parents = ids("In-Reply-To");
            // More than one parent: no one line of descent.
            references = if parents.len() == 1 { parents } else { Vec::new() };
        }
        references.extend(in_reply_to.clone());
        if references.len() > REFERENCES_MAX {
            let surplus = references.len() - REFERENCES_MAX;
            references.drain(1..=surplus);
        }
        Self { in_reply_to, references }
    }
}

/// Identifiers with their brackets; those with anything but printable ASCII in them are left out.
fn identifiers(value: &[u8]) -> Vec<String> {
    let mut ids = Vec::new();
    let mut rest = value;
    while let Some(open) = memchr::memchr(b'<', rest) {
        rest = &rest[open..];
        let Some(end) = memchr::memchr(b'>', rest) else { break };
        let id = &rest[..=end];
        if id.len() <= IDENTIFIER_BYTES_MAX && id.iter().all(u8::is_ascii_graphic) {
            ids.push(String::from_utf8_lossy(id).into_owned());
        }
        rest = &rest[end + 1..];
    }
    ids
}

fn identifier_text(id: &str) -> String {
    id.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>')).collect()
}

/// One address, perhaps with a name before it, and nothing else.
pub(super) fn mailbox(text: &str) -> Option<Mailbox> {
    let mut found = header::addresses(text.as_bytes()).into_iter();
    let (first, None) = (found.next()?.into_mailbox()?, found.next()) else { return None };
    let address = parsed(&first)?;
    let name = first.name.map(|name| one_line(&header::decode_text(&name)));
    Some(Mailbox { name: name.filter(|name| !name.trim().is_empty()), address })
}

/// The address of a list's entry, if it is one that mail can be sent to.
pub(super) fn parsed(entry: &header::Mailbox) -> Option<Address> {
    let (local, domain) = (entry.local.as_deref()?, entry.domain.as_deref()?);
    let (local, domain) = (String::from_utf8_lossy(local), String::from_utf8_lossy(domain));
    let plain = format!("{local}@{domain}");
    let quoted = || format!("\"{}\"@{domain}", local.replace('\\', "\\\\").replace('"', "\\\""));
    Address::parse(&plain).or_else(|_| Address::parse(&quoted())).ok()
}

pub(super) fn bounded_seconds(seconds: u64) -> u64 {
    seconds.clamp(SECONDS_MIN, SECONDS_MAX)
}
