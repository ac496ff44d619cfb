//! The header of a message that our user hands in (RFC 6409 8): Date and Message-ID are added where they are missing,
//! and Bcc is taken away, before a byte of it is placed.

use bytes::BytesMut;
use memchr::memmem;

use crate::mail::date::rfc5322_date;
use crate::mail::header;
use crate::session::smtp::received::Stamp;

/// Octets of a header that are held until its end is seen; a longer one is refused.
pub const HEADER_BYTES_MAX: usize = 256 * 1024;

/// Holds the text back until its header is whole.
pub(super) struct HeaderEdit {
    held: BytesMut,
    seen: bool,
    date: String,
    message_id: String,
    authors: Vec<String>,
}

/// The header is longer than is held.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl HeaderEdit {
    pub fn new(stamp: &Stamp, hostname: &str) -> Self {
        Self {
            held: BytesMut::new(),
            seen: false,
            date: rfc5322_date(stamp.at),
            message_id: format!("<{}.{}@{hostname}>", stamp.id, stamp.at),
            authors: Vec::new(),
        }
    }

    /// Once the text has ended: each address in From; an empty one for what is none.
    pub fn authors(self) -> Vec<String> {
        self.authors
    }

    /// Takes the next part of the text; `out` gets what may go on.
    pub fn take(&mut self, part: BytesMut, out: &mut BytesMut) -> Result<(), TooLong> {
        if self.seen {
            out.extend_from_slice(&part);
            return Ok(());
        }
        let looked_at = self.held.len().saturating_sub(3);
        self.held.extend_from_slice(&part);
        let no_header = self.held.starts_with(b"\r\n");
        let blank_line = memmem::find(&self.held[looked_at..], b"\r\n\r\n");
        let end = if no_header { Some(2) } else { blank_line.map(|at| looked_at + at + 4) };
        // By where it ends, not by how it is cut.
        if end.unwrap_or(self.held.len()) > HEADER_BYTES_MAX {
            return Err(TooLong);
        }
        if end.is_some() {
            self.finish(out);
        }
        Ok(())
    }

    /// The text has ended, with or without a blank line.
    pub fn finish(&mut self, out: &mut BytesMut) {
        if self.seen {
            return;
        }
        self.seen = true;
        let held = self.held.split();
        for (name, value) in [("Date", &self.date), ("Message-ID", &self.message_id)] {
            if header::find(&held, name).is_none() {
                out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
        }
        let from = header::fields(&held).filter(|field| field.is("From"));
        let listed = from.flat_map(|field| header::addresses(field.value));
        self.authors = listed.filter_map(header::Address::into_mailbox).map(author).collect();
        let mut fields = header::fields(&held);
        for field in fields.by_ref() {
            if !field.is("Bcc") && !field.is("Resent-Bcc") {
                out.extend_from_slice(field.raw);
            }
        }
        out.extend_from_slice(fields.rest());
    }
}

/// Empty: it is no address.
fn author(mailbox: header::Mailbox) -> String {
    let part = |part: Option<Vec<u8>>| part.and_then(|part| String::from_utf8(part).ok());
    match (part(mailbox.local), part(mailbox.domain)) {
        (Some(local), Some(domain)) => format!("{local}@{domain}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::Timestamp;

    fn edited(text: &str, part_bytes: usize) -> Result<String, TooLong> {
        let stamp = Stamp { at: Timestamp(0), id: "ID1".to_owned() };
        let (mut edit, mut out) = (HeaderEdit::new(&stamp, "mx.test"), BytesMut::new());
        for part in text.as_bytes().chunks(part_bytes) {
            edit.take(BytesMut::from(part), &mut out)?;
        }
        edit.finish(&mut out);
        Ok(String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn what_is_missing_is_added_and_blind_copies_stay_blind() {
        const DATE: &str = "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n";
        const ID: &str = "Message-ID: <ID1.0@mx.test>\r\n";
        for (text, then) in [
            ("Subject: x\r\n\r\nBcc: body\r\n", format!("{DATE}{ID}Subject: x\r\n\r\nBcc: body\r\n")),
            ("date: d\r\nMESSAGE-ID: <i>\r\n\r\n", "date: d\r\nMESSAGE-ID: <i>\r\n\r\n".to_owned()),
            ("Bcc: a@x,\r\n\tb@x\r\nTo: c\r\nresent-bcc: d\r\n\r\nt", format!("{DATE}{ID}To: c\r\n\r\nt")),
            ("\r\nno header", format!("{DATE}{ID}\r\nno header")),
            ("Subject: no end\r\n", format!("{DATE}{ID}Subject: no end\r\n")),
            ("", format!("{DATE}{ID}")),
        ] {
            for part_bytes in [1, 3, 1_000] {
                assert_eq!(
                    edited(text, part_bytes).as_deref(),
                    Ok(then.as_str()),
                    "{text:?} by {part_bytes}"
                );
            }
        }
    }

    #[test]
    fn authors_are_all_that_stand_in_from() {
        let stamp = Stamp { at: Timestamp(0), id: "ID1".to_owned() };
        for (text, authors) in [
            (
                "From: Alice <alice@a.test>, \"b\"@b.test\r\n\r\nFrom: body@c.test\r\n",
                vec!["alice@a.test", "b@b.test"],
            ),
            (
                "FROM:\r\n alice@a.test\r\nfrom: other@b.test\r\nSender: s@c.test\r\n\r\n",
                vec!["alice@a.test", "other@b.test"],
            ),
            ("From: us: a@a.test, b@b.test;\r\n", vec!["a@a.test", "b@b.test"]),
            ("From: nobody:;\r\n", vec![]),
            ("From: alice\r\n\r\n", vec![""]),
            ("From: <\u{fffd}@>\r\n\r\n", vec![""]),
            ("Subject: x\r\n\r\n", vec![]),
        ] {
            let (mut edit, mut out) = (HeaderEdit::new(&stamp, "mx.test"), BytesMut::new());
            edit.take(BytesMut::from(text), &mut out).unwrap();
            edit.finish(&mut out);
            assert_eq!(edit.authors(), authors, "{text}");
        }
    }

    #[test]
    fn a_header_without_end_is_refused_at_its_bound() {
        let text = |bytes: usize| "x".repeat(bytes - 4) + "\r\n\r\n";
        for part_bytes in [1_000, HEADER_BYTES_MAX + 1] {
            assert!(edited(&text(HEADER_BYTES_MAX), part_bytes).is_ok());
            assert_eq!(edited(&text(HEADER_BYTES_MAX + 1), part_bytes), Err(TooLong), "by {part_bytes}");
        }
        assert_eq!(edited(&"x".repeat(HEADER_BYTES_MAX + 1), HEADER_BYTES_MAX + 1), Err(TooLong));
        assert!(edited(&"x".repeat(HEADER_BYTES_MAX), 1_000).is_ok());
    }
}
