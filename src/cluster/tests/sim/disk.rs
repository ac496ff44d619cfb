//! A disk in memory: what is written is seen at once, and survives a crash once its sync is over. A crash keeps
//! some prefix of what was not yet synced (the last append perhaps in part), as an append-only file does.

mod bodies;
mod log;
mod rows;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

pub use self::log::Log as LogImage;
use self::log::{Log, LogOp, Waiting};
use super::check::Check;
use super::dice::Dice;
use crate::cluster::machine::Progress;
use crate::cluster::watch;
use crate::mail::ids::{BodyId, NodeId};
use crate::state::reading;
use crate::state::record::ReplicaRecord;
use crate::state::rows::{Batch, MemoryRows};
use crate::store::log::{LogPosition, LogStore};
use crate::store::segments::Bodies;
use crate::store::tables::Tables;

/// How a disk behaves from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A sync takes so many milliseconds, at least and at most.
    Syncs { ms_min: u64, ms_max: u64 },
    /// No sync ends until the pace changes.
    Hangs,
}

impl Pace {
    pub const QUICK: Pace = Pace::Syncs { ms_min: 0, ms_max: 3 };
}

/// How a disk of the checker's own tests lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lie {
    #[default]
    None,
    /// A crash loses what was synced since the lie began.
    ForgetsLog,
    ForgetsBodies,
    /// One of some hundred writes leaves out a row, on each node another one.
    SkipsRows,
}

/// One node's disk; outlives its processes.
#[derive(Clone)]
pub struct Disk {
    shared: Arc<Shared>,
}

struct Shared {
    node: NodeId,
    dice: Dice,
    check: Check,
    pace: watch::Sender<Pace>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts the processes; what belongs to an earlier one reaches nothing.
    process: u64,
    lie: Lie,
    log: Log,
    log_synced: Log,
    log_unsynced: VecDeque<(LogOp, Waiting)>,
    log_syncing_since: Option<Instant>,
    rows: MemoryRows,
    rows_hash: u64,
    rows_synced: MemoryRows,
    rows_unsynced: Vec<Batch>,
    bodies: BTreeMap<BodyId, Bytes>,
    /// Written, their sync not over.
    bodies_unsynced: BTreeMap<BodyId, Bytes>,
    bodies_syncing_since: BTreeMap<BodyId, Instant>,
    /// Synced while the disk lies about them.
    bodies_lied: Vec<BodyId>,
    /// Forgotten, which is not durable by itself.
    bodies_forgotten: BTreeMap<BodyId, Bytes>,
    bodies_young_until: BTreeMap<BodyId, Instant>,
}

/// The disk as one process has it open.
#[derive(Clone)]
struct Open {
    shared: Arc<Shared>,
    process: u64,
    grace: Duration,
}

impl Disk {
    pub fn new(node: NodeId, dice: Dice, check: Check) -> Self {
        let pace = watch::Sender::new(Pace::QUICK);
        Self { shared: Arc::new(Shared { node, dice, check, pace, state: Mutex::default() }) }
    }

    /// What a new process opens.
    pub fn open(&self, grace: Duration) -> (LogStore, Tables, Bodies) {
        let mut state = self.shared.lock();
        state.process += 1;
        let until = Instant::now() + grace;
        state.bodies_young_until = state.bodies.keys().map(|id| (*id, until)).collect();
        let open = Arc::new(Open { shared: self.shared.clone(), process: state.process, grace });
        drop(state);
        (LogStore::over(open.clone()), Tables::over(open.clone()), Bodies::over(open))
    }

