//! Annotations of mailboxes and of the server (RFC 5464): their names, and how they are read.

use std::collections::BTreeMap;

use super::keys::{self, Span};
use super::reading::{get, live_mailbox, visit};
use super::rows::{Rows, RowsError};
use super::stored::{AccountRow, MetadataPartRow};
use crate::mail::ids::{AccountId, MailboxId};
use crate::mail::rights::Rights;

/// Bytes of an entry's name.
pub const ENTRY_NAME_BYTES_MAX: usize = 255;

/// RFC 5464 3.3: whoever may look a mailbox up and has one of these may read and set its annotations.
pub const ANNOTATING: Rights =
    Rights::READ.union(Rights::SEEN).union(Rights::WRITE).union(Rights::INSERT).union(Rights::POST);

/// What clients may read of the server (RFC 5464 3.2.1.1), and the settings by which the administrator says so.
pub const SERVER_ENTRIES: [(&str, &str); 2] =
    [("/shared/admin", "imap.server_admin"), ("/shared/comment", "imap.server_comment")];

/// An entry that has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    pub name: String,
    pub value: Vec<u8>,
}

/// An entry that is asked for, and how far below it others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of [`specifier`]'s form.
    pub name: String,
    pub depth: Depth,
}

impl Wanted {
    pub fn means(&self, entry: &str) -> bool {
        match entry.strip_prefix(self.name.as_str()) {
            Some("") => true,
            Some(below) => below.strip_prefix('/').is_some_and(|below| match self.depth {
                Depth::Zero => false,
                Depth::One => !below.contains('/'),
                Depth::Infinity => true,
            }),
            None => false,
        }
    }
}

/// RFC 5464 4.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    Zero,
    One,
    Infinity,
}

/// Whose annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Whose private entries.
    pub account: AccountId,
    /// `None` is the server.
    pub mailbox: Option<MailboxId>,
}

/// A name of the hierarchy in its one form, lower case (RFC 5464 3.2): what may be asked for.
pub fn specifier(name: &[u8]) -> Option<String> {
    // The RFC forbids 0x00 to 0x19, and means to 0x1f.
    let allowed = |byte: &u8| (b' '..=b'~').contains(byte) && !matches!(byte, b'*' | b'%');
    let name = std::str::from_utf8(name).ok().filter(|name| name.bytes().all(|byte| allowed(&byte)))?;
    let mut parts = name.split('/');
    let rooted = parts.next() == Some("") && name.len() <= ENTRY_NAME_BYTES_MAX;
    (rooted && parts.all(|part| !part.is_empty())).then(|| name.to_ascii_lowercase()).filter(|name| {
        ["/private", "/shared"].iter().any(|scope| {
            name.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    })
}

/// The name of an entry that may have a value: of two components at least, of a vendor's four.
pub fn entry_name(name: &[u8]) -> Option<String> {
    specifier(name).filter(|name| {
        let parts: Vec<&str> = name.split('/').skip(1).collect();
        parts.len() >= if parts.get(1) == Some(&"vendor") { 4 } else { 2 }
    })
}

pub fn is_shared(name: &str) -> bool {
    name.starts_with("/shared")
}

/// The entries that are there, ascending by name. None of a mailbox or account that is gone.
pub fn read(rows: &dyn Rows, place: Place, wanted: &[Wanted]) -> Result<Vec<Annotation>, RowsError> {
    let is_there = match place.mailbox {
        Some(mailbox) => live_mailbox(rows, mailbox)?.is_some(),
        None => get::<AccountRow>(rows, &keys::account(place.account))?.is_some(),
    };
    let mut found = BTreeMap::new();
    for wanted in wanted.iter().filter(|_| is_there) {
        let mailbox = place.mailbox.unwrap_or_default();
        let account = if is_shared(&wanted.name) { AccountId(0) } else { place.account };
        gather(rows, &keys::metadata_entry(mailbox, account, &wanted.name), wanted, &mut found)?;
        if wanted.depth != Depth::Zero {
            gather(rows, &keys::metadata_below(mailbox, account, &wanted.name), wanted, &mut found)?;
        }
    }
    let whole = |(name, parts): (String, Parts)| {
        let value = parts.into_values().flatten().collect();
        Annotation { name, value }
    };
    Ok(found.into_iter().map(whole).collect())
}

/// A value in parts, by the parts' keys: what is asked for twice is one.
type Parts = BTreeMap<Vec<u8>, Vec<u8>>;

fn gather(
    rows: &dyn Rows,
    span: &Span,
    wanted: &Wanted,
    found: &mut BTreeMap<String, Parts>,
) -> Result<(), RowsError> {
    visit::<MetadataPartRow>(rows, span, |key, row| {
        if let Some(name) = keys::metadata_entry_of(key).filter(|name| wanted.means(name)) {
            found.entry(name.to_owned()).or_default().insert(key.to_vec(), row.bytes);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form_and_a_scope() {
        for (name, wanted) in [
            ("/Private/Comment", Some("/private/comment")),
            ("/shared/vendor/Cmu/color", Some("/shared/vendor/cmu/color")),
            ("/private/a b", Some("/private/a b")),
            ("/private", None),
            ("/shared/vendor/cmu", None),
            ("/shared/vendor", None),
            ("/shared/", None),
            ("/shared//a", None),
            ("/other/a", None),
            ("/sharedly/a", None),
            ("shared/a", None),
            ("/shared/a*", None),
            ("/shared/%", None),
            ("/shared/a\t", None),
            ("/shared/\u{fc}", None),
            ("", None),
            ("/", None),
        ] {
            assert_eq!(entry_name(name.as_bytes()).as_deref(), wanted, "{name}");
        }
        assert_eq!(specifier(b"/SHARED").as_deref(), Some("/shared"));
        assert_eq!(specifier(b"/shared/vendor").as_deref(), Some("/shared/vendor"));
        assert_eq!(specifier(b"/shared/\xff"), None);
        let means = |depth, entry| Wanted { name: "/shared/a".into(), depth }.means(entry);
        for (entry, from) in
            [("/shared/a", 0), ("/shared/a/b", 1), ("/shared/a/b/c", 2), ("/shared/ab", 3), ("/shared", 3)]
        {
            let meant = [Depth::Zero, Depth::One, Depth::Infinity].map(|depth| means(depth, entry));
            assert_eq!(meant, [from <= 0, from <= 1, from <= 2], "{entry}");
        }
        let longest = format!("/private/{}", "x".repeat(ENTRY_NAME_BYTES_MAX - 9));
        assert!(entry_name(longest.as_bytes()).is_some());
        assert!(entry_name(format!("{longest}x").as_bytes()).is_none());
    }
}
