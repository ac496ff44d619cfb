//! The Raft log and vote on disk, behind one serial writer thread that groups what has gathered, syncs
//! once, and then answers. Payloads are opaque bytes.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

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
}

impl LogLimits {
    pub const DATA_NODE: LogLimits =
        LogLimits { cache_bytes_max: 16 << 20, queue_bytes_max: 16 << 20, file_bytes_max: 64 << 20 };
    pub const WITNESS: LogLimits =
        LogLimits { cache_bytes_max: 2 << 20, queue_bytes_max: 4 << 20, file_bytes_max: 16 << 20 };
}

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
pub struct LogStore {}

impl LogStore {
    /// Opens or makes the log in `dir`. A torn tail (normal after a crash) is cut off and said in the
    /// log; damage to what was synced is [`LogError::Damaged`].
    pub fn open(dir: &Path, limits: LogLimits) -> Result<Self, LogError> {
        todo!("{dir:?} {limits:?}")
    }

    pub fn state(&self) -> LogState {
        todo!()
    }

    /// Durable when it returns.
    pub async fn save_vote(&self, vote: LogVote) -> Result<(), LogError> {
        todo!("{vote:?}")
    }

    /// Remembered with the next write that is synced; not synced by itself.
    pub fn save_committed(&self, committed: Option<LogPosition>) -> Result<(), LogError> {
        todo!("{committed:?}")
    }

    /// Entries can be read when it returns; `on_durable` is called after their sync. Appends that gather
    /// while a sync runs share the next one. Waits while the queue is full.
    pub async fn append(
        &self,
        entries: Vec<(LogPosition, Bytes)>,
        on_durable: OnDurable,
    ) -> Result<(), LogError> {
        drop(on_durable);
        todo!("{entries:?}")
    }

    /// Drops every entry behind `last` (all of them for `None`). In order with votes, appends and purges.
    pub fn truncate_after(&self, last: Option<LogPosition>) -> Result<(), LogError> {
        todo!("{last:?}")
    }

    /// Drops every entry up to and including `upto`, which may lie beyond the last one (a snapshot was installed).
    pub fn purge(&self, upto: LogPosition) -> Result<(), LogError> {
        todo!("{upto:?}")
    }

    /// The entries with an index in `range`, from its start, until `bytes_max` are exceeded: at least one
    /// where there is one. Shorter than asked means: read on from there.
    pub async fn read(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Bytes)>, LogError> {
        todo!("{range:?} {bytes_max}")
    }

    /// Bytes of all log files.
    pub fn bytes_on_disk(&self) -> u64 {
        todo!()
    }

    /// How long the write and sync now running has been running; `None`: none is. For the flush watchdog.
    pub fn sync_running_for(&self) -> Option<Duration> {
        todo!()
    }
}
