//! Message bodies on disk: append-only segment files, one fsync for all that gathered, compaction, scrub.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use crate::mail::ids::BodyId;

/// Bounds of the body store.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// A segment is closed when it has grown to this.
    pub segment_bytes_max: u64,
    /// Bodies up to this are gathered in memory and share a segment and a sync; larger ones are spooled
    /// to a file of their own, so that a writer never holds more than this.
    pub gathered_body_bytes_max: usize,
    /// Bodies taken but not yet written; beyond, `commit` and `put` wait.
    pub queue_bytes_max: usize,
    /// The largest body taken.
    pub body_bytes_max: u64,
    /// A body placed within this time is not dropped by `forget`.
    pub grace: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            gathered_body_bytes_max: 256 << 10,
            queue_bytes_max: 32 << 20,
            body_bytes_max: 1 << 30,
            grace: Duration::from_secs(600),
        }
    }
}

/// Why the body store refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BodyError {
    /// The record is not what its id says. It is dropped from the index: take it from a peer and `put` it again.
    #[error("the stored body {0} is corrupt")]
    Corrupt(BodyId),
    /// The bytes given are not what the id says.
    #[error("the bytes given are not the body {0}")]
    WrongId(BodyId),
    #[error("a body may have at most {0} bytes")]
    TooLarge(u64),
    /// Nothing was stored; later writes work again once there is space.
    #[error("the disk is full")]
    DiskFull,
    #[error("bodies cannot be written or read: {0}")]
    Io(String),
}

/// The bodies of one node. Cheap to clone.
#[derive(Clone)]
pub struct Bodies {}

impl Bodies {
    pub fn open(dir: &Path, limits: BodyLimits) -> Result<Self, BodyError> {
        todo!("{dir:?} {limits:?}")
    }

    /// Opens a body for writing.
    pub fn begin(&self) -> BodyWriter {
        todo!()
    }

    /// Stores a body whose id is known (catch-up, healing). Durable when it returns. Blocks.
    pub fn put(&self, id: BodyId, bytes: Bytes) -> Result<(), BodyError> {
        todo!("{id} {}", bytes.len())
    }

    /// The body, verified against its id; `None`: not on this node. Blocks.
    pub fn get(&self, id: BodyId) -> Result<Option<Bytes>, BodyError> {
        todo!("{id}")
    }

    pub fn contains(&self, id: BodyId) -> Result<bool, BodyError> {
        todo!("{id}")
    }

    /// How many bodies there are.
    pub fn count(&self) -> u64 {
        todo!()
    }

    /// Bytes of the bodies that live, and of all files.
    pub fn bytes(&self) -> BodyBytes {
        todo!()
    }

    /// Drops bodies that nothing names any longer; those placed within the grace period stay and are
    /// returned, to be asked for again later. Blocks.
    pub fn forget(&self, ids: &[BodyId]) -> Result<Vec<BodyId>, BodyError> {
        todo!("{ids:?}")
    }

    /// Compacts at most one segment with more dead than live bytes. Returns the bytes given back. Blocks.
    pub fn compact_one(&self) -> Result<u64, BodyError> {
        todo!()
    }

    /// The next ids after `after` in order, at most `max`; empty at the end.
    pub fn ids_after(&self, after: Option<BodyId>, max: usize) -> Result<Vec<BodyId>, BodyError> {
        todo!("{after:?} {max}")
    }

    /// Re-reads and verifies the bodies after `after`, at most `bytes_max` of them (at least one). The caller paces.
    pub fn scrub(&self, after: Option<BodyId>, bytes_max: u64) -> Result<Scrubbed, BodyError> {
        todo!("{after:?} {bytes_max}")
    }
}

/// What the store holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BodyBytes {
    pub live: u64,
    pub on_disk: u64,
}

/// One stretch of a scrub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrubbed {
    /// Go on from here; `None`: all were seen.
    pub next: Option<BodyId>,
    pub checked: u64,
    /// Dropped from the index; to be healed from a peer.
    pub corrupt: Vec<BodyId>,
}

/// A body on its way to the disk. Dropping it leaves nothing behind.
pub struct BodyWriter {}

impl BodyWriter {
    /// Takes the next bytes. Blocks on the disk only for bodies over `gathered_body_bytes_max`.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        todo!("{}", bytes.len())
    }

    /// The body is whole: its id is known, it is not stored yet.
    pub fn finish(self) -> Result<Staged, BodyError> {
        todo!()
    }
}

/// A whole body that is not yet in the store. Dropping it leaves nothing behind.
pub struct Staged {}

impl Staged {
    pub fn id(&self) -> BodyId {
        todo!()
    }

    pub fn size(&self) -> u64 {
        todo!()
    }

    /// Durable when it returns; shares its sync with all that gathered.
    pub async fn commit(self) -> Result<BodyId, BodyError> {
        todo!()
    }
}
