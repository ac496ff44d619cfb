//! Outbound mail: takes due work from the replicated queue, finds its servers, speaks SMTP to them, and reports.
//!
//! What it must never do: send under a lease that does not last, report anything that no server said, or let what
//! waits for one destination hold up what goes to others. A mail is sent at least once. It is sent twice only where
//! a server took it and this node did not live to commit that (the time of one commit), or did not hear of it.

mod batch;
pub mod client;
mod leases;
mod names;
pub mod reply;
mod report;
pub mod routing;
mod schedule;
mod sts;
#[cfg(test)]
mod tests;
pub mod text;
mod tlsa;
pub mod trust;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinHandle, JoinSet};
use tokio::time::sleep;
use tracing::warn;

use self::batch::Shared;
use self::routing::Resolve;
use crate::cluster::replica::Replica;
use crate::mail::ids::Timestamp;
use crate::maillog::MailLog;
use crate::state::queue::ParcelId;
use crate::state::queue::reading::{self, DueThere, DueWork, Wanted};

/// Parcels that go through one connection, one after another.
const PARCELS_PER_BATCH_MAX: usize = 16;
/// The node that took a mail, or tried it last, is left so much time to take it.
const OTHERS_AFTER_MS: u64 = 2_000;
/// Where nothing is due, the queue is looked at all the same: the clock may have been set.
const LOOK_EACH_MS_MAX: u64 = 30_000;
const LOOK_EACH_MS_MIN: u64 = 20;
/// After a fault of this node.
const AFTER_FAULT_MS: u64 = 1_000;

/// The deliveries of this node, while they run.
pub struct Delivery {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Delivery {
    pub fn start<R: Replica, D: Resolve>(replica: R, resolver: D, log: MailLog) -> Self {
        let (stop, stopping) = watch::channel(false);
        let worker = Worker {
            shared: Arc::new(Shared::new(replica, resolver, log)),
            running: JoinSet::new(),
            batches: HashMap::new(),
        };
        Self { stop, task: tokio::spawn(worker.run(stopping)) }
    }

    /// Takes nothing more, lets what is under way end within the time given, and gives the rest back.
    pub async fn stop(self, within: Duration) {
        self.stop.send_replace(true);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(within, self.task).await.is_err() {
            abort.abort();
        }
    }
}

struct Worker<R, D> {
    shared: Arc<Shared<R, D>>,
    running: JoinSet<()>,
    batches: HashMap<Id, Batch>,
}

/// What a task works on.
struct Batch {
    tried: bool,
    there: DueThere,
}

/// Connections of this node.
#[derive(Debug, Clone, Copy)]
struct Connections {
    max: usize,
    per_destination_max: usize,
}

impl<R: Replica, D: Resolve> Worker<R, D> {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        leases::end_own(&self.shared.replica).await;
        let keep = leases::keep(self.shared.replica.clone(), self.shared.leases.clone(), stop.clone());
        let keeper = tokio::spawn(keep);
        let mut queue = self.shared.replica.watch_queue();
        while !*stop.borrow() {
            let wait = self.pass().await;
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                Ok(()) = queue.changed() => {}
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                () = sleep(wait) => {}
            }
        }
        while let Some(ended) = self.running.join_next_with_id().await {
            self.ended(ended);
        }
        keeper.abort();
    }

    fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                // A bug in a batch costs its lease; the queue has its parcels, and gives them out again.
                warn!("outbound: a delivery broke off: {error}");
                error.id()
            }
        };
        self.batches.remove(&id);
    }

    /// Begins what is due and there is room for; says when to look again.
    async fn pass(&mut self) -> Duration {
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.ended(ended);
        }
        let (mut next, mut begun): (Option<Timestamp>, bool) = (None, false);
        for tried in [false, true] {
            match self.look(tried).await {
                Some(work) => {
                    next = next.into_iter().chain(work.next).min();
                    begun |= !work.there.is_empty();
                    work.there.into_iter().for_each(|there| self.begin(tried, there));
                }
                None => return Duration::from_millis(AFTER_FAULT_MS),
            }
        }
        if begun {
            // There may be more for the same destinations, and room for it.
            return Duration::from_millis(LOOK_EACH_MS_MIN);
        }
        let now = self.shared.replica.clock().now();
        let wait = next.map_or(LOOK_EACH_MS_MAX, |next| next.0.saturating_sub(now.0));
        Duration::from_millis(wait.clamp(LOOK_EACH_MS_MIN, LOOK_EACH_MS_MAX))
    }

    async fn look(&self, tried: bool) -> Option<DueWork> {
        let replica = &self.shared.replica;
        let connections = {
            let directory = replica.directory();
            let settings = directory.settings();
            Connections {
                max: settings.delivery_connections_max() as usize,
                per_destination_max: settings.delivery_connections_per_destination_max() as usize,
            }
        };
        let room = self.room(tried, connections);
        if room == 0 {
            return Some(DueWork::default());
        }
        let full = self.full(connections);
        let leave: BTreeSet<ParcelId> =
            self.batches.values().flat_map(|batch| batch.there.parcels.iter().copied()).collect();
        let (now, node) = (replica.clock().now(), replica.node());
        let look = move |rows: &dyn crate::state::rows::Rows| {
            let wanted = Wanted {
                tried,
                now,
                node,
                others_after_ms: OTHERS_AFTER_MS,
                per_destination_max: PARCELS_PER_BATCH_MAX,
                full: &full,
                leave: &leave,
                destinations_max: room,
            };
            reading::due(rows, &wanted)
        };
        match replica.read_queue(look).await {
            Ok(work) => Some(work),
            Err(fault) => {
                warn!("outbound: the queue cannot be read: {fault}");
                None
            }
        }
    }

    /// What was tried before has half of the connections at the most: hosts that are away keep them long.
    fn room(&self, tried: bool, connections: Connections) -> usize {
        let room = connections.max.saturating_sub(self.batches.len());
        let retries = self.batches.values().filter(|batch| batch.tried).count();
        match tried {
            false => room,
            true => room.min((connections.max / 2).max(1).saturating_sub(retries)),
        }
    }

    /// Destinations that have all their connections.
    fn full(&self, connections: Connections) -> BTreeSet<String> {
        let mut busy: BTreeMap<&str, usize> = BTreeMap::new();
        for batch in self.batches.values() {
            *busy.entry(&batch.there.destination).or_default() += 1;
        }
        let full = busy.into_iter().filter(|(_, count)| *count >= connections.per_destination_max);
        full.map(|(destination, _)| destination.to_owned()).collect()
    }

    fn begin(&mut self, tried: bool, there: DueThere) {
        let (shared, work) = (Arc::clone(&self.shared), there.clone());
        let task = self.running.spawn(batch::run(shared, work.destination, work.parcels));
        self.batches.insert(task.id(), Batch { tried, there });
    }
}
