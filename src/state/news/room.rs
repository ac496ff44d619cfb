//! Who is told of which change: each account of what is its own, and of mailboxes of others that it may look up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use super::SharedNews;
use crate::mail::ids::{AccountId, MailboxId};
use crate::state::acl::{Acl, Grantee};
use crate::state::change::{Change, MessagesChanged, MetadataChanged};
use crate::state::metadata::is_shared;

/// Accounts whose news are kept before those without a listener are swept.
const ACCOUNTS_MAX: usize = 16_384;

/// The news of all accounts that somebody has listened to.
#[derive(Debug, Default)]
pub struct Newsroom {
    desks: Mutex<Desks>,
}

#[derive(Debug, Default)]
struct Desks {
    accounts: BTreeMap<AccountId, Arc<SharedNews>>,
    /// By owner: the others who hear of some of his mailboxes.
    guests: BTreeMap<AccountId, BTreeSet<AccountId>>,
}

impl Newsroom {
    /// What changes in the account's mailboxes, from now on.
    pub fn account(&self, account: AccountId) -> Arc<SharedNews> {
        let mut desks = self.held();
        if desks.accounts.len() >= ACCOUNTS_MAX {
            desks.sweep();
        }
        desks.accounts.entry(account).or_default().clone()
    }

    /// From now on the account's news tell of these mailboxes of others, each by its owner, and of no other of theirs.
    pub fn hear_of(&self, account: AccountId, others: impl IntoIterator<Item = (AccountId, MailboxId)>) {
        let mut desks = self.held();
        let (mut owners, mut mailboxes) = (BTreeSet::new(), BTreeSet::new());
        for (owner, mailbox) in others {
            owners.insert(owner);
            mailboxes.insert(mailbox);
        }
        desks.guests.retain(|owner, guests| {
            guests.remove(&account);
            !guests.is_empty() || owners.contains(owner)
        });
        for owner in owners {
            desks.guests.entry(owner).or_default().insert(account);
        }
        if let Some(news) = desks.accounts.get(&account) {
            news.hear_of_others(mailboxes);
        }
    }

    /// Costs little where nobody listens.
    pub fn tell(&self, change: &Change) {
        let desks = self.held();
        match change {
            Change::Messages(change) => desks.messages(change),
            Change::Mailboxes { account } => {
                desks
                    .of(*account)
                    .into_iter()
                    .chain(desks.guests_of(*account))
                    .for_each(SharedNews::list_changed);
            }
            Change::Acl { mailbox, acl } => desks.acl(*mailbox, acl),
            Change::Metadata(change) => desks.metadata(change),
            Change::MailboxDeleted { .. }
            | Change::Directory
            | Change::BodyDropped { .. }
            | Change::BodyNamed { .. }
            | Change::Replicas { .. }
            | Change::Drained { .. }
            | Change::Queue
            | Change::QueueRetried
            | Change::Budget { .. }
            | Change::Blocks
            | Change::Seats(_) => {}
        }
    }

    /// Anything may have changed.
    pub fn forget(&self) {
        self.held().accounts.values().for_each(|news| news.forget());
    }

    fn held(&self) -> MutexGuard<'_, Desks> {
        self.desks.lock().expect("no holder of the newsroom panics")
    }
}

impl Desks {
    fn of(&self, account: AccountId) -> Option<&SharedNews> {
        self.accounts.get(&account).map(Arc::as_ref)
    }

    fn guests_of(&self, owner: AccountId) -> impl Iterator<Item = &SharedNews> {
        self.guests.get(&owner).into_iter().flatten().filter_map(|guest| self.of(*guest))
    }

    /// Of one mailbox: its owner, and those who hear of it.
    fn hearers(&self, owner: AccountId, mailbox: MailboxId) -> impl Iterator<Item = &SharedNews> {
        let guests = self.guests_of(owner).filter(move |news| news.hears_of(mailbox));
        self.of(owner).into_iter().chain(guests)
    }

    fn messages(&self, change: &MessagesChanged) {
        self.hearers(change.account, change.mailbox).for_each(|news| news.messages_changed(change));
    }

    /// Whoever is named may see another list now; and so may those who could see the mailbox until now.
    fn acl(&self, mailbox: MailboxId, acl: &Acl) {
        let all = acl.names(Grantee::Anyone);
        let is_named = |account| all || acl.names(Grantee::Account(account));
        let concerned =
            self.accounts.iter().filter(|(account, news)| is_named(**account) || news.hears_of(mailbox));
        concerned.for_each(|(_, news)| news.list_changed());
    }

    /// What is private is told to him whose it is.
    fn metadata(&self, change: &MetadataChanged) {
        let told = |account: AccountId| {
            change.entries.iter().filter(move |entry| account == change.by || is_shared(entry))
        };
        let Some((owner, mailbox)) = change.mailbox else {
            let all = self.accounts.iter();
            return all.for_each(|(account, news)| news.annotations_changed(None, told(*account)));
        };
        let guests = self.guests.get(&owner).into_iter().flatten();
        for account in guests.chain([&owner]) {
            if let Some(news) = self.of(*account).filter(|news| *account == owner || news.hears_of(mailbox)) {
                news.annotations_changed(Some(mailbox), told(*account));
            }
        }
    }

