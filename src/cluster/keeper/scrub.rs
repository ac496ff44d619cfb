//! Reading through what lies on this node's disk, over and over, slowly: rows and bodies that nobody asked for would rot
//! unseen until the other copy is gone too. What is wrong comes from another node.

use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use tokio::time::sleep;

use super::bodies::verify;
use crate::cluster::bodies::Depth;
use crate::cluster::config::Upkeep;
use crate::cluster::local::{DataParts, Local};
use crate::cluster::network::kinds;
use crate::cluster::replica::Fault;
use crate::cluster::status::ASK_MAX;
use crate::cluster::transport::Lane;
use crate::cluster::types::Role;
use crate::cluster::wire;
use crate::mail::ids::{NodeId, Timestamp};
use crate::store::segments::ScrubProgress;

/// How soon a change of the settings is heeded.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(60);
/// A small store is not worth a slower pass.
const BYTES_PER_S_MIN: u64 = 64 << 10;
/// Of what a peer says.
const TROUBLE_BYTES_MAX: usize = 300;

/// How far a node's scrub has come, by its own word. Frozen: nodes of other builds read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Scrubbed {
    /// The last pass; `None` before the first.
    pub began: Option<Timestamp>,
    pub done: bool,
    /// Bodies found damaged since the start, by whatever read them, and of them those that were mended.
    pub found: u64,
    pub mended: u64,
    /// What is wrong and could not be mended.
    pub trouble: Option<String>,
}

/// How often, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terms {
    /// 0: no further pass is begun.
    each_ms: u64,
    bytes_per_s_max: u64,
}

impl Terms {
    fn of(data: &DataParts, upkeep: &Upkeep) -> Self {
        let directory = data.feed.directory().borrow().clone();
        let settings = directory.settings();
        Self {
            each_ms: settings.scrub_interval_days() * upkeep.scrub_day_ms,
            bytes_per_s_max: settings.scrub_mib_per_second() << 20,
        }
    }

    /// Half the time between two passes, within the bounds.
    fn pace(&self, bytes: u64) -> u64 {
        let seconds = (self.each_ms / 2_000).max(1);
        (bytes / seconds).clamp(BYTES_PER_S_MIN, self.bytes_per_s_max)
    }
}

/// Verifies the rows, looks for every named body, then re-reads all that are here and heals what is corrupt. A restart goes
/// on where the last note was made, and begins no pass before its time.
pub async fn scrub(local: Arc<Local>, data: DataParts) {
    let upkeep = local.config.upkeep;
    // A node that starts has better things to do.
    sleep(upkeep.grace()).await;
    loop {
        let terms = Terms::of(&data, &upkeep);
        let waits = match next_pass(&local, &data, terms).await {
            Ok(Pass::Now(progress)) => match scrub_once(&local, &data, (progress, terms)).await {
                Ok(()) => Duration::ZERO,
                Err(Fault::ShuttingDown) => return,
                Err(fault) => {
                    tracing::warn!("what node {} keeps could not be checked: {fault}", local.id);
                    upkeep.grace()
                }
            },
            Ok(Pass::In(waits)) => waits,
            Ok(Pass::Off) => LOOK_AGAIN_MAX,
            Err(_) => return,
        };
        sleep(waits.min(LOOK_AGAIN_MAX)).await;
    }
}

enum Pass {
    Now(ScrubProgress),
    In(Duration),
    Off,
}

/// The pass that was cut short, or the next one when it is due.
async fn next_pass(local: &Local, data: &DataParts, terms: Terms) -> Result<Pass, Fault> {
    let last = data.bodies.scrub_progress().await?;
    Ok(pass_after(last, local.clock.now(), terms.each_ms))
}

fn pass_after(last: Option<ScrubProgress>, now: Timestamp, each_ms: u64) -> Pass {
    match last {
        _ if each_ms == 0 => Pass::Off,
        Some(unfinished) if !unfinished.done => Pass::Now(unfinished),
        // A clock that was set back must not put the next pass off for longer than usual.
        Some(last) if last.began <= now && now.0 - last.began.0 < each_ms => {
            Pass::In(Duration::from_millis(each_ms - (now.0 - last.began.0)))
        }
        _ => Pass::Now(ScrubProgress { began: now, after: None, done: false }),
    }
}

