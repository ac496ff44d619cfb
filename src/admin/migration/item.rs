//! One message on its way, and how it is known again. Pure.

use std::io;
use std::path::{Path, PathBuf};

use crate::mail::date::{DateTime, parse_rfc5322};
use crate::mail::header::{find, unfold};
use crate::mail::ids::BodyId;

/// One line: what is wrong, and what to do.
pub type Problem = String;

/// The order of folders: INBOX, then by name.
pub fn inbox_first(mut names: Vec<String>) -> Vec<String> {
    names.sort_by_key(|name| (name != "INBOX", name.clone()));
    names
}

/// What a disk said of a file.
pub fn at(path: &Path, error: &io::Error) -> Problem {
    format!("{}: {error}", path.display())
}

/// A message as its source lists it; its content is read when it is its turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub key: Key,
    pub date: Option<DateTime>,
    /// As IMAP writes them; \Recent is not among them.
    pub flags: Vec<String>,
    pub at: At,
}

/// Where its content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    File(PathBuf),
    /// Octets of an mbox, from, to.
    Span(u64, u64),
    Uid(u32),
    /// In a backup, or on a node.
    Body(BodyId),
}

/// By what a message that is there already is known. Two that share all of it are one and the same, or copies: those
/// are counted, so that as many arrive as there were.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Octets, with CRLF at the ends of lines.
    pub bytes: u64,
    /// Of the internal date, since 1970; zero: unknown.
    pub unix_seconds: i64,
    /// As it stands in the header; empty: there is none.
    pub message_id: Vec<u8>,
}

impl Key {
    /// Of a message that is here as a whole.
    pub fn of(content: &[u8], date: Option<&DateTime>) -> Self {
        let message_id = header_value(content, "Message-ID").unwrap_or_default();
        Self { bytes: content.len() as u64, unix_seconds: date.map_or(0, DateTime::unix_seconds), message_id }
    }
}

/// From the message itself, where nothing around it tells.
pub fn written_date(content: &[u8]) -> Option<DateTime> {
    parse_rfc5322(&header_value(content, "Date")?)
}

/// On one line, without the blanks around it.
pub fn header_value(content: &[u8], name: &str) -> Option<Vec<u8>> {
    find(content, name).map(|field| unfold(field.value).into_owned())
}

/// Line feeds that are alone become CRLF, as IMAP has it (RFC 9051 2.2); nothing else changes.
pub fn with_crlf(content: &[u8]) -> Vec<u8> {
    let alone = memchr::memchr_iter(b'\n', content).filter(|at| *at == 0 || content[at - 1] != b'\r').count();
    let mut out = Vec::with_capacity(content.len() + alone);
    let mut from = 0;
    for at in memchr::memchr_iter(b'\n', content) {
        if at == 0 || content[at - 1] != b'\r' {
            out.extend_from_slice(&content[from..at]);
            out.extend_from_slice(b"\r\n");
            from = at + 1;
        }
    }
    out.extend_from_slice(&content[from..]);
    out
}

/// Whether IMAP can carry it as a keyword (RFC 9051 9, atom).
pub fn is_keyword(word: &str) -> bool {
    let special = |c: char| " (){%*\"\\]".contains(c) || c.is_control() || !c.is_ascii();
    !word.is_empty() && word.len() <= KEYWORD_BYTES_MAX && !word.contains(special)
}

/// Longer ones are left out.
const KEYWORD_BYTES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_imap_has_it() {
        for (from, to) in [
            ("", ""),
            ("a", "a"),
            ("a\nb\n", "a\r\nb\r\n"),
            ("\n\n", "\r\n\r\n"),
            ("a\r\nb\nc\r\n", "a\r\nb\r\nc\r\n"),
            ("a\rb\n\r\n", "a\rb\r\n\r\n"),
        ] {
            assert_eq!(with_crlf(from.as_bytes()), to.as_bytes(), "{from:?}");
            assert_eq!(with_crlf(to.as_bytes()), to.as_bytes(), "once is enough");
        }
    }

    #[test]
    fn a_message_is_known_by_what_other_servers_tell_of_it() {
        let message =
            b"Subject: a\r\nMessage-ID: <1@a.test>\r\nDate: Mon, 1 Jan 2024 10:00:00 +0100\r\n\r\ntext\r\n";
        let date = written_date(message).unwrap();
        assert_eq!(date.unix_seconds(), 1_704_099_600);
        let key = Key::of(message, Some(&date));
        assert_eq!(
            key,
            Key {
                bytes: message.len() as u64,
                unix_seconds: 1_704_099_600,
                message_id: b"<1@a.test>".to_vec()
            }
        );
        assert_eq!(Key::of(b"no header", None), Key { bytes: 9, unix_seconds: 0, message_id: Vec::new() });
    }

    #[test]
    fn only_atoms_are_keywords() {
        assert!(is_keyword("$Forwarded") && is_keyword("NonJunk"));
        for word in ["", "a b", "\\Seen", "ä", "a]", "a*"] {
            assert!(!is_keyword(word), "{word:?}");
        }
        assert!(
            is_keyword(&"a".repeat(KEYWORD_BYTES_MAX)) && !is_keyword(&"a".repeat(KEYWORD_BYTES_MAX + 1))
        );
    }
}
