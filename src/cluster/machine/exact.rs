//! Views of the rows exactly behind an entry that is still to come: what several nodes open behind the same one shows the
//! same moment of the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::cluster::types::{Entry, Payload};
use crate::mail::ids::{CommandId, LogIndex};
use crate::state::codec::decode_proposal;
use crate::store::tables::{Tables, TablesError, View};

/// Awaited at once; each is a whole pass over the rows.
const AWAITED_MAX: usize = 4;

/// The rows as the entries up to `index` left them.
pub struct ExactView {
    pub index: LogIndex,
    pub view: View,
}

type Opened = Result<ExactView, TablesError>;

/// Who waits for which entry, by the id of its proposal.
#[derive(Default)]
pub struct AwaitedViews(Mutex<BTreeMap<CommandId, oneshot::Sender<Opened>>>);

impl AwaitedViews {
    /// A view behind the entry that proposes under `id`, which is to be proposed after this. `None`: too many wait.
    pub fn await_entry(&self, id: CommandId) -> Option<oneshot::Receiver<Opened>> {
        let mut awaited = self.locked();
        awaited.retain(|_, to| !to.is_closed());
        if awaited.len() >= AWAITED_MAX {
            return None;
        }
        let (to, opened) = oneshot::channel();
        awaited.insert(id, to);
        Some(opened)
    }

    /// How many of `entries` are to be written before a view is opened; all, if none is awaited behind one of them.
    pub(super) fn portion(&self, entries: &[Entry]) -> usize {
        let awaited = self.locked();
        if awaited.is_empty() {
            return entries.len();
        }
        let waits = |entry: &Entry| proposed_as(entry).is_some_and(|id| awaited.contains_key(&id));
        entries.iter().position(waits).map_or(entries.len(), |at| at + 1)
    }

    /// Opens the view that is awaited behind the last of these entries, which are written, if one is.
    pub(super) fn open_behind(&self, entries: &[Entry], tables: &Tables) {
        let Some(last) = entries.last() else { return };
        if self.locked().is_empty() {
            return;
        }
        let Some(to) = proposed_as(last).and_then(|id| self.locked().remove(&id)) else { return };
        let index = LogIndex(last.log_id.index);
        // Who waited may have gone.
        let _ = to.send(tables.begin_view().map(|view| ExactView { index, view }));
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<CommandId, oneshot::Sender<Opened>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn proposed_as(entry: &Entry) -> Option<CommandId> {
    match &entry.payload {
        Payload::Normal(encoded) => decode_proposal(encoded.proposal()).ok().map(|proposal| proposal.id),
        Payload::Blank | Payload::Membership(_) => None,
    }
}
