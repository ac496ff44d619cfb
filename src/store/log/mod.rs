//! The Raft log and vote on disk, behind one serial writer thread that groups what has gathered, syncs
//! once, and then answers. Payloads are opaque bytes.
//!
//! The files are append-only and our own (`frame` says how damage is told from a torn tail). The
//! `raft-log` crate was weighed and left: a flipped bit in a length that makes a record reach beyond the
//! end of its newest file passes for a torn tail there, and every synced entry behind it is cut off
//! without an error; it also keeps the whole newest file and one index row per entry in memory.

#[doc(hidden)]
pub mod frame;
mod index;
mod read;
mod recover;
mod seam;
mod summary;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

use self::index::{Index, Stretch};
use self::recover::{io_error, recover};
pub use self::seam::LogDisk;
use self::writer::{Change, Job, Writer};
use super::files::DirLock;
use super::watch::SyncWatch;
use crate::clock::Clock;
use crate::meters::METERS;

/// Where an entry stands in the log. Ordered by term first, as Raft compares logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    pub term: u64,
    /// The node that led in `term`.
    pub leader: u64,
    pub index: u64,
}

/// Raft's hard state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogVote {
    pub term: u64,
    pub voted_for: u64,
    /// A majority has granted it: `voted_for` leads in `term`.
    pub committed: bool,
}

/// What the log knows of itself, including what is not yet durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogState {
    /// The last entry that was purged.
    pub purged: Option<LogPosition>,
    /// The last entry, or `purged` when there is none behind it.
    pub last: Option<LogPosition>,
    pub vote: Option<LogVote>,
    pub committed: Option<LogPosition>,
}

/// Bounds of a log, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct LogLimits {
    /// Recent entries kept in memory.
    pub cache_bytes_max: usize,
    /// Entries taken but not yet written; beyond, `append` waits.
    pub queue_bytes_max: usize,
    /// Size at which a log file is closed and the next begun; whole files are what a purge gives back.
    pub file_bytes_max: u64,
    /// Bytes of log between two rows of the index: what a read may have to step over.
    pub point_each_bytes: u64,
}

impl LogLimits {
    pub const DATA_NODE: LogLimits = LogLimits {
        cache_bytes_max: 16 << 20,
        queue_bytes_max: 16 << 20,
        file_bytes_max: 64 << 20,
        point_each_bytes: 64 << 10,
    };
    pub const WITNESS: LogLimits = LogLimits {
        cache_bytes_max: 2 << 20,
        queue_bytes_max: 4 << 20,
        file_bytes_max: 16 << 20,
        ..LogLimits::DATA_NODE
    };

    /// For a log of which at most so many bytes are kept: its files are small enough for that.
    pub fn keeping(self, bytes_max: u64) -> Self {
        let file_bytes_max = self.file_bytes_max.min(bytes_max / FILES_KEPT_MIN).max(1);
        Self { file_bytes_max, ..self }
    }
}

/// A log at its bound has so many files, so that it is kept to within a part of it.
const FILES_KEPT_MIN: u64 = 16;

