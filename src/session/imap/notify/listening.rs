//! The mailboxes, one's own and others', that a session listens to: what it was told of each, and what is to be told now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::BytesMut;

use super::compare::{Changed, Known};
use super::groups::{Groups, Kinds};
use super::own::Own;
use crate::mail::ids::{AccountId, MailboxId};
use crate::mail::rights::Rights;
use crate::session::imap::commands::{Names, list_line, superiors, write_listed};
use crate::session::imap::grammar::NameCoding;
use crate::session::imap::limits::NOTIFY_MAILBOXES_MAX;
use crate::session::imap::string::write_astring;
use crate::session::imap::write;
use crate::state::metadata::ANNOTATING;
use crate::state::news::{AnnotationNews, Counts, MailboxNews, News, SharedNews};
use crate::state::record::MailboxRecord;

#[derive(Debug)]
pub struct Listening {
    groups: Groups,
    news: Arc<SharedNews>,
    /// How far the news were heard.
    heard: u64,
    watched: BTreeMap<MailboxId, Watched>,
    /// Of the names that are subscribed to, those of which subscriptions are wanted.
    subscribed: BTreeSet<String>,
    /// Whose session it is.
    account: AccountId,
    seen: Seen,
}

/// Which mailboxes there were, to know what is new.
#[derive(Debug)]
pub(super) struct Seen {
    /// The highest of one's own: those above it were made since.
    pub last_own: MailboxId,
    /// Those of others that could be looked up; `None`: as good as all.
    pub of_others: Option<BTreeSet<MailboxId>>,
}

#[derive(Debug)]
pub(super) struct Watched {
    pub name: String,
    pub no_select: bool,
    pub rights: Rights,
    pub kinds: Kinds,
    /// As they were told.
    pub counts: Counts,
}

/// All mailboxes and subscriptions of the account, as they are now.
#[derive(Debug)]
pub struct Lists {
    pub mailboxes: Vec<MailboxRecord>,
    pub subscriptions: BTreeSet<String>,
}

/// More than [`NOTIFY_MAILBOXES_MAX`] would have to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyMailboxes;

/// How the session stands while it is told.
#[derive(Debug, Clone, Copy)]
pub struct Hearer {
    pub selected: Option<MailboxId>,
    pub condstore: bool,
    pub names: NameCoding,
}

impl Listening {
    /// `lists` are not older than `heard`.
    pub fn begin(
        groups: Groups,
        (news, heard): (Arc<SharedNews>, u64),
        account: AccountId,
        lists: &Lists,
    ) -> Result<Self, TooManyMailboxes> {
        let (watched, subscribed) = (BTreeMap::new(), BTreeSet::new());
        // None is new: there is nothing yet that they could differ from.
        let seen = Seen { last_own: MailboxId(u64::MAX), of_others: None };
        let mut listening = Self { groups, news, heard, watched, subscribed, account, seen };
        listening.renew(lists)?;
        Ok(listening)
    }

    pub fn unheard(&self) -> News {
        self.news.since(self.heard)
    }

    pub fn wants_annotations(&self) -> bool {
        self.groups.want_annotations()
    }

    pub fn has_heard(&mut self, version: u64) {
        self.heard = version;
    }

    /// RFC 5465 3.1, NOTIFY SET STATUS: how what is listened to stands. CONDSTORE is supported, enabled or not.
    pub fn write_standing(&self, hearer: Hearer, out: &mut BytesMut) {
        for (mailbox, watched) in &self.watched {
            let kinds = watched.kinds;
            if !watched.may_read() || Some(*mailbox) == hearer.selected || !kinds.of_messages() {
                continue;
            }
            let items = Items {
                messages: kinds.new || kinds.expunged,
                uid_next: kinds.new,
                uid_validity: kinds.new || kinds.flags,
                unseen: false,
                highest_modseq: kinds.flags,
            };
            items.write((&watched.name, hearer.names), &watched.counts, out);
        }
    }

