//! A data node's place in the in-sync set: fetches the bodies it lacks, then says so, so that its word is true.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};

use super::LOOK_AGAIN;
use crate::cluster::local::{DataParts, Local};
use crate::cluster::replica::Fault;
use crate::mail::ids::{BodyId, LogIndex};
use crate::state::command::Command;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::reading;
use crate::state::rows::{Rows, RowsError};

/// Ids read from the rows in one go.
pub(super) const IDS_MAX: usize = 1_000;
/// How long a node waits before it tries again to catch up on bodies: each try looks at all that are named.
const CATCH_UP_AGAIN_MIN: Duration = Duration::from_millis(100);
const CATCH_UP_AGAIN_MAX: Duration = Duration::from_secs(2);

/// A data node sees to it that it is in the in-sync set: makes itself known, fetches what it lacks, says so.
pub async fn stay_in_sync(local: Arc<Local>, data: DataParts) {
    let mut replicas = data.feed.replicas();
    let mut patience = Patience::default();
    loop {
        let mine = replicas.borrow_and_update().iter().find(|replica| replica.node == local.id).copied();
        let votes = local.member(local.id).is_some_and(|entry| entry.voter);
        let tried = match mine {
            Some(replica) if replica.in_sync => Ok(Caught::Up),
            Some(_) => catch_up(&local, &data).await,
            None if votes => local.propose(Command::AddReplica { node: local.id }).await.map(|_| Caught::Up),
            None => Ok(Caught::Up),
        };
        let (fetched, why) = match tried {
            Ok(Caught::Up) => {
                patience = Patience::default();
                // The set changes rarely; the tick is for the membership, which has no watch here.
                let _ = tokio::time::timeout(LOOK_AGAIN, replicas.changed()).await;
                continue;
            }
            Ok(Caught::Behind { fetched }) => (fetched, "more came meanwhile".to_owned()),
            Err(Fault::ShuttingDown) => return,
            Err(fault) => (0, fault.to_string()),
        };
        tracing::info!("not in sync yet: {why}");
        // Not cut short by changes of the set: each mail that is committed without this node is one.
        tokio::time::sleep(patience.next(fetched)).await;
    }
}

enum Caught {
    Up,
    /// Bodies were committed without this node after the look at those that are named.
    Behind {
        fetched: u64,
    },
}

/// Short while bodies come, so that a node that nearly has all is in sync soon; longer and longer while none does.
struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(CATCH_UP_AGAIN_MIN)
    }
}

impl Patience {
    fn next(&mut self, fetched: u64) -> Duration {
        let now = if fetched > 0 { CATCH_UP_AGAIN_MIN } else { self.0 };
        self.0 = (now * 2).min(CATCH_UP_AGAIN_MAX);
        now
    }
}

/// A removal is two steps, and a crash may part them: the leader drops from the set whoever is no member any longer,
/// or every mail would wait for it until it is marked behind, and the policy of two copies would count it.
pub async fn drop_strangers(local: Arc<Local>, data: DataParts) {
    let mut ticks = super::ticking(LOOK_AGAIN);
    loop {
        ticks.tick().await;
        let roster = local.roster.load_full();
        if !local.leads() || roster.is_empty() {
            continue;
        }
        let known = data.feed.replica_set().borrow().data_nodes.clone();
        for node in known.into_iter().filter(|node| !roster.iter().any(|entry| entry.id == node.0)) {
            match local.propose(Command::RemoveReplica { node }).await {
                Ok(_) => tracing::info!("node {node} is no member any longer: no body waits for it"),
                Err(fault) => tracing::debug!("node {node} is still in the set of data nodes: {fault}"),
            }
        }
    }
}

