//! How the mailboxes that are listened to differ from those that were.
//!
//! Two lists are compared, by the ids that mailboxes keep for good: whatever happened between them, in whatever order,
//! what comes out is what the client must know to have the second.

use std::collections::BTreeMap;

use super::groups::Groups;
use super::listening::{Lists, Watched};
use crate::mail::ids::MailboxId;
use crate::session::imap::commands::superiors;
use crate::state::news::Counts;
use crate::state::record::MailboxRecord;

#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Names of which LIST is to tell; with the old name where a mailbox was renamed to it.
    pub names: BTreeMap<String, Option<String>>,
    /// Mailboxes that were made since.
    pub made: Vec<MailboxId>,
    /// Mailboxes that stand where another one stood, or as good as: with another UIDVALIDITY.
    pub replaced: Vec<MailboxId>,
}

pub(super) struct Known<'a> {
    pub groups: &'a Groups,
    pub lists: &'a Lists,
    /// Mailboxes above it were made since.
    pub last_mailbox: MailboxId,
}

type WatchedById = BTreeMap<MailboxId, Watched>;

impl Known<'_> {
    /// Gives those in `now` the counts that were told of them.
    pub fn compare(&self, before: &WatchedById, now: &mut WatchedById) -> Changed {
        let mut changed = Changed::default();
        let mut renames = BTreeMap::new();
        let names_before: BTreeMap<&str, MailboxId> =
            before.iter().map(|(mailbox, watched)| (watched.name.as_str(), *mailbox)).collect();
        for record in &self.lists.mailboxes {
            let (was, is) = (before.get(&record.id), now.get_mut(&record.id));
            let names =
                was.is_some_and(|was| was.kinds.names) || is.as_ref().is_some_and(|is| is.kinds.names);
            match was {
                Some(was) if was.name != record.name && names => {
                    renames.insert(was.name.as_str(), record.name.as_str());
                }
                // DELETE left the name alone, or CREATE made it a mailbox again.
                Some(was) if was.no_select != record.no_select && names => {
                    self.affect(&record.name, &mut changed)
                }
                // RFC 5465 5.4: the INBOX that takes the place of a renamed one is not told.
                None if self.is_made(record) && names && record.name != "INBOX" => {
                    self.affect(&record.name, &mut changed);
                }
                _ => {}
            }
            let Some(is) = is else { continue };
            let replaces = names_before.get(record.name.as_str()).is_some_and(|id| *id != record.id);
            if replaces || was.is_some_and(|was| was.counts.uid_validity != record.uid_validity) {
                changed.replaced.push(record.id);
            } else if let Some(was) = was {
                is.counts = was.counts;
            } else if self.is_made(record) {
                is.counts = Counts::empty(record.uid_validity);
                changed.made.push(record.id);
            }
        }
        self.deleted(before, &mut changed);
        renamed(&renames, &mut changed);
        changed
    }

    fn is_made(&self, record: &MailboxRecord) -> bool {
        record.id > self.last_mailbox
    }

    fn deleted(&self, before: &WatchedById, changed: &mut Changed) {
        let there: std::collections::BTreeSet<MailboxId> =
            self.lists.mailboxes.iter().map(|record| record.id).collect();
        let gone = before.iter().filter(|(mailbox, was)| was.kinds.names && !there.contains(mailbox));
        gone.for_each(|(_, was)| self.affect(&was.name, changed));
    }

    /// RFC 5465 5.4: a mailbox that is made or deleted affects itself and its direct parent.
    fn affect(&self, name: &str, changed: &mut Changed) {
        changed.names.entry(name.to_owned()).or_insert(None);
        let Some(parent) = superiors(name).last() else { return };
        if self.groups.kinds(parent, self.lists.subscriptions.contains(parent)).names {
            changed.names.entry(parent.to_owned()).or_insert(None);
        }
    }
}

/// RFC 5465 5.4: what is below a renamed mailbox goes with it, and is not told.
fn renamed(renames: &BTreeMap<&str, &str>, changed: &mut Changed) {
    for (old, new) in renames {
        let went_along = superiors(old).any(|above| {
            let there = renames.get(above).and_then(|there| new.strip_prefix(there));
            there.is_some_and(|rest| rest == &old[above.len()..])
        });
        if !went_along {
            changed.names.insert((*new).to_owned(), Some((*old).to_owned()));
        }
    }
}