    /// Tells of one mailbox's messages.
    pub fn tell_messages(&mut self, news: &MailboxNews, hearer: Hearer, own: &Own, out: &mut BytesMut) {
        let Some(watched) = self.watched.get_mut(&news.mailbox) else { return };
        let (before, now) = (watched.counts, news.counts);
        if now.highest_modseq <= before.highest_modseq {
            return;
        }
        watched.counts = now;
        let changes = now.highest_modseq.0 - before.highest_modseq.0;
        let own_changes = own.changes.iter().filter(|mailbox| **mailbox == news.mailbox).count() as u64;
        if !watched.may_read() || Some(news.mailbox) == hearer.selected || own_changes == changes {
            return;
        }
        // UIDs are given one by one, so that counts tell both how many came and how many went.
        let came = now.uid_next.0.saturating_sub(before.uid_next.0);
        let went = before.messages.saturating_add(came) > now.messages;
        let kinds = watched.kinds;
        let moved = (kinds.new && came > 0) || (kinds.expunged && went);
        let unseen = kinds.flags && before.unseen != now.unseen;
        // RFC 5465 5.1: of other flags only a client that knows mod-sequences can be told.
        let flagged = kinds.flags && news.flags_changed && hearer.condstore;
        if !moved && !unseen && !flagged {
            return;
        }
        let items = Items {
            messages: moved,
            uid_next: moved,
            uid_validity: true,
            unseen,
            highest_modseq: hearer.condstore,
        };
        items.write((&watched.name, hearer.names), &now, out);
    }

    /// Compares with what was told, and tells of names, subscriptions, and of what came into mailboxes that are new.
    pub fn tell_lists(
        &mut self,
        lists: &Lists,
        hearer: Hearer,
        own: &Own,
        out: &mut BytesMut,
    ) -> Result<(), TooManyMailboxes> {
        let changed = self.renew(lists)?;
        let names = Names::of(&lists.mailboxes);
        let own_names: BTreeSet<&str> =
            own.names.iter().flat_map(|name| superiors(name).chain([name.as_str()])).collect();
        for (name, old_name) in &changed.names {
            if !own_names.contains(name.as_str()) {
                let subscribed = lists.subscriptions.contains(name);
                write_listed((name, old_name.as_deref()), (&names, subscribed), hearer.names, out);
            }
        }
        // RFC 5465 5.9: it is listened to no longer, or again.
        for name in &changed.no_access {
            list_line((name, None), &["\\NoAccess"], hearer.names, out);
        }
        for mailbox in changed.replaced {
            if let Some(watched) = self.watched.get(&mailbox)
                && watched.kinds.of_messages()
                && watched.may_read()
            {
                let all = Items {
                    messages: true,
                    uid_next: true,
                    uid_validity: true,
                    unseen: watched.kinds.flags,
                    highest_modseq: hearer.condstore,
                };
                all.write((&watched.name, hearer.names), &watched.counts, out);
            }
        }
        let made = lists.mailboxes.iter().filter(|record| changed.made.contains(&record.id));
        for record in made {
            let news = MailboxNews { mailbox: record.id, counts: Counts::from(record), flags_changed: false };
            self.tell_messages(&news, hearer, own, out);
        }
        Ok(())
    }

    /// The same, of all messages in all mailboxes: what changed is no longer remembered.
    pub fn tell_whole(&mut self, lists: &Lists, hearer: Hearer, own: &Own, out: &mut BytesMut) {
        for record in &lists.mailboxes {
            let news = MailboxNews { mailbox: record.id, counts: Counts::from(record), flags_changed: true };
            self.tell_messages(&news, hearer, own, out);
        }
    }