async fn scrub_once(
    local: &Arc<Local>,
    data: &DataParts,
    (progress, terms): (ScrubProgress, Terms),
) -> Result<(), Fault> {
    if progress.after.is_none() {
        // What is wrong is told and mended there. Where it cannot be done now, the next pass does it.
        match local.verify(Depth::Present).await {
            Ok(verification) if verification.is_equal() => {}
            Ok(_) => {
                tracing::warn!("node {} verified what the data nodes keep: something was wrong", local.id)
            }
            Err(error) => tracing::info!("the rows are not verified in this pass: {error}"),
        }
    }
    verify(local, data).await?;
    let report = data.bodies.scrub(progress, terms.pace(data.bodies.bytes_live())).await?;
    let lost = report.corrupt - report.healed;
    local.verifying.note_bodies(&local.config.name, lost);
    if lost > 0 {
        tracing::error!("{lost} bodies on node {} are corrupt and no peer has replaced them", local.id);
        return verify(local, data).await;
    }
    tracing::info!("{} bodies were read again, {} healed", report.checked, report.healed);
    Ok(())
}

impl Local {
    pub async fn scrubbed(&self) -> Scrubbed {
        let Some(data) = &self.data else { return Scrubbed::default() };
        let progress = data.bodies.scrub_progress().await.ok().flatten();
        let counts = data.bodies.counts();
        Scrubbed {
            began: progress.map(|progress| progress.began),
            done: progress.is_some_and(|progress| progress.done),
            found: counts.corrupt,
            mended: counts.healed,
            trouble: self.verifying.trouble(),
        }
    }

    /// Of all data nodes; `None` of one that does not answer, or is too old to know.
    pub async fn scrubbed_of_all(&self) -> Vec<(NodeId, Option<Scrubbed>)> {
        let roster = self.roster.load_full();
        let data_nodes = roster.iter().filter(|entry| entry.member.role == Role::Data);
        let asked =
            data_nodes.map(async |entry| (NodeId(entry.id), self.scrubbed_of(NodeId(entry.id)).await));
        futures_util::future::join_all(asked).await
    }

    async fn scrubbed_of(&self, node: NodeId) -> Option<Scrubbed> {
        if node == self.id {
            return Some(self.scrubbed().await);
        }
        let answer = self.transport.call(node, Lane::Control, kinds::SCRUBBED, Bytes::new(), ASK_MAX).await;
        let mut scrubbed: Scrubbed = wire::decode(&answer.ok()?).ok()?;
        scrubbed.trouble = scrubbed.trouble.filter(|trouble| trouble.len() <= TROUBLE_BYTES_MAX);
        Some(scrubbed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ids::BodyId;

    #[test]
    fn a_pass_that_was_cut_short_goes_on_and_the_next_one_comes_in_its_time() {
        let now = Timestamp(10_000);
        let at = |began, after, done| Some(ScrubProgress { began: Timestamp(began), after, done });
        let began = |last| match pass_after(last, now, 1_000) {
            Pass::Now(progress) => Ok(progress),
            Pass::In(waits) => Err(waits.as_millis()),
            Pass::Off => panic!("it is not off"),
        };
        let fresh = Ok(ScrubProgress { began: now, after: None, done: false });
        assert_eq!(began(None), fresh);
        let half_way = at(3, Some(BodyId([9; 32])), false);
        assert_eq!(began(half_way).ok(), half_way);
        assert_eq!(began(at(9_001, None, true)), Err(1));
        assert_eq!(began(at(10_000, None, true)), Err(1_000));
        assert_eq!(began(at(9_000, None, true)), fresh);
        assert_eq!(began(at(10_001, None, true)), fresh, "the clock was set back");
        for last in [None, half_way, at(9_000, None, true)] {
            assert!(matches!(pass_after(last, now, 0), Pass::Off), "turned off");
        }
    }

    #[test]
    fn a_pass_is_spread_over_its_time_within_the_bounds() {
        let terms = Terms { each_ms: 7 * 86_400_000, bytes_per_s_max: 4 << 20 };
        assert_eq!(terms.pace(0), BYTES_PER_S_MIN);
        assert_eq!(terms.pace(1 << 50), 4 << 20);
        let between = terms.pace(604_800 << 19);
        assert_eq!(between, 1 << 20, "2^19 bytes for each second of a week");
    }
}
