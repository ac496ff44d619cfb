//! LIST and LSUB (RFC 3501 6.3.8, 6.3.9) with CHILDREN (RFC 3348) and SPECIAL-USE (RFC 6154).

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;

use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::ListRequest;
use crate::session::imap::limits::LIST_WILDCARDS_MAX;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::write;
use crate::state::command::SpecialUse;
use crate::state::record::MailboxRecord;

pub struct List {
    request: ListRequest,
    mailboxes: Option<Vec<MailboxRecord>>,
}

impl List {
    pub fn new(request: ListRequest) -> Self {
        Self { request, mailboxes: None }
    }

    fn wants_subscriptions(&self) -> bool {
        self.request.select_subscribed || self.request.return_subscribed
    }

    fn write(&self, mailboxes: &[MailboxRecord], subscribed: &BTreeSet<String>, out: &mut BytesMut) -> Next {
        let mut names = Names::of(mailboxes);
        if self.request.select_subscribed {
            for name in subscribed {
                names.by_name.entry(name).or_insert(None);
            }
        }
        let patterns = self.request.patterns.iter().filter(|pattern| !pattern.is_empty());
        let patterns: Vec<String> =
            patterns.map(|pattern| format!("{}{pattern}", self.request.reference)).collect();
        if patterns.iter().any(|pattern| wildcards(pattern) > LIST_WILDCARDS_MAX) {
            return Next::Done(Reply::no("LIMIT", "The pattern has too many wildcards"));
        }
        for (name, record) in &names.by_name {
            let is_subscribed = subscribed.contains(*name);
            let special_use = record.and_then(|record| record.special_use);
            if self.request.select_special_use && special_use.is_none()
                || self.request.select_subscribed && !is_subscribed
                || !patterns.iter().any(|pattern| matches(pattern, name))
            {
                continue;
            }
            let mut attributes = attributes(name, *record, &names);
            if is_subscribed && self.wants_subscriptions() {
                attributes.push("\\Subscribed");
            }
            write_line("LIST", name, &attributes, out);
        }
        Next::Done(Reply::ok("Listed"))
    }
}

impl Task for List {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (self.mailboxes.take(), answer) {
            (None, None) if self.request.patterns.iter().all(String::is_empty) => {
                // RFC 3501 6.3.8: an empty name asks for the separator and the root.
                io.out.extend_from_slice(b"* LIST (\\Noselect) \"/\" \"\"\r\n");
                Next::Done(Reply::ok("That is the separator"))
            }
            (None, None) => Next::Ask(Question::Mailboxes(core.account())),
            (None, Some(Answer::Mailboxes(mailboxes))) if self.wants_subscriptions() => {
                self.mailboxes = Some(mailboxes);
                Next::Ask(Question::Subscriptions(core.account()))
            }
            (None, Some(Answer::Mailboxes(mailboxes))) => self.write(&mailboxes, &BTreeSet::new(), io.out),
            (Some(mailboxes), Some(Answer::Names(names))) => {
                self.write(&mailboxes, &names.into_iter().collect(), io.out)
            }
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}

pub struct Lsub {
    pub reference: String,
    pub pattern: String,
}

impl Task for Lsub {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        let names = match answer {
            None if self.pattern.is_empty() => {
                io.out.extend_from_slice(b"* LSUB (\\Noselect) \"/\" \"\"\r\n");
                return Next::Done(Reply::ok("That is the separator"));
            }
            None => return Next::Ask(Question::Subscriptions(core.account())),
            Some(Answer::Names(names)) => names,
            Some(other) => return Next::Done(Reply::unexpected(Some(other))),
        };
        let pattern = format!("{}{}", self.reference, self.pattern);
        if wildcards(&pattern) > LIST_WILDCARDS_MAX {
            return Next::Done(Reply::no("LIMIT", "The pattern has too many wildcards"));
        }
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        // RFC 3501 6.3.9: with `%`, a name that is not subscribed stands for its subscribed inferiors.
        let mut shown: BTreeMap<&str, bool> = BTreeMap::new();
        for name in &names {
            if matches(&pattern, name) {
                shown.insert(name, true);
            } else if pattern.ends_with('%') {
                for superior in superiors(name).filter(|superior| matches(&pattern, superior)) {
                    shown.entry(superior).or_insert(names.contains(superior));
                }
            }
        }
        for (name, subscribed) in shown {
            let attributes: &[&str] = if subscribed { &[] } else { &["\\Noselect"] };
            write_line("LSUB", name, attributes, io.out);
        }
        Next::Done(Reply::ok("Listed"))
    }
}

/// All names of an account, with the levels between them that are no mailboxes.
struct Names<'a> {
    by_name: BTreeMap<&'a str, Option<&'a MailboxRecord>>,
    with_children: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(mailboxes: &'a [MailboxRecord]) -> Self {
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
fn superiors(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

fn attributes(name: &str, record: Option<&MailboxRecord>, names: &Names) -> Vec<&'static str> {
    let mut attributes = Vec::new();
    if record.is_none_or(|record| record.no_select) {
        attributes.push("\\Noselect");
    }
    let children = names.with_children.contains(name);
    attributes.push(if children { "\\HasChildren" } else { "\\HasNoChildren" });
    attributes.extend(record.and_then(|record| record.special_use).map(|special_use| match special_use {
        SpecialUse::Archive => "\\Archive",
        SpecialUse::Drafts => "\\Drafts",
        SpecialUse::Junk => "\\Junk",
        SpecialUse::Sent => "\\Sent",
        SpecialUse::Trash => "\\Trash",
    }));
    attributes
}

fn write_line(response: &str, name: &str, attributes: &[&str], out: &mut BytesMut) {
    out.extend_from_slice(format!("* {response} ({}) \"/\" ", attributes.join(" ")).as_bytes());
    write::mailbox_name(name, out);
    out.extend_from_slice(b"\r\n");
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
