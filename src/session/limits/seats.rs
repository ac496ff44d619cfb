//! Connections of a host that are open at once, on all nodes together: a share of them this node lets in without asking,
//! for more it asks ([`state::seats`](crate::state::seats)). Connections of one host that must ask wait for one another.
//!
//! Whoever asks in vain hears first from those that have seats; a node that does not speak in time is taken to be dead, and
//! its connections with it. Never refuses because the cluster cannot be asked: this node then counts for itself.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::warn;

use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::{LogIndex, NodeId};
use crate::state::blocks::Host;
use crate::state::command::Command;
use crate::state::outcome::Outcome;
use crate::state::seats::{self, Seats, SeatsChanged, TakeSeats};
use crate::state::stored::SeatsRow;

/// A fail-over included; beyond it this node counts for itself for [`BLIND_MS`].
const ASK_MS_MAX: u64 = 5_000;
const BLIND_MS: u64 = 5_000;
/// Time for the other nodes to say what they use; who does not is taken to be dead.
const SPEAK_MS_MAX: u64 = 1_000;
/// A host that has asked in vain is refused here for so long without a question.
const REFUSED_MS: u64 = 1_000;
/// Seats that are used no longer are given back so much later, this many hosts at a time.
const GIVE_BACK_MS: u64 = 5_000;
const GIVING_BACK_MAX: usize = 64;

type Wish<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;
type Held = (Host, SeatsRow);

/// What seats want of a replica, whichever it is.
trait Cluster: Send + Sync {
    fn propose(&self, command: Command) -> Wish<'_, Outcome>;
    fn watch_seats(&self) -> broadcast::Receiver<Arc<SeatsChanged>>;
    fn held(&self) -> Wish<'_, Vec<Held>>;
    /// How many data nodes there are.
    fn nodes(&self) -> usize;
}

impl<R: Replica> Cluster for R {
    fn propose(&self, command: Command) -> Wish<'_, Outcome> {
        Box::pin(Replica::propose(self, command))
    }

    fn watch_seats(&self) -> broadcast::Receiver<Arc<SeatsChanged>> {
        Replica::watch_seats(self)
    }

    fn held(&self) -> Wish<'_, Vec<Held>> {
        Box::pin(self.read_queue(seats::load))
    }

    fn nodes(&self) -> usize {
        self.data_nodes()
    }
}

/// The seats of all hosts that this node serves.
pub struct SeatKeeper {
    cluster: Arc<dyn Cluster>,
    node: NodeId,
    open: Mutex<Open>,
    /// Some host has more than it uses.
    spare: Notify,
}

#[derive(Default)]
struct Open {
    hosts: HashMap<Host, OfHost>,
    /// What this node had of the hosts when it began is known.
    loaded: bool,
    blind_until: Option<Instant>,
}

#[derive(Default)]
struct OfHost {
    in_use: u64,
    /// As of the last connection.
    seats_max: u64,
    /// `None`: the share.
    held: Option<u64>,
    /// Of a bound that was so large; of another it is worth nothing.
    held_of: u64,
    /// The entry that said so.
    at: LogIndex,
    /// A connection waits for what the cluster says.
    pending: bool,
    /// This node says that it uses so many: it must not use more before that is known.
    says: Option<u64>,
    refused_until: Option<Instant>,
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// One connection's; dropping it frees it.
pub struct HostSeat {
    keeper: Arc<SeatKeeper>,
    host: Host,
}

impl SeatKeeper {
    /// Gives back what others want for as long as anybody holds it.
    pub fn start<R: Replica>(replica: R) -> Arc<Self> {
        let node = replica.node();
        Self::of(Arc::new(replica), node)
    }

    fn of(cluster: Arc<dyn Cluster>, node: NodeId) -> Arc<Self> {
        let keeper = Arc::new(Self { cluster, node, open: Mutex::default(), spare: Notify::new() });
        let changes = keeper.cluster.watch_seats();
        tokio::spawn(listen(Arc::downgrade(&keeper), changes));
        tokio::spawn(tidy(Arc::downgrade(&keeper)));
        keeper
    }

