//! What SORT and THREAD need of a message: read from its header once, and remembered by body.

use icu_normalizer::DecomposingNormalizerBorrowed;

use crate::mail::date::parse_rfc5322;
use crate::mail::header::{self, Address, Field};
use crate::mail::message_id::{MessageId, message_ids, references};
use crate::mail::subject::base_subject;

/// Characters of a text that are compared.
const KEY_CHARS_MAX: usize = 200;

/// The same, of their decomposed form: one character may become eighteen.
const DECOMPOSED_CHARS_MAX: usize = 2 * KEY_CHARS_MAX;

/// Texts are folded for comparison: see [`folded`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The Date field, seconds since 1970 UTC; `None` where it is missing or malformed.
    pub sent: Option<i64>,
    /// The base subject (RFC 5256 2.1).
    pub subject: Box<str>,
    /// The subject had the mark of a reply or forward.
    pub is_reply: bool,
    /// `addr-mailbox` of the first address of each.
    pub from: Box<str>,
    pub to: Box<str>,
    pub cc: Box<str>,
    /// RFC 5957 3: the name shown for the first address, or the address.
    pub display_from: Box<str>,
    pub display_to: Box<str>,
    pub id: Option<MessageId>,
    pub references: Box<[MessageId]>,
}

impl Facts {
    /// `raw` is a message, or its header.
    pub fn of(raw: &[u8]) -> Self {
        let subject = header::find(raw, "Subject").map(|field| base_subject(field.value)).unwrap_or_default();
        let first = |name: &str| header::find(raw, name).as_ref().and_then(first_address);
        let (from, to, cc) = (first("From"), first("To"), first("Cc"));
        let mailbox = |address: &Option<Address>| folded(&mailbox_of(address));
        Self {
            sent: header::find(raw, "Date")
                .and_then(|field| parse_rfc5322(field.value))
                // RFC 5322 3.3: what was sent before 1900 was not.
                .filter(|when| when.date.year >= 1900)
                .map(|when| when.unix_seconds()),
            subject: folded(&subject.text),
            is_reply: subject.is_reply,
            from: mailbox(&from),
            to: mailbox(&to),
            cc: mailbox(&cc),
            display_from: folded(&display_of(&from)),
            display_to: folded(&display_of(&to)),
            id: header::find(raw, "Message-ID").and_then(|field| message_ids(field.value).first().copied()),
            references: references(raw).into(),
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let texts = [&self.subject, &self.from, &self.to, &self.cc, &self.display_from, &self.display_to];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        size_of::<Self>() + texts + self.references.len() * size_of::<MessageId>()
    }
}

/// In the form that i;unicode-casemap compares (RFC 5051 2): capitals, decomposed. Compared by bytes, which for UTF-8 is
/// by character.
pub fn folded(text: &str) -> Box<str> {
    let capitals = text.chars().take(KEY_CHARS_MAX).flat_map(char::to_uppercase);
    let decomposed = DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(capitals);
    decomposed.take(DECOMPOSED_CHARS_MAX).collect::<String>().into()
}

fn first_address(field: &Field) -> Option<Address> {
    header::addresses(field.value).into_iter().next()
}

/// As in ENVELOPE: a group's name stands where the local part would.
fn mailbox_of(address: &Option<Address>) -> String {
    match address {
        Some(Address::Mailbox(mailbox)) => lossy(mailbox.local.as_deref()),
        Some(Address::GroupStart(name)) => lossy(Some(name)),
        Some(Address::GroupEnd) | None => String::new(),
    }
}

fn display_of(address: &Option<Address>) -> String {
    match address {
        Some(Address::Mailbox(mailbox)) => match mailbox.name.as_deref().map(header::decode_text) {
            Some(name) if !name.is_empty() => name,
            _ => match mailbox.domain.as_deref().filter(|domain| !domain.is_empty()) {
                Some(domain) => format!("{}@{}", lossy(mailbox.local.as_deref()), lossy(Some(domain))),
                None => lossy(mailbox.local.as_deref()),
            },
        },
        Some(Address::GroupStart(name)) => header::decode_text(name),
        Some(Address::GroupEnd) | None => String::new(),
    }
}

fn lossy(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read() {
        let facts = Facts::of(
            b"From: =?utf-8?q?J=C3=B6rg?= <jo@x.org>, b@y\nTo: friends: a@b;\nCc: <c@d>\nSubject: Re: hi\n\
              Date: Thu, 1 Jan 1970 00:01:00 +0000\nMessage-ID: <m@x>\nReferences: <r@x>\n\nFrom: no\n",
        );
        assert_eq!((facts.sent, &*facts.subject, facts.is_reply), (Some(60), "HI", true));
        assert_eq!((&*facts.from, &*facts.to, &*facts.cc), ("JO", "FRIENDS", "C"));
        assert_eq!((&*facts.display_from, &*facts.display_to), ("JO\u{308}RG", "FRIENDS"));
        assert_eq!((facts.id.is_some(), facts.references.len()), (true, 1));
        assert_eq!(Facts::of(b"Date: Thu, 18 Jul 0102 19:51:35 -0100\n").sent, None);
        let nothing = Facts::of(b"\n");
        assert_eq!(nothing, Facts::default());
        assert_eq!(&*Facts::of(b"From: a@b\n").display_from, "A@B");
    }

    #[test]
    fn texts_are_in_the_order_of_their_letters() {
        let mut texts = ["Zebra", "_a", "Ärger", "arg", "b", "\u{fb01}x", "fiy"];
        texts.sort_by_key(|text| folded(text));
        assert_eq!(texts, ["arg", "Ärger", "b", "\u{fb01}x", "fiy", "Zebra", "_a"]);
    }

    #[test]
    fn facts_are_bounded() {
        let long =
            format!("Subject: {0}\nFrom: {0}@x\nReferences: {1}\n", "ß".repeat(5_000), "<a@b>".repeat(5_000));
        assert!(Facts::of(long.as_bytes()).bytes() < 8 * 1024);
    }
}