/// Why the log refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Synced records are missing or changed. This node must not vote: it rejoins as a learner.
    #[error("the raft log is damaged: {0}")]
    Damaged(String),
    /// The disk refused or stalled. After a failed write nothing more is taken: restart the process.
    #[error("the raft log cannot be written or read: {0}")]
    Io(String),
    /// The caller broke the order of the log; a bug.
    #[error("the raft log was asked for the impossible: {0}")]
    Misuse(String),
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match error {
            LogError::Damaged(_) => io::ErrorKind::InvalidData,
            LogError::Io(_) => io::ErrorKind::Other,
            LogError::Misuse(_) => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

/// Called once from the log's thread when the entries are durable, or never will be. Must not block.
pub type OnDurable = Box<dyn FnOnce(io::Result<()>) + Send>;

/// The log. Cheap to clone; the last clone that is dropped ends its thread.
#[derive(Clone)]
pub struct LogStore {
    kept: Kept,
}

#[derive(Clone)]
enum Kept {
    Files(Arc<Handle>),
    Elsewhere(Arc<dyn LogDisk>),
}

impl LogStore {
    /// Opens or makes the log in `dir`. A torn tail (normal after a crash) is cut off and said in the
    /// log; damage to what was synced is [`LogError::Damaged`]. Blocks.
    pub fn open(dir: &Path, limits: LogLimits) -> Result<Self, LogError> {
        let lock = DirLock::acquire(dir).map_err(|error| LogError::Io(error.to_string()))?;
        let mut recovered = recover(dir, limits.point_each_bytes)?;
        let (sender, jobs) = channel();
        let index = std::mem::replace(&mut recovered.index, Index::new(limits.point_each_bytes));
        let core = Arc::new(Core::new(dir, limits, index, sender));
        let mut salt = [0; 8];
        Clock::system().fill(&mut salt);
        let writer = Writer::new(dir.to_owned(), limits, core.clone(), recovered, u64::from_le_bytes(salt))
            .map_err(io_error)?;
        let thread = std::thread::Builder::new()
            .name("raft-log".into())
            .spawn(move || {
                let _lock = lock;
                writer.run(&jobs);
            })
            .map_err(io_error)?;
        let room = Arc::new(Semaphore::new(limits.queue_bytes_max));
        Ok(Self { kept: Kept::Files(Arc::new(Handle { core, room, thread: Some(thread) })) })
    }

    /// A log that is kept by other means than files: in memory, in a simulation.
    pub fn over(disk: Arc<dyn LogDisk>) -> Self {
        Self { kept: Kept::Elsewhere(disk) }
    }

    pub fn state(&self) -> LogState {
        match &self.kept {
            Kept::Files(handle) => handle.core.lock().state,
            Kept::Elsewhere(disk) => disk.state(),
        }
    }

    /// The same, of what is durable alone.
    pub fn durable_state(&self) -> LogState {
        match &self.kept {
            Kept::Files(handle) => handle.core.durable_state(),
            Kept::Elsewhere(disk) => disk.durable_state(),
        }
    }

    /// Durable when it returns.
    pub async fn save_vote(&self, vote: LogVote) -> Result<(), LogError> {
        let core = match &self.kept {
            Kept::Files(handle) => &handle.core,
            Kept::Elsewhere(disk) => return disk.save_vote(vote).await,
        };
        let (reply, answered) = oneshot::channel();
        {
            let mut memory = core.lock();
            memory.send(Change::Vote(vote, reply))?;
            memory.state.vote = Some(vote);
        }
        answered.await.unwrap_or_else(|_| Err(LogError::Io("the log's thread has ended".into())))
    }

    /// Remembered with the next write that is synced; not synced by itself.
    pub fn save_committed(&self, committed: Option<LogPosition>) -> Result<(), LogError> {
        let core = match &self.kept {
            Kept::Files(handle) => &handle.core,
            Kept::Elsewhere(disk) => return disk.save_committed(committed),
        };
        let mut memory = core.lock();
        memory.send(Change::Committed(committed))?;
        memory.state.committed = committed;
        Ok(())
    }

    /// Entries can be read when it returns; `on_durable` is called after their sync. Appends that gather
    /// while a sync runs share the next one. Waits while the queue is full. On an error `on_durable` is not called.
    pub async fn append(
        &self,
        entries: Vec<(LogPosition, Bytes)>,
        on_durable: OnDurable,
    ) -> Result<(), LogError> {
        let handle = match &self.kept {
            Kept::Files(handle) => handle,
            Kept::Elsewhere(disk) => return disk.append(entries, on_durable).await,
        };
        let bytes: usize = entries.iter().map(|(_, payload)| payload.len()).sum();
        let permits = bytes.min(handle.core.limits.queue_bytes_max) as u32;
        let stopped = |_| LogError::Io("the log is closed".into());
        let room = handle.room.clone().acquire_many_owned(permits).await.map_err(stopped)?;
        let mut memory = handle.core.lock();
        memory.check_append(&entries)?;
        memory.send(Change::Append { entries: entries.clone(), on_durable, _room: room })?;
        memory.remember(entries, handle.core.limits.cache_bytes_max);
        Ok(())
    }

    /// Drops every entry behind `last` (all that are not purged for `None`). In order with votes, appends and purges.
    pub fn truncate_after(&self, last: Option<LogPosition>) -> Result<(), LogError> {
        let core = match &self.kept {
            Kept::Files(handle) => &handle.core,
            Kept::Elsewhere(disk) => return disk.truncate_after(last),
        };
        let mut memory = core.lock();
        memory.send(Change::TruncateAfter(last))?;
        memory.state = index::truncated(memory.state, last);
        memory.forget_after(last.map_or(0, |last| last.index + 1));
        Ok(())
    }

    /// Drops every entry up to and including `upto`, which may lie beyond the last one (a snapshot was installed).
    pub fn purge(&self, upto: LogPosition) -> Result<(), LogError> {
        let core = match &self.kept {
            Kept::Files(handle) => &handle.core,
            Kept::Elsewhere(disk) => return disk.purge(upto),
        };
        let mut memory = core.lock();
        memory.send(Change::Purge(upto))?;
        memory.state = index::purged(memory.state, upto);
        memory.forget_upto(upto.index);
        Ok(())
    }

    /// The entries with an index in `range`, from its start, until `bytes_max` are exceeded: at least one
    /// where there is one. Shorter than asked means: read on from there. What is not in memory is read
    /// on a blocking thread of the runtime.
    pub async fn read(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Bytes)>, LogError> {
        let core = match &self.kept {
            Kept::Files(handle) => handle.core.clone(),
            Kept::Elsewhere(disk) => return disk.read(range, bytes_max).await,
        };
        let stretches = match core.lock().plan(range, bytes_max)? {
            Plan::Cached(entries) => return Ok(entries),
            Plan::OnDisk(stretches) => stretches,
        };
        tokio::task::spawn_blocking(move || core.read_from_disk(&stretches, bytes_max))
            .await
            .unwrap_or_else(|error| Err(LogError::Io(error.to_string())))
    }

    /// Bytes of all log files.
    pub fn bytes_on_disk(&self) -> u64 {
        match &self.kept {
            Kept::Files(handle) => handle.core.bytes_on_disk.load(Ordering::Relaxed),
            Kept::Elsewhere(disk) => disk.bytes_on_disk(),
        }
    }

    /// What knowing where the entries are takes in memory.
    pub fn index_bytes(&self) -> usize {
        match &self.kept {
            Kept::Files(handle) => handle.core.lock().index.bytes(),
            Kept::Elsewhere(_) => 0,
        }
    }

    /// How long the write and sync now running has been running; `None`: none is. For the flush watchdog.
    pub fn sync_running_for(&self) -> Option<Duration> {
        match &self.kept {
            Kept::Files(handle) => handle.core.watch.running_for(),
            Kept::Elsewhere(disk) => disk.sync_running_for(),
        }
    }
}

/// What the clones share. Its end is the end of the thread, after all that was queued is written.
struct Handle {
    core: Arc<Core>,
    room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.lock().jobs = None;
        let Some(thread) = self.thread.take() else { return };
        // A callback may own the last clone: the thread cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the raft log's thread panicked");
        }
    }
}