    /// `None`: the host has as many as it may. `seats_max` is not 0.
    pub async fn admit(self: &Arc<Self>, host: Host, seats_max: u64) -> Option<HostSeat> {
        if let Some(seat) = self.enter(host, seats_max) {
            return Some(seat);
        }
        let asking = {
            let mut open = self.locked();
            let of = open.hosts.entry(host).or_default();
            of.seats_max = seats_max;
            Arc::clone(&of.asking)
        };
        let _turn = asking.lock().await;
        if let Some(seat) = self.enter(host, seats_max) {
            return Some(seat);
        }
        if self.is_refused(host, seats_max) {
            return None;
        }
        self.locked().hosts.entry(host).or_default().pending = true;
        let seat = match self.ask(host, seats_max).await {
            Some(true) => self.enter(host, seats_max),
            Some(false) => None,
            None => Some(self.seat(&mut self.locked(), host)),
        };
        let mut open = self.locked();
        let of = open.hosts.entry(host).or_default();
        of.pending = false;
        of.refused_until = seat.is_none().then(|| Instant::now() + Duration::from_millis(REFUSED_MS));
        seat
    }

    /// Without a question, if this node has a seat.
    fn enter(self: &Arc<Self>, host: Host, seats_max: u64) -> Option<HostSeat> {
        let mut open = self.locked();
        let share = if open.loaded { seats::share(seats_max, self.cluster.nodes()) } else { 0 };
        let of_host = open.hosts.get(&host);
        let has_one = of_host.map_or(share > 0, |of| of.in_use < of.bound(share, seats_max));
        has_one.then(|| self.seat(&mut open, host))
    }

    fn seat(self: &Arc<Self>, open: &mut Open, host: Host) -> HostSeat {
        open.hosts.entry(host).or_default().in_use += 1;
        HostSeat { keeper: Arc::clone(self), host }
    }

    fn is_refused(&self, host: Host, seats_max: u64) -> bool {
        let open = self.locked();
        let of = open.hosts.get(&host);
        let until = of.and_then(|of| of.refused_until);
        until.is_some_and(|until| Instant::now() < until) || of.is_some_and(|of| of.in_use >= seats_max)
    }

    /// `None`: nobody can be asked, and this node has less than the bound open.
    async fn ask(&self, host: Host, seats_max: u64) -> Option<bool> {
        if self.locked().blind_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let mut changes = self.cluster.watch_seats();
        let first = self.take(host, seats_max, Vec::new()).await?;
        if self.has_one(host, seats_max) {
            return Some(true);
        }
        let mut silent = first.holders;
        let until = Instant::now() + Duration::from_millis(SPEAK_MS_MAX);
        while !silent.is_empty() {
            match timeout_at(until, changes.recv()).await {
                Ok(Ok(changed)) if changed.host == host => silent.retain(|node| *node != changed.by),
                Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
                Ok(Err(RecvError::Closed)) | Err(_) => break,
            }
        }
        self.take(host, seats_max, silent).await?;
        Some(self.has_one(host, seats_max))
    }

    fn has_one(&self, host: Host, seats_max: u64) -> bool {
        self.locked().hosts.get(&host).is_some_and(|of| of.in_use < of.bound(0, seats_max))
    }

    /// Asks for one more.
    async fn take(&self, host: Host, seats_max: u64, silent: Vec<NodeId>) -> Option<Seats> {
        let in_use = self.locked().hosts.get(&host).map_or(0, |of| of.in_use);
        let ask = TakeSeats { node: self.node, host, seats_max, in_use, wants_one: true, silent };
        self.propose(ask).await
    }

    /// Says what this node uses, with the one that may come to it: the rest is others'.
    async fn say(&self, host: Host, seats_max: u64) {
        let in_use = {
            let mut open = self.locked();
            let of = open.hosts.entry(host).or_default();
            let in_use = of.in_use + u64::from(of.pending);
            of.says = Some(in_use);
            in_use
        };
        let ask =
            TakeSeats { node: self.node, host, seats_max, in_use, wants_one: false, silent: Vec::new() };
        self.propose(ask).await;
        let mut open = self.locked();
        if let Some(of) = open.hosts.get_mut(&host) {
            of.says = None;
        }
        forget_if_empty(&mut open, host);
    }

    async fn propose(&self, ask: TakeSeats) -> Option<Seats> {
        let (host, seats_max) = (ask.host, ask.seats_max);
        let asked = self.cluster.propose(Command::TakeSeats(Box::new(ask)));
        match timeout(Duration::from_millis(ASK_MS_MAX), asked).await {
            Ok(Ok(Outcome::SeatsTaken(seats))) => {
                self.heard(host, seats.at, (Some(seats.seats), seats_max));
                Some(seats)
            }
            other => {
                let until = Instant::now() + Duration::from_millis(BLIND_MS);
                self.locked().blind_until = Some(until);
                warn!("connections are counted by this node alone for {BLIND_MS} ms: {other:?}");
                None
            }
        }
    }

