//! What a node does about a takeover elsewhere: it follows if it can, and gives way if it went on apart and leads nobody.
//! A node that serves is never stopped by a peer's word: there the operator decides.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::roster::is_led;
use super::{LOOK_AGAIN, ticking};
use crate::cluster::blocking::blocking;
use crate::cluster::lineage::{End, Forks, advice, parted, quarantine, strayed};
use crate::cluster::local::Local;
use crate::cluster::membership::ClusterError;
use crate::mail::ids::NodeId;

/// For how long a node must be alone with its history before it gives way.
const ALONE_FOR: Duration = Duration::from_secs(5);

pub async fn follow_takeover(local: Arc<Local>) {
    let mut ahead = local.lineage.ahead();
    let mut ticks = ticking(LOOK_AGAIN);
    loop {
        if ahead.wait_for(Option::is_some).await.is_err() {
            return;
        }
        let forks = ahead.borrow_and_update().clone();
        if let Some(forks) = forks
            && local.may_follow(&forks)
        {
            follow(&local, forks).await;
        }
        ticks.tick().await;
    }
}

async fn follow(local: &Arc<Local>, forks: Arc<Forks>) {
    let writing = local.clone();
    let node = forks.0.last().map_or(local.id, |fork| fork.node);
    let written = blocking(move || writing.lineage.take_on(&forks)).await;
    match written.map_err(io::Error::other).and_then(|written| written) {
        Ok(()) => {
            tracing::warn!("node {node} was told to go on alone: this node follows it");
            local.transport.greet_anew();
        }
        Err(error) => tracing::warn!("node {node} cannot be followed yet: {error}"),
    }
}

/// Gives way once nothing else is left: another node was told to go on alone, this one holds what that one lacks, and
/// those that it can reach of its own history are no majority.
pub async fn give_way(local: Arc<Local>) {
    let words = strayed(local.id);
    let mut ticks = ticking(LOOK_AGAIN);
    let mut since = None;
    loop {
        ticks.tick().await;
        let Some(why) = local.refusal(|why| why.contains(&words)) else {
            since = None;
            continue;
        };
        if is_led(&local) || local.is_of_a_majority() {
            since = None;
            continue;
        }
        if since.get_or_insert_with(Instant::now).elapsed() >= ALONE_FOR {
            return local.go_into_quarantine(&why).await;
        }
    }
}

impl Local {
    fn may_follow(&self, forks: &Forks) -> bool {
        let own = self.lineage.forks();
        forks.is_reached_from(&own, End::of(self.log.state())) && !is_led(self)
    }

    /// The operator's decision, where two were told to go on alone.
    pub async fn quarantine(&self) -> Result<(), ClusterError> {
        let apart = |why: &str| {
            why.contains(parted())
                || self.transport.peers().into_iter().any(|peer| why.contains(&strayed(peer)))
        };
        let strays = strayed(self.id);
        match self.refusal(|why| apart(why) || why.contains(&strays)) {
            Some(why) => {
                self.go_into_quarantine(&format!("its operator had it give way, for {why}")).await;
                Ok(())
            }
            None => Err(ClusterError::Refused(
                "no node that this one can reach has gone another way: there is nothing to give way to"
                    .to_owned(),
            )),
        }
    }

    async fn go_into_quarantine(&self, why: &str) {
        let dir = &self.config.dir;
        self.fail_for_good(quarantine(dir), advice(self.id, dir, why)).await;
    }

    /// Whether the voters in reach, itself among them, are one.
    fn is_of_a_majority(&self) -> bool {
        let roster = self.roster.load();
        let voters: Vec<NodeId> =
            roster.iter().filter(|entry| entry.voter).map(|entry| NodeId(entry.id)).collect();
        let here = voters.iter().filter(|node| self.reaches(**node)).count();
        here * 2 > voters.len()
    }
}
