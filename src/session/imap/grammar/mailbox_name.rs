//! Mailbox names: on the wire modified UTF-7 (RFC 3501 5.1.3), or UTF-8 (RFC 9051 5.1) once a client asks for it;
//! inside UTF-8 in Normalization Form C, with `/` between levels; INBOX, and INBOX as the first level, in capitals;
//! the name of another user in lower case.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;

use super::cursor::{Cursor, Parsed};
use crate::mail::utf7::{decode_utf7, encode_utf7};
use crate::session::imap::limits::{MAILBOX_NAME_BYTES_MAX, MAILBOX_NAME_LEVELS_MAX};
use crate::state::namespace::{self, Place};

/// How mailbox names go over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameCoding {
    /// Modified UTF-7.
    #[default]
    Utf7,
    /// UTF-8, as ENABLE IMAP4rev2 (RFC 9051 A) has it.
    Utf8,
}

impl NameCoding {
    /// `None` when it is not well-formed.
    fn decode(self, wire: &[u8]) -> Option<String> {
        match self {
            Self::Utf7 => decode_utf7(wire),
            Self::Utf8 => std::str::from_utf8(wire).ok().map(str::to_owned),
        }
    }

    pub fn encode(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Utf7 => encode_utf7(name).into(),
            Self::Utf8 => name.into(),
        }
    }
}

/// A name as a client gave it. What cannot be a name is `None`: it names nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxName(pub Option<String>, Option<String>);

impl MailboxName {
    /// Reads a name off the front of a command.
    pub fn read(cursor: &mut Cursor) -> Parsed<Self> {
        Ok(Self::from_wire(&cursor.astring()?, cursor.names()))
    }

    pub fn from_wire(wire: &[u8], names: NameCoding) -> Self {
        let given = names.decode(wire);
        let canonical = given.as_deref().and_then(|name| canonical(&composed(name)));
        let differs = canonical != given;
        Self(canonical, given.filter(|_| differs))
    }

    /// What the client called it, where that is not its name (RFC 9051 6.3.9.7).
    pub fn old_name(&self) -> Option<&str> {
        self.1.as_deref()
    }
}

/// The bound is on the name that its owner gives a mailbox.
fn canonical(name: &str) -> Option<String> {
    let fits = |name: &str| name.len() <= MAILBOX_NAME_BYTES_MAX;
    match namespace::place(name) {
        Place::Of { user, name } if fits(user) && fits(name) => {
            namespace::shown(&user.to_lowercase(), &with_inbox_in_capitals(name))
        }
        Place::Own(name) if fits(name) => Some(with_inbox_in_capitals(name)),
        Place::Level if fits(name) => Some(name.to_owned()),
        _ => None,
    }
}

/// A LIST pattern. What is not well-formed becomes one that no name matches.
pub fn pattern(wire: &[u8], names: NameCoding) -> String {
    names.decode(wire).map_or_else(|| "\0".to_owned(), |pattern| composed(&pattern).into_owned())
}

/// RFC 9051 5.1: names are in Normalization Form C, however clients spell them.
fn composed(name: &str) -> Cow<'_, str> {
    if name.is_ascii() { name.into() } else { ComposingNormalizerBorrowed::new_nfc().normalize(name) }
}

/// RFC 3501 5.1: INBOX in any case is INBOX.
fn with_inbox_in_capitals(name: &str) -> String {
    let first = name.split('/').next().unwrap_or_default();
    if first.eq_ignore_ascii_case("INBOX") {
        format!("INBOX{}", &name[first.len()..])
    } else {
        name.to_owned()
    }
}

/// True for a name that CREATE and RENAME may make.
pub fn is_creatable(name: &str) -> bool {
    name.len() <= MAILBOX_NAME_BYTES_MAX
        && name.split('/').count() <= MAILBOX_NAME_LEVELS_MAX
        && name.split('/').all(|level| !level.is_empty() && level != "." && level != "..")
        // RFC 5198 2, RFC 9755 3: no control characters, and no line ends of Unicode's own.
        && !name.chars().any(|c| c.is_control() || matches!(c, '%' | '*' | '\u{2028}' | '\u{2029}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_has_no_case() {
        let named = |wire: &[u8]| MailboxName::from_wire(wire, NameCoding::Utf7);
        assert_eq!(named(b"iNbOx").0.unwrap(), "INBOX");
        assert_eq!(named(b"iNbOx").old_name(), Some("iNbOx"));
        assert_eq!(named(b"INBOX").old_name(), None);
        assert_eq!(named(b"inbox/a").0.unwrap(), "INBOX/a");
        assert_eq!(named(b"inboxes").0.unwrap(), "inboxes");
    }

    #[test]
    fn names_in_utf8_are_composed() {
        let named = |wire: &[u8]| MailboxName::from_wire(wire, NameCoding::Utf8);
        let composed = named("caf\u{e9}".as_bytes());
        assert_eq!((composed.0.as_deref(), composed.old_name()), (Some("caf\u{e9}"), None));
        let decomposed = named("cafe\u{301}".as_bytes());
        assert_eq!(
            (decomposed.0.as_deref(), decomposed.old_name()),
            (Some("caf\u{e9}"), Some("cafe\u{301}"))
        );
        assert_eq!(MailboxName::from_wire(b"cafe&AwE-", NameCoding::Utf7).0.unwrap(), "caf\u{e9}");
        assert_eq!(named(b"a&b").0.unwrap(), "a&b");
        assert_eq!(named(b"caf\xe9").0, None);
        assert_eq!(pattern("e\u{301}%".as_bytes(), NameCoding::Utf8), "\u{e9}%");
    }

    #[test]
    fn the_names_of_others_have_one_form() {
        let named = |wire: &str| MailboxName::from_wire(wire.as_bytes(), NameCoding::Utf7).0;
        assert_eq!(named("user/Bob/inbox/a").unwrap(), "user/bob/INBOX/a");
        assert_eq!(named("user/bob/Work").unwrap(), "user/bob/Work");
        assert_eq!(named("user/bob").unwrap(), "user/bob");
        let longest = "a".repeat(MAILBOX_NAME_BYTES_MAX);
        assert!(named(&format!("user/bob/{longest}")).is_some());
        assert!(named(&format!("user/bob/{longest}a")).is_none());
        assert!(named(&longest).is_some() && named(&format!("{longest}a")).is_none());
    }

    #[test]
    fn names_are_bounded() {
        assert!(is_creatable(&"a".repeat(MAILBOX_NAME_BYTES_MAX)));
        assert!(!is_creatable(&"a".repeat(MAILBOX_NAME_BYTES_MAX + 1)));
        assert!(is_creatable(&vec!["a"; MAILBOX_NAME_LEVELS_MAX].join("/")));
        assert!(!is_creatable(&vec!["a"; MAILBOX_NAME_LEVELS_MAX + 1].join("/")));
        for name in ["", "/a", "a//b", "a/", "a*", "%", "..", "a\tb", "a\u{85}b", "a\u{2028}b", "a\u{2029}"] {
            assert!(!is_creatable(name), "{name:?}");
        }
    }
}
