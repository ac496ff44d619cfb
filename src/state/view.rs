//! A mailbox in memory, shared by the sessions that have it selected and kept current by the feed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use tokio::sync::watch;

use super::acl::Acl;
use super::change::MessagesChanged;
use super::command::UidSet;
use super::keys;
use super::messages::Messages;
use super::reading;
use super::record::MessageRecord;
use super::rows::{Rows, RowsError};
use super::stored::{ExpungedPartRow, MessagesRow};
use crate::mail::ids::{AccountId, MailboxId, ModSeq, Uid, UidValidity};
use crate::mail::rights::Rights;

/// Expunges remembered per view, for sessions that lag; beyond this they compare whole.
pub const EXPUNGES_REMEMBERED_MAX: usize = 10_000;

/// Messages one Store, Expunge, Copy or Move may touch; more are refused with [`super::outcome::Refusal::Limit`].
pub const MESSAGES_PER_COMMAND_MAX: usize = 50_000;

/// The content of one mailbox at some applied index.
#[derive(Debug, Clone)]
pub struct MailboxView {
    pub id: MailboxId,
    pub account: AccountId,
    pub uid_validity: UidValidity,
    pub uid_next: Uid,
    pub highest_modseq: ModSeq,
    pub recent_from: Uid,
    pub keywords: Arc<Vec<String>>,
    /// True once the mailbox is deleted: nothing further comes.
    pub deleted: bool,
    pub acl: Arc<Acl>,
    /// Ascending by UID.
    messages: Messages,
    /// `(modseq of the expunge, uid)`, ascending by modseq.
    expunged: VecDeque<(ModSeq, Uid)>,
    /// Expunges at or below this are no longer all remembered.
    expunged_floor: ModSeq,
}

/// Whether a change followed on what the view had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenIn {
    /// It did, or it was known already.
    InOrder,
    /// A change before it never came: load the view anew.
    Gap,
}

impl MailboxView {
    /// Reads the mailbox whole. `None`: there is no such mailbox. While rows are being written, read
    /// under a [`LoadingView`]: what was written in mid-scan is made whole by the changes it replays.
    pub fn load(rows: &dyn Rows, mailbox: MailboxId) -> Result<Option<Self>, RowsError> {
        // First: a change that this row knows of is in the rows read later, and is replayed otherwise.
        let Some(row) = reading::live_mailbox(rows, mailbox)?.filter(|row| !row.no_select) else {
            return Ok(None);
        };
        let mut messages = Messages::default();
        let span = keys::messages(row.account, mailbox);
        reading::visit::<MessagesRow>(rows, &span, |_, row| {
            row.messages.iter().for_each(|message| messages.put(message));
        })?;
        let mut expunged = VecDeque::new();
        reading::visit::<ExpungedPartRow>(rows, &keys::expunged(mailbox), |key, part| {
            if let Some(modseq) = keys::modseq_of(key).filter(|modseq| *modseq <= row.highest_modseq) {
                expunged.extend(part.uids.iter().map(|uid| (modseq, uid)));
            }
        })?;
        Ok(Some(Self {
            id: mailbox,
            account: row.account,
            uid_validity: row.uid_validity,
            uid_next: row.uid_next,
            highest_modseq: row.highest_modseq,
            recent_from: row.recent_from,
            keywords: Arc::new(reading::keywords(rows, mailbox, &row)?),
            deleted: false,
            acl: Arc::new(reading::acl(rows, mailbox)?),
            messages,
            expunged,
            expunged_floor: row.expunged_floor,
        }))
    }

    /// What the account may do here.
    pub fn rights_of(&self, account: AccountId) -> Rights {
        if account == self.account { Rights::ALL } else { self.acl.rights_of(account) }
    }

    pub fn messages(&self) -> &Messages {
        &self.messages
    }

    pub fn get(&self, uid: Uid) -> Option<MessageRecord> {
        self.messages.get(uid)
    }

    /// UIDs expunged after `modseq`, ascending; `None` when that is no longer remembered: compare whole.
    pub fn expunged_since(&self, modseq: ModSeq) -> Option<Vec<Uid>> {
        if modseq < self.expunged_floor {
            return None;
        }
        let from = self.expunged.partition_point(|(at, _)| *at <= modseq);
        let mut uids: Vec<Uid> = self.expunged.range(from..).map(|(_, uid)| *uid).collect();
        uids.sort_unstable();
        Some(uids)
    }

    /// Splits the messages that `uids` names into sets of at most [`MESSAGES_PER_COMMAND_MAX`] messages, for
    /// commands that may be done in portions (Store, Expunge); apply refuses larger ones.
    pub fn portions(&self, uids: &UidSet) -> Vec<UidSet> {
        let within = |(first, last): &(Uid, Uid)| {
            let last = *last;
            self.messages.uids_from(*first).take_while(move |uid| *uid <= last)
        };
        let named: Vec<Uid> = uids.ranges().iter().flat_map(within).collect();
        named
            .chunks(MESSAGES_PER_COMMAND_MAX)
            .map(|portion| UidSet::from_ascending(portion.iter().copied()))
            .collect()
    }

