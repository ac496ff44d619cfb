//! What a running node does by itself: follows the membership, brings in learners, bounds its log, watches its
//! disk, keeps its bodies whole.

mod address;
mod bodies;
mod drained;
mod identity;
mod journal;
mod lineage;
mod marks;
mod members;
mod removed;
mod roster;
mod scrub;
mod sync;
mod version;

pub use self::address::keep_address;
#[cfg(test)]
pub use self::bodies::look_for;
#[cfg(test)]
pub(in crate::cluster) use self::bodies::{Unnamed, give_back};
pub use self::bodies::{check_named, forget_bodies, recount_missing};
pub use self::drained::step_aside;
pub use self::identity::renew_identity;
pub use self::journal::drop_journals;
pub use self::lineage::{follow_takeover, give_way};
pub use self::marks::{keep_marks, notice_forgetting};
pub use self::members::{follow_membership, notice_removal, peers};
pub use self::removed::forget_removed;
pub use self::roster::{Heard, hear_of_members};
pub use self::scrub::{Scrubbed, scrub};
pub(in crate::cluster) use self::sync::named_bodies;
pub use self::sync::{drop_strangers, stay_in_sync};
pub use self::version::keep_version;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::local::{Local, Metrics};
use super::membership::matched;
use super::replica::Fault;
use super::types::Role;
use crate::mail::ids::NodeId;
use crate::store::segments::Bodies;

/// How often the slower duties look again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long Raft's task may take to its end once it has failed.
const RAFT_END_MAX: Duration = Duration::from_secs(2);
/// A group of bodies is larger than a write of the log.
const BODIES_HANG_FACTOR: u32 = 2;
/// A learner this close to the end of the log becomes a voter.
const LEARNER_LAG_MAX: u64 = 256;

/// Stops the node when Raft itself has stopped: its disk failed, or an entry cannot be read.
pub async fn follow_raft(local: Arc<Local>) {
    local.until(|metrics| metrics.running_state.is_err()).await;
    let why = local.look(|metrics| metrics.running_state.as_ref().err().map(ToString::to_string));
    if !local.is_stopping() {
        // Whoever hears first that Raft has ended waits for its task, and all others wait for him. Were he cut off, as calls
        // are once this node stops, openraft would panic: so the end comes before the stop, and nothing cuts this off.
        let raft = local.raft.clone();
        let ended = tokio::spawn(async move { raft.shutdown().await });
        let _ = tokio::time::timeout(RAFT_END_MAX, ended).await;
        local.fail(format!("replication has stopped: {}", why.unwrap_or_else(|| "its task ended".into())));
    }
}

/// A disk that hangs or fails: leadership goes elsewhere, then the node stops loudly.
pub async fn watch_disk(local: Arc<Local>, bodies: Option<Bodies>) {
    let hang = Duration::from_millis(local.config.timing.flush_hang_ms);
    let mut ticks = ticking(hang / 8);
    let mut awake = Awake::from(Instant::now());
    loop {
        ticks.tick().await;
        let watched = awake.look(Instant::now(), hang / 2);
        let Some(why) = disk_trouble(&local, bodies.as_ref(), (hang, watched)) else { continue };
        if local.leads()
            && let Some(heir) = local.best_heir()
        {
            // Not waited for: what is hung may keep it from ending.
            let _ = tokio::time::timeout(hang / 4, local.raft.trigger().transfer_leader(heir.0)).await;
        }
        return local.fail(format!("{why}: check the disk under {}", local.config.dir.display()));
    }
}

/// Since when this process has run without a pause. One that was stopped, or whose machine was suspended, finds
/// that its last sync takes longer than any disk may, and it is not the disk's fault.
struct Awake {
    since: Instant,
    looked: Instant,
}

impl Awake {
    fn from(now: Instant) -> Awake {
        Awake { since: now, looked: now }
    }

    /// How long it has been awake; `gap_max` is the longest time between two looks that is no pause.
    fn look(&mut self, now: Instant, gap_max: Duration) -> Duration {
        if now.duration_since(self.looked) > gap_max {
            self.since = now;
        }
        self.looked = now;
        now.duration_since(self.since)
    }
}

/// What keeps this node from writing. Raft itself says when the log or the rows fail ([`follow_raft`]).
/// Nothing hung for longer than it was watched.
fn disk_trouble(
    local: &Local,
    bodies: Option<&Bodies>,
    (hang, watched): (Duration, Duration),
) -> Option<String> {
    let hangs = |what: &str, running: Option<Duration>, bound: Duration| {
        let running = running.map(|running| running.min(watched)).filter(|running| *running >= bound)?;
        Some(format!("a sync of the {what} hangs for {} ms", running.as_millis()))
    };
    hangs("log", local.log.sync_running_for(), hang).or_else(|| {
        let bodies = bodies?;
        let failed = bodies.failure().map(|why| format!("the bodies cannot be written any longer ({why})"));
        failed.or_else(|| hangs("bodies", bodies.sync_running_for(), hang * BODIES_HANG_FACTOR))
    })
}

