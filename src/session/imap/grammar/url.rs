//! IMAP URLs (RFC 5092) that name a message, or a part of it, on this server: relative ones, as CATENATE takes them.

use super::cursor::Cursor;
use super::fetch::section;
use super::mailbox_name::{MailboxName, NameCoding};
use crate::mail::ids::{Uid, UidValidity};
use crate::session::imap::item::Section;

/// `/mailbox;UIDVALIDITY=n/;UID=n/;SECTION=s/;PARTIAL=n.n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageUrl {
    /// Canonical, as all names are inside.
    pub mailbox: String,
    pub uid_validity: Option<UidValidity>,
    pub uid: Uid,
    /// The message itself where nothing is said.
    pub section: Section,
    /// From this octet on, and how many; to the end where nothing is said.
    pub partial: Option<(u32, Option<u32>)>,
}

impl MessageUrl {
    /// Reads a URL that is relative to this server and user, or to the mailbox that is `selected` (RFC 4469 3). `None`: it is
    /// malformed, or names anything else.
    pub fn parse(url: &[u8], selected: Option<&str>) -> Option<Self> {
        if !url.iter().all(|byte| is_bchar(*byte) || *byte == b';') {
            return None;
        }
        let (path, rest) = split_at(url, b"/;UID=")?;
        let (path, uid_validity) = match split_at(path, b";UIDVALIDITY=") {
            Some((path, number)) => (path, Some(UidValidity(nonzero(number)?))),
            None => (path, None),
        };
        let (rest, partial) = match split_at(rest, b"/;PARTIAL=") {
            Some((rest, range)) => (rest, Some(partial(range)?)),
            None => (rest, None),
        };
        let (uid, section) = match split_at(rest, b"/;SECTION=") {
            Some((uid, text)) => (uid, section_named(&decode(text)?)?),
            None => (rest, Section::default()),
        };
        let mailbox = mailbox(path, selected)?;
        Some(Self { mailbox, uid_validity, uid: Uid(nonzero(uid)?), section, partial })
    }
}

/// RFC 3986 5.2: a path without a slash in front stands beside what is selected.
fn mailbox(path: &[u8], selected: Option<&str>) -> Option<String> {
    let (base, path) = match path.strip_prefix(b"/") {
        Some(path) => ("", path),
        None => {
            // A colon up there is a scheme's.
            let first = path.split(|byte| *byte == b'/').next()?;
            let selected = selected.filter(|_| !first.contains(&b':'))?;
            (&selected[..selected.rfind('/').map_or(0, |slash| slash + 1)], path)
        }
    };
    if path.is_empty() || path.starts_with(b"/") {
        return None;
    }
    let name = [base.as_bytes(), &decode(path)?].concat();
    MailboxName::from_wire(&name, NameCoding::Utf8).0
}

fn section_named(text: &[u8]) -> Option<Section> {
    let mut cursor = Cursor::new(text);
    let section = section(&mut cursor).ok()?;
    cursor.end().ok()?;
    Some(section)
}

/// `number ["." nz-number]`.
fn partial(range: &[u8]) -> Option<(u32, Option<u32>)> {
    match split_at(range, b".") {
        Some((start, count)) => Some((number(start)?, Some(nonzero(count)?))),
        None => Some((number(range)?, None)),
    }
}

fn nonzero(digits: &[u8]) -> Option<u32> {
    number(digits).filter(|number| *number > 0)
}

fn number(digits: &[u8]) -> Option<u32> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// What stands before and behind the first `mark`, in any case.
fn split_at<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(mark.len()).position(|window| window.eq_ignore_ascii_case(mark))?;
    Some((&text[..at], &text[at + mark.len()..]))
}

/// RFC 5092 11, `bchar`.
fn is_bchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$'()*+,&=:@/%".contains(&byte)
}

/// Percent-encoding undone. `None`: it is malformed, or a NUL.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b';' {
            return None;
        }
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let [high, low, ..] = rest else { return None };
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = (digit(*high)? << 4 | digit(*low)?) as u8;
        if byte == 0 {
            return None;
        }
        plain.push(byte);
        rest = &rest[2..];
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::imap::item::SectionText;

    fn parse(url: &str) -> Option<MessageUrl> {
        MessageUrl::parse(url.as_bytes(), Some("Work/2023"))
    }

    #[test]
    fn urls_of_every_form() {
        let url = parse("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME/;PARTIAL=0.1024").unwrap();
        assert_eq!(
            (url.mailbox.as_str(), url.uid_validity, url.uid),
            ("Drafts", Some(UidValidity(385_759_045)), Uid(20))
        );
        assert_eq!(url.section, Section { part: vec![1], text: SectionText::Mime });
        assert_eq!(url.partial, Some((0, Some(1024))));
        let url = parse("/inbox/a%20b/%E5%8F%B0/;uid=1").unwrap();
        assert_eq!((url.mailbox.as_str(), url.uid_validity, url.partial), ("INBOX/a b/\u{53f0}", None, None));
        assert_eq!(url.section, Section::default());
        let url = parse("/x/;UID=4294967295/;PARTIAL=7").unwrap();
        assert_eq!((url.uid, url.partial), (Uid(u32::MAX), Some((7, None))));
        let url = parse("/x/;UID=1/;SECTION=HEADER.FIELDS%20(A%20b/c)").unwrap();
        assert_eq!(url.section.text, SectionText::HeaderFields(vec![b"A".to_vec(), b"b/c".to_vec()]));
    }

    #[test]
    fn relative_to_what_is_selected() {
        assert_eq!(parse("2024/;UID=1").unwrap().mailbox, "Work/2024");
        assert_eq!(MessageUrl::parse(b"Sent/;UID=1", Some("INBOX")).unwrap().mailbox, "Sent");
        assert_eq!(MessageUrl::parse(b"Sent/;UID=1", None), None);
    }

    #[test]
    fn what_is_malformed_or_elsewhere() {
        for url in [
            "",
            "/",
            "/x",
            "/x/",
            "/x;UID=1",
            "/;UID=1",
            "//host/x/;UID=1",
            "imap://host/x/;UID=1",
            "/x/;UID=",
            "/x/;UID=0",
            "/x/;UID=1x",
            "/x/;UID=+1",
            "/x/;UID=4294967296",
            "/x/;UID=1/",
            "/x;UIDVALIDITY=/;UID=1",
            "/x;UIDVALIDITY=0/;UID=1",
            "/x;TYPE=a/;UID=1",
            "/x/;UID=1/;SECTION=",
            "/x/;UID=1/;SECTION=nonsense",
            "/x/;UID=1/;SECTION=1]",
            "/x/;UID=1/;PARTIAL=1.0",
            "/x/;UID=1/;PARTIAL=-1",
            "/x/;UID=1/;PARTIAL=0.5/;SECTION=1",
            "/x/;UID=1;URLAUTH=anonymous:internal:00",
            "/x y/;UID=1",
            "/x%/;UID=1",
            "/x%0/;UID=1",
            "/x%00/;UID=1",
            "/x%zz/;UID=1",
            "/x%ff/;UID=1",
            "/\u{fc}/;UID=1",
        ] {
            assert_eq!(parse(url), None, "{url:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(url in "[/;%a-fUIDSECTON=0-9.]{0,60}", bytes: Vec<u8>) {
            let _ = (parse(&url), MessageUrl::parse(&bytes, None));
        }
    }
}
