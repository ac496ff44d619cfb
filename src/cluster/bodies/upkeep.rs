//! Keeping this node's bodies whole: catching up after an absence, scrubbing, forgetting.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};

use super::fetch::Urgency;
use super::{BodyService, blocking, disk, locked};
use crate::cluster::replica::Fault;
use crate::mail::ids::BodyId;

/// Ids looked up in the store in one go.
const LOOKUP_IDS_MAX: usize = 256;
/// Bodies fetched at once while catching up; readers have the rest of `fetches_max`.
const CATCH_UP_FETCHES_MAX: usize = 4;
/// One stretch of the scrub, between two waits.
const SCRUB_BYTES: u64 = 1024 * 1024;
/// Bodies to be asked for again after the grace period; beyond, their space stays taken until they
/// are named and dropped again.
const HELD_BACK_IDS_MAX: usize = 100_000;

/// What a catch-up did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaughtUp {
    pub checked: u64,
    pub fetched: u64,
    /// On no node that could be reached: not caught up yet, ask again.
    pub unavailable: u64,
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
    /// that all of them are durable here.
    pub async fn catch_up(&self, ids: impl Stream<Item = BodyId> + Send) -> Result<CaughtUp, Fault> {
        let mut report = CaughtUp::default();
        self.inner.counters.missing.store(0, Ordering::Relaxed);
        let mut chunks = std::pin::pin!(ids.chunks(LOOKUP_IDS_MAX));
        while let Some(chunk) = chunks.next().await {
            report.checked += chunk.len() as u64;
            let missing = self.missing(chunk).await?;
            let gauge = &self.inner.counters.missing;
            gauge.fetch_add(missing.len() as u64, Ordering::Relaxed);
            let fetching = missing.into_iter().map(|id| self.inner.fetch(id, Urgency::Background));
            let mut fetching = stream::iter(fetching).buffer_unordered(CATCH_UP_FETCHES_MAX);
            while let Some(outcome) = fetching.next().await {
                match outcome {
                    Ok(_) => {
                        report.fetched += 1;
                        gauge.fetch_sub(1, Ordering::Relaxed);
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

    /// Re-reads all bodies once, at the pace of the bounds, and heals what is corrupt.
    pub async fn scrub(&self) -> Result<ScrubReport, Fault> {
        let mut report = ScrubReport::default();
        let mut after = None;
        loop {
            let store = self.inner.store.clone();
            let stretch = blocking(move || store.scrub(after, SCRUB_BYTES)).await?.map_err(disk)?;
            report.checked += stretch.checked;
            for id in stretch.corrupt {
                report.corrupt += 1;
                report.healed += u64::from(self.inner.heal(id, Urgency::Background).await.is_ok());
            }
            after = stretch.next;
            if after.is_none() {
                return Ok(report);
            }
            let pause_ms = SCRUB_BYTES * 1_000 / self.inner.bounds.scrub_bytes_per_s.max(1);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    /// No message names these any longer (`Change::BodyDropped`). Those in the store's grace period,
    /// which were perhaps placed anew, stay, and are held back: see [`BodyService::take_held_back`].
    pub async fn forget(&self, ids: Vec<BodyId>) -> Result<(), Fault> {
        let store = self.inner.store.clone();
        let kept = blocking(move || store.forget(&ids)).await?.map_err(disk)?;
        let mut held_back = locked(&self.inner.held_back);
        for id in kept {
            if held_back.len() < HELD_BACK_IDS_MAX {
                held_back.insert(id);
            }
        }
        Ok(())
    }

    /// What [`BodyService::forget`] could not drop yet. Another message may name them by now: the
    /// caller looks that up, and gives only those that none names to `forget` again.
    pub fn take_held_back(&self) -> Vec<BodyId> {
        std::mem::take(&mut *locked(&self.inner.held_back)).into_iter().collect()
    }

    /// Gives space back to the disk: at most one segment a call. Returns the bytes given back.
    pub async fn tidy(&self) -> Result<u64, Fault> {
        let store = self.inner.store.clone();
        blocking(move || store.compact_one()).await?.map_err(disk)
    }
}