    /// RFC 5465 5.6, 5.7, RFC 5464 4.4.2: the names of what was set or removed, without values.
    pub fn tell_annotations(&self, news: &[AnnotationNews], hearer: Hearer, own: &Own, out: &mut BytesMut) {
        let mut changed: BTreeMap<&AnnotationNews, usize> = BTreeMap::new();
        for one in news {
            *changed.entry(one).or_default() += 1;
        }
        changed.retain(|one, times| own.annotations.iter().filter(|own| own == one).count() < *times);
        let mut last = None;
        for AnnotationNews { mailbox, entry } in changed.into_keys() {
            let name = match mailbox {
                None if self.groups.want_server_annotations() => "",
                None => continue,
                Some(mailbox) => match self.watched.get(mailbox) {
                    Some(watched) if watched.kinds.annotations && watched.rights.has_any(ANNOTATING) => {
                        &watched.name
                    }
                    _ => continue,
                },
            };
            if last != Some(mailbox) {
                if last.replace(mailbox).is_some() {
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"* METADATA ");
                write::mailbox_name(name, hearer.names, out);
            }
            out.extend_from_slice(b" ");
            write_astring(entry.as_bytes(), out);
        }
        if last.is_some() {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Remembers what is listened to now, and says how it differs from what was.
    fn renew(&mut self, lists: &Lists) -> Result<Changed, TooManyMailboxes> {
        let mut watched = BTreeMap::new();
        for record in &lists.mailboxes {
            let kinds = self.groups.kinds(&record.name, record.subscribed);
            if kinds.are_some() {
                let (name, no_select, rights) = (record.name.clone(), record.no_select, record.rights);
                let counts = Counts::from(record);
                watched.insert(record.id, Watched { name, no_select, rights, kinds, counts });
            }
        }
        let wanted = |name: &&String| self.groups.kinds(name, true).subscriptions;
        let subscribed: BTreeSet<String> = lists.subscriptions.iter().filter(wanted).cloned().collect();
        if watched.len() + subscribed.len() > NOTIFY_MAILBOXES_MAX {
            return Err(TooManyMailboxes);
        }
        let known = Known { groups: &self.groups, lists, account: self.account, seen: &self.seen };
        let mut changed = known.compare(&self.watched, &mut watched);
        for name in self.subscribed.symmetric_difference(&subscribed) {
            changed.names.entry(name.clone()).or_insert(None);
        }
        (self.watched, self.subscribed) = (watched, subscribed);
        self.seen = Seen::of(lists, self.account);
        Ok(changed)
    }
}

impl Seen {
    fn of(lists: &Lists, account: AccountId) -> Self {
        let (own, others): (Vec<&MailboxRecord>, Vec<_>) =
            lists.mailboxes.iter().partition(|record| record.account == account);
        Self {
            last_own: own.iter().map(|record| record.id).max().unwrap_or_default(),
            of_others: Some(others.iter().map(|record| record.id).collect()),
        }
    }
}

impl Watched {
    /// Its messages.
    pub fn may_read(&self) -> bool {
        !self.no_select && self.rights.has(Rights::READ)
    }
}

/// Items of a STATUS response.
#[derive(Debug, Clone, Copy)]
struct Items {
    messages: bool,
    uid_next: bool,
    uid_validity: bool,
    unseen: bool,
    highest_modseq: bool,
}

impl Items {
    fn write(self, (name, coding): (&str, NameCoding), counts: &Counts, out: &mut BytesMut) {
        out.extend_from_slice(b"* STATUS ");
        write::mailbox_name(name, coding, out);
        let items = [
            (self.messages, "MESSAGES", u64::from(counts.messages)),
            (self.uid_next, "UIDNEXT", u64::from(counts.uid_next.0)),
            (self.uid_validity, "UIDVALIDITY", u64::from(counts.uid_validity.0)),
            (self.unseen, "UNSEEN", u64::from(counts.unseen)),
            (self.highest_modseq, "HIGHESTMODSEQ", counts.highest_modseq.0),
        ];
        let wanted = items.into_iter().filter(|(wanted, ..)| *wanted);
        let items: Vec<String> = wanted.map(|(_, item, value)| format!("{item} {value}")).collect();
        out.extend_from_slice(format!(" ({})\r\n", items.join(" ")).as_bytes());
    }
}
