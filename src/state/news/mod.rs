//! What changed lately in the mailboxes of an account, for sessions that listen to all of them at once.
//!
//! One for all listeners of an account: each remembers how far it has heard. Apply writes and waits for none; whoever
//! lags further than is remembered compares whole.

mod room;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

pub use room::Newsroom;

use super::change::MessagesChanged;
use super::record::MailboxRecord;
use crate::mail::ids::{MailboxId, ModSeq, Uid, UidValidity};

/// Mailboxes whose last change is remembered for an account; of more, those that changed longest ago are forgotten.
pub const CHANGED_MAILBOXES_MAX: usize = 1_024;
/// Changes of annotations that are remembered for an account; of more, the oldest are forgotten.
pub const CHANGED_ANNOTATIONS_MAX: usize = 1_024;

/// A mailbox in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub uid_validity: UidValidity,
    pub uid_next: Uid,
    pub messages: u32,
    pub unseen: u32,
    pub highest_modseq: ModSeq,
}

/// A mailbox whose messages have changed, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxNews {
    pub mailbox: MailboxId,
    pub counts: Counts,
    pub flags_changed: bool,
}

/// An annotation that was set or removed (RFC 5464).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnnotationNews {
    /// `None` is the server.
    pub mailbox: Option<MailboxId>,
    pub entry: String,
}

/// What a listener has not heard yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What it will have heard then.
    pub version: u64,
    /// Mailboxes were made, deleted, renamed, or their subscriptions or what others may do with them changed.
    pub list_changed: bool,
    /// Ascending by mailbox. `None`: more than is remembered, compare whole.
    pub mailboxes: Option<Vec<MailboxNews>>,
    /// As they happened, one for each time. `None`: more than are remembered.
    pub annotations: Option<Vec<AnnotationNews>>,
}

/// The newest of each mailbox, and a counter that ticks at each change.
#[derive(Debug, Default)]
pub struct SharedNews {
    remembered: Mutex<Remembered>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Remembered {
    version: u64,
    list_changed_at: u64,
    mailboxes: BTreeMap<MailboxId, Entry>,
    /// Whoever has heard less than this lacks what is forgotten.
    floor: u64,
    /// By versions, ascending.
    annotations: VecDeque<(u64, AnnotationNews)>,
    /// The same for annotations.
    annotations_floor: u64,
    /// Mailboxes of others of which this account hears, too.
    of_others: BTreeSet<MailboxId>,
}

#[derive(Debug)]
struct Entry {
    counts: Counts,
    changed_at: u64,
    flags_changed_at: u64,
}

impl SharedNews {
    pub fn version(&self) -> u64 {
        self.held().version
    }

    /// Resolves when something has changed since the receiver last looked.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// What changed after `heard`.
    pub fn since(&self, heard: u64) -> News {
        let remembered = self.held();
        let changed = remembered.mailboxes.iter().filter(|(_, entry)| entry.changed_at > heard);
        let mailboxes = changed.map(|(mailbox, entry)| MailboxNews {
            mailbox: *mailbox,
            counts: entry.counts,
            flags_changed: entry.flags_changed_at > heard,
        });
        let annotated = remembered.annotations.iter().filter(|(at, _)| *at > heard);
        News {
            version: remembered.version,
            list_changed: remembered.list_changed_at > heard,
            mailboxes: (heard >= remembered.floor).then(|| mailboxes.collect()),
            annotations: (heard >= remembered.annotations_floor)
                .then(|| annotated.map(|(_, news)| news.clone()).collect()),
        }
    }

    pub fn list_changed(&self) {
        self.tick(|remembered| remembered.list_changed_at = remembered.version);
    }

    /// A claim of \Recent is no news.
    pub fn messages_changed(&self, change: &MessagesChanged) {
        if change.put.is_empty() && change.expunged.is_empty() {
            return;
        }
        self.tick(|remembered| remembered.take_in(change));
    }

