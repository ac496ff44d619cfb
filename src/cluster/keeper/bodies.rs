//! What keeps a node's bodies whole and its disk free of those that nothing names: never in haste, for a body
//! that is dropped too early is a lost mail.
//!
//! A body may be named again by a proposal that is under way, or was before a restart whose replay drops it once
//! more. So none is forgotten before it has been unnamed for the grace period *and* everything that was
//! committed until then is applied here; and each body that is named is looked for on the disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::sync::{IDS_MAX, disk, named_bodies};
use super::ticking;
use crate::cluster::bodies::CaughtUp;
use crate::cluster::local::{DataParts, Local};
use crate::cluster::replica::Fault;
use crate::mail::ids::BodyId;
use crate::state::command::Command;
use crate::state::reading;

/// Unnamed bodies waiting for their grace to end; those beyond are found by the next sweep.
const UNNAMED_IDS_MAX: usize = 100_000;
/// Segments whose space is given back in one go: what lives in them is written anew.
const SEGMENTS_AT_ONCE_MAX: usize = 16;
/// Between two stretches of a sweep.
const SWEEP_PAUSE: Duration = Duration::from_millis(200);
/// How soon, and how seldom at the end, all bodies are looked for again while some are missing.
const RECOUNT_MIN: Duration = Duration::from_secs(1);
const RECOUNT_MAX: Duration = Duration::from_secs(600);
/// How often the named bodies that gathered are looked for on the disk.
const LOOK_FOR_NAMED: Duration = Duration::from_secs(1);

/// Every body that a message comes to name is looked for, while this node counts as in sync. One that is not here
/// (forgotten, then named again by an old proposal) comes from a peer; failing that, this node is behind.
pub async fn check_named(local: Arc<Local>, data: DataParts, mut named: mpsc::Receiver<BodyId>) {
    let mut ticks = ticking(LOOK_FOR_NAMED);
    let mut batch = Vec::new();
    loop {
        ticks.tick().await;
        if named.recv_many(&mut batch, IDS_MAX).await == 0 {
            return;
        }
        while batch.len() < named.max_capacity() && named.try_recv().map(|id| batch.push(id)).is_ok() {}
        let ids = std::mem::take(&mut batch);
        let in_sync = data.feed.replica_set().borrow().in_sync.contains(&local.id);
        let checked = match data.feed.take_named_overflow() {
            true => verify(&local, &data).await,
            false if in_sync => look_for(&local, &data, ids).await,
            // Its catch-up finds them.
            false => Ok(()),
        };
        if let Err(fault) = checked {
            tracing::warn!("the bodies of new mail could not be checked on node {}: {fault}", local.id);
        }
    }
}

/// Those that a message names still: one that was removed meanwhile may be gone everywhere.
pub async fn look_for(local: &Arc<Local>, data: &DataParts, ids: Vec<BodyId>) -> Result<(), Fault> {
    let ids = named_so_often(data, ids, |times| times > 0).await?;
    let ids = futures_util::stream::iter(ids.into_iter().map(Ok));
    settle(local, data.bodies.fetch_missing(ids).await?).await
}

/// The same for all that are named.
pub(super) async fn verify(local: &Arc<Local>, data: &DataParts) -> Result<(), Fault> {
    if !data.feed.replica_set().borrow().in_sync.contains(&local.id) {
        return Ok(());
    }
    settle(local, data.bodies.catch_up(named_bodies(data.tables.clone())).await?).await
}

/// What cannot be had now makes this node honestly behind.
async fn settle(local: &Arc<Local>, done: CaughtUp) -> Result<(), Fault> {
    if done.fetched > 0 {
        tracing::warn!("{} bodies were missing on node {} and came from a peer", done.fetched, local.id);
    }
    if done.unavailable > 0 {
        tracing::error!("{} bodies are missing on node {}: it is behind", done.unavailable, local.id);
        local.propose(Command::MarkBehind { node: local.id }).await?;
    }
    Ok(())
}

/// While bodies are counted as missing, all are looked for again, ever more seldom: one may turn up, or be named by no
/// message any longer, and the count of those that cannot be had is to be true.
pub async fn recount_missing(local: Arc<Local>, data: DataParts) {
    let mut waits = RECOUNT_MIN;
    loop {
        sleep(waits).await;
        if data.bodies.counts().missing == 0 {
            waits = RECOUNT_MIN;
            continue;
        }
        waits = (waits * 2).min(RECOUNT_MAX);
        match verify(&local, &data).await {
            Ok(()) => {}
            Err(Fault::ShuttingDown) => return,
            Err(fault) => {
                tracing::warn!("the bodies that node {} misses could not be counted: {fault}", local.id);
            }
        }
    }
}

