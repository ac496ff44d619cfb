//! Outbound mail: takes due work from the replicated queue, finds its servers, speaks SMTP to them, and reports.
//!
//! What it must never do: send under a lease that does not last, report anything that no server said, or let what
//! waits for one destination hold up what goes to others. A mail is sent at least once. It is sent twice only where
//! a server took it and this node did not live to commit that (the time of one commit), or did not hear of it.

mod batch;
mod care;
pub mod client;
pub mod https;
mod leases;
mod names;
pub mod reply;
mod report;
pub mod routing;
mod schedule;
mod silence;
#[doc(hidden)]
pub mod sts;
#[cfg(test)]
mod tests;
pub mod text;
pub mod tls_reports;
mod tlsa;
pub mod trust;
mod ways;
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
use self::silence::{Reached, SilentDestinations};
use self::tls_reports::Asker;
use crate::cluster::replica::Replica;
use crate::maillog::MailLog;
use crate::state::queue::reading::{self, DueThere, DueWork, Wanted};
use crate::state::queue::{PARCELS_PER_LEASE_MAX, ParcelId};
use crate::state::rows::Rows;

/// Parcels that go through one connection, one after another.
const PARCELS_PER_BATCH_MAX: usize = 16;
/// Where no server was: they are put off together.
const PARCELS_PER_SILENT_BATCH_MAX: usize = PARCELS_PER_LEASE_MAX;
/// The node that took a mail, or tried it last, is left so much time to take it.
const OTHERS_AFTER_MS: u64 = 2_000;
/// Where nothing is due, the queue is looked at all the same: the clock may have been set.
const LOOK_EACH_MS_MAX: u64 = 30_000;
const LOOK_EACH_MS_MIN: u64 = 20;
/// Between two looks: what comes meanwhile is taken together, and costs one lease and one connection.
const GATHER: Duration = Duration::from_millis(5);
/// After a fault of this node.
const AFTER_FAULT_MS: u64 = 1_000;

/// The deliveries of this node, while they run.
pub struct Delivery {
    stop: watch::Sender<bool>,
    under_way: watch::Receiver<UnderWay>,
    task: JoinHandle<()>,
    reports: Asker,
}

/// What this node has in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnderWay {
    /// Connections to other servers, and what is about to become one.
    pub deliveries: u64,
    /// Nothing is taken from the queue: the node is drained.
    pub holds: bool,
}