    /// Annotations of a mailbox, or of the server.
    pub fn annotations_changed<'a>(
        &self,
        mailbox: Option<MailboxId>,
        entries: impl IntoIterator<Item = &'a String>,
    ) {
        let mut entries = entries.into_iter().peekable();
        if entries.peek().is_some() {
            self.tick(|remembered| {
                for entry in entries {
                    remembered.annotated(AnnotationNews { mailbox, entry: entry.clone() });
                }
            });
        }
    }

    /// From now on what changes in these mailboxes of others is heard, and in no other of theirs. Whoever listens
    /// compares the lists once more: something may have happened since they were read.
    fn hear_of_others(&self, mailboxes: BTreeSet<MailboxId>) {
        if self.held().of_others != mailboxes {
            self.tick(|remembered| {
                remembered.of_others = mailboxes;
                remembered.list_changed_at = remembered.version;
            });
        }
    }

    fn hears_of(&self, mailbox: MailboxId) -> bool {
        self.held().of_others.contains(&mailbox)
    }

    /// Anything may have changed: all listeners are to compare whole.
    pub fn forget(&self) {
        self.tick(|remembered| {
            remembered.mailboxes.clear();
            remembered.floor = remembered.version;
            remembered.annotations.clear();
            remembered.annotations_floor = remembered.version;
            remembered.list_changed_at = remembered.version;
        });
    }

    fn tick(&self, change: impl FnOnce(&mut Remembered)) {
        {
            let mut remembered = self.held();
            remembered.version += 1;
            change(&mut remembered);
        }
        self.version.send_modify(|version| *version += 1);
    }

    fn held(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().expect("no holder of an account's news panics")
    }
}

impl Remembered {
    fn take_in(&mut self, change: &MessagesChanged) {
        if self.mailboxes.len() == CHANGED_MAILBOXES_MAX && !self.mailboxes.contains_key(&change.mailbox) {
            self.forget_half();
        }
        let version = self.version;
        let known = self.mailboxes.get(&change.mailbox).map_or(0, |entry| entry.flags_changed_at);
        let entry = Entry {
            counts: Counts::from(change),
            changed_at: version,
            flags_changed_at: if change.flags_changed { version } else { known },
        };
        self.mailboxes.insert(change.mailbox, entry);
    }

    fn annotated(&mut self, news: AnnotationNews) {
        if self.annotations.len() == CHANGED_ANNOTATIONS_MAX
            && let Some((at, _)) = self.annotations.pop_front()
        {
            self.annotations_floor = at;
        }
        self.annotations.push_back((self.version, news));
    }

    /// A half at a time, so that the search for the oldest is seldom.
    fn forget_half(&mut self) {
        let mut ages: Vec<u64> = self.mailboxes.values().map(|entry| entry.changed_at).collect();
        ages.sort_unstable();
        self.floor = ages[ages.len() / 2];
        self.mailboxes.retain(|_, entry| entry.changed_at > self.floor);
    }
}

impl Counts {
    /// Of a mailbox that has just been made.
    pub fn empty(uid_validity: UidValidity) -> Self {
        Self { uid_validity, uid_next: Uid(1), messages: 0, unseen: 0, highest_modseq: ModSeq(1) }
    }
}

impl From<&MessagesChanged> for Counts {
    fn from(change: &MessagesChanged) -> Self {
        Self {
            uid_validity: change.uid_validity,
            uid_next: change.uid_next,
            messages: change.messages,
            unseen: change.unseen,
            highest_modseq: change.modseq,
        }
    }
}