async fn catch_up(local: &Arc<Local>, data: &DataParts) -> Result<Caught, Fault> {
    // Entries up to here are in the rows, so that every body they name is found by the scan.
    let complete_to = LogIndex(local.watched.applied_next.borrow().saturating_sub(1));
    let known = data.feed.replica_set().borrow().data_nodes.clone();
    let done = data.bodies.catch_up(named_bodies(data.tables.clone())).await?;
    if done.unavailable > 0 {
        return Err(Fault::NotReplicated(format!("{} bodies are on no node that answers", done.unavailable)));
    }
    // What nobody had may lie on a data node that had not made itself known here yet, and was not asked.
    if done.lost > 0 && local.data_voters().iter().any(|node| !known.contains(node)) {
        return Err(Fault::NotReplicated("not every data node was known yet".into()));
    }
    match local.propose(Command::MarkInSync { node: local.id, complete_to }).await? {
        Outcome::Refused(Refusal::StillBehind) => Ok(Caught::Behind { fetched: done.fetched }),
        Outcome::Refused(refusal) => Err(Fault::NotReplicated(refusal.to_string())),
        _ => {
            tracing::info!("in sync: {} bodies checked, {} fetched", done.checked, done.fetched);
            Ok(Caught::Up)
        }
    }
}

/// Every body that messages refer to, ascending, read in bounded stretches. Rows that cannot be read end it with
/// the fault: a scan that ended early must never pass for a whole one.
pub(in crate::cluster) fn named_bodies<R>(rows: R) -> impl Stream<Item = Result<BodyId, Fault>> + Send
where
    R: Rows + Clone + Send + 'static,
{
    let stretches = futures_util::stream::try_unfold((rows, None), |(rows, after)| async move {
        let reading = rows.clone();
        let read =
            crate::cluster::blocking::blocking(move || reading::bodies(&reading, after, IDS_MAX)).await;
        let ids = read.map_err(|_| Fault::ShuttingDown)?.map_err(disk)?;
        let Some(last) = ids.last().copied() else { return Ok(None) };
        let ids = futures_util::stream::iter(ids.into_iter().map(Ok));
        Ok::<_, Fault>(Some((ids, (rows, Some(last)))))
    });
    stretches.try_flatten()
}

pub(super) fn disk(error: RowsError) -> Fault {
    Fault::Disk(error.0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::StreamExt;

    use super::*;
    use crate::state::keys;
    use crate::state::rows::{Batch, MemoryRows, Visit};

    /// Rows of which only so many stretches can be read.
    #[derive(Clone)]
    struct Failing {
        rows: Arc<MemoryRows>,
        stretches_left: Arc<AtomicUsize>,
    }

    impl Rows for Failing {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
            self.rows.get(key)
        }

        fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), RowsError> {
            let left = self
                .stretches_left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            left.map_err(|_| RowsError("a row is damaged".into()))?;
            self.rows.scan(from, to, visit)
        }
    }

    fn rows(count: u32) -> Arc<MemoryRows> {
        let mut batch = Batch::new();
        for at in 0..count {
            batch.insert(keys::body(BodyId::of(&at.to_le_bytes())), Some(Vec::new()));
        }
        let mut rows = MemoryRows::default();
        rows.write(batch);
        Arc::new(rows)
    }

    async fn scanned(stretches_left: usize) -> Vec<Result<BodyId, Fault>> {
        let stretches_left = Arc::new(AtomicUsize::new(stretches_left));
        named_bodies(Failing { rows: rows(IDS_MAX as u32 * 2 + 1), stretches_left }).collect().await
    }

    #[test]
    fn a_try_follows_soon_while_bodies_come_and_ever_later_while_none_does() {
        let mut patience = Patience::default();
        let waits = |patience: &mut Patience, fetched, tries: u32| -> Vec<u128> {
            (0..tries).map(|_| patience.next(fetched).as_millis()).collect()
        };
        assert_eq!(waits(&mut patience, 5, 3), [100, 100, 100]);
        assert_eq!(waits(&mut patience, 0, 6), [200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(waits(&mut patience, 1, 1), [100]);
    }

    #[tokio::test]
    async fn a_scan_that_cannot_be_read_to_its_end_says_so() {
        let whole = scanned(9).await;
        assert_eq!(whole.len(), IDS_MAX * 2 + 1);
        assert!(whole.iter().all(Result::is_ok));
        let partial = scanned(1).await;
        assert!(matches!(partial.last(), Some(Err(Fault::Disk(_)))), "not taken for the end");
    }
}