/// The leader makes learners voters once they have the log, ends what an earlier leader left half done, and takes back
/// what came to nothing.
pub async fn promote_learners(local: Arc<Local>) {
    let mut ticks = ticking(LOOK_AGAIN);
    loop {
        ticks.tick().await;
        if !local.leads() || local.config.role != Role::Data {
            continue;
        }
        if is_half_changed(&local) {
            end_change(&local).await;
            continue;
        }
        match local.reinstate().await {
            Ok(()) => {}
            Err(Fault::ShuttingDown) => return,
            Err(fault) => tracing::debug!("a removal that came to nothing is not taken back yet: {fault}"),
        }
        let Some(learner) = ready_learner(&local).await else { continue };
        let _turn = local.changing.lock().await;
        if !local.is_member() {
            continue;
        }
        let change = ChangeMembers::AddVoterIds([learner].into());
        match local.raft.change_membership(change, true).await {
            Ok(_) => tracing::info!("node {learner} has caught up and votes from now on"),
            Err(error) => tracing::debug!("node {learner} does not vote yet: {error}"),
        }
    }
}

/// The old and the new members must both agree to everything: the first of a change's two steps is done.
fn is_half_changed(local: &Local) -> bool {
    local.look(|metrics| metrics.membership_config.membership().get_joint_config().len() > 1)
}

/// Whoever made the first step may have died, lost its leadership or its patience before the second, and nobody else
/// would ever make it.
async fn end_change(local: &Local) {
    // Our own change, if it is one, has ended when the turn comes.
    let _turn = local.changing.lock().await;
    if !local.leads() || !is_half_changed(local) {
        return;
    }
    match local.raft.change_membership(ChangeMembers::AddVoterIds(BTreeSet::new()), false).await {
        Ok(_) => tracing::info!("a change of the membership that was left half done is ended"),
        Err(error) => tracing::debug!("a change of the membership is still half done: {error}"),
    }
}

/// The first that has the log, and means to stay: with the vote of one that is gone nothing could be changed any more.
async fn ready_learner(local: &Local) -> Option<u64> {
    for learner in learners_with_the_log(local) {
        if local.stays(NodeId(learner)).await {
            return Some(learner);
        }
    }
    None
}

fn learners_with_the_log(local: &Local) -> Vec<u64> {
    let roster = local.roster.load();
    let learners = roster.iter().filter(|entry| !entry.voter).map(|entry| entry.id);
    local.look(|metrics| {
        let Some(last) = metrics.last_log_index else { return Vec::new() };
        let has = |id: &u64| {
            matched(metrics, NodeId(*id)).is_some_and(|upto| last.saturating_sub(upto) <= LEARNER_LAG_MAX)
        };
        learners.filter(has).collect()
    })
}

/// A data node keeps its log for peers that were away, but not beyond its bound in bytes.
pub async fn bound_log(local: Arc<Local>) {
    let mut ticks = ticking(Duration::from_secs(1));
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
    let led_elsewhere = |metrics: &Metrics| metrics.current_leader.is_some_and(|leader| leader != local.id.0);
    let _aside = if local.leads() { local.stand_aside().await } else { None };
    while Instant::now() < until
        && local.leads()
        && let Some(heir) = local.best_heir()
        && local.raft.trigger().transfer_leader(heir.0).await.is_ok()
    {
        // An heir that lacks the last entries refuses: it is asked again.
        let patience = until.min(Instant::now() + local.election());
        if tokio::time::timeout_at(patience, local.until(led_elsewhere)).await.is_ok() {
            return;
        }
    }
}

pub fn ticking(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_the_process_is_no_hang_of_the_disk() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let gap = Duration::from_millis(1_000);
        let mut awake = Awake::from(began);
        assert_eq!(awake.look(at(1_000), gap), Duration::from_millis(1_000));
        assert_eq!(awake.look(at(2_000), gap), Duration::from_millis(2_000), "looking on time counts");
        assert_eq!(awake.look(at(3_001), gap), Duration::ZERO, "a millisecond too late: it was stopped");
        assert_eq!(awake.look(at(3_501), gap), Duration::from_millis(500), "a hang is seen from then on");
    }
}
