//! Writes the small tokens of responses: strings, mailbox names, flags, numbers.

use std::fmt::Write;

use bytes::BytesMut;

use super::grammar::NameCoding;
use super::limits::VANISHED_RANGES_PER_LINE;
use super::selected::Numbered;
use crate::mail::flags::{Flags, SystemFlag};
use crate::mail::ids::ModSeq;
use crate::state::command::UidSet;

/// A mailbox name, quoted: none has a line end in it.
pub fn mailbox_name(name: &str, names: NameCoding, out: &mut BytesMut) {
    out.extend_from_slice(b"\"");
    for byte in names.encode(name).bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.extend_from_slice(b"\\");
        }
        out.extend_from_slice(&[byte]);
    }
    out.extend_from_slice(b"\"");
}

/// `* VANISHED 1:3,5` (RFC 7162 3.2.10), in lines of [`VANISHED_RANGES_PER_LINE`]; nothing for nothing.
pub fn vanished(response: &str, uids: &UidSet, out: &mut BytesMut) {
    for ranges in uids.ranges().chunks(VANISHED_RANGES_PER_LINE) {
        let _ = write!(out, "* {response} ");
        for (at, (first, last)) in ranges.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = match first == last {
                true => write!(out, "{comma}{first}"),
                false => write!(out, "{comma}{first}:{last}"),
            };
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The front of a FETCH response, up to its parenthesis; of a UIDFETCH (RFC 9586) to a client that knows UIDs only.
pub fn fetch(message: Numbered, uid_only: bool, out: &mut BytesMut) {
    let _ = match uid_only {
        true => write!(out, "* {} UIDFETCH (", message.uid),
        false => write!(out, "* {} FETCH (", message.sequence),
    };
}

/// `* OK [HIGHESTMODSEQ n]` (RFC 7162 3.1.2.1).
pub fn highest_modseq(modseq: ModSeq, text: &str, out: &mut BytesMut) {
    let _ = write!(out, "* OK [HIGHESTMODSEQ {modseq}] {text}\r\n");
}

pub fn number(number: impl Into<u64>, out: &mut BytesMut) {
    let _ = write!(out, "{}", number.into());
}

/// `(\Seen keyword \Recent)`.
pub fn flags(flags: Flags, keywords: &[String], recent: bool, out: &mut BytesMut) {
    out.extend_from_slice(b"(");
    with_blanks(flags.names(keywords).chain(recent.then_some("\\Recent")), out);
    out.extend_from_slice(b")");
}

/// The flags a mailbox knows that are in `flags`: `(\Answered … keyword`, without the closing parenthesis.
/// Keywords are all in it, or none.
pub fn known_flags(flags: Flags, keywords: &[String], out: &mut BytesMut) {
    out.extend_from_slice(b"(");
    let system = SystemFlag::ALL.iter().filter(|flag| flags.has(**flag)).map(|flag| flag.name());
    let keywords = if flags.keywords == 0 { &[] } else { keywords };
    with_blanks(system.chain(keywords.iter().map(String::as_str)), out);
}

fn with_blanks<'a>(names: impl Iterator<Item = &'a str>, out: &mut BytesMut) {
    for (at, name) in names.enumerate() {
        if at > 0 {
            out.extend_from_slice(b" ");
        }
        out.extend_from_slice(name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::Uid;

    fn vanished_lines(ranges: usize) -> Vec<String> {
        let uids = UidSet::from_ascending((1..=ranges as u32).map(|at| Uid(at * 2)));
        let mut out = BytesMut::new();
        vanished("VANISHED", &uids, &mut out);
        String::from_utf8(out.to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn many_ranges_that_vanished_go_into_several_lines() {
        assert!(vanished_lines(0).is_empty());
        assert_eq!(vanished_lines(2), ["* VANISHED 2,4"]);
        assert_eq!(vanished_lines(VANISHED_RANGES_PER_LINE).len(), 1);
        let more = vanished_lines(VANISHED_RANGES_PER_LINE + 1);
        assert_eq!(more.len(), 2);
        assert_eq!(more[1], format!("* VANISHED {}", 2 * (VANISHED_RANGES_PER_LINE + 1)));
    }
}
