//! Keeping this node's bodies whole: catching up after an absence, scrubbing, forgetting.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};

use super::fetch::Urgency;
use super::missing::Pass;
use super::{BodyService, blocking, disk};
use crate::cluster::replica::Fault;
use crate::mail::ids::BodyId;
use crate::store::segments::ScrubProgress;

/// Ids looked up in the store in one go.
const LOOKUP_IDS_MAX: usize = 256;
/// Bodies fetched at once while catching up; readers have the rest of `fetches_max`.
const CATCH_UP_FETCHES_MAX: usize = 4;
/// One stretch of the scrub, between two waits.
const SCRUB_BYTES: u64 = 1024 * 1024;

/// What a catch-up did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaughtUp {
    pub checked: u64,
    pub fetched: u64,
    /// On no node that could be reached: not caught up yet, ask again.
    pub unavailable: u64,
    /// On no data node at all, as each of them said: waiting would not bring them back.
    pub lost: u64,
}

/// What a pass of the scrub found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScrubReport {
    pub checked: u64,
    pub corrupt: u64,
    pub healed: u64,
}

impl BodyService {
    /// Fetches those of `ids` (bodies that messages name) that are not here. Run it again after a
    /// failure: what was fetched is kept and not fetched again. `Ok` with `unavailable == 0` means
    /// that all of them are durable here, or lost everywhere. A fault among the ids is the answer.
    pub async fn catch_up(
        &self,
        ids: impl Stream<Item = Result<BodyId, Fault>> + Send,
    ) -> Result<CaughtUp, Fault> {
        self.fetch_counted(ids, self.inner.counters.missing.whole_pass()).await
    }

    /// The same for some of the bodies that messages name: what is known to be missing stays counted.
    pub async fn fetch_missing(
        &self,
        ids: impl Stream<Item = Result<BodyId, Fault>> + Send,
    ) -> Result<CaughtUp, Fault> {
        self.fetch_counted(ids, self.inner.counters.missing.pass()).await
    }

    async fn fetch_counted(
        &self,
        ids: impl Stream<Item = Result<BodyId, Fault>> + Send,
        mut pass: Pass<'_>,
    ) -> Result<CaughtUp, Fault> {
        let mut report = CaughtUp::default();
        let mut chunks = std::pin::pin!(ids.chunks(LOOKUP_IDS_MAX));
        while let Some(chunk) = chunks.next().await {
            let chunk: Vec<BodyId> = chunk.into_iter().collect::<Result<_, Fault>>()?;
            report.checked += chunk.len() as u64;
            let missing = self.missing(chunk).await?;
            pass.wants(missing.len() as u64);
            let fetching = missing.into_iter().map(|id| self.inner.fetch(id, Urgency::Background));
            let mut fetching = stream::iter(fetching).buffer_unordered(CATCH_UP_FETCHES_MAX);
            while let Some(outcome) = fetching.next().await {
                match outcome {
                    Ok(_) => {
                        report.fetched += 1;
                        pass.fetched();
                    }
                    Err(Fault::BodyUnavailable(id)) if self.inner.is_nowhere(id).await => {
                        tracing::error!("the body {id} is on no data node: it is lost");
                        report.lost += 1;
                    }
                    Err(Fault::BodyUnavailable(_)) => report.unavailable += 1,
                    Err(fault) => return Err(fault),
                }
            }
        }
        Ok(report)
    }

    async fn missing(&self, ids: Vec<BodyId>) -> Result<Vec<BodyId>, Fault> {
        let store = self.inner.store.clone();
        blocking(move || {
            let mut missing = Vec::new();
            for id in ids {
                if !store.contains(id)? {
                    missing.push(id);
                }
            }
            Ok(missing)
        })
        .await?
        .map_err(disk)
    }

    /// Re-reads all bodies behind those that `progress` says were read, at this pace, and heals what is corrupt or
    /// unreadable. Notes how far it came every `scrub_note_bytes`, and at the end.
    pub async fn scrub(&self, mut progress: ScrubProgress, bytes_per_s: u64) -> Result<ScrubReport, Fault> {
        let mut report = ScrubReport::default();
        let mut unnoted_bytes = 0;
        loop {
            let (store, after) = (self.inner.store.clone(), progress.after);
            let stretch = blocking(move || store.scrub(after, SCRUB_BYTES)).await?.map_err(disk)?;
            report.checked += stretch.checked;
            for id in stretch.corrupt {
                report.corrupt += 1;
                report.healed += u64::from(self.inner.heal(id, Urgency::Background).await.is_ok());
            }
            progress.done = stretch.next.is_none();
            progress.after = stretch.next.or(progress.after);
            unnoted_bytes += stretch.bytes;
            if progress.done || unnoted_bytes >= self.inner.bounds.scrub_note_bytes {
                unnoted_bytes = 0;
                let store = self.inner.store.clone();
                blocking(move || store.note_scrub(progress)).await?.map_err(disk)?;
            }
            if progress.done {
                return Ok(report);
            }
            tokio::time::sleep(Duration::from_millis(stretch.bytes * 1_000 / bytes_per_s.max(1))).await;
        }
    }

    /// How far the scrub of this disk has come.
    pub async fn scrub_progress(&self) -> Result<Option<ScrubProgress>, Fault> {
        let store = self.inner.store.clone();
        blocking(move || store.scrub_progress()).await
    }

    /// No message names these any longer. Those in the store's grace period, which were perhaps placed anew,
    /// stay and are returned: the caller looks again whether a message names them, and asks again. So do all while they
    /// are held.
    pub async fn forget(&self, ids: Vec<BodyId>) -> Result<Vec<BodyId>, Fault> {
        if self.inner.holds.any() {
            return Ok(ids);
        }
        let store = self.inner.store.clone();
        blocking(move || store.forget(&ids)).await?.map_err(disk)
    }

    /// The next bodies on this disk after `after`, at most `max`; empty at the end.
    pub async fn ids_after(&self, after: Option<BodyId>, max: usize) -> Result<Vec<BodyId>, Fault> {
        let store = self.inner.store.clone();
        blocking(move || store.ids_after(after, max)).await?.map_err(disk)
    }

    /// Bytes of the bodies on this disk.
    pub fn bytes_live(&self) -> u64 {
        self.inner.store.bytes().live
    }

    /// Gives space back to the disk: at most one segment a call. Returns the bytes given back.
    pub async fn tidy(&self) -> Result<u64, Fault> {
        let store = self.inner.store.clone();
        blocking(move || store.compact_one()).await?.map_err(disk)
    }
}
