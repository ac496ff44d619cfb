//! What a running node does by itself: follows the membership, brings in learners, catches up on bodies, bounds
//! its log, watches its disk.

use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::bodies::BodyService;
use super::local::{DataParts, Local, peer_address};
use super::membership::Files;
use super::network::roster_of;
use super::replica::Fault;
use super::types::Role;
use crate::mail::ids::{BodyId, LogIndex, NodeId};
use crate::state::command::Command;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::reading;

/// How often the slower duties look again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A learner this close to the end of the log becomes a voter.
const LEARNER_LAG_MAX: u64 = 256;
/// Ids read from the rows in one go while catching up.
const IDS_MAX: usize = 1_000;
/// How long a node waits before it tries again to catch up on bodies.
const CATCH_UP_AGAIN: Duration = Duration::from_secs(2);

/// Keeps the roster, the transport's peers and their file in step with the membership.
pub async fn follow_membership(local: Arc<Local>) {
    let mut metrics = local.raft.metrics();
    let files = Files::new(&local.config.dir);
    loop {
        let roster = roster_of(&metrics.borrow_and_update().membership_config.clone());
        if !roster.is_empty() && *local.roster.load_full() != roster {
            let peers: std::collections::BTreeMap<_, _> =
                roster.iter().map(|entry| (NodeId(entry.id), peer_address(entry))).collect();
            let highest = roster.iter().map(|entry| entry.id).max().unwrap_or(0);
            local.roster.store(Arc::new(roster));
            local.transport.set_peers(peers.clone());
            let files = files.clone();
            let written = tokio::task::spawn_blocking(move || {
                files.note_node_id(highest).and_then(|()| files.write_peers(&peers))
            });
            if let Ok(Err(error)) = written.await {
                tracing::warn!("the members could not be written down: {error}");
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Stops the node when Raft itself has stopped: its disk failed, or an entry cannot be read.
pub async fn follow_raft(local: Arc<Local>) {
    local.until(|metrics| metrics.running_state.is_err()).await;
    let why = local.look(|metrics| metrics.running_state.as_ref().err().map(ToString::to_string));
    if !local.is_stopping() {
        local.fail(format!("replication has stopped: {}", why.unwrap_or_else(|| "its task ended".into())));
    }
}

/// A log sync that hangs: leadership goes elsewhere, then the node stops loudly.
pub async fn watch_disk(local: Arc<Local>) {
    let hang = Duration::from_millis(local.config.timing.flush_hang_ms);
    let mut ticks = ticking(hang / 8);
    loop {
        ticks.tick().await;
        let Some(running) = local.log.sync_running_for() else { continue };
        if running < hang {
            continue;
        }
        if local.leads()
            && let Some(heir) = local.best_heir()
        {
            // Not waited for: what is hung may keep it from ending.
            let _ = tokio::time::timeout(hang / 4, local.raft.trigger().transfer_leader(heir.0)).await;
        }
        return local.fail(format!(
            "a sync of the log hangs for {} ms: check the disk under {}",
            running.as_millis(),
            local.config.dir.display()
        ));
    }
}

/// The leader makes learners voters once they have the log.
pub async fn promote_learners(local: Arc<Local>) {
    let mut ticks = ticking(LOOK_AGAIN);
    loop {
        ticks.tick().await;
        if !local.leads() || local.config.role != Role::Data {
            continue;
        }
        let Some(learner) = ready_learner(&local) else { continue };
        let _turn = local.changing.lock().await;
        let change = ChangeMembers::AddVoterIds([learner].into());
        match local.raft.change_membership(change, true).await {
            Ok(_) => tracing::info!("node {learner} has caught up and votes from now on"),
            Err(error) => tracing::debug!("node {learner} does not vote yet: {error}"),
        }
    }
}

fn ready_learner(local: &Local) -> Option<u64> {
    local.look(|metrics| {
        let last = metrics.last_log_index?;
        let replication = metrics.replication.as_ref()?;
        let roster = local.roster.load();
        let mut learners = roster.iter().filter(|entry| !entry.voter).map(|entry| entry.id);
        learners.find(|id| {
            let matched = replication.get(id).and_then(|matched| matched.as_ref());
            matched.is_some_and(|matched| last.saturating_sub(matched.index) <= LEARNER_LAG_MAX)
        })
    })
}

/// A data node sees to it that it is in the in-sync set: makes itself known, fetches what it lacks, says so.
pub async fn stay_in_sync(local: Arc<Local>, data: DataParts) {
    let mut replicas = data.feed.replicas();
    loop {
        let mine = replicas.borrow_and_update().iter().find(|replica| replica.node == local.id).copied();
        let votes = local.member(local.id).is_some_and(|entry| entry.voter);
        let tried = match mine {
            Some(replica) if replica.in_sync => Ok(()),
            Some(_) => catch_up(&local, &data).await,
            None if votes => local.propose(Command::AddReplica { node: local.id }).await.map(|_| ()),
            None => Ok(()),
        };
        let pause = match tried {
            Ok(()) => LOOK_AGAIN,
            Err(Fault::ShuttingDown) => return,
            Err(fault) => {
                tracing::info!("not in sync yet: {fault}");
                CATCH_UP_AGAIN
            }
        };
        // The set changes rarely; the tick is for the membership, which has no watch here.
        let _ = tokio::time::timeout(pause, replicas.changed()).await;
    }
}

async fn catch_up(local: &Arc<Local>, data: &DataParts) -> Result<(), Fault> {
    // Entries up to here are in the rows, so that every body they name is found by the scan.
    let complete_to = LogIndex(local.watched.applied_next.borrow().saturating_sub(1));
    let ids = Box::pin(body_ids(data.clone()));
    let done = data.bodies.catch_up(ids).await?;
    if done.unavailable > 0 {
        return Err(Fault::NotReplicated(format!("{} bodies are on no node that answers", done.unavailable)));
    }
    match local.propose(Command::MarkInSync { node: local.id, complete_to }).await? {
        Outcome::Refused(Refusal::StillBehind) => Err(Fault::NotReplicated("more came meanwhile".into())),
        Outcome::Refused(refusal) => Err(Fault::NotReplicated(refusal.to_string())),
        _ => {
            tracing::info!("in sync: {} bodies checked, {} fetched", done.checked, done.fetched);
            Ok(())
        }
    }
}

/// Every body that messages refer to, ascending, read in bounded stretches.
fn body_ids(data: DataParts) -> impl futures_util::Stream<Item = BodyId> + Send {
    struct Scan {
        data: DataParts,
        after: Option<BodyId>,
        read: std::vec::IntoIter<BodyId>,
    }
    let start = Scan { data, after: None, read: Vec::new().into_iter() };
    futures_util::stream::unfold(start, |mut scan| async move {
        if scan.read.len() == 0 {
            let (tables, after) = (scan.data.tables.clone(), scan.after);
            let read = tokio::task::spawn_blocking(move || reading::bodies(&tables, after, IDS_MAX)).await;
            // A row that cannot be read is found by apply and by the next start; the scan then ends early and the
            // node stays behind, for `complete_to` is refused or the next round sees it.
            scan.read = read.ok()?.ok()?.into_iter();
        }
        let id = scan.read.next()?;
        scan.after = Some(id);
        Some((id, scan))
    })
}

/// Drops the bodies that no message names any longer, and compacts.
pub async fn forget_bodies(
    local: Arc<Local>,
    bodies: BodyService,
    mut dropped: tokio::sync::mpsc::Receiver<BodyId>,
) {
    let mut batch = Vec::new();
    loop {
        let got = tokio::time::timeout(Duration::from_secs(60), dropped.recv_many(&mut batch, IDS_MAX)).await;
        let done = match got {
            Ok(0) => return,
            Ok(_) => bodies.forget(std::mem::take(&mut batch)).await,
            Err(_) => bodies.tidy().await.map(|_| ()),
        };
        match done {
            Ok(()) => {}
            Err(Fault::ShuttingDown) => return,
            Err(fault) => tracing::warn!("bodies could not be dropped on node {}: {fault}", local.id),
        }
    }
}

/// A data node keeps its log for peers that were away, but not beyond its bound in bytes.
pub async fn bound_log(local: Arc<Local>) {
    let mut ticks = ticking(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        if local.log.bytes_on_disk() <= local.config.retention.keep_bytes_max {
            continue;
        }
        let (snapshot, purged) = local
            .look(|metrics| (metrics.snapshot.map(|id| id.index), metrics.purged.map_or(0, |id| id.index)));
        if let Some(snapshot) = snapshot
            && snapshot > purged
        {
            let upto = purged + (snapshot - purged).div_ceil(2);
            let _ = local.raft.trigger().purge_log(upto).await;
        }
        let _ = local.raft.trigger().snapshot().await;
    }
}

/// Notes since when the cluster is as it is.
pub async fn note_standing(local: Arc<Local>) {
    let mut ticks = ticking(Duration::from_secs(2));
    loop {
        ticks.tick().await;
        local.status().await;
    }
}

/// Leadership goes to a data node that has the log, so that a planned stop costs no election.
pub async fn hand_over(local: &Local, until: Instant) {
    let Some(heir) = local.best_heir().filter(|_| local.leads()) else { return };
    if local.raft.trigger().transfer_leader(heir.0).await.is_err() {
        return;
    }
    let gone = local.until(|metrics| metrics.current_leader.is_some_and(|leader| leader != local.id.0));
    let _ = tokio::time::timeout_at(until, gone).await;
}

pub fn ticking(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