    /// Takes in what apply changed. Hearing a change twice, or one older than the view, does no harm.
    pub fn take_in(&mut self, change: &MessagesChanged) -> TakenIn {
        self.uid_next = self.uid_next.max(change.uid_next);
        self.recent_from = self.recent_from.max(change.recent_from);
        // Every command that touches the mailbox has a mod-sequence of its own: this one is known.
        if change.modseq <= self.highest_modseq {
            return TakenIn::InOrder;
        }
        let in_order = change.modseq.0 == self.highest_modseq.0.saturating_add(1);
        change.put.iter().for_each(|message| self.messages.put(message));
        self.expunge(change.modseq, &change.expunged);
        if let Some(keywords) = &change.keywords {
            self.keywords = keywords.clone();
        }
        self.highest_modseq = change.modseq;
        if in_order { TakenIn::InOrder } else { TakenIn::Gap }
    }

    /// `uids` ascend.
    fn expunge(&mut self, modseq: ModSeq, uids: &[Uid]) {
        self.messages.remove(uids);
        for uid in uids {
            if self.expunged.len() == EXPUNGES_REMEMBERED_MAX {
                self.expunged_floor = self.expunged.pop_front().map_or(modseq, |(forgotten, _)| forgotten);
            }
            self.expunged.push_back((modseq, *uid));
        }
    }
}

/// A [`MailboxView`] behind a lock, with a counter that ticks at each change.
///
/// The lock is held for moments only, never across an await.
#[derive(Debug)]
pub struct SharedView {
    view: RwLock<MailboxView>,
    version: watch::Sender<u64>,
    /// Messages below this were told as \Recent to a session, of this node or by what was committed.
    claimed: AtomicU32,
}

impl SharedView {
    pub fn new(view: MailboxView) -> Self {
        let claimed = AtomicU32::new(view.recent_from.0);
        Self { view: RwLock::new(view), version: watch::Sender::new(0), claimed }
    }

    pub fn read<T>(&self, look: impl FnOnce(&MailboxView) -> T) -> T {
        look(&self.view.read().expect("no reader or writer of a view panics while it holds the lock"))
    }

    /// Changes the view and wakes its watchers.
    pub fn update(&self, change: impl FnOnce(&mut MailboxView)) {
        let recent_from = {
            let mut view =
                self.view.write().expect("no reader or writer of a view panics while it holds the lock");
            change(&mut view);
            view.recent_from
        };
        self.claim_recent(recent_from);
        self.version.send_modify(|version| *version += 1);
    }

    /// Messages below `up_to` are told as \Recent now; those from the answer on never were (RFC 3501 2.3.2). Holds
    /// among the sessions of this node at once; for all others when it is committed.
    pub fn claim_recent(&self, up_to: Uid) -> Uid {
        Uid(self.claimed.fetch_max(up_to.0, Ordering::Relaxed))
    }

    /// Messages from here on were told as \Recent to nobody.
    pub fn recent_from(&self) -> Uid {
        Uid(self.claimed.load(Ordering::Relaxed))
    }

    /// Resolves when the view has changed since the receiver last looked.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

/// A view whose rows are being read while changes go on. The feed is told of it *before* the first row
/// is read and hands it every change from then on; what came meanwhile is replayed by [`LoadingView::finish`].
#[derive(Debug, Default)]
pub struct LoadingView {
    state: Mutex<LoadState>,
}

#[derive(Debug, Default)]
struct LoadState {
    pending: Vec<MessagesChanged>,
    /// The last that was heard.
    acl: Option<Arc<Acl>>,
    done: Option<Arc<SharedView>>,
}

impl LoadingView {
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the change for later, or passes it on if the view is finished.
    pub fn take_in(&self, change: &MessagesChanged) {
        let mut state = self.state.lock().expect("no holder of a loading view panics");
        match &state.done {
            Some(view) => view.update(|view| {
                let _ = view.take_in(change);
            }),
            None => state.pending.push(change.clone()),
        }
    }

    /// Keeps the list for later, or puts it in force if the view is finished.
    pub fn take_in_acl(&self, acl: Arc<Acl>) {
        let mut state = self.state.lock().expect("no holder of a loading view panics");
        match &state.done {
            Some(view) => view.update(|view| view.acl = acl),
            None => state.acl = Some(acl),
        }
    }

    /// The rows are read: replays what came meanwhile.
    pub fn finish(&self, mut view: MailboxView) -> Arc<SharedView> {
        let mut state = self.state.lock().expect("no holder of a loading view panics");
        for change in state.pending.drain(..) {
            let _ = view.take_in(&change);
        }
        if let Some(acl) = state.acl.take() {
            view.acl = acl;
        }
        let shared = Arc::new(SharedView::new(view));
        state.done = Some(shared.clone());
        shared
    }
}
