//! A mailbox in memory, shared by the sessions that have it selected and kept current by the feed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, RwLock};

use tokio::sync::watch;

use super::change::MessagesChanged;
use super::command::UidSet;
use super::record::MessageRecord;
use super::rows::{Rows, RowsError};
use crate::mail::ids::{AccountId, MailboxId, ModSeq, Uid, UidValidity};

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
    /// Ascending by UID.
    messages: Vec<MessageRecord>,
    /// `(modseq of the expunge, uid)`, ascending by modseq.
    expunged: VecDeque<(ModSeq, Uid)>,
}

impl MailboxView {
    pub fn messages(&self) -> &[MessageRecord] {
        &self.messages
    }

    pub fn get(&self, uid: Uid) -> Option<&MessageRecord> {
        self.messages.binary_search_by_key(&uid, |message| message.uid).ok().map(|at| &self.messages[at])
    }

    /// Reads the mailbox whole. `None`: there is no such mailbox.
    pub fn load(rows: &dyn Rows, mailbox: MailboxId) -> Result<Option<Self>, RowsError> {
        let _ = (rows, mailbox);
        unimplemented!("MailboxView::load")
    }

    /// UIDs expunged after `modseq`, ascending; `None` when that is no longer remembered: compare whole.
    pub fn expunged_since(&self, modseq: ModSeq) -> Option<Vec<Uid>> {
        let _ = modseq;
        unimplemented!("expunged_since")
    }

    /// Splits the messages that `uids` names into sets of at most [`MESSAGES_PER_COMMAND_MAX`] messages, for
    /// commands that may be done in portions (Store, Expunge); apply refuses larger ones.
    pub fn portions(&self, uids: &UidSet) -> Vec<UidSet> {
        let _ = uids;
        unimplemented!("portions")
    }

    /// Takes in what apply changed. Hearing a change twice, or one older than the view, does no harm.
    pub fn take_in(&mut self, change: &MessagesChanged) {
        for message in &change.put {
            match self.messages.binary_search_by_key(&message.uid, |known| known.uid) {
                Ok(at) if self.messages[at].modseq <= message.modseq => self.messages[at] = *message,
                Ok(_) => {}
                Err(at) => self.messages.insert(at, *message),
            }
        }
        for uid in &change.expunged {
            if let Ok(at) = self.messages.binary_search_by_key(uid, |known| known.uid) {
                self.messages.remove(at);
            }
            if self.expunged.len() == EXPUNGES_REMEMBERED_MAX {
                self.expunged.pop_front();
            }
            self.expunged.push_back((change.modseq, *uid));
        }
        if let Some(keywords) = &change.keywords {
            self.keywords = keywords.clone();
        }
        self.uid_next = self.uid_next.max(change.uid_next);
        self.highest_modseq = self.highest_modseq.max(change.modseq);
    }
}

/// A [`MailboxView`] behind a lock, with a counter that ticks at each change.
///
/// The lock is held for moments only, never across an await.
#[derive(Debug)]
pub struct SharedView {
    view: RwLock<MailboxView>,
    version: watch::Sender<u64>,
}

impl SharedView {
    pub fn new(view: MailboxView) -> Self {
        Self { view: RwLock::new(view), version: watch::Sender::new(0) }
    }

    pub fn read<T>(&self, look: impl FnOnce(&MailboxView) -> T) -> T {
        look(&self.view.read().expect("no reader or writer of a view panics while it holds the lock"))
    }

    /// Changes the view and wakes its watchers.
    pub fn update(&self, change: impl FnOnce(&mut MailboxView)) {
        change(&mut self.view.write().expect("no reader or writer of a view panics while it holds the lock"));
        self.version.send_modify(|version| *version += 1);
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
            Some(view) => view.update(|view| view.take_in(change)),
            None => state.pending.push(change.clone()),
        }
    }

    /// The rows are read: replays what came meanwhile.
    pub fn finish(&self, mut view: MailboxView) -> Arc<SharedView> {
        let mut state = self.state.lock().expect("no holder of a loading view panics");
        for change in state.pending.drain(..) {
            view.take_in(&change);
        }
        let shared = Arc::new(SharedView::new(view));
        state.done = Some(shared.clone());
        shared
    }
}