/// What callers and the writer share.
struct Core {
    dir: PathBuf,
    limits: LogLimits,
    salt: AtomicU64,
    bytes_on_disk: AtomicU64,
    watch: SyncWatch,
    memory: Mutex<Memory>,
}

impl Core {
    fn new(dir: &Path, limits: LogLimits, index: Index, jobs: Sender<Job>) -> Self {
        let memory = Memory {
            state: index.state,
            index,
            cache: VecDeque::new(),
            cache_bytes: 0,
            sequence: 0,
            written: 0,
            jobs: Some(jobs),
            failed: None,
        };
        Self {
            dir: dir.to_owned(),
            limits,
            salt: AtomicU64::new(0),
            bytes_on_disk: AtomicU64::new(0),
            watch: SyncWatch::new(&METERS.log_syncs),
            memory: Mutex::new(memory),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer has made `group` durable and says so to the index.
    fn written(&self, group: &[Job], apply: impl FnOnce(&mut Index) -> io::Result<()>) -> io::Result<()> {
        let mut memory = self.lock();
        apply(&mut memory.index)?;
        if let Some(job) = group.last() {
            memory.written = job.sequence;
        }
        memory.evict(self.limits.cache_bytes_max);
        Ok(())
    }

    fn durable_state(&self) -> LogState {
        self.lock().index.state
    }

    fn oldest_file(&self) -> Option<u32> {
        self.lock().index.oldest_file()
    }

    fn fail(&self, error: LogError) {
        let mut memory = self.lock();
        memory.failed = Some(error);
        memory.jobs = None;
    }
}

/// How a read is served.
enum Plan {
    Cached(Vec<(LogPosition, Bytes)>),
    OnDisk(Vec<Stretch>),
}

/// The log as callers see it: what is queued counts as done.
struct Memory {
    state: LogState,
    /// The log as it is on the disk.
    index: Index,
    /// The newest entries without a gap; all that are not yet written are among them.
    cache: VecDeque<Cached>,
    cache_bytes: usize,
    /// Of the last job queued.
    sequence: u64,
    /// Of the last job made durable.
    written: u64,
    /// `None`: closed, or a write failed.
    jobs: Option<Sender<Job>>,
    failed: Option<LogError>,
}

struct Cached {
    position: LogPosition,
    payload: Bytes,
    sequence: u64,
}

impl Memory {
    fn send(&mut self, change: Change) -> Result<(), LogError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let closed = || LogError::Io("the log's thread has ended".into());
        let jobs = self.jobs.as_ref().ok_or_else(closed)?;
        jobs.send(Job { sequence: self.sequence + 1, change }).map_err(|_| closed())?;
        self.sequence += 1;
        Ok(())
    }

    fn check_append(&self, entries: &[(LogPosition, Bytes)]) -> Result<(), LogError> {
        let mut last = self.state.last;
        for (position, payload) in entries {
            if last.is_some_and(|last| last.index + 1 != position.index) {
                return Err(LogError::Misuse(format!("{position:?} does not follow {last:?}")));
            }
            if payload.len() > ENTRY_BYTES_MAX {
                return Err(LogError::Misuse(format!("an entry of {} bytes", payload.len())));
            }
            last = Some(*position);
        }
        Ok(())
    }

    fn remember(&mut self, entries: Vec<(LogPosition, Bytes)>, bytes_max: usize) {
        let sequence = self.sequence;
        for (position, payload) in entries {
            self.state.last = Some(position);
            self.cache_bytes += cost(&payload);
            self.cache.push_back(Cached { position, payload, sequence });
        }
        self.evict(bytes_max);
    }

    fn evict(&mut self, bytes_max: usize) {
        let written = self.written;
        while self.cache_bytes > bytes_max && self.drop_oldest_if(|oldest| oldest.sequence <= written) {}
    }

    fn forget_after(&mut self, end: u64) {
        while self.cache.back().is_some_and(|newest| newest.position.index >= end) {
            self.cache_bytes -= self.cache.pop_back().map_or(0, |newest| cost(&newest.payload));
        }
    }

    fn forget_upto(&mut self, index: u64) {
        while self.drop_oldest_if(|oldest| oldest.position.index <= index) {}
    }

    fn drop_oldest_if(&mut self, test: impl Fn(&Cached) -> bool) -> bool {
        let drops = self.cache.front().is_some_and(test);
        if drops {
            self.cache_bytes -= self.cache.pop_front().map_or(0, |oldest| cost(&oldest.payload));
        }
        drops
    }

    fn plan(&self, range: Range<u64>, bytes_max: usize) -> Result<Plan, LogError> {
        let end = self.state.last.map_or(0, |last| last.index + 1).min(range.end);
        if range.start >= end {
            return Ok(Plan::Cached(Vec::new()));
        }
        if let Some(purged) = self.state.purged
            && range.start <= purged.index
        {
            return Err(LogError::Misuse(format!("{} is purged ({purged:?})", range.start)));
        }
        let first_cached = self.cache.front().map_or(u64::MAX, |oldest| oldest.position.index);
        if range.start < first_cached {
            // A truncation may wait to be written: the disk can hold more than the log.
            let range = range.start..end.min(first_cached);
            return Ok(Plan::OnDisk(self.index.holding(&range)));
        }
        let skip = (range.start - first_cached) as usize;
        let mut bytes = 0;
        let within = |cached: &&Cached| {
            let fits = bytes <= bytes_max && cached.position.index < end;
            bytes += cached.payload.len();
            fits
        };
        let entries = self.cache.iter().skip(skip).take_while(within);
        Ok(Plan::Cached(entries.map(|cached| (cached.position, cached.payload.clone())).collect()))
    }
}

/// The largest entry taken, in bytes.
const ENTRY_BYTES_MAX: usize = 64 << 20;

/// What an entry takes in the cache: the payload and the row that holds it.
fn cost(payload: &Bytes) -> usize {
    payload.len() + size_of::<Cached>()
}
