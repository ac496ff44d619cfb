//! How the mailboxes that are listened to differ from those that were.
//!
//! Two lists are compared, by the ids that mailboxes keep for good: whatever happened between them, in whatever order,
//! what comes out is what the client must know to have the second.

use std::collections::{BTreeMap, BTreeSet};

use super::groups::Groups;
use super::listening::{Lists, Seen, Watched};
use crate::mail::ids::{AccountId, MailboxId};
use crate::mail::rights::Rights;
use crate::session::imap::commands::superiors;
use crate::state::namespace::{self, Place};
use crate::state::news::Counts;
use crate::state::record::MailboxRecord;

#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Names of which LIST is to tell; with the old name where a mailbox was renamed to it.
    pub names: BTreeMap<String, Option<String>>,
    /// Mailboxes that were made since.
    pub made: Vec<MailboxId>,
    /// Mailboxes that stand where another one stood, or as good as: with another UIDVALIDITY, or closed until now.
    pub replaced: Vec<MailboxId>,
    /// Names of mailboxes whose messages cannot be told of any longer.
    pub no_access: BTreeSet<String>,
}

pub(super) struct Known<'a> {
    pub groups: &'a Groups,
    pub lists: &'a Lists,
    pub account: AccountId,
    pub seen: &'a Seen,
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
            self.opened_or_closed((was, is), &mut changed);
            let replaces = names_before.get(record.name.as_str()).is_some_and(|id| *id != record.id);
            let reopened =
                was.is_some_and(|was| !was.rights.has(Rights::READ)) && is.rights.has(Rights::READ);
            let renewed = was.is_some_and(|was| was.counts.uid_validity != record.uid_validity);
            if replaces || renewed || reopened {
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

    /// RFC 5465 5.4: one that others come to share is as good as made.
    fn is_made(&self, record: &MailboxRecord) -> bool {
        match &self.seen.of_others {
            _ if record.account == self.account => record.id > self.seen.last_own,
            Some(seen) => !seen.contains(&record.id),
            None => false,
        }
    }

    /// RFC 5465 5.9: the right to read may be withdrawn, and granted again.
    fn opened_or_closed(&self, (was, is): (Option<&Watched>, &Watched), changed: &mut Changed) {
        let Some(was) = was.filter(|was| was.kinds.of_messages() || is.kinds.of_messages()) else { return };
        match (was.rights.has(Rights::READ), is.rights.has(Rights::READ)) {
            (true, false) => drop(changed.no_access.insert(is.name.clone())),
            (false, true) => drop(changed.names.entry(is.name.clone()).or_insert(None)),
            _ => {}
        }
    }

    fn deleted(&self, before: &WatchedById, changed: &mut Changed) {
        let there: BTreeSet<MailboxId> = self.lists.mailboxes.iter().map(|record| record.id).collect();
        for (_, was) in before.iter().filter(|(mailbox, _)| !there.contains(mailbox)) {
            if was.kinds.names {
                self.affect(&was.name, changed);
            } else if matches!(namespace::place(&was.name), Place::Of { .. }) {
                // Withdrawn or deleted: which of the two is not for others to know.
                changed.no_access.insert(was.name.clone());
            }
        }
    }

    /// RFC 5465 5.4: a mailbox that is made or deleted affects itself and its direct parent.
    fn affect(&self, name: &str, changed: &mut Changed) {
        changed.names.entry(name.to_owned()).or_insert(None);
        let is_mailbox = |level: &&str| namespace::place(level) != Place::Level;
        let Some(parent) = superiors(name).last().filter(is_mailbox) else { return };
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