impl Delivery {
    pub fn start<R: Replica, D: Resolve>(replica: R, resolver: D, log: MailLog) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (told, under_way) = watch::channel(UnderWay::default());
        let shared = Arc::new(Shared::new(replica, resolver, log));
        let (reports, asked) = Asker::new();
        let reporting = tls_reports::keep(Arc::clone(&shared), asked, stopping.clone());
        let worker = Worker {
            shared,
            running: JoinSet::new(),
            batches: HashMap::new(),
            silent: SilentDestinations::default(),
            told,
        };
        let task = async move {
            tokio::join!(worker.run(stopping), reporting);
        };
        Self { stop, under_way, task: tokio::spawn(task), reports }
    }

    pub fn under_way(&self) -> watch::Receiver<UnderWay> {
        self.under_way.clone()
    }

    /// Reports on TLS before their time.
    pub fn reports(&self) -> Asker {
        self.reports.clone()
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
    running: JoinSet<Reached>,
    batches: HashMap<Id, Batch>,
    silent: SilentDestinations,
    told: watch::Sender<UnderWay>,
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
        let (own, mut drained) = (self.shared.replica.node(), self.shared.replica.watch_drained());
        let mut retries = queue.borrow().retries;
        while !*stop.borrow() {
            let holds = drained.borrow_and_update().contains(&own);
            self.told.send_modify(|told| told.holds = holds);
            let wait = match holds {
                false => self.pass().await,
                // What is under way comes to its end, and the other node takes the rest.
                true => Duration::from_millis(LOOK_EACH_MS_MAX),
            };
            let gather = sleep(GATHER);
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                Ok(()) = drained.changed() => {}
                Ok(()) = queue.changed() => {
                    let now = queue.borrow_and_update().retries;
                    if std::mem::replace(&mut retries, now) != now {
                        self.shared.silent.forget();
                        self.silent.forget();
                    }
                }
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                () = sleep(wait) => {}
            }
            gather.await;
        }
        while let Some(ended) = self.running.join_next_with_id().await {
            self.ended(ended);
        }
        keeper.abort();
    }

    fn ended(&mut self, ended: Result<(Id, Reached), tokio::task::JoinError>) {
        let (id, reached) = match ended {
            Ok((id, reached)) => (id, reached),
            Err(error) => {
                // A bug in a batch costs its lease; the queue has its parcels, and gives them out again.
                warn!("outbound: a delivery broke off: {error}");
                (error.id(), Reached::Somebody)
            }
        };
        if let Some(batch) = self.batches.remove(&id) {
            self.silent.note(&batch.there.destination, reached);
        }
        self.tell_how_many();
    }

    fn tell_how_many(&self) {
        let deliveries = self.batches.len() as u64;
        self.told.send_modify(|told| told.deliveries = deliveries);
    }

    /// Begins what is due and there is room for; says when to look again.
    async fn pass(&mut self) -> Duration {
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.ended(ended);
        }
        let Some(work) = self.look().await else { return Duration::from_millis(AFTER_FAULT_MS) };
        let next = work.iter().filter_map(|(_, work)| work.next).min();
        let begun = work.iter().any(|(_, work)| !work.there.is_empty());
        for (tried, work) in work {
            work.there.into_iter().for_each(|there| self.begin(tried, there));
        }
        if begun {
            // There may be more for the same destinations, and room for it.
            return Duration::from_millis(LOOK_EACH_MS_MIN);
        }
        let now = self.shared.replica.clock().now();
        let wait = next.map_or(LOOK_EACH_MS_MAX, |next| next.0.saturating_sub(now.0));
        let wait = Duration::from_millis(wait.clamp(LOOK_EACH_MS_MIN, LOOK_EACH_MS_MAX));
        self.silent.next().map_or(wait, |until| wait.min(until))
    }

    /// Mail that was not tried yet, and mail that was.
    async fn look(&self) -> Option<[(bool, DueWork); 2]> {
        let replica = &self.shared.replica;
        let connections = {
            let directory = replica.directory();
            let settings = directory.settings();
            Connections {
                max: settings.delivery_connections_max() as usize,
                per_destination_max: settings.delivery_connections_per_destination_max() as usize,
            }
        };
        let (room, room_for_tried) = self.room(connections);
        if room == 0 {
            return Some([(false, DueWork::default()), (true, DueWork::default())]);
        }
        let (mut none, silent) = (self.without_room(connections), self.silent.clone());
        let leave: BTreeSet<ParcelId> =
            self.batches.values().flat_map(|batch| batch.there.parcels.iter().copied()).collect();
        let (now, node) = (replica.clock().now(), replica.node());
        let look = move |rows: &dyn Rows| {
            let due = |tried: bool, destinations_max: usize, none: &BTreeSet<String>| {
                let room = |destination: &str| match destination {
                    _ if none.contains(destination) => 0,
                    _ if silent.contains(destination) => PARCELS_PER_SILENT_BATCH_MAX,
                    _ => PARCELS_PER_BATCH_MAX,
                };
                let (leave, room, others_after_ms) = (&leave, &room, OTHERS_AFTER_MS);
                let wanted = Wanted { tried, now, node, others_after_ms, room, leave, destinations_max };
                reading::due(rows, &wanted)
            };
            let fresh = due(false, room, &none)?;
            // One batch for a destination at a time.
            none.extend(fresh.there.iter().map(|there| there.destination.clone()));
            let tried = due(true, room_for_tried.min(room - fresh.there.len()), &none)?;
            Ok([(false, fresh), (true, tried)])
        };
        match replica.read_queue(look).await {
            Ok(work) => Some(work),
            Err(fault) => {
                warn!("outbound: the queue cannot be read: {fault}");
                None
            }
        }
    }

    /// For how many batches, and for how many of mail that was tried before: it has half of the connections at the
    /// most, since hosts that are away keep them long.
    fn room(&self, connections: Connections) -> (usize, usize) {
        let room = connections.max.saturating_sub(self.batches.len());
        let retries = self.batches.values().filter(|batch| batch.tried).count();
        (room, (connections.max / 2).max(1).saturating_sub(retries))
    }

    /// Destinations that have all their connections, and those that are left alone for now. One whose servers are silent
    /// has one.
    fn without_room(&self, connections: Connections) -> BTreeSet<String> {
        let mut busy: BTreeMap<&str, usize> = BTreeMap::new();
        for batch in self.batches.values() {
            *busy.entry(&batch.there.destination).or_default() += 1;
        }
        let full = busy.into_iter().filter(|(destination, count)| {
            *count >= connections.per_destination_max || self.silent.contains(destination)
        });
        full.map(|(destination, _)| destination).chain(self.silent.alone()).map(str::to_owned).collect()
    }

    fn begin(&mut self, tried: bool, there: DueThere) {
        let (shared, work) = (Arc::clone(&self.shared), there.clone());
        let task = self.running.spawn(batch::run(shared, work.destination, work.parcels));
        self.batches.insert(task.id(), Batch { tried, there });
        self.tell_how_many();
    }
}
