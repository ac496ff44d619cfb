//! Bodies on their way in: small ones in memory, large ones in a file of their own that becomes a segment.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::record::{HEADER_BYTES, Header};
use super::writer::{Job, Presence};
use super::{Bodies, BodyError, Kept, ended, io_error};
use crate::mail::ids::BodyId;
use crate::store::files;

/// Numbers the spool files of this process; what an earlier one left is removed at open.
static SPOOLS: AtomicU64 = AtomicU64::new(0);

/// A file that holds room for a header and then the body so far. Removed when dropped.
pub struct Spool {
    file: File,
    path: Option<PathBuf>,
    bytes: u64,
}

impl Spool {
    fn create(dir: &Path) -> io::Result<Self> {
        let path = dir.join(format!("spool-{}", SPOOLS.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        Ok(Self { file, path: Some(path), bytes: HEADER_BYTES as u64 })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        files::sync_file(&self.file)
    }

    /// Durable when it returns, if it was synced before.
    pub fn rename_to(mut self, path: &Path) -> io::Result<()> {
        let Some(spool) = self.path.take() else { return Err(io::Error::other("spooled twice")) };
        let renamed = files::rename_durably(&spool, path);
        if renamed.is_err() {
            self.path = Some(spool);
        }
        renamed
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // What stays is removed at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

/// A body on its way to the disk. Dropping it leaves nothing behind.
pub struct BodyWriter {
    bodies: Bodies,
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
    spool: Option<Spool>,
    bytes: u64,
}

impl BodyWriter {
    pub(super) fn new(bodies: Bodies) -> Self {
        Self { bodies, hasher: blake3::Hasher::new(), gathered: Vec::new(), spool: None, bytes: 0 }
    }

    /// Takes the next bytes. Blocks on the disk only for bodies over `gathered_body_bytes_max`.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        let core = match &self.bodies.kept {
            Kept::Files(handle) => &handle.core,
            Kept::Elsewhere(_) => {
                self.gathered.extend_from_slice(bytes);
                self.hasher.update(bytes);
                self.bytes += bytes.len() as u64;
                return Ok(());
            }
        };
        if self.bytes + bytes.len() as u64 > core.limits.body_bytes_max {
            return Err(BodyError::TooLarge(core.limits.body_bytes_max));
        }
        let fits = self.gathered.len() + bytes.len() <= core.limits.gathered_body_bytes_max;
        if fits && self.spool.is_none() {
            self.gathered.extend_from_slice(bytes);
        } else {
            if self.spool.is_none() {
                let mut spool = Spool::create(&core.dir).map_err(io_error)?;
                spool.write(&std::mem::take(&mut self.gathered)).map_err(io_error)?;
                self.spool = Some(spool);
            }
            if let Some(spool) = self.spool.as_mut() {
                spool.write(bytes).map_err(io_error)?;
            }
        }
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The body is whole: its id is known, it is not stored yet.
    pub fn finish(self) -> Result<Staged, BodyError> {
        let id = BodyId(*self.hasher.finalize().as_bytes());
        let content = match self.spool {
            Some(spool) => {
                let header = Header { id, length: self.bytes }.encode();
                spool.file.write_all_at(&header, 0).map_err(io_error)?;
                Content::Spooled(spool)
            }
            None => Content::Gathered(self.gathered.into()),
        };
        Ok(Staged { bodies: self.bodies, id, size: self.bytes, content })
    }
}

enum Content {
    Gathered(Bytes),
    Spooled(Spool),
}

/// A whole body that is not yet in the store. Dropping it leaves nothing behind.
pub struct Staged {
    bodies: Bodies,
    id: BodyId,
    size: u64,
    content: Content,
}

impl Staged {
    pub fn id(&self) -> BodyId {
        self.id
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Durable when it returns; shares its sync with all that gathered. A body that is there already is
    /// not written again; its grace period begins anew.
    pub async fn commit(self) -> Result<BodyId, BodyError> {
        let (core, content) = match (&self.bodies.kept, self.content) {
            (Kept::Files(handle), content) => (&handle.core, content),
            (Kept::Elsewhere(disk), Content::Gathered(bytes)) => {
                return disk.store(self.id, bytes).await.map(|()| self.id);
            }
            (Kept::Elsewhere(_), Content::Spooled(_)) => return Err(ended()),
        };
        let (answer, answered) = oneshot::channel();
        let job = match content {
            Content::Gathered(bytes) => {
                let permits = bytes.len().min(core.limits.queue_bytes_max) as u32;
                let room = core.room.clone().acquire_many_owned(permits).await.map_err(|_| ended())?;
                Job::Store { id: self.id, bytes, presence: Presence::Enough, answer, _room: Some(room) }
            }
            Content::Spooled(spool) => {
                let synced = tokio::task::spawn_blocking(move || spool.sync().map(|()| spool)).await;
                let spool = core.noting(synced.map_err(|_| ended())?.map_err(io_error))?;
                Job::Adopt { id: self.id, length: self.size, spool, presence: Presence::Enough, answer }
            }
        };
        core.send(job)?;
        answered.await.map_err(|_| ended())??;
        Ok(self.id)
    }

    /// As [`Staged::commit`], for a thread that may block.
    pub(super) fn commit_blocking(self, presence: Presence) -> Result<(), BodyError> {
        let (core, content) = match (&self.bodies.kept, self.content) {
            (Kept::Files(handle), content) => (&handle.core, content),
            (Kept::Elsewhere(disk), Content::Gathered(bytes)) => return disk.store_now(self.id, bytes),
            (Kept::Elsewhere(_), Content::Spooled(_)) => return Err(ended()),
        };
        let (answer, answered) = oneshot::channel();
        let job = match content {
            // Bounded by its caller, who waits; so it needs no room in the queue.
            Content::Gathered(bytes) => Job::Store { id: self.id, bytes, presence, answer, _room: None },
            Content::Spooled(spool) => {
                core.noting(spool.sync().map_err(io_error))?;
                Job::Adopt { id: self.id, length: self.size, spool, presence, answer }
            }
        };
        core.send(job)?;
        answered.blocking_recv().map_err(|_| ended())?
    }
}
