//! Looking for a text in a message: encoded-words, transfer encodings and charsets undone (RFC 9051 6.4.4).

use std::cell::OnceCell;

use super::Needle;
use crate::mail::header::{self, Address, Field};
use crate::mail::mime::{self, PartKind, Structure};

/// The bytes of a message, taken apart only when a key asks for it.
#[derive(Debug)]
pub struct Body<'a> {
    raw: &'a [u8],
    structure: OnceCell<Structure>,
}

impl<'a> Body<'a> {
    pub fn new(raw: &'a [u8]) -> Self {
        Self { raw, structure: OnceCell::new() }
    }

    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    pub fn structure(&self) -> &Structure {
        self.structure.get_or_init(|| mime::parse(self.raw))
    }
}

/// In any field of that name; the empty needle asks whether there is one.
pub(super) fn in_field(body: &Body, name: &[u8], needle: &Needle) -> bool {
    let named = |field: &Field| !field.name.is_empty() && field.name.eq_ignore_ascii_case(name);
    header::fields(body.raw()).filter(named).any(|field| {
        needle.is_empty()
            || needle.is_in(&header::decode_text(field.value))
            || (holds_addresses(&field) && needle.is_in(&plain_addresses(field.value)))
    })
}

/// In the text of the body: the parts that are text, and the headers of messages within.
pub(super) fn in_body(body: &Body, needle: &Needle) -> bool {
    in_parts(body, needle, false)
}

/// In the header or anywhere in the body, the headers of parts included.
pub(super) fn in_text(body: &Body, needle: &Needle) -> bool {
    in_parts(body, needle, true)
}

fn in_parts(body: &Body, needle: &Needle, headers: bool) -> bool {
    if needle.is_empty() {
        return true;
    }
    let (raw, structure) = (body.raw(), body.structure());
    structure.parts().iter().any(|part| {
        let within = match part.kind {
            PartKind::Leaf if part.content_type.is_main("text") => needle.is_in(&part.text(raw)),
            // What should have been parts is text, if anything.
            PartKind::Multipart(ref children) if children.is_empty() => needle.is_in(&part.text(raw)),
            PartKind::Message(child) if !headers => {
                in_header(&raw[structure.part(child).header.clone()], needle)
            }
            PartKind::Leaf | PartKind::Message(_) | PartKind::Multipart(_) => false,
        };
        within || (headers && in_header(&raw[part.header.clone()], needle))
    })
}

fn in_header(bytes: &[u8], needle: &Needle) -> bool {
    let mut lines = String::new();
    for field in header::fields(bytes) {
        lines.push_str(&String::from_utf8_lossy(field.name));
        lines.push_str(": ");
        lines.push_str(&header::decode_text(field.value));
        lines.push('\n');
    }
    needle.is_in(&lines)
}

fn holds_addresses(field: &Field) -> bool {
    ["From", "To", "Cc", "Bcc", "Sender", "Reply-To"].iter().any(|name| field.is(name))
}

/// `name <local@domain>` on a line each: comments and blanks within an address do not hide it.
fn plain_addresses(value: &[u8]) -> String {
    let mut lines = Vec::new();
    for mailbox in header::addresses(value).into_iter().filter_map(Address::into_mailbox) {
        let part = |part: Option<Vec<u8>>| part.unwrap_or_default();
        lines.extend(header::decode_text(&part(mailbox.name)).bytes());
        lines.extend([&b" <"[..], &part(mailbox.local), b"@", &part(mailbox.domain), b">\n"].concat());
    }
    String::from_utf8_lossy(&lines).into_owned()
}
