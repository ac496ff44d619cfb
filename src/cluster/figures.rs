//! How this node's replication stands, by its own word alone: nobody else is asked, so that it costs next to nothing and is
//! told in a cut as well. Plain numbers; the rooms above show them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::bodies::BodyCounts;
use super::local::Local;
use super::propose::PROPOSALS_MAX;

/// How long Raft may take to say a word. It takes none to the disk for that.
const RAFT_ANSWERS_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterFigures {
    pub term: u64,
    pub leads: bool,
    /// Somebody leads, as far as this node has heard.
    pub leader_known: bool,
    /// Entries of the log, from the first one on: index of the last, plus one; so are the next two.
    pub log_next: u64,
    pub committed_next: u64,
    pub applied_next: u64,
    /// The state is durable up to here without the log.
    pub durable_next: u64,
    pub log_bytes: u64,
    pub proposals_in_flight: u64,
    /// A data node's.
    pub replica: Option<ReplicaFigures>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplicaFigures {
    /// In the in-sync set, as this node has applied it.
    pub in_sync: bool,
    pub in_sync_nodes: u64,
    pub data_nodes: u64,
    pub bodies: BodyCounts,
    /// Bodies that nobody else has taken since the other data nodes went.
    pub single_copies: u64,
}

impl Local {
    pub fn figures(&self) -> ClusterFigures {
        let next = |index: Option<u64>| index.map_or(0, |index| index + 1);
        let (term, leader_known, committed_next) = self.look(|metrics| {
            let committed = metrics.cluster_committed.as_ref().map(|committed| committed.index);
            (metrics.current_term, metrics.current_leader.is_some(), next(committed))
        });
        let replica = self.data.as_ref().map(|data| {
            // Copied: a thread that borrows again what it has borrowed waits for ever if a change waits in between.
            let set = data.feed.replica_set().borrow().clone();
            ReplicaFigures {
                in_sync: set.in_sync.contains(&self.id),
                in_sync_nodes: set.in_sync.len() as u64,
                data_nodes: set.data_nodes.len() as u64,
                bodies: data.bodies.counts(),
                single_copies: data.bodies.single_copies().map_or(0, |(count, _)| count),
            }
        });
        ClusterFigures {
            term,
            leads: self.leads(),
            leader_known,
            log_next: next(self.log.state().last.map(|last| last.index)),
            committed_next,
            applied_next: *self.watched.applied_next.borrow(),
            durable_next: self.watched.durable_next.load(Ordering::Acquire),
            log_bytes: self.log.bytes_on_disk(),
            proposals_in_flight: (PROPOSALS_MAX - self.in_flight.available_permits()) as u64,
            replica,
        }
    }

    /// Whether Raft runs and no sync of the disk hangs; what is wrong, in one line.
    pub async fn is_alive(&self) -> Result<(), String> {
        let answered = tokio::time::timeout(RAFT_ANSWERS_MAX, self.raft.with_raft_state(|_| ())).await;
        match answered {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("replication has stopped: {error}")),
            Err(_) => {
                return Err(format!("replication does not answer for {} s", RAFT_ANSWERS_MAX.as_secs()));
            }
        }
        let bound = Duration::from_millis(self.config.timing.flush_hang_ms / 2);
        match self.log.sync_running_for() {
            Some(running) if running >= bound => {
                Err(format!("a sync of the log takes {} ms by now", running.as_millis()))
            }
            _ => Ok(()),
        }
    }
}
