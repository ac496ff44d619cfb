//! The names of an account, and which of them a pattern means.

use std::collections::{BTreeMap, BTreeSet};

use crate::session::imap::limits::LIST_WILDCARDS_MAX;
use crate::state::record::MailboxRecord;

/// All names of an account, with the levels between them that are no mailboxes.
pub struct Names<'a> {
    pub by_name: BTreeMap<&'a str, Option<&'a MailboxRecord>>,
    pub with_children: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    pub fn of(mailboxes: &'a [MailboxRecord]) -> Self {
        let mut by_name = BTreeMap::new();
        let mut with_children = BTreeSet::new();
        for record in mailboxes {
            for superior in superiors(&record.name) {
                by_name.entry(superior).or_insert(None);
                with_children.insert(superior);
            }
            by_name.insert(record.name.as_str(), Some(record));
        }
        Self { by_name, with_children }
    }
}

/// `a`, `a/b` of `a/b/c`.
pub fn superiors(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

/// The patterns of one LIST, behind their reference.
pub struct Patterns(Vec<String>);

impl Patterns {
    /// `None`: one has more than [`LIST_WILDCARDS_MAX`] wildcards. An empty pattern means no name.
    pub fn new<'a>(reference: &str, patterns: impl IntoIterator<Item = &'a String>) -> Option<Self> {
        let patterns = patterns.into_iter().filter(|pattern| !pattern.is_empty());
        let patterns: Vec<String> = patterns.map(|pattern| format!("{reference}{pattern}")).collect();
        patterns.iter().all(|pattern| wildcards(pattern) <= LIST_WILDCARDS_MAX).then_some(Self(patterns))
    }

    pub fn mean(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, name))
    }
}

fn wildcards(pattern: &str) -> usize {
    pattern.bytes().filter(|byte| matches!(byte, b'*' | b'%')).count()
}

/// RFC 3501 6.3.8: `*` stands for anything, `%` for anything but a separator. Time is the product of the
/// lengths: the set of places reached in the pattern moves along the name.
fn matches(pattern: &str, name: &str) -> bool {
    let fold = |byte: u8, fold: bool| if fold { byte.to_ascii_uppercase() } else { byte };
    let no_case = name == "INBOX";
    let pattern = pattern.as_bytes();
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    pass_wildcards(pattern, &mut reached);
    for byte in name.bytes() {
        let mut next = vec![false; pattern.len() + 1];
        for (at, wanted) in pattern.iter().enumerate().filter(|(at, _)| reached[*at]) {
            match wanted {
                b'*' => next[at] = true,
                b'%' if byte != b'/' => next[at] = true,
                b'%' => {}
                wanted => next[at + 1] |= fold(*wanted, no_case) == byte,
            }
        }
        pass_wildcards(pattern, &mut next);
        reached = next;
    }
    reached[pattern.len()]
}

/// A wildcard may stand for nothing.
fn pass_wildcards(pattern: &[u8], reached: &mut [bool]) {
    for at in 0..pattern.len() {
        if reached[at] && matches!(pattern[at], b'*' | b'%') {
            reached[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stop_where_they_should() {
        for (pattern, name, matching) in [
            ("*", "a/b/c", true),
            ("%", "a", true),
            ("%", "a/b", false),
            ("a/%", "a/b", true),
            ("a/%", "a/b/c", false),
            ("a%c", "abc", true),
            ("a*c", "a/b/c", true),
            ("%/%", "a/b", true),
            ("*%b", "a/b", true),
            ("", "a", false),
            ("inb%", "INBOX", true),
            ("inbox", "INBOX", true),
            ("archive", "Archive", false),
        ] {
            assert_eq!(matches(pattern, name), matching, "{pattern} {name}");
        }
    }
}
