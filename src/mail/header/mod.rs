//! Header fields of a message: iterate, unfold, decode (RFC 5322 2.2, obsolete syntax included).
//! Tolerates anything: a line that is no field is a field without a name. Never looks beyond the blank line.

mod address;
mod lexer;
mod param;
mod word;

use std::borrow::Cow;

use memchr::memchr;

pub use address::{ADDRESSES_MAX, Address, Mailbox, addresses};
pub use param::{ContentType, PARAMS_MAX, Param, content_type, disposition, token_list};
pub use word::{decode_text, decoded_charset};

/// One field as it stands in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Without the colon and the blanks before it; empty for a line that is no field.
    pub name: &'a [u8],
    /// After the colon, folded as it stands, without the last line end.
    pub value: &'a [u8],
    /// The whole field with its line ends.
    pub raw: &'a [u8],
}

/// Iterates over the fields at the front of `header`, up to the blank line or the end.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

pub fn fields(header: &[u8]) -> Fields<'_> {
    Fields { rest: header }
}

/// The first field of that name, compared without case.
pub fn find<'a>(header: &'a [u8], name: &str) -> Option<Field<'a>> {
    fields(header).find(|field| field.is(name))
}

impl Field<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

impl<'a> Fields<'a> {
    /// What follows the fields seen so far: at the end of the iteration, the blank line and the body.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.rest.is_empty() || blank_line_length(self.rest).is_some() {
            return None;
        }
        let mut length = line_length(self.rest);
        while matches!(self.rest.get(length), Some(b' ' | b'\t')) {
            length += line_length(&self.rest[length..]);
        }
        let (raw, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(split_field(raw))
    }
}

fn split_field(raw: &[u8]) -> Field<'_> {
    let end = raw.len() - line_end_length(raw);
    let first_line = &raw[..line_length(raw)];
    match memchr(b':', first_line) {
        // A name holds no blanks; before the colon they are let pass (RFC 5322 4.5).
        Some(colon) if !raw[..colon].trim_ascii_end().contains(&b' ') && !raw[0].is_ascii_whitespace() => {
            Field { name: raw[..colon].trim_ascii_end(), value: &raw[colon + 1..end.max(colon + 1)], raw }
        }
        _ => Field { name: b"", value: &raw[..end], raw },
    }
}

/// Octets of the first line with its line end; CRLF and LF both end a line.
pub(crate) fn line_length(bytes: &[u8]) -> usize {
    memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

/// Octets of the line end that `bytes` ends with.
pub(crate) fn line_end_length(bytes: &[u8]) -> usize {
    match bytes {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    }
}

/// Octets of the blank line that `bytes` starts with, if it does.
pub(crate) fn blank_line_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

/// `value` on one line: line ends that fold are removed, and blanks at both ends (RFC 5322 2.2.3).
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if memchr::memchr2(b'\r', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut line = Vec::with_capacity(value.len());
    for (at, &byte) in value.iter().enumerate() {
        match byte {
            b'\r' if value.get(at + 1) == Some(&b'\n') => {}
            b'\n' => {}
            // A bare CR is no line end, but no quoted string may hold it either (RFC 9051 9).
            b'\r' => line.push(b' '),
            _ => line.push(byte),
        }
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(header: &[u8]) -> Vec<(&[u8], &[u8])> {
        fields(header).map(|field| (field.name, field.value)).collect()
    }

    #[test]
    fn fields_stop_at_the_blank_line() {
        let header = b"A: 1\r\nB : two\r\n  more\r\nC:\r\n\r\nD: body\r\n";
        let expected: Vec<(&[u8], &[u8])> = vec![(b"A", b" 1"), (b"B", b" two\r\n  more"), (b"C", b"")];
        assert_eq!(names(header), expected);
        assert_eq!(find(header, "b").unwrap().raw, b"B : two\r\n  more\r\n");
        assert!(find(header, "D").is_none());
    }

    #[test]
    fn malformed_lines_have_no_name() {
        let header = b"From user@domain  Fri Feb 22 17:06:23 2008\nA: 1\n folded: no\nnonsense\n: empty\n\n";
        let found = names(header);
        assert_eq!(found.len(), 4);
        assert_eq!(found[0].0, b"");
        assert_eq!(found[1], (&b"A"[..], &b" 1\n folded: no"[..]));
        assert_eq!((found[2].0, found[3].0), (&b""[..], &b""[..]));
    }

    #[test]
    fn unfolding_removes_line_ends_alone() {
        assert_eq!(unfold(b" one\r\n two\n\tthree \r\n").as_ref(), b"one two\tthree");
        assert_eq!(unfold(b"a\rb").as_ref(), b"a b");
        assert!(matches!(unfold(b" plain "), Cow::Borrowed(b"plain")));
    }

    proptest! {
        #[test]
        fn fields_tile_the_header(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b' '), any::<u8>()], 0..200)) {
            let mut iterator = fields(&bytes);
            let taken: usize = iterator.by_ref().map(|field| field.raw.len()).sum();
            prop_assert_eq!(taken + iterator.rest().len(), bytes.len());
            prop_assert!(iterator.rest().is_empty() || blank_line_length(iterator.rest()).is_some());
        }
    }
}
