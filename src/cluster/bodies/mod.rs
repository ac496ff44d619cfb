//! Message bodies on several nodes: placing them on all in-sync data nodes, fetching what this node
//! lacks, catching up, scrubbing, forgetting. Proposes nothing itself: who is behind is told to a hook.

mod fetch;
mod inspect;
pub mod journal;
mod missing;
mod placing;
mod pool;
#[doc(hidden)]
pub mod server;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

pub use self::inspect::{Depth, Inspected, Trouble, WrongBody};
use self::journal::{Journals, Restoring};
use self::missing::Missing;
pub use self::placing::PlacingBody;
use self::pool::Pool;
pub use self::server::BodyServer;
pub use self::upkeep::{CaughtUp, ScrubReport};
use super::copied::{Held, Holds};
use super::replica::Fault;
use super::transport::{BACKGROUND, Transport};
use crate::mail::ids::{BodyId, NodeId};
use crate::store::segments::{Bodies, BodyError};

/// The kinds of streams that belong to [`BodyServer::stream`].
pub const BODY_KINDS: RangeInclusive<u16> = 0x0200..=0x02ff;
/// Small bodies, one a frame, on a stream that stays open.
const KIND_SMALL: u16 = 0x0201;
/// One body, in pieces.
const KIND_LARGE: u16 = 0x0202;
/// One body asked for.
const KIND_FETCH: u16 = 0x0203;

/// Whether a stream of this kind is the body server's ([`BACKGROUND`] does not matter).
pub fn is_body_kind(kind: u16) -> bool {
    BODY_KINDS.contains(&(kind & !BACKGROUND))
}

/// Bodies up to this go in one frame on a pooled stream; longer ones get a stream each.
pub const SMALL_BODY_BYTES_MAX: usize = 64 * 1024;
/// Pieces of large bodies.
const PIECE_BYTES_MAX: usize = 128 * 1024;

/// Where bodies belong, as committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaSet {
    /// A body is acknowledged only when it is on all of these.
    pub in_sync: BTreeSet<NodeId>,
    /// All data nodes, in sync or not.
    pub data_nodes: BTreeSet<NodeId>,
}

/// What the cluster decides about nodes that do not take bodies.
pub trait Degrade: Send + Sync + 'static {
    /// Commits that `node` is behind (`Command::MarkBehind`). Only after `Ok` may acks go on without it.
    fn behind(&self, node: NodeId) -> BoxFuture<'static, Result<(), Fault>>;
    /// The policy `degraded_ack = refuse`: no ack with a single copy.
    fn refuses_degraded(&self) -> bool;
    /// Who keeps the second copy while no other data node does; `None`: nobody.
    fn journals(&self) -> Option<Journals>;
}

/// Bounds of placing and fetching.
#[derive(Debug, Clone, Copy)]
pub struct BodyBounds {
    /// How long an in-sync peer that lives may take to acknowledge a body, plus a second for each 10 MB.
    pub ack_ms_max: u64,
    /// After this without an ack the peer is asked whether it lives ...
    pub probe_after_ms: u64,
    /// ... and if it does not say so within this, it is behind at once: fail-over waits for it.
    pub probe_ms_max: u64,
    /// How long a placing waits for a peer that catches up.
    pub invite_ms_max: u64,
    /// Bytes on their way to one peer, over all bodies on the pooled stream, and for each large body.
    pub in_flight_bytes_max: usize,
    /// Transfers from peers at once.
    pub fetches_max: usize,
    /// A fetch in which nothing comes for this long goes on to the next peer.
    pub fetch_silence_ms_max: u64,
    /// What the scrub reads between two notes of how far it came; a restart reads no more than this again.
    pub scrub_note_bytes: u64,
    /// The largest body taken from a peer.
    pub body_bytes_max: u64,
}

