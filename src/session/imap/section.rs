//! The bytes of `BODY[section]<partial>` (RFC 9051 6.4.5), as stored: nothing is decoded or mended.

use std::borrow::Cow;
use std::ops::Range;

use super::item::{Partial, Section, SectionText};
use crate::mail::header::{self, blank_line_length};
use crate::mail::mime::{Encoding, Part, PartKind, Structure};

/// The bytes of the section, or `None` where there is no such part: the answer is NIL.
pub fn section_bytes<'a>(raw: &'a [u8], structure: &Structure, section: &Section) -> Option<Cow<'a, [u8]>> {
    if section.part.is_empty() {
        return Some(text_of_message(raw, structure.root(), &section.text));
    }
    let part = find(structure, &section.part)?;
    match (&section.text, &part.kind) {
        (SectionText::All, _) => Some(Cow::Borrowed(&raw[part.body.clone()])),
        (SectionText::Mime, _) => Some(Cow::Borrowed(&raw[part.header.clone()])),
        // RFC 9051 6.4.5: these are of message/rfc822 parts, and mean the message inside.
        (text, PartKind::Message(child)) => {
            Some(text_of_message(&raw[..part.body.end], structure.part(*child), text))
        }
        (_, PartKind::Leaf | PartKind::Multipart(_)) => None,
    }
}

/// What `BINARY` (RFC 3516 4.2) speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binary<'s> {
    /// As stored: the message, or a part that holds parts. They have no encoding of their own (RFC 2045 6.4).
    Stored(Range<usize>),
    /// Its transfer encoding is to be undone.
    Encoded(&'s Part),
    /// RFC 3516 4.3: the request fails with UNKNOWN-CTE.
    UnknownEncoding,
}

/// The part that these numbers name; `None` where there is none.
pub fn binary_part<'s>(raw: &[u8], structure: &'s Structure, numbers: &[u32]) -> Option<Binary<'s>> {
    if numbers.is_empty() {
        return Some(Binary::Stored(0..raw.len()));
    }
    let part = find(structure, numbers)?;
    Some(match part.encoding {
        _ if part.holds_parts() => Binary::Stored(part.body.clone()),
        Encoding::Identity | Encoding::Binary => Binary::Stored(part.body.clone()),
        Encoding::QuotedPrintable | Encoding::Base64 => Binary::Encoded(part),
        Encoding::Unknown => Binary::UnknownEncoding,
    })
}

/// True when no part number is given, so that the section can be had without the structure: see [`top_level_bytes`].
pub fn is_top_level(section: &Section) -> bool {
    section.part.is_empty()
}

/// The bytes of a section without part numbers, without taking the message apart.
pub fn top_level_bytes<'a>(raw: &'a [u8], text: &SectionText) -> Cow<'a, [u8]> {
    let mut fields = header::fields(raw);
    fields.by_ref().for_each(drop);
    let end = raw.len() - fields.rest().len() + blank_line_length(fields.rest()).unwrap_or(0);
    cut_message(raw, end, text)
}

/// Cuts `<start.count>` out; beyond the end it is empty.
pub fn cut(bytes: &[u8], partial: Option<Partial>) -> &[u8] {
    let Some(Partial { start, count }) = partial else { return bytes };
    let length = bytes.len() as u64;
    let start = start.min(length);
    let end = start.saturating_add(count).min(length);
    &bytes[start as usize..end as usize]
}

/// Part 1 of what is no multipart is its own body (RFC 9051 6.4.5).
fn find<'s>(structure: &'s Structure, numbers: &[u32]) -> Option<&'s Part> {
    let mut part = structure.root();
    let mut at_message = true;
    for &number in numbers {
        if !at_message && let PartKind::Message(child) = part.kind {
            part = structure.part(child);
            at_message = true;
        }
        part = match &part.kind {
            PartKind::Multipart(children) => {
                let at = usize::try_from(number).ok()?.checked_sub(1)?;
                structure.part(*children.get(at)?)
            }
            PartKind::Leaf | PartKind::Message(_) if at_message && number == 1 => part,
            PartKind::Leaf | PartKind::Message(_) => return None,
        };
        at_message = false;
    }
    Some(part)
}

