//! The second copy while one data node alone is left: new bodies go to the witness's journal as well, sealed with a key that it
//! does not hold, until another data node has them (design 3).
//!
//! A node that lacks a body which no data node gives reads the whole journal through, once for as long as it stays the same:
//! that is rare enough to need no look-up.

#[doc(hidden)]
pub mod pieces;
#[doc(hidden)]
pub mod serve;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bincode::{Decode, Encode};
use bytes::Bytes;
use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, timeout};

pub use self::pieces::JournalKey;
use self::pieces::{Assembler, Piece};
pub use self::serve::JournalServer;
use super::fetch::Urgency;
use super::placing::Content;
use super::pool::Trouble;
use super::{BodyService, Inner, blocking, disk, locked, ms};
use crate::cluster::network::kinds;
use crate::cluster::replica::Fault;
use crate::cluster::status::ASK_MAX;
use crate::cluster::transport::{BACKGROUND, CallError, Lane};
use crate::cluster::wire;
use crate::mail::ids::{BodyId, NodeId};
use crate::store::journal::Mark;

/// Small frames, each a piece of a body, on a stream that stays open; each is acknowledged.
pub(super) const KIND_KEEP: u16 = 0x0301;
/// All records there are, one a frame.
pub(super) const KIND_READ: u16 = 0x0302;

/// Whether a stream of this kind is the journal's.
pub fn is_journal_kind(kind: u16) -> bool {
    [KIND_KEEP, KIND_READ].contains(&(kind & !BACKGROUND))
}

/// Pieces of one body on their way; what is in flight to the witness is bounded by its pool.
const PIECES_AT_ONCE: usize = 16;

/// Who keeps bodies for a data node that is left alone.
pub struct Journals {
    pub key: JournalKey,
    pub witnesses: Vec<NodeId>,
}

/// What a witness is asked about its journal; it answers with a [`JournalState`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(in crate::cluster) struct JournalQuestion {
    /// What lies before is needed no longer: `Mark`'s run and place.
    pub drop_before: Option<(u64, u64)>,
}

/// Frozen: nodes of other builds read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct JournalState {
    /// Octets on the witness's disk.
    pub bytes: u64,
    pub bytes_max: u64,
    run: u64,
    end: u64,
}

impl JournalState {
    pub(in crate::cluster) fn new(bytes: u64, bytes_max: u64, end: Mark) -> Self {
        Self { bytes, bytes_max, run: end.run, end: end.at }
    }

    /// Behind all that is in it.
    pub(in crate::cluster) fn end(&self) -> (u64, u64) {
        (self.run, self.end)
    }
}

/// A reading of all journals under way; `true`: all that any of them held is here.
pub(super) type Restoring = Shared<BoxFuture<'static, bool>>;

impl BodyService {
    /// How the journal of `witness` stands, once what lies before `drop_before` is dropped. `Ok(None)`: it keeps none.
    pub(in crate::cluster) async fn journal_state(
        &self,
        witness: NodeId,
        drop_before: Option<(u64, u64)>,
    ) -> Result<Option<JournalState>, CallError> {
        self.inner.journal_state(witness, drop_before).await
    }

    /// Bodies that are here alone since this node was left alone, and why no witness took the last of them.
    pub fn single_copies(&self) -> Option<(u64, String)> {
        let mut single = locked(&self.inner.single_copies);
        let own = self.inner.transport.node();
        // Another that came to be in sync has fetched them.
        if self.inner.replicas.borrow().in_sync.iter().any(|node| *node != own) {
            single.take();
        }
        single.clone()
    }
}

impl Inner {
    /// Whether a witness is there that may take the second copy now.
    pub(super) fn may_journal(&self) -> bool {
        let journals = self.degrade.journals();
        journals.is_some_and(|journals| journals.witnesses.iter().any(|witness| !self.is_slow(*witness)))
    }

