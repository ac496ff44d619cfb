//! What the session does itself, of which it need not be told (RFC 5465 5).

use crate::mail::ids::{MailboxId, Uid};
use crate::session::imap::question::{Answer, Question};
use crate::state::command::Command;
use crate::state::news::AnnotationNews;
use crate::state::outcome::Outcome;

/// What the session's commands have come to since it was last told something.
#[derive(Debug, Default)]
pub struct Own {
    /// What is being proposed.
    asked: Option<Act>,
    /// Changes of a mailbox's messages: one for each mod-sequence.
    pub changes: Vec<MailboxId>,
    /// Messages that were brought, as inclusive ranges.
    pub arrivals: Vec<(MailboxId, Uid, Uid)>,
    /// Mailboxes made, deleted, renamed to or (un)subscribed, by the names that LIST gives them: the commands say so.
    pub names: Vec<String>,
    /// Annotations that were set or removed, one for each time.
    pub annotations: Vec<AnnotationNews>,
}

#[derive(Debug)]
enum Act {
    Changes(MailboxId),
    Brings(MailboxId),
    Moves { from: MailboxId, to: MailboxId },
    Annotates(Option<MailboxId>, Vec<String>),
}

impl Own {
    pub fn asks(&mut self, question: &Question) {
        let (Question::Propose(command) | Question::Try(command)) = question else { return };
        self.asked = match command {
            Command::Store(store) => Some(Act::Changes(store.mailbox)),
            Command::Expunge { mailbox, .. } => Some(Act::Changes(*mailbox)),
            Command::Append(append) => Some(Act::Brings(append.mailbox)),
            Command::Copy(transfer) => Some(Act::Brings(transfer.to)),
            Command::Replace(replace) if replace.from == replace.to => Some(Act::Brings(replace.to)),
            Command::Replace(replace) => Some(Act::Moves { from: replace.from, to: replace.to }),
            Command::Move(transfer) => Some(Act::Moves { from: transfer.from, to: transfer.to }),
            Command::SetMetadata(set) => {
                let names = set.entries.iter().map(|entry| entry.name.clone());
                Some(Act::Annotates(set.mailbox, names.collect()))
            }
            _ => None,
        };
    }

    pub fn hears(&mut self, answer: &Answer) {
        let (Some(act), Answer::Outcome(outcome)) = (self.asked.take(), answer) else { return };
        match (act, outcome) {
            (Act::Changes(mailbox), Outcome::Stored { .. }) => self.changes.push(mailbox),
            (Act::Changes(mailbox), Outcome::Expunged { uids, .. }) if !uids.is_empty() => {
                self.changes.push(mailbox);
            }
            (Act::Brings(mailbox), Outcome::Appended { uids, .. }) => {
                self.changes.push(mailbox);
                self.arrivals.extend(uids.iter().map(|uid| (mailbox, *uid, *uid)));
            }
            (Act::Brings(to), Outcome::Replaced { uid, .. }) => {
                self.changes.push(to);
                self.arrivals.push((to, *uid, *uid));
            }
            (Act::Moves { from, to }, Outcome::Replaced { uid, .. }) => {
                self.changes.extend([from, to]);
                self.arrivals.push((to, *uid, *uid));
            }
            (Act::Brings(to), Outcome::Copied { to: uids, .. }) if !uids.is_empty() => {
                self.changes.push(to);
                self.arrivals.extend(uids.ranges().iter().map(|(first, last)| (to, *first, *last)));
            }
            (Act::Moves { from, to }, Outcome::Copied { to: uids, .. }) if !uids.is_empty() => {
                self.changes.extend([from, to]);
                self.arrivals.extend(uids.ranges().iter().map(|(first, last)| (to, *first, *last)));
            }
            (Act::Annotates(mailbox, entries), Outcome::Done) => {
                self.changes.extend(mailbox);
                let entries = entries.into_iter().map(|entry| AnnotationNews { mailbox, entry });
                self.annotations.extend(entries);
            }
            _ => {}
        }
    }

    pub fn brought(&self, mailbox: MailboxId, uid: Uid) -> bool {
        self.arrivals.iter().any(|(of, first, last)| *of == mailbox && *first <= uid && uid <= *last)
    }
}