    fn sweep(&mut self) {
        self.accounts.retain(|_, news| Arc::strong_count(news) > 1);
        let accounts = &self.accounts;
        self.guests.retain(|_, guests| {
            guests.retain(|guest| accounts.contains_key(guest));
            !guests.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::{ModSeq, Uid, UidValidity};
    use crate::mail::rights::Rights;
    use crate::state::acl::RightsChange;

    const ALICE: AccountId = AccountId(1);
    const BOB: AccountId = AccountId(2);
    const CAROL: AccountId = AccountId(3);

    fn mail(account: AccountId, mailbox: u64) -> Change {
        Change::Messages(MessagesChanged {
            account,
            mailbox: MailboxId(mailbox),
            uid_validity: UidValidity(1),
            modseq: ModSeq(2),
            uid_next: Uid(2),
            recent_from: Uid(1),
            put: Vec::new(),
            expunged: vec![Uid(1)],
            keywords: None,
            messages: 0,
            unseen: 0,
            flags_changed: false,
        })
    }

    fn annotated(mailbox: Option<(AccountId, MailboxId)>, by: AccountId) -> Change {
        let entries = ["/private/a", "/shared/b"].map(str::to_owned).to_vec();
        Change::Metadata(MetadataChanged { mailbox, by, entries })
    }

    /// What each of the three hears of a change: mailboxes, annotations, `L` for the list.
    fn heard(room: &Newsroom, change: &Change) -> [String; 3] {
        let versions = [ALICE, BOB, CAROL].map(|account| room.account(account).version());
        room.tell(change);
        let accounts = [(ALICE, 0), (BOB, 1), (CAROL, 2)];
        accounts.map(|(account, at)| {
            let news = room.account(account).since(versions[at]);
            let mailboxes = news.mailboxes.unwrap().into_iter().map(|it| it.mailbox.to_string());
            let annotations = news.annotations.unwrap().into_iter().map(|it| it.entry);
            let list = news.list_changed.then(|| "L".to_owned());
            mailboxes.chain(annotations).chain(list).collect::<Vec<_>>().join(" ")
        })
    }

    #[test]
    fn each_hears_of_its_own_and_of_what_it_may_look_up() {
        let room = Newsroom::default();
        let _held = [ALICE, BOB, CAROL].map(|account| room.account(account));
        let five = MailboxId(5);
        assert_eq!(heard(&room, &mail(ALICE, 5)), ["5", "", ""]);
        room.hear_of(BOB, [(ALICE, five)]);
        assert!(room.account(BOB).since(0).list_changed, "it compares once more");
        assert_eq!(heard(&room, &mail(ALICE, 5)), ["5", "5", ""]);
        assert_eq!(heard(&room, &mail(ALICE, 6)), ["6", "", ""]);
        assert_eq!(heard(&room, &mail(CAROL, 5)), ["", "", "5"]);
        assert_eq!(heard(&room, &Change::Mailboxes { account: ALICE }), ["L", "L", ""]);
        let in_five = |by| annotated(Some((ALICE, five)), by);
        assert_eq!(heard(&room, &in_five(ALICE)), ["/private/a /shared/b", "/shared/b", ""]);
        assert_eq!(heard(&room, &in_five(BOB)), ["/shared/b", "/private/a /shared/b", ""]);
        assert_eq!(heard(&room, &annotated(None, CAROL)), ["/shared/b", "/shared/b", "/private/a /shared/b"]);
        room.hear_of(BOB, []);
        assert_eq!(heard(&room, &mail(ALICE, 5)), ["5", "", ""]);
        assert_eq!(heard(&room, &Change::Mailboxes { account: ALICE }), ["L", "", ""]);
        assert!(room.held().guests.is_empty());
    }

    #[test]
    fn who_is_named_and_who_was_hears_of_a_list() {
        let room = Newsroom::default();
        let _held = [ALICE, BOB, CAROL].map(|account| room.account(account));
        let list = |grantees: &[Grantee]| {
            let mut acl = Acl::default();
            for grantee in grantees {
                acl.change((*grantee, false), RightsChange::Replace, Rights::LOOKUP).unwrap();
            }
            Change::Acl { mailbox: MailboxId(5), acl: Arc::new(acl) }
        };
        assert_eq!(heard(&room, &list(&[Grantee::Account(CAROL)])), ["", "", "L"]);
        assert_eq!(heard(&room, &list(&[Grantee::Anyone])), ["L", "L", "L"]);
        room.hear_of(BOB, [(ALICE, MailboxId(5))]);
        assert_eq!(heard(&room, &list(&[])), ["", "L", ""]);
    }

    #[test]
    fn those_whom_nobody_listens_to_are_swept() {
        let room = Newsroom::default();
        let held = room.account(ALICE);
        room.account(BOB);
        room.hear_of(BOB, [(ALICE, MailboxId(5))]);
        for id in 0..ACCOUNTS_MAX as u64 - 2 {
            room.account(AccountId(10 + id));
        }
        assert_eq!(room.held().accounts.len(), ACCOUNTS_MAX);
        room.account(CAROL);
        let desks = room.held();
        assert_eq!(desks.accounts.keys().collect::<Vec<_>>(), [&ALICE, &CAROL]);
        assert!(desks.guests.is_empty());
        drop(held);
    }
}