    /// What this node has of the host since that entry.
    fn heard(&self, host: Host, at: LogIndex, (held, held_of): (Option<u64>, u64)) {
        let mut open = self.locked();
        if held.is_none() && !open.hosts.contains_key(&host) {
            return;
        }
        let of = open.hosts.entry(host).or_default();
        if at > of.at {
            (of.at, of.held, of.held_of) = (at, held, held_of);
        }
        if of.held.is_some_and(|held| held > of.in_use) {
            self.spare.notify_one();
        }
        forget_if_empty(&mut open, host);
    }

    async fn load(&self) {
        loop {
            match self.cluster.held().await {
                Ok(held) => {
                    let (mut open, nodes) = (self.locked(), self.cluster.nodes());
                    for (host, row) in held {
                        if let Some(mine) = row.held.iter().find(|held| held.node == self.node) {
                            let allowed = seats::allowed(&row.held, *mine, (row.seats_max, nodes));
                            let of = open.hosts.entry(host).or_default();
                            (of.held, of.held_of, of.seats_max) =
                                (Some(allowed), row.seats_max, row.seats_max);
                        }
                    }
                    open.loaded = true;
                    self.spare.notify_one();
                    return;
                }
                // Until then each connection asks.
                Err(_) => sleep(Duration::from_millis(GIVE_BACK_MS)).await,
            }
        }
    }

    /// Hosts of which this node has more than its share, and uses no more than that.
    fn spare(&self) -> Vec<(Host, u64)> {
        let (open, nodes) = (self.locked(), self.cluster.nodes());
        let has_spare = |of: &OfHost| {
            let share = seats::share(of.seats_max, nodes);
            of.in_use <= share && of.held.is_some_and(|held| held > share)
        };
        let spare = open.hosts.iter().filter(|(_, of)| has_spare(of));
        spare.map(|(host, of)| (*host, of.seats_max)).take(GIVING_BACK_MAX).collect()
    }

    fn locked(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder of this lock panics")
    }
}

impl OfHost {
    /// So many it may have open without a question.
    fn bound(&self, share: u64, seats_max: u64) -> u64 {
        let has = match self.held {
            Some(held) if self.held_of == seats_max => held,
            Some(_) => 0,
            None => share,
        };
        has.min(self.says.unwrap_or(u64::MAX)).min(seats_max)
    }
}

impl Drop for HostSeat {
    fn drop(&mut self) {
        let mut open = self.keeper.locked();
        if let Some(of) = open.hosts.get_mut(&self.host) {
            of.in_use = of.in_use.saturating_sub(1);
            if of.held.is_some() {
                self.keeper.spare.notify_one();
            }
        }
        forget_if_empty(&mut open, self.host);
    }
}

fn forget_if_empty(open: &mut Open, host: Host) {
    let idle = |of: &OfHost| {
        of.in_use == 0 && of.held.is_none() && of.says.is_none() && Arc::strong_count(&of.asking) == 1
    };
    if open.hosts.get(&host).is_some_and(idle) {
        open.hosts.remove(&host);
    }
}

/// Keeps to what the cluster says of this node, and speaks when others ask in vain.
async fn listen(keeper: Weak<SeatKeeper>, mut changes: broadcast::Receiver<Arc<SeatsChanged>>) {
    match keeper.upgrade() {
        Some(keeper) => keeper.load().await,
        None => return,
    }
    loop {
        let changed = match changes.recv().await {
            Ok(changed) => changed,
            Err(RecvError::Lagged(_)) => match keeper.upgrade() {
                Some(keeper) => {
                    keeper.load().await;
                    continue;
                }
                None => return,
            },
            Err(RecvError::Closed) => return,
        };
        let Some(keeper) = keeper.upgrade() else { return };
        let mine = changed.held.iter().find(|held| held.node == keeper.node).map(|held| held.seats);
        keeper.heard(changed.host, changed.at, (mine, changed.seats_max));
        if changed.in_vain && changed.by != keeper.node {
            let (host, seats_max) = (changed.host, changed.seats_max);
            tokio::spawn(async move { keeper.say(host, seats_max).await });
        }
    }
}

/// Gives back, some time later, what is used no longer.
async fn tidy(keeper: Weak<SeatKeeper>) {
    loop {
        // The keeper is not held while nothing is to be done.
        let Some(spare) = keeper.upgrade() else { return };
        let noticed = async { spare.spare.notified().await };
        let _ = timeout(Duration::from_millis(10 * GIVE_BACK_MS), noticed).await;
        drop(spare);
        sleep(Duration::from_millis(GIVE_BACK_MS)).await;
        let Some(keeper) = keeper.upgrade() else { return };
        for (host, seats_max) in keeper.spare() {
            keeper.say(host, seats_max).await;
        }
    }
}

#[cfg(test)]
mod tests;