    /// Whether a witness has it durably. One that took none a moment ago is not waited for.
    pub(super) async fn journal(self: &Arc<Self>, id: BodyId, content: &Content) -> bool {
        let Some(Journals { key, witnesses }) = self.degrade.journals() else { return false };
        let mut why = "there is no witness".to_owned();
        for witness in witnesses {
            if self.is_slow(witness) {
                why = format!("the witness {witness} took none a moment ago");
                continue;
            }
            let allowed = ms(self.bounds.allowed_ms(content.size()));
            let kept = timeout(allowed, self.keep(witness, &key, id, content)).await;
            why = match kept.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(()) => {
                    self.counters.journaled.fetch_add(1, Ordering::Relaxed);
                    return true;
                }
                Err(why) => format!("the witness {witness} has not taken it: {why}"),
            };
            tracing::warn!("the body {id} is on one disk alone: {why}");
            locked(&self.slow).insert(witness, Instant::now());
        }
        let mut single = locked(&self.single_copies);
        let count = single.take().map_or(0, |(count, _)| count);
        *single = Some((count + 1, why));
        false
    }

    async fn keep(
        &self,
        witness: NodeId,
        key: &JournalKey,
        id: BodyId,
        content: &Content,
    ) -> Result<(), String> {
        let body = match content {
            Content::Small(bytes) => bytes.clone(),
            Content::Stored(_) => self.stored(id).await?,
        };
        let pool = self.pool(witness, KIND_KEEP);
        let sent = stream::iter(key.seal(id, body)).map(|piece| pool.send(id, piece));
        let kept = sent.buffer_unordered(PIECES_AT_ONCE).try_for_each(|()| std::future::ready(Ok(())));
        kept.await.map_err(|trouble| match trouble {
            Trouble::Lost(why) | Trouble::Refused(why) => why,
        })
    }

    /// What the witnesses' journals give, where no data node gave it. A reader waits a moment and no longer; the reading goes on.
    pub(super) async fn from_journals(
        self: &Arc<Self>,
        id: BodyId,
        urgency: Urgency,
    ) -> Result<Option<Bytes>, Fault> {
        match urgency {
            Urgency::Reader => {
                let _ = timeout(ms(self.bounds.fetch_silence_ms_max), self.journals_are_read()).await;
            }
            Urgency::Background => {
                self.journals_are_read().await;
            }
        }
        let store = self.store.clone();
        // One that was damaged here is not in the journal for that, or it would have been read before.
        Ok(blocking(move || store.get(id)).await?.ok().flatten())
    }

    /// Reads what the journals hold and was not read yet; `true`: all that any of them holds is here.
    pub(super) fn journals_are_read(self: &Arc<Self>) -> Restoring {
        let mut restoring = locked(&self.restoring);
        if let Some(running) = restoring.as_ref() {
            return running.clone();
        }
        let inner = self.clone();
        // A task of its own: the first reader's hurry must not end it for the others.
        let task = tokio::spawn(async move {
            let whole = inner.read_journals().await;
            locked(&inner.restoring).take();
            whole
        });
        let running = async move { task.await.unwrap_or(false) }.boxed().shared();
        *restoring = Some(running.clone());
        running
    }

    async fn read_journals(&self) -> bool {
        let Some(Journals { key, witnesses }) = self.degrade.journals() else { return true };
        let mut whole = true;
        for witness in witnesses {
            match self.read_journal(witness, &key).await {
                Ok(0) => {}
                Ok(count) => {
                    tracing::warn!("{count} bodies came from the journal of the witness {witness}");
                }
                Err(why) => {
                    tracing::info!("the journal of the witness {witness} could not be read: {why}");
                    whole = false;
                }
            }
        }
        whole
    }

    /// The bodies that were not here and now are.
    async fn read_journal(&self, witness: NodeId, key: &JournalKey) -> Result<u64, String> {
        let text = |why: &dyn std::fmt::Display| why.to_string();
        let state = self.journal_state(witness, None).await.map_err(|why| text(&why))?;
        let Some(state) = state.filter(|state| state.bytes > 0) else { return Ok(0) };
        if locked(&self.journals_read).get(&witness) == Some(&state.end()) {
            return Ok(0);
        }
        let silence = ms(self.bounds.fetch_silence_ms_max);
        let opened =
            timeout(silence, self.transport.open_stream(witness, Lane::Bulk, KIND_READ | BACKGROUND)).await;
        let mut stream = opened.map_err(|_| "no connection")?.map_err(|why| text(&why))?;
        let mut assembler = Assembler::new(self.bounds.body_bytes_max);
        let mut count = 0;
        loop {
            let record = timeout(silence, stream.recv()).await.map_err(|_| "nothing came in time")?;
            let Some(record) = record.map_err(|why| text(&why))? else { break };
            let Some(piece) = Piece::open(key, record) else {
                tracing::warn!(
                    "a record of the witness {witness} was not sealed by this cluster, or was altered"
                );
                continue;
            };
            let Some((id, body)) = assembler.add(piece) else { continue };
            let store = self.store.clone();
            let put = move || match store.contains(id)? {
                true => Ok(false),
                false => store.put(id, body).map(|()| true),
            };
            let put =
                blocking(put).await.map_err(|why| text(&why))?.map_err(disk).map_err(|why| text(&why))?;
            count += u64::from(put);
        }
        locked(&self.journals_read).insert(witness, state.end());
        Ok(count)
    }

    async fn journal_state(
        &self,
        witness: NodeId,
        drop_before: Option<(u64, u64)>,
    ) -> Result<Option<JournalState>, CallError> {
        let protocol = |why: wire::WireError| CallError::Protocol(why.to_string());
        let question = wire::encode(&JournalQuestion { drop_before }).map_err(protocol)?;
        let asked =
            self.transport.call(witness, Lane::Control, kinds::JOURNAL, question.into(), ASK_MAX).await;
        match asked {
            Ok(answer) => wire::decode(&answer).map(Some).map_err(protocol),
            // A build that knows of no journal, or a witness that is to keep none.
            Err(CallError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
