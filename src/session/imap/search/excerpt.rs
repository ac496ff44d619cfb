//! The fields of a header that searches ask for, as they stand in it: small enough to be remembered for many messages.

use bytes::Bytes;

use super::SearchKey;
use crate::mail::header::fields;

/// Names of the fields that are kept.
const KEPT: [&str; 12] = [
    "From",
    "To",
    "Cc",
    "Bcc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Sender",
    "Reply-To",
    "List-Id",
];

/// What a search key needs of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Its record says all.
    Nothing,
    /// An [`Excerpt`] of its header.
    Excerpt,
    Whole,
}

impl Part {
    /// What decides for every message, whatever else is known of it.
    pub fn needed_by(key: &SearchKey) -> Self {
        match key {
            SearchKey::And(keys) => keys.iter().map(Self::needed_by).max().unwrap_or(Self::Nothing),
            SearchKey::Or(one, other) => Self::needed_by(one).max(Self::needed_by(other)),
            SearchKey::Not(key) => Self::needed_by(key),
            SearchKey::SentBefore(_) | SearchKey::SentOn(_) | SearchKey::SentSince(_) => Self::Excerpt,
            SearchKey::Header(name, _) if is_kept(name) => Self::Excerpt,
            SearchKey::Header(..) | SearchKey::Body(_) | SearchKey::Text(_) => Self::Whole,
            SearchKey::All
            | SearchKey::Flag(_)
            | SearchKey::Recent
            | SearchKey::Keyword(_)
            | SearchKey::Before(_)
            | SearchKey::On(_)
            | SearchKey::Since(_)
            | SearchKey::Larger(_)
            | SearchKey::Smaller(_)
            | SearchKey::Younger(_)
            | SearchKey::Older(_)
            | SearchKey::SavedBefore(_)
            | SearchKey::SavedOn(_)
            | SearchKey::SavedSince(_)
            | SearchKey::EmailId(_)
            | SearchKey::SequenceSet(_)
            | SearchKey::Uid(_)
            | SearchKey::UidRanges(_)
            | SearchKey::ModSeq(_) => Self::Nothing,
        }
    }
}

fn is_kept(name: &[u8]) -> bool {
    KEPT.iter().any(|kept| kept.as_bytes().eq_ignore_ascii_case(name))
}

/// A header in small: to a key that needs no more, a message is what its excerpt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt(pub Bytes);

impl Excerpt {
    /// `raw` is a message, or its header.
    pub fn of(raw: &[u8]) -> Self {
        let mut kept = Vec::new();
        for field in fields(raw).filter(|field| is_kept(field.name)) {
            kept.extend_from_slice(field.raw);
            if !field.raw.ends_with(b"\n") {
                kept.push(b'\n');
            }
        }
        Self(Bytes::from(kept.into_boxed_slice()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::imap::arrange::Facts;

    #[test]
    fn fields_are_kept_as_they_stand_and_the_body_is_not() {
        let raw =
            b"Received: x\r\nFROM : a@b\r\n (c)\r\nX: 1\r\nSubject: one\r\nsubject: two\r\n\r\nTo: body\r\n";
        assert_eq!(&Excerpt::of(raw).0[..], b"FROM : a@b\r\n (c)\r\nSubject: one\r\nsubject: two\r\n");
        assert_eq!(&Excerpt::of(b"To: cut short").0[..], b"To: cut short\n");
        assert_eq!(&Excerpt::of(b"\r\nTo: body").0[..], b"");
    }

    proptest! {
        #[test]
        fn what_sorts_and_threads_is_the_same_of_the_excerpt(
            raw in "((From|To|Cc|X|Subject|Date|References|In-Reply-To|Message-ID): (re: |a@b|<i@j>|1 Jan 2020 10:00:00 \\+0000|[a-c,<>@]){0,3}\r?\n){0,7}(\r\nSubject: body)?"
        ) {
            prop_assert_eq!(Facts::of(&Excerpt::of(raw.as_bytes()).0), Facts::of(raw.as_bytes()));
        }

        #[test]
        fn a_field_that_is_kept_is_the_same_in_the_excerpt(raw in "((From|X|To|Subject)?[ :]{0,2}[a-c\" \\r\\n]{0,9}\n){0,6}") {
            let excerpt = Excerpt::of(raw.as_bytes());
            let kept = fields(raw.as_bytes()).filter(|field| is_kept(field.name));
            prop_assert!(fields(&excerpt.0).map(|field| (field.name, field.value)).eq(kept.map(|field| (field.name, field.value))));
        }
    }
}
