//! Makes a message that came as binary (RFC 3516 4.4) one that any protocol can tell line by line: parts whose
//! encoding is `binary` and whose octets are no lines become base64. Nothing else changes, and no octet is lost.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Encoding, Part, Structure};
use crate::mail::header;

/// Octets of a line without its end (RFC 5322 2.1.1).
const LINE_BYTES_MAX: usize = 998;
/// Octets that make up one line of base64, of 76 characters (RFC 2045 6.8).
const BASE64_LINE_OCTETS: usize = 57;

/// Why a message cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unservable {
    /// A NUL outside a part whose encoding is `binary` (RFC 2045 2.7, 2.8 allow it nowhere else).
    Nul,
}

/// The message with its binary parts in base64, which is less than half as long again; `None`: it can stay as it is.
///
/// # Errors
/// [`Unservable`] when a NUL would remain.
pub fn without_binary(raw: &[u8], structure: &Structure) -> Result<Option<Vec<u8>>, Unservable> {
    let parts: Vec<&Part> = structure.parts().iter().filter(|part| must_go(raw, part)).collect();
    let mut edits = Vec::new();
    for part in &parts {
        edits.push((encoding_field(raw, part), Edit::Field("base64")));
        edits.push((part.body.clone(), Edit::Base64));
    }
    if !parts.is_empty() {
        // RFC 2045 6.4: what holds parts says no more than they do.
        let says_binary = |part: &&Part| part.encoding == Encoding::Binary && part.holds_parts();
        let holders = structure.parts().iter().filter(says_binary);
        edits.extend(holders.map(|part| (encoding_field(raw, part), Edit::Field("8bit"))));
    }
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = Vec::new();
    let mut at = 0;
    for (range, edit) in edits {
        copy(&raw[at..range.start], &mut out)?;
        at = range.end;
        match edit {
            Edit::Field(encoding) => {
                out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
            }
            Edit::Base64 => write_base64(&raw[range], at == raw.len(), &mut out),
        }
    }
    copy(&raw[at..], &mut out)?;
    Ok((!parts.is_empty()).then_some(out))
}

enum Edit {
    /// The field that names the encoding names this one.
    Field(&'static str),
    Base64,
}

fn copy(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unservable> {
    if memchr::memchr(0, bytes).is_some() {
        return Err(Unservable::Nul);
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// A part of its own whose octets are no lines, as it says.
fn must_go(raw: &[u8], part: &Part) -> bool {
    part.encoding == Encoding::Binary && !part.holds_parts() && !is_lines(&raw[part.body.clone()])
}

/// RFC 2045 2.8: lines of at most 998 octets that end with CRLF, without NUL, and neither CR nor LF alone.
fn is_lines(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
        if end > LINE_BYTES_MAX {
            return false;
        }
        match &rest[end..] {
            [] => return true,
            [b'\r', b'\n', ..] => rest = &rest[end + 2..],
            _ => return false,
        }
    }
    true
}

/// Where the field stands that the part's encoding was read from: the first of its name.
fn encoding_field(raw: &[u8], part: &Part) -> Range<usize> {
    let mut at = part.header.start;
    for field in header::fields(&raw[part.header.clone()]) {
        if field.is("Content-Transfer-Encoding") {
            return at..at + field.raw.len();
        }
        at += field.raw.len();
    }
    at..at
}

/// `last`: nothing follows that would end the last line.
fn write_base64(bytes: &[u8], last: bool, out: &mut Vec<u8>) {
    for (at, line) in bytes.chunks(BASE64_LINE_OCTETS).enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(STANDARD.encode(line).as_bytes());
    }
    if last {
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::mime;

    fn recode(raw: &[u8]) -> Result<Option<Vec<u8>>, Unservable> {
        without_binary(raw, &mime::parse(raw))
    }

    fn text(raw: &str) -> String {
        String::from_utf8(recode(raw.as_bytes()).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn a_binary_message_becomes_base64() {
        assert_eq!(
            text("A: 1\r\nContent-Transfer-Encoding:\r\n binary\r\nB: 2\r\n\r\n\0-a\n"),
            "A: 1\r\nContent-Transfer-Encoding: base64\r\nB: 2\r\n\r\nAC1hCg==\r\n"
        );
        let long = format!("Content-Transfer-Encoding: BINARY\r\n\r\n{}", "\0".repeat(58));
        let line = "A".repeat(76);
        assert_eq!(text(&long), format!("Content-Transfer-Encoding: base64\r\n\r\n{line}\r\nAA==\r\n"));
    }

    #[test]
    fn only_parts_that_are_no_lines_change() {
        let raw = "Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: binary\r\n\r\n--x\r\n\
            Content-Transfer-Encoding: binary\r\n\r\nlines\r\nof text\r\n--x\r\n\
            Content-Type: message/rfc822\r\n\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\r\n--x--\r\n";
        let recoded = "Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--x\r\n\
            Content-Transfer-Encoding: binary\r\n\r\nlines\r\nof text\r\n--x\r\n\
            Content-Type: message/rfc822\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\nAA==\r\n--x--\r\n";
        assert_eq!(text(raw), recoded);
    }

    #[test]
    fn what_is_lines_stays_to_the_octet() {
        let fits = "x".repeat(LINE_BYTES_MAX);
        for body in ["", "a", "a\r\n\r\nb\u{fc}\r\n", &fits] {
            let raw = format!("Content-Transfer-Encoding: binary\r\n\r\n{body}");
            assert_eq!(recode(raw.as_bytes()), Ok(None), "{body:?}");
        }
        for body in ["a\n", "a\rb\r\n", "\r", &format!("{fits}x")] {
            let raw = format!("Content-Transfer-Encoding: binary\r\n\r\n{body}");
            assert!(recode(raw.as_bytes()).unwrap().is_some(), "{body:?}");
        }
    }

    #[test]
    fn a_nul_anywhere_else_is_refused() {
        for raw in [
            "A: \0\r\n\r\nb\r\n",
            "A: 1\r\n\r\n\0\r\n",
            "Content-Transfer-Encoding: 8bit\r\n\r\n\0\r\n",
            "Content-Transfer-Encoding: x-own\r\n\r\n\0\r\n",
            "\0: 1\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\r\n",
        ] {
            assert_eq!(recode(raw.as_bytes()), Err(Unservable::Nul), "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn no_octet_is_lost(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut raw = b"Content-Transfer-Encoding: binary\r\n\r\n".to_vec();
            raw.extend_from_slice(&body);
            let new = recode(&raw).unwrap().unwrap_or(raw);
            let structure = mime::parse(&new);
            prop_assert_eq!(structure.root().decoded(&new).into_owned(), body);
        }
    }
}