impl From<&MailboxRecord> for Counts {
    fn from(record: &MailboxRecord) -> Self {
        Self {
            uid_validity: record.uid_validity,
            uid_next: record.uid_next,
            messages: record.messages,
            unseen: record.unseen,
            highest_modseq: record.highest_modseq,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::AccountId;

    fn change(mailbox: u64, modseq: u64, flags_changed: bool) -> MessagesChanged {
        MessagesChanged {
            account: AccountId(1),
            mailbox: MailboxId(mailbox),
            uid_validity: UidValidity(7),
            modseq: ModSeq(modseq),
            uid_next: Uid(modseq as u32),
            recent_from: Uid(1),
            put: Vec::new(),
            expunged: vec![Uid(1)],
            keywords: None,
            messages: 0,
            unseen: 0,
            flags_changed,
        }
    }

    fn changed(news: &News) -> Vec<(u64, u64, bool)> {
        let one = |it: &MailboxNews| (it.mailbox.0, it.counts.highest_modseq.0, it.flags_changed);
        news.mailboxes.as_ref().expect("all is remembered").iter().map(one).collect()
    }

    #[test]
    fn each_listener_hears_what_it_has_not_heard() {
        let shared = SharedNews::default();
        shared.messages_changed(&change(5, 2, true));
        let early = shared.since(0);
        assert_eq!(changed(&early), [(5, 2, true)]);
        assert!(!early.list_changed);
        shared.messages_changed(&change(5, 3, false));
        shared.messages_changed(&change(3, 2, false));
        shared.list_changed();
        let news = shared.since(early.version);
        assert_eq!(changed(&news), [(3, 2, false), (5, 3, false)]);
        assert!(news.list_changed);
        assert_eq!(changed(&shared.since(0)), [(3, 2, false), (5, 3, true)]);
        let nothing = shared.since(news.version);
        assert!(changed(&nothing).is_empty() && !nothing.list_changed);
    }

    #[test]
    fn a_claim_of_recent_is_no_news() {
        let shared = SharedNews::default();
        shared.messages_changed(&MessagesChanged { expunged: Vec::new(), ..change(1, 2, false) });
        assert_eq!(shared.version(), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_who_lags_compares_whole() {
        let shared = SharedNews::default();
        for mailbox in 0..CHANGED_MAILBOXES_MAX as u64 {
            shared.messages_changed(&change(mailbox, 2, false));
        }
        assert_eq!(changed(&shared.since(0)).len(), CHANGED_MAILBOXES_MAX);
        shared.messages_changed(&change(0, 3, false));
        assert!(shared.since(0).mailboxes.is_some(), "a mailbox that is remembered takes no more room");
        let heard = shared.version();
        shared.messages_changed(&change(999_999, 2, false));
        assert_eq!(shared.since(0).mailboxes, None);
        assert_eq!(changed(&shared.since(heard)), [(999_999, 2, false)]);
        assert!(shared.held().mailboxes.len() <= CHANGED_MAILBOXES_MAX);
        shared.forget();
        let news = shared.since(heard);
        assert_eq!((news.mailboxes, news.annotations), (None, None));
        assert!(changed(&shared.since(shared.version())).is_empty());
    }

    #[test]
    fn annotations_are_told_each_time_and_are_bounded() {
        let shared = SharedNews::default();
        let entries = |count: usize| (0..count).map(|at| format!("/private/{at}")).collect::<Vec<_>>();
        shared.annotations_changed(None, &entries(0));
        assert_eq!(shared.version(), 0);
        shared.annotations_changed(Some(MailboxId(5)), &entries(2));
        shared.annotations_changed(None, &entries(1));
        let told = |heard| {
            let news = shared.since(heard).annotations?;
            Some(news.into_iter().map(|it| (it.mailbox.map(|id| id.0), it.entry)).collect::<Vec<_>>())
        };
        let all = [(Some(5), "/private/0"), (Some(5), "/private/1"), (None, "/private/0")];
        assert_eq!(told(0).unwrap(), all.map(|(mailbox, entry)| (mailbox, entry.to_owned())));
        assert_eq!(told(1).unwrap().len(), 1);
        shared.annotations_changed(None, &entries(CHANGED_ANNOTATIONS_MAX - 3));
        assert_eq!(told(0).map(|told| told.len()), Some(CHANGED_ANNOTATIONS_MAX));
        shared.annotations_changed(None, &entries(1));
        assert_eq!(told(0), None);
        assert!(told(1).is_some());
        assert!(shared.since(0).mailboxes.is_some());
    }
}