impl Default for BodyBounds {
    fn default() -> Self {
        Self {
            ack_ms_max: 1_500,
            probe_after_ms: 200,
            probe_ms_max: 250,
            invite_ms_max: 150,
            in_flight_bytes_max: 1024 * 1024,
            fetches_max: 8,
            fetch_silence_ms_max: 3_000,
            scrub_note_bytes: 64 * 1024 * 1024,
            body_bytes_max: 1 << 30,
        }
    }
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BodyCounts {
    /// Named by messages, known to be missing here, not fetched yet.
    pub missing: u64,
    pub fetched: u64,
    pub corrupt: u64,
    pub healed: u64,
    /// Kept by a witness for want of another data node.
    pub journaled: u64,
}

#[derive(Default)]
struct Counters {
    missing: Missing,
    fetched: AtomicU64,
    corrupt: AtomicU64,
    healed: AtomicU64,
    journaled: AtomicU64,
}

/// The bodies of the cluster, as one node sees them. Cheap to clone.
#[derive(Clone)]
pub struct BodyService {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Transport,
    store: Bodies,
    replicas: watch::Receiver<ReplicaSet>,
    degrade: Arc<dyn Degrade>,
    bounds: BodyBounds,
    /// By node, and by what it takes.
    pools: Mutex<BTreeMap<(NodeId, u16), Pool>>,
    /// Reports under way, so that a thousand mails make one proposal.
    reports: Mutex<BTreeMap<NodeId, Report>>,
    /// Transfers under way, so that many readers of one body share one.
    fetches: Mutex<BTreeMap<BodyId, Flight>>,
    transfers: Semaphore,
    /// A reading of the witnesses' journals under way, and how far each was read.
    restoring: Mutex<Option<Restoring>>,
    journals_read: Mutex<BTreeMap<NodeId, (u64, u64)>>,
    /// Bodies that nobody else has taken, and why not.
    single_copies: Mutex<Option<(u64, String)>>,
    /// Peers that catch up, and witnesses, that did not take a body in time, and when.
    slow: Mutex<BTreeMap<NodeId, Instant>>,
    counters: Counters,
    /// While there are any, nothing is forgotten.
    holds: Holds,
}

type Report = Shared<BoxFuture<'static, Result<(), Fault>>>;
type Flight = Shared<BoxFuture<'static, Result<Bytes, Fault>>>;

impl BodyService {
    pub fn new(
        transport: Transport,
        store: Bodies,
        replicas: watch::Receiver<ReplicaSet>,
        degrade: Arc<dyn Degrade>,
        bounds: BodyBounds,
    ) -> Self {
        let inner = Inner {
            transport,
            store,
            replicas,
            degrade,
            bounds,
            pools: Mutex::default(),
            reports: Mutex::default(),
            fetches: Mutex::default(),
            transfers: Semaphore::new(bounds.fetches_max),
            restoring: Mutex::default(),
            journals_read: Mutex::default(),
            single_copies: Mutex::default(),
            slow: Mutex::default(),
            counters: Counters::default(),
            holds: Holds::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Opens a body for writing. Refused under `degraded_ack = refuse` while only one copy could be made.
    pub fn place(&self) -> Result<PlacingBody, Fault> {
        let replicas = self.inner.replicas.borrow().clone();
        self.inner.check_degraded(&replicas)?;
        Ok(PlacingBody::new(self.inner.clone()))
    }

    /// Nothing is forgotten on this node until what is returned is dropped.
    pub fn hold(&self) -> Held {
        self.inner.holds.hold()
    }

    pub fn counts(&self) -> BodyCounts {
        let counters = &self.inner.counters;
        BodyCounts {
            missing: counters.missing.count(),
            fetched: counters.fetched.load(Ordering::Relaxed),
            corrupt: counters.corrupt.load(Ordering::Relaxed),
            healed: counters.healed.load(Ordering::Relaxed),
            journaled: counters.journaled.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    fn check_degraded(&self, replicas: &ReplicaSet) -> Result<(), Fault> {
        let others_in_sync = replicas.in_sync.iter().any(|node| *node != self.transport.node());
        let others = replicas.data_nodes.iter().any(|node| *node != self.transport.node());
        if others && !others_in_sync && self.degrade.refuses_degraded() && !self.may_journal() {
            let why = "no other data node is in sync, and no witness takes a second copy";
            return Err(Fault::NotReplicated(why.to_owned()));
        }
        Ok(())
    }

    /// Reports `node` as behind, or joins a report under way.
    fn behind(self: &Arc<Self>, node: NodeId) -> Report {
        let mut reports = locked(&self.reports);
        if let Some(report) = reports.get(&node) {
            return report.clone();
        }
        let report = self.degrade.behind(node);
        let inner = self.clone();
        // A task of its own: one impatient caller must not undo it for all.
        let task = tokio::spawn(async move {
            let outcome = report.await;
            locked(&inner.reports).remove(&node);
            outcome
        });
        let report = async move { task.await.unwrap_or(Err(Fault::ShuttingDown)) }.boxed().shared();
        reports.insert(node, report.clone());
        report
    }

    fn pool(&self, node: NodeId, kind: u16) -> Pool {
        let mut pools = locked(&self.pools);
        let start = || Pool::start(self.transport.clone(), node, kind, self.bounds.in_flight_bytes_max);
        pools.entry((node, kind)).or_insert_with(start).clone()
    }
}

fn disk(error: BodyError) -> Fault {
    Fault::Disk(error.to_string())
}

/// Runs what blocks on the disk where that does no harm.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    super::blocking::blocking(work).await.map_err(|_| Fault::ShuttingDown)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A panic elsewhere leaves these maps whole.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
