//! Message identifiers (RFC 5322 3.6.4), as threads are made of them.

use super::header;

/// Identifiers of one References field that are kept, the last ones.
pub const REFERENCES_MAX: usize = 200;

/// An identifier, by its digest: alike exactly when the identifiers are, and of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

impl MessageId {
    /// Of the text between the angle brackets; quotes and blanks in it do not count (RFC 5256 2.2).
    fn new(text: &[u8]) -> Option<Self> {
        let plain: Vec<u8> = text
            .iter()
            .copied()
            .filter(|byte| !matches!(byte, b'"' | b'\\') && !byte.is_ascii_whitespace())
            .collect();
        if plain.is_empty() {
            return None;
        }
        let digest = blake3::hash(&plain);
        let mut id = [0; 16];
        id.copy_from_slice(&digest.as_bytes()[..16]);
        Some(Self(id))
    }
}

/// The Message-ID that a header names, as it stands, without the angle brackets.
pub fn named(fields: &[u8]) -> Option<String> {
    let field = header::find(fields, "Message-ID")?;
    let value = header::unfold(field.value);
    let text = String::from_utf8_lossy(&value);
    let (id, _) = text.split_once('<')?.1.split_once('>')?;
    (!id.is_empty()).then(|| id.to_owned())
}

/// The identifiers in the value of a Message-ID, In-Reply-To or References field, in order.
pub fn message_ids(value: &[u8]) -> Vec<MessageId> {
    let mut ids = Vec::new();
    let mut rest = value;
    while let Some(open) = memchr::memchr(b'<', rest) {
        rest = &rest[open + 1..];
        let Some(end) = memchr::memchr2(b'<', b'>', rest) else { break };
        if rest[end] == b'>' {
            ids.extend(MessageId::new(&rest[..end]));
            rest = &rest[end + 1..];
        }
    }
    let surplus = ids.len().saturating_sub(REFERENCES_MAX);
    ids.drain(..surplus);
    ids
}

/// What a message answers, the eldest first: its References, or else the first of In-Reply-To (RFC 5256 3).
pub fn references(fields: &[u8]) -> Vec<MessageId> {
    let of =
        |name: &str| header::find(fields, name).map(|field| message_ids(field.value)).unwrap_or_default();
    let references = of("References");
    if !references.is_empty() {
        return references;
    }
    let mut replied = of("In-Reply-To");
    replied.truncate(1);
    replied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read() {
        assert_eq!(message_ids(b"<a@b>"), message_ids(b" x <\"a\"@b\r\n >"));
        assert_eq!(message_ids(b"<a@b> junk <c@d><e@f").len(), 2);
        assert_eq!(message_ids(b"<a<b@c>"), message_ids(b"<b@c>"));
        assert_ne!(message_ids(b"<a@b>"), message_ids(b"<A@b>"));
        assert!(message_ids(b"none <> < >").is_empty());
    }

    #[test]
    fn the_last_references_are_kept() {
        let many: String = (0..REFERENCES_MAX + 1).map(|number| format!("<{number}@x> ")).collect();
        let ids = message_ids(many.as_bytes());
        assert_eq!(ids.len(), REFERENCES_MAX);
        assert_eq!(ids.last(), message_ids(format!("<{REFERENCES_MAX}@x>").as_bytes()).last());
    }

    #[test]
    fn in_reply_to_stands_in_for_references() {
        let both = b"References: <r@x>\nIn-Reply-To: <i@x>\n\n";
        assert_eq!(references(both), message_ids(b"<r@x>"));
        assert_eq!(references(b"References: none\nIn-Reply-To: <i@x> <j@x>\n\n"), message_ids(b"<i@x>"));
        assert!(references(b"Subject: x\n\nReferences: <r@x>\n").is_empty());
    }
}