    /// The process dies: what it has open reaches nothing any longer, and what was not synced may be lost.
    pub fn crash(&self) {
        let dice = &self.shared.dice;
        let mut state = self.shared.lock();
        state.process += 1;
        let State { log_synced, log_unsynced, .. } = &mut *state;
        let mut survive = dice.below(log_unsynced.len() as u64 + 1);
        for (op, _) in std::mem::take(log_unsynced) {
            if survive == 0 {
                // Torn: some of its entries, in order.
                if let LogOp::Append(mut entries) = op {
                    entries.truncate(dice.below(entries.len() as u64 + 1) as usize);
                    log_synced.take(&LogOp::Append(entries));
                }
                break;
            }
            survive -= 1;
            log_synced.take(&op);
        }
        state.log_syncing_since = None;
        state.log = state.log_synced.clone();
        let batches = std::mem::take(&mut state.rows_unsynced);
        let survive = dice.below(batches.len() as u64 + 1) as usize;
        for batch in batches.into_iter().take(survive) {
            state.rows_synced.write(batch);
        }
        state.rows = state.rows_synced.clone();
        state.rows_hash = rows::hash_of(&state.rows);
        state.bodies_syncing_since.clear();
        for (id, bytes) in std::mem::take(&mut state.bodies_unsynced) {
            if dice.chance(50) {
                state.bodies.insert(id, bytes);
            }
        }
        for (id, bytes) in std::mem::take(&mut state.bodies_forgotten) {
            if dice.chance(50) {
                state.bodies.insert(id, bytes);
            }
        }
        for id in std::mem::take(&mut state.bodies_lied) {
            state.bodies.remove(&id);
        }
        drop(state);
        self.shared.pace.send_replace(Pace::QUICK);
    }

    pub fn pace(&self, pace: Pace) {
        self.shared.pace.send_replace(pace);
    }

    pub fn lie(&self, lie: Lie) {
        self.shared.lock().lie = lie;
    }

    pub fn has_body(&self, id: &BodyId) -> bool {
        self.shared.lock().bodies.contains_key(id)
    }

    pub fn log(&self) -> LogImage {
        self.shared.lock().log.clone()
    }

    pub fn rows(&self) -> MemoryRows {
        self.shared.lock().rows.clone()
    }

    /// Not from where this disk itself reports to the check.
    pub fn look<T>(&self, look: impl FnOnce(Look<'_>) -> T) -> T {
        look(self.shared.lock().look())
    }
}

/// A disk, for the checks.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    pub log: &'a LogImage,
    synced: &'a LogImage,
    rows: &'a MemoryRows,
}

impl State {
    fn look(&self) -> Look<'_> {
        Look { log: &self.log, synced: &self.log_synced, rows: &self.rows }
    }
}

impl Look<'_> {
    pub fn log_next(self) -> u64 {
        self.log.state.last.map_or(0, |last| last.index + 1)
    }

    /// Where the durable log ends, if in this term; before it none of that term, after it all: it has moved on.
    pub fn synced_next(self, term: u64) -> u64 {
        match self.synced.state.last {
            Some(last) if last.term == term => last.index + 1,
            Some(last) if last.term > term => u64::MAX,
            _ => 0,
        }
    }

    pub fn has_synced(self, position: LogPosition) -> bool {
        let purged = self.synced.state.purged.is_some_and(|purged| purged.index >= position.index);
        purged || self.synced.entries.get(&position.index).is_some_and(|(at, _)| at.term == position.term)
    }

    pub fn applied(self) -> Option<u64> {
        Some(Progress::read(self.rows).ok()?.last_applied?.index)
    }

    pub fn replicas(self) -> Option<Vec<ReplicaRecord>> {
        reading::replicas(self.rows).ok()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Takes as long as a sync does now.
    async fn sync_time(&self) {
        let mut pace = self.pace.subscribe();
        loop {
            let now = *pace.borrow_and_update();
            match now {
                Pace::Syncs { ms_min, ms_max } => {
                    return tokio::time::sleep(self.dice.ms(ms_min, ms_max)).await;
                }
                Pace::Hangs => drop(pace.changed().await),
            }
        }
    }
}

impl Open {
    /// The state, while this process lives.
    fn state(&self) -> Option<MutexGuard<'_, State>> {
        Some(self.shared.lock()).filter(|state| state.process == self.process)
    }
}