/// Drops the bodies that no message names any longer, and gives their space back.
pub async fn forget_bodies(local: Arc<Local>, data: DataParts, mut dropped: mpsc::Receiver<BodyId>) {
    let upkeep = local.config.upkeep;
    let mut unnamed = Unnamed::new(upkeep.grace());
    let mut ticks = ticking(upkeep.grace() / 10);
    let mut sweep_at = Instant::now() + upkeep.grace();
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {}
            body = dropped.recv() => {
                let Some(body) = body else { return };
                unnamed.add(body, Instant::now());
                continue;
            }
        }
        let now = Instant::now();
        if data.feed.take_dropped_overflow() || now >= sweep_at {
            sweep_at = now + upkeep.sweep_each();
            if let Err(fault) = sweep(&data, &mut unnamed).await {
                tracing::warn!("unnamed bodies could not be looked for on node {}: {fault}", local.id);
            }
        }
        match give_back(&local, &data, &mut unnamed, now).await {
            Ok(()) => {}
            Err(Fault::ShuttingDown) => return,
            // The next sweep finds them again.
            Err(fault) => tracing::info!("bodies could not be dropped on node {}: {fault}", local.id),
        }
    }
}

/// Forgets all whose grace has ended, however many they are, and then gives back the space of them.
pub(in crate::cluster) async fn give_back(
    local: &Arc<Local>,
    data: &DataParts,
    unnamed: &mut Unnamed,
    now: Instant,
) -> Result<(), Fault> {
    loop {
        let due = unnamed.take_due(now);
        if due.is_empty() {
            break;
        }
        let young = forget(local, data, due).await?;
        // Their grace begins anew: they are not due now.
        young.into_iter().for_each(|id| unnamed.add(id, now));
    }
    for _ in 0..SEGMENTS_AT_ONCE_MAX {
        if data.bodies.tidy().await? == 0 {
            break;
        }
    }
    Ok(())
}

/// Bodies in the order in which they were found to be unnamed.
pub(in crate::cluster) struct Unnamed {
    grace: Duration,
    waiting: VecDeque<(Instant, BodyId)>,
}

impl Unnamed {
    pub fn new(grace: Duration) -> Self {
        Self { grace, waiting: VecDeque::new() }
    }

    fn room(&self) -> usize {
        UNNAMED_IDS_MAX - self.waiting.len()
    }

    pub fn add(&mut self, body: BodyId, now: Instant) {
        if self.room() > 0 {
            self.waiting.push_back((now, body));
        }
    }

    /// Those whose grace has ended, a stretch at most.
    fn take_due(&mut self, now: Instant) -> Vec<BodyId> {
        let due = |(since, _): &(Instant, BodyId)| now.duration_since(*since) >= self.grace;
        let count = self.waiting.iter().take(IDS_MAX).take_while(|waiting| due(waiting)).count();
        self.waiting.drain(..count).map(|(_, body)| body).collect()
    }
}

/// Forgets those that still nothing names. Returns those that the store holds to be too young.
async fn forget(local: &Arc<Local>, data: &DataParts, ids: Vec<BodyId>) -> Result<Vec<BodyId>, Fault> {
    // Its answer means that all that was committed before it is applied here: a proposal that names one of
    // these was made within seconds of its placing, and stands before.
    local.propose(Local::barrier_command()).await?;
    let unnamed = named_so_often(data, ids, |times| times == 0).await?;
    match unnamed.is_empty() {
        true => Ok(Vec::new()),
        false => data.bodies.forget(unnamed).await,
    }
}

/// Those of `ids` of which the number of messages that name them is as `wanted`.
async fn named_so_often(
    data: &DataParts,
    ids: Vec<BodyId>,
    wanted: fn(u64) -> bool,
) -> Result<Vec<BodyId>, Fault> {
    let tables = data.tables.clone();
    let look = move || {
        let mut found = Vec::new();
        for id in ids {
            if wanted(reading::body_references(&tables, id)?) {
                found.push(id);
            }
        }
        Ok(found)
    };
    crate::cluster::blocking::blocking(look).await.map_err(|_| Fault::ShuttingDown)?.map_err(disk)
}

/// Finds bodies that nothing names: given up half-way, dropped before a restart, or too many to be told of.
async fn sweep(data: &DataParts, unnamed: &mut Unnamed) -> Result<(), Fault> {
    let mut after = None;
    while unnamed.room() > 0 {
        let ids = data.bodies.ids_after(after, IDS_MAX).await?;
        let Some(last) = ids.last() else { return Ok(()) };
        after = Some(*last);
        let now = Instant::now();
        named_so_often(data, ids, |times| times == 0).await?.into_iter().for_each(|id| unnamed.add(id, now));
        sleep(SWEEP_PAUSE).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_waits_for_its_whole_grace_and_the_queue_is_bounded() {
        let (start, grace) = (Instant::now(), Duration::from_secs(600));
        let mut unnamed = Unnamed::new(grace);
        unnamed.add(BodyId([1; 32]), start);
        unnamed.add(BodyId([2; 32]), start + Duration::from_secs(1));
        assert!(unnamed.take_due(start + grace - Duration::from_nanos(1)).is_empty());
        assert_eq!(unnamed.take_due(start + grace), [BodyId([1; 32])]);
        assert_eq!(unnamed.take_due(start + grace * 2), [BodyId([2; 32])]);
        for _ in 0..=UNNAMED_IDS_MAX {
            unnamed.add(BodyId([3; 32]), start);
        }
        assert_eq!(unnamed.waiting.len(), UNNAMED_IDS_MAX);
        assert_eq!(unnamed.take_due(start + grace).len(), IDS_MAX, "in stretches");
    }
}