/// `raw` up to the end of a message, of which `part` is the root.
fn text_of_message<'a>(raw: &'a [u8], part: &Part, text: &SectionText) -> Cow<'a, [u8]> {
    let message = &raw[part.header.start..part.body.end];
    cut_message(message, part.header.len(), text)
}

fn cut_message<'a>(message: &'a [u8], header_length: usize, text: &SectionText) -> Cow<'a, [u8]> {
    let (header, body) = message.split_at(header_length);
    match text {
        SectionText::All => Cow::Borrowed(message),
        // MIME of the message itself is no section of the grammar; its header is what it could mean.
        SectionText::Header | SectionText::Mime => Cow::Borrowed(header),
        SectionText::Text => Cow::Borrowed(body),
        SectionText::HeaderFields(names) => Cow::Owned(chosen_fields(header, |name| is_among(names, name))),
        SectionText::HeaderFieldsNot(names) => {
            Cow::Owned(chosen_fields(header, |name| !is_among(names, name)))
        }
    }
}

fn is_among(names: &[Vec<u8>], name: &[u8]) -> bool {
    !name.is_empty() && names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// RFC 9051 6.4.5: the fields in the order of the message, and the blank line in every case.
fn chosen_fields(header: &[u8], chosen: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut fields = header::fields(header);
    for field in fields.by_ref().filter(|field| chosen(field.name)) {
        bytes.extend_from_slice(field.raw);
        // Only the last line of a message that has no body can lack its line end.
        if header::line_end_length(field.raw) == 0 {
            bytes.extend_from_slice(b"\r\n");
        }
    }
    let blank = fields.rest();
    bytes.extend_from_slice(if blank.is_empty() { b"\r\n" } else { blank });
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mime;

    const NESTED: &str = "From: user@domain.org\r\nDate: Sat, 24 Mar 2007 23:00:00 +0200\r\nMime-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=\"foo\r\n bar\"\r\n\r\nRoot MIME prologue\r\n\r\n--foo bar\r\n\
        Content-Type: text/x-myown; charset=us-ascii\r\n\r\nhello\r\n\r\n--foo bar\r\nContent-Type: message/rfc822\r\n\r\n\
        From: sub@domain.org\r\nDate: Sun, 12 Aug 2012 12:34:56 +0300\r\nSubject: submsg\r\n\
        Content-Type: multipart/alternative; boundary=\"sub1\"\r\n\r\nSub MIME prologue\r\n--sub1\r\n\
        Content-Type: text/html\r\n\r\n<p>Hello world</p>\r\n\r\n--sub1\r\nContent-Type: text/plain\r\n\r\n\
        Hello another world\r\n\r\n--sub1--\r\nSub MIME epilogue\r\n\r\n--foo bar--\r\nRoot MIME epilogue\r\n";

    fn names(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    /// Tests the short way of sections without part numbers along with the long one.
    fn get(raw: &str, part: &[u32], text: SectionText) -> Option<String> {
        let section = Section { part: part.to_vec(), text };
        let structure = mime::parse(raw.as_bytes());
        let bytes = section_bytes(raw.as_bytes(), &structure, &section);
        if part.is_empty() {
            assert_eq!(bytes.as_deref(), Some(top_level_bytes(raw.as_bytes(), &section.text).as_ref()));
        }
        bytes.map(|bytes| String::from_utf8(bytes.into_owned()).unwrap())
    }

    fn expect(raw: &str, part: &[u32], text: SectionText, expected: &str) {
        assert_eq!(get(raw, part, text.clone()).as_deref(), Some(expected), "{part:?} {text:?}");
    }

    #[test]
    fn sections_of_a_multipart_with_a_message_in_it() {
        use SectionText::*;
        expect(NESTED, &[], All, NESTED);
        expect(NESTED, &[], Text, NESTED.split_once("\r\n\r\n").unwrap().1);
        expect(NESTED, &[1], All, "hello\r\n");
        expect(NESTED, &[1], Mime, "Content-Type: text/x-myown; charset=us-ascii\r\n\r\n");
        let inner = &NESTED[NESTED.find("From: sub").unwrap()..NESTED.find("\r\n--foo bar--").unwrap()];
        let (inner_header, inner_body) = inner.split_at(inner.find("Sub MIME prologue").unwrap());
        expect(NESTED, &[2], All, inner);
        expect(NESTED, &[2], Mime, "Content-Type: message/rfc822\r\n\r\n");
        expect(NESTED, &[2], Header, inner_header);
        expect(NESTED, &[2], Text, inner_body);
        let fields = names(&["from", "subject", "X-foo"]);
        expect(NESTED, &[2], HeaderFields(fields.clone()), "From: sub@domain.org\r\nSubject: submsg\r\n\r\n");
        expect(
            NESTED,
            &[2],
            HeaderFieldsNot(fields),
            "Date: Sun, 12 Aug 2012 12:34:56 +0300\r\nContent-Type: multipart/alternative; boundary=\"sub1\"\r\n\r\n",
        );
        expect(NESTED, &[2, 1], Mime, "Content-Type: text/html\r\n\r\n");
        expect(NESTED, &[2, 1], All, "<p>Hello world</p>\r\n");
        expect(NESTED, &[2, 2], All, "Hello another world\r\n");
    }

    #[test]
    fn sections_that_are_not_there() {
        for (part, text) in [
            (&[3][..], SectionText::All),
            (&[1, 1], SectionText::All),
            (&[2, 3], SectionText::All),
            (&[2, 1, 1], SectionText::All),
            (&[1], SectionText::Header),
            (&[1], SectionText::Text),
            (&[0], SectionText::All),
            (&[u32::MAX], SectionText::Mime),
        ] {
            assert_eq!(get(NESTED, part, text), None, "{part:?}");
        }
    }

    #[test]
    fn messages_that_are_messages() {
        use SectionText::*;
        let inner = "Subject: in\r\nContent-Type: message/rfc822\r\n\r\nSubject: innermost\r\n\r\nHello\r\n";
        let raw = format!("Subject: out\r\nContent-Type: message/rfc822\r\n\r\n{inner}");
        expect(&raw, &[1], All, inner);
        expect(&raw, &[1], Header, "Subject: in\r\nContent-Type: message/rfc822\r\n\r\n");
        expect(&raw, &[1], Text, "Subject: innermost\r\n\r\nHello\r\n");
        expect(&raw, &[1, 1], All, "Subject: innermost\r\n\r\nHello\r\n");
        expect(&raw, &[1, 1], Header, "Subject: innermost\r\n\r\n");
        expect(&raw, &[1, 1], Text, "Hello\r\n");
        expect(&raw, &[1, 1, 1], All, "Hello\r\n");
        assert_eq!(get(&raw, &[1, 1, 1, 1], All), None);
        assert_eq!(get(&raw, &[2], All), None);
    }

    #[test]
    fn plain_messages_have_part_one() {
        use SectionText::*;
        let raw = "A: 1\r\nX y: odd\r\nB: 2\r\n more\r\na: 3\r\n\r\nbody\r\n";
        expect(raw, &[1], All, "body\r\n");
        expect(raw, &[1], Mime, "A: 1\r\nX y: odd\r\nB: 2\r\n more\r\na: 3\r\n\r\n");
        expect(raw, &[], HeaderFields(names(&["A", "a", "none", ""])), "A: 1\r\na: 3\r\n\r\n");
        expect(raw, &[], HeaderFieldsNot(names(&["A"])), "X y: odd\r\nB: 2\r\n more\r\n\r\n");
        expect(raw, &[], HeaderFields(names(&["xyz"])), "\r\n");
        expect("A: 1", &[], HeaderFields(names(&["a"])), "A: 1\r\n\r\n");
        expect("A: 1\nB: 2\n\nx", &[], HeaderFields(names(&["a"])), "A: 1\n\n");
        expect("", &[], Header, "");
        expect("", &[1], All, "");
    }

    #[test]
    fn partials_are_cut_at_the_end() {
        let cut = |start, count| cut(b"body33\r\n", Some(Partial { start, count }));
        assert_eq!(cut(0, 3), b"bod");
        assert_eq!(cut(5, 3), b"3\r\n");
        assert_eq!(cut(7, 9), b"\n");
        assert_eq!(cut(8, 1), b"");
        assert_eq!(cut(u64::MAX, u64::MAX), b"");
    }
}
