//! The text of a mail on its way out: what it needs of the next server, and its dots.

use bytes::{Bytes, BytesMut};
use memchr::memchr_iter;

use crate::mail::header;

/// Octets of text put into the output at a time.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// What a text needs of those who carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// There is an octet above 127.
    pub eight_bit: bool,
    /// There is one in the header (RFC 6532).
    pub utf8_header: bool,
}

impl Needs {
    pub fn of(text: &[u8]) -> Self {
        let mut fields = header::fields(text);
        fields.by_ref().for_each(drop);
        let header = &text[..text.len() - fields.rest().len()];
        Self { eight_bit: !text.is_ascii(), utf8_header: !header.is_ascii() }
    }
}

/// Writes a text with a dot put before each line that begins with one, and the line with the dot alone that ends it.
#[derive(Debug)]
pub struct Stuffing {
    text: Bytes,
    at_line_start: bool,
    ended: bool,
}

impl Stuffing {
    pub fn new(text: Bytes) -> Self {
        Self { text, at_line_start: true, ended: false }
    }

    /// The next part; true when it was the last.
    pub fn write(&mut self, out: &mut BytesMut) -> bool {
        let part = self.text.split_to(self.text.len().min(CHUNK_BYTES));
        let mut from = 0;
        if self.at_line_start && part.first() == Some(&b'.') {
            out.extend_from_slice(b".");
        }
        for end in memchr_iter(b'\n', &part) {
            if part.get(end + 1) == Some(&b'.') {
                out.extend_from_slice(&part[from..=end]);
                out.extend_from_slice(b".");
                from = end + 1;
            }
        }
        out.extend_from_slice(&part[from..]);
        if let Some(last) = part.last() {
            self.at_line_start = *last == b'\n';
        }
        if self.text.is_empty() && !self.ended {
            self.ended = true;
            if !self.at_line_start {
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b".\r\n");
        }
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stuffed(text: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        let mut stuffing = Stuffing::new(Bytes::copy_from_slice(text));
        while !stuffing.write(&mut out) {}
        out.to_vec()
    }

    #[test]
    fn dots_at_the_front_of_lines_are_doubled() {
        for (text, sent) in [
            ("", ".\r\n"),
            (".", "..\r\n.\r\n"),
            (".a\r\n..\r\nb.\r\n", "..a\r\n...\r\nb.\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(text.as_bytes()), sent.as_bytes(), "{text:?}");
        }
        // A line end at the end of a part, a dot at the front of the next.
        let text = [vec![b'x'; CHUNK_BYTES - 2], b"\r\n.y\r\n".to_vec()].concat();
        assert!(stuffed(&text).ends_with(b"\r\n..y\r\n.\r\n"));
    }

    #[test]
    fn a_text_needs_what_is_in_it() {
        let needs = |text: &str| Needs::of(text.as_bytes());
        assert_eq!(needs("a: b\r\n\r\nc"), Needs { eight_bit: false, utf8_header: false });
        assert_eq!(needs("a: b\r\n\r\n\u{fc}"), Needs { eight_bit: true, utf8_header: false });
        assert_eq!(needs("a: \u{fc}\r\n\r\n"), Needs { eight_bit: true, utf8_header: true });
    }

    proptest! {
        /// Read as servers do, it is the text again.
        #[test]
        fn what_is_stuffed_reads_back(lines in prop::collection::vec("[.ab]{0,4}", 0..20)) {
            let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let sent = String::from_utf8(stuffed(text.as_bytes())).unwrap();
            let body = sent.strip_suffix(".\r\n").unwrap();
            let read: String = body.split_inclusive("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
            prop_assert_eq!(read, text);
            prop_assert!(!body.starts_with(".\r\n") && !body.contains("\r\n.\r\n"));
        }
    }
}
