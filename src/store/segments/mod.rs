//! Message bodies on disk: append-only segment files, one fsync for all that gathered, compaction, scrub.

//!
//! A record is a header and the raw body, whose checksum is its id. Records are only appended; a body
//! that is dropped leaves dead bytes, and a segment more than half dead is compacted: what lives is copied
//! (with the mail that arrives meanwhile), synced and indexed durably, then the segment is deleted. A
//! crash in between leaves two copies of a body, of which the index names one.
//!
//! `forget` is not durable by itself: after a crash a forgotten body may be there again. Whoever forgets
//! bodies by comparing with what is named meets it again. `grace` says why a young body is kept.

mod grace;
mod index;
mod progress;
#[doc(hidden)]
pub mod record;
mod scan;
mod seam;
mod spool;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;
use tokio::sync::{Semaphore, oneshot};

use self::grace::Grace;
use self::index::{Index, Live, Location, Mark, Saved};
pub use self::progress::ScrubProgress;
use self::record::HEADER_BYTES;
use self::scan::{Depth, cut_torn_tail, list_segments, read_body, segment_path};
pub use self::seam::BodyDisk;
pub use self::spool::{BodyWriter, Staged};
use self::writer::{Answer, Job, Presence, Writer};
use super::files::{self, DirLock};
use super::watch::SyncWatch;
use crate::mail::ids::BodyId;
use crate::meters::METERS;

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
    /// The pace at which a compaction reads, so that new mail keeps most of the disk.
    pub compaction_bytes_per_s_max: u64,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            gathered_body_bytes_max: 256 << 10,
            queue_bytes_max: 32 << 20,
            body_bytes_max: 1 << 30,
            grace: Duration::from_secs(600),
            compaction_bytes_per_s_max: 32 << 20,
        }
    }
}

/// Why the body store refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BodyError {
    /// The record is not what its id says. It is dropped from the index: take it from a peer and `put` it again.
    #[error("the stored body {0} is corrupt")]
    Corrupt(BodyId),
    /// The disk does not give the record. It stays in the index, for the disk may recover: take the body from a
    /// peer and `put_anew` it.
    #[error("the stored body {0} cannot be read")]
    Unreadable(BodyId),
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

fn io_error(error: io::Error) -> BodyError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BodyError::DiskFull,
        _ => BodyError::Io(error.to_string()),
    }
}

/// Whether the disk itself did not give what was asked; it may next time.
fn is_medium_error(error: &io::Error) -> bool {
    let medium = [Errno::IO, Errno::BADMSG, Errno::UCLEAN, Errno::NODATA];
    medium.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn ended() -> BodyError {
    BodyError::Io("the body store is closed".into())
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
    /// What was read, for the caller's pace.
    pub bytes: u64,
    /// Corrupt or unreadable: to be healed from a peer.
    pub corrupt: Vec<BodyId>,
}

/// The bodies of one node. Cheap to clone; the last clone that is dropped ends the writer.
#[derive(Clone)]
pub struct Bodies {
    kept: Kept,
}

#[derive(Clone)]
enum Kept {
    Files(Arc<Handle>),
    Elsewhere(Arc<dyn BodyDisk>),
}

impl Bodies {
    /// Opens or makes the body store in `dir`. Blocks: reads what is newer than the index.
    pub fn open(dir: &Path, limits: BodyLimits) -> Result<Self, BodyError> {
        let lock = DirLock::acquire(dir).map_err(|error| BodyError::Io(error.to_string()))?;
        let (core, writer, jobs) = prepare(dir, limits)?;
        let thread = std::thread::Builder::new()
            .name("bodies".into())
            .spawn(move || writer.run(&jobs))
            .map_err(io_error)?;
        Ok(Self { kept: Kept::Files(Arc::new(Handle { core, thread: Some(thread), _lock: lock })) })
    }

    /// Bodies that are kept by other means than files: in memory, in a simulation.
    pub fn over(disk: Arc<dyn BodyDisk>) -> Self {
        Self { kept: Kept::Elsewhere(disk) }
    }

    /// Opens a body for writing.
    pub fn begin(&self) -> BodyWriter {
        BodyWriter::new(self.clone())
    }

    /// Stores a body whose id is known (catch-up, healing). Durable when it returns. Blocks: not to be
    /// called on a thread of the async runtime.
    pub fn put(&self, id: BodyId, bytes: Bytes) -> Result<(), BodyError> {
        self.stage(id, &bytes)?.commit_blocking(Presence::Enough)
    }

    /// As [`Bodies::put`], also where there is a record already: it could not be read, or its bytes changed.
    pub fn put_anew(&self, id: BodyId, bytes: Bytes) -> Result<(), BodyError> {
        self.stage(id, &bytes)?.commit_blocking(Presence::Distrusted)
    }

    fn stage(&self, id: BodyId, bytes: &[u8]) -> Result<Staged, BodyError> {
        let mut writer = self.begin();
        writer.push(bytes)?;
        let staged = writer.finish()?;
        if staged.id() == id { Ok(staged) } else { Err(BodyError::WrongId(id)) }
    }

    /// The body, verified against its id; `None`: not on this node. Blocks.
    pub fn get(&self, id: BodyId) -> Result<Option<Bytes>, BodyError> {
        let core = match &self.kept {
            Kept::Files(handle) => &handle.core,
            Kept::Elsewhere(disk) => return disk.get(id),
        };
        let mut missed = None;
        while let Some(at) = core.index.get(&id)? {
            match read_body(&segment_path(&core.dir, at.segment), at.offset, &id, at.length) {
                Ok(Some(body)) => return Ok(Some(body)),
                // A compaction may have moved it between the two look-ups: look again, once for each place.
                Err(error) if error.kind() == io::ErrorKind::NotFound && missed != Some(at) => {
                    missed = Some(at)
                }
                Err(error) if is_medium_error(&error) => {
                    tracing::error!(%error, body = %id, segment = at.segment, "a stored body cannot be read");
                    return Err(BodyError::Unreadable(id));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(error)),
                Ok(None) | Err(_) => {
                    core.ask(|answer| Job::DropCorrupt(id, at, answer))?;
                    return Err(BodyError::Corrupt(id));
                }
            }
        }
        Ok(None)
    }

    pub fn contains(&self, id: BodyId) -> Result<bool, BodyError> {
        match &self.kept {
            Kept::Files(handle) => Ok(handle.core.index.get(&id)?.is_some()),
            Kept::Elsewhere(disk) => disk.contains(id),
        }
    }

    /// How many bodies there are.
    pub fn count(&self) -> u64 {
        match &self.kept {
            Kept::Files(handle) => handle.core.lock().live.values().map(|live| live.bodies).sum(),
            Kept::Elsewhere(disk) => disk.count(),
        }
    }

    /// Bytes of the bodies that live, with their headers, and of all segments.
    pub fn bytes(&self) -> BodyBytes {
        let memory = match &self.kept {
            Kept::Files(handle) => handle.core.lock(),
            Kept::Elsewhere(disk) => return disk.bytes(),
        };
        let live = memory.live.values().map(|live| live.bytes).sum();
        BodyBytes { live, on_disk: memory.sizes.values().sum() }
    }

    /// Drops bodies that nothing names any longer; those placed within the grace period stay and are
    /// returned, to be asked for again later. Blocks.
    pub fn forget(&self, ids: &[BodyId]) -> Result<Vec<BodyId>, BodyError> {
        match &self.kept {
            Kept::Files(handle) => handle.core.ask(|answer| Job::Forget(ids.to_vec(), answer)),
            Kept::Elsewhere(disk) => disk.forget(ids),
        }
    }

    /// Compacts at most one segment with more dead than live bytes. Returns the bytes given back; 0:
    /// there was none. Blocks; bodies go on being stored meanwhile. A corrupt body is not copied.
    pub fn compact_one(&self) -> Result<u64, BodyError> {
        self.compact_one_pausing(&mut std::thread::sleep)
    }

    /// The same; `pause` is told how long to rest after each stretch.
    fn compact_one_pausing(&self, pause: &mut dyn FnMut(Duration)) -> Result<u64, BodyError> {
        let Kept::Files(handle) = &self.kept else { return Ok(0) };
        let core = &handle.core;
        let _one = core.compacting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((segment, size, live)) = core.most_dead() else { return Ok(0) };
        let path = segment_path(&core.dir, segment);
        let mut unpaced_bytes = 0;
        for (header, offset) in scan::scan(&path, 0, Depth::Headers).map_err(io_error)?.records {
            let (id, from) = (header.id, Location { segment, offset, length: header.length });
            if core.index.get(&id)? != Some(from) {
                continue;
            }
            match read_body(&path, offset, &id, header.length).map_err(io_error)? {
                Some(body) => core.ask(|answer| Job::Move { id, from, bytes: body, answer })?,
                None => core.ask(|answer| Job::DropCorrupt(id, from, answer))?,
            }
            unpaced_bytes += header.length;
            if unpaced_bytes >= COMPACTION_STRETCH_BYTES {
                let bytes_per_s = core.limits.compaction_bytes_per_s_max.max(1);
                pause(Duration::from_millis(unpaced_bytes * 1_000 / bytes_per_s));
                unpaced_bytes = 0;
            }
        }
        core.ask(|answer| Job::Retire(segment, answer))?;
        Ok(size.saturating_sub(live))
    }

    /// The next ids after `after` in order, at most `max`; empty at the end.
    pub fn ids_after(&self, after: Option<BodyId>, max: usize) -> Result<Vec<BodyId>, BodyError> {
        match &self.kept {
            Kept::Files(handle) => {
                Ok(handle.core.index.after(after, max)?.into_iter().map(|(id, _)| id).collect())
            }
            Kept::Elsewhere(disk) => disk.ids_after(after, max),
        }
    }

    /// Re-reads and verifies the bodies after `after`, at most `bytes_max` of them (at least one). The caller paces.
    pub fn scrub(&self, after: Option<BodyId>, bytes_max: u64) -> Result<Scrubbed, BodyError> {
        let core = match &self.kept {
            Kept::Files(handle) => &handle.core,
            Kept::Elsewhere(disk) => return disk.scrub(after, bytes_max),
        };
        let mut scrubbed = Scrubbed { next: after, checked: 0, bytes: 0, corrupt: Vec::new() };
        for (id, at) in core.index.after(after, SCRUB_BODIES_MAX)? {
            if scrubbed.checked > 0 && scrubbed.bytes + at.length > bytes_max {
                return Ok(scrubbed);
            }
            match self.get(id) {
                Ok(_) => {}
                Err(BodyError::Corrupt(id) | BodyError::Unreadable(id)) => scrubbed.corrupt.push(id),
                Err(error) => return Err(error),
            }
            scrubbed.bytes += at.length;
            scrubbed.checked += 1;
            scrubbed.next = Some(id);
        }
        if scrubbed.checked < SCRUB_BODIES_MAX as u64 {
            scrubbed.next = None;
        }
        Ok(scrubbed)
    }

    /// How far the scrub of this disk has come.
    pub fn scrub_progress(&self) -> Option<ScrubProgress> {
        match &self.kept {
            Kept::Files(handle) => ScrubProgress::read(&handle.core.dir),
            Kept::Elsewhere(_) => None,
        }
    }

    /// Notes it durably. Blocks.
    pub fn note_scrub(&self, progress: ScrubProgress) -> Result<(), BodyError> {
        match &self.kept {
            Kept::Files(handle) => progress.write(&handle.core.dir).map_err(io_error),
            Kept::Elsewhere(_) => Ok(()),
        }
    }

    /// How long the write and sync now running has been running; `None`: none is. For the flush watchdog.
    pub fn sync_running_for(&self) -> Option<Duration> {
        match &self.kept {
            Kept::Files(handle) => handle.core.watch.running_for(),
            Kept::Elsewhere(disk) => disk.sync_running_for(),
        }
    }

    /// Why nothing is stored any more, once a write or sync failed for another reason than a full disk: the
    /// kernel may have dropped what it was given, and a later sync would not say so. Restart the process.
    pub fn failure(&self) -> Option<String> {
        match &self.kept {
            Kept::Files(handle) => handle.core.lock().failure.clone(),
            Kept::Elsewhere(_) => None,
        }
    }
}

/// What a compaction moves between two pauses.
const COMPACTION_STRETCH_BYTES: u64 = 1 << 20;
/// Bodies checked by one call of scrub, at most.
const SCRUB_BODIES_MAX: usize = 256;

/// What the clones share. Its end is the end of the thread, after all that was queued is written.
struct Handle {
    core: Arc<Core>,
    thread: Option<JoinHandle<()>>,
    _lock: DirLock,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the bodies panicked");
        }
    }
}

/// What callers and the writer share.
struct Core {
    dir: PathBuf,
    limits: BodyLimits,
    index: Index,
    room: Arc<Semaphore>,
    jobs: Mutex<Option<Sender<Job>>>,
    /// Held by the one compaction that runs.
    compacting: Mutex<()>,
    watch: SyncWatch,
    memory: Mutex<Memory>,
}

struct Memory {
    /// What lives in each segment.
    live: BTreeMap<u32, Live>,
    /// Bytes of each segment.
    sizes: BTreeMap<u32, u64>,
    /// The segment that is written to; 0: none.
    active: u32,
    saved: Saved,
    grace: Grace,
    failure: Option<String>,
}

impl Core {
    fn send(&self, job: Job) -> Result<(), BodyError> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().ok_or_else(ended)?.send(job).map_err(|_| ended())
    }

    fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, BodyError> {
        let (answer, answered) = oneshot::channel();
        self.send(job(answer))?;
        answered.blocking_recv().map_err(|_| ended())?
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses after the first failure of a write or sync.
    fn check(&self) -> Result<(), BodyError> {
        self.lock().failure.clone().map_or(Ok(()), |why| Err(BodyError::Io(why)))
    }

    /// Remembers a failure of the disk or of the index. A full disk is none: it has room again some day.
    fn noting<T>(&self, written: Result<T, BodyError>) -> Result<T, BodyError> {
        written.inspect_err(|error| {
            if let BodyError::Io(why) = error {
                tracing::error!(%error, dir = %self.dir.display(), "the disk failed under the bodies");
                self.lock().failure.get_or_insert_with(|| why.clone());
            }
        })
    }

    /// The records are durable: from here on the bodies are found there.
    fn place(&self, placed: impl IntoIterator<Item = (BodyId, Location)>) -> Result<(), BodyError> {
        for (id, at) in placed {
            // Scanned again after a crash, a record may be known already; it is counted once.
            let before = self.index.get(&id)?.filter(|before| *before != at);
            let live = before.and_then(|before| self.lock().saved.without(before));
            self.index.set(id, Some(at), live)?;
            let mut memory = self.lock();
            // A scan after a crash may know a later record already, and has not come to it yet.
            if let Some(before) = before
                && (before < at || !memory.saved.mark.is_before(&before))
            {
                memory.uncount(before);
            }
            memory.count(at);
        }
        Ok(())
    }

    fn displace(&self, id: BodyId, at: Location) -> Result<(), BodyError> {
        let live = self.lock().saved.without(at);
        self.index.set(id, None, live)?;
        self.lock().uncount(at);
        Ok(())
    }

    /// The segment with the most dead bytes of those that are more than half dead.
    fn most_dead(&self) -> Option<(u32, u64, u64)> {
        let memory = self.lock();
        let live = |segment: &u32| memory.live.get(segment).map_or(0, |live| live.bytes);
        let segments = memory.sizes.iter().map(|(segment, size)| (*segment, *size, live(segment)));
        let dead = segments.filter(|(segment, size, live)| *segment != memory.active && live * 2 < *size);
        dead.max_by_key(|(_, size, live)| size - live)
    }
}

/// Reads what the directory says; the writer is not running yet.
fn prepare(dir: &Path, limits: BodyLimits) -> Result<(Arc<Core>, Writer, Receiver<Job>), BodyError> {
    let segments = list_segments(dir).map_err(io_error)?;
    let index = Index::open(dir)?;
    let (known, mut live) = index.checkpoint()?;
    live.retain(|segment, _| segments.iter().any(|(number, _)| number == segment));
    let last = segments.last().map_or(0, |(number, _)| *number);
    // Until a grace period has passed, a proposal of before the restart may name what is in the last segment.
    let old = Mark { active: last, active_bytes: 0, next_segment: last };
    let (sender, jobs) = channel();
    let core = Arc::new(Core {
        dir: dir.to_owned(),
        limits,
        index,
        room: Arc::new(Semaphore::new(limits.queue_bytes_max)),
        jobs: Mutex::new(Some(sender)),
        compacting: Mutex::new(()),
        memory: Mutex::new(Memory {
            live: live.clone(),
            saved: Saved { mark: known, live },
            sizes: segments.iter().copied().collect(),
            active: 0,
            grace: Grace::new(limits.grace, old),
            failure: None,
        }),
        watch: SyncWatch::new(&METERS.body_syncs),
    });
    // A segment's name may not be durable either.
    files::sync_dir(dir).map_err(io_error)?;
    for (number, size) in &segments {
        index_segment(&core, known, *number, *size, last)?;
    }
    let mut writer = Writer::new(core.clone(), last + 1);
    writer.save()?;
    Ok((core, writer, jobs))
}

/// Takes into the index what is newer than its checkpoint.
fn index_segment(core: &Core, known: Mark, number: u32, size: u64, last: u32) -> Result<(), BodyError> {
    let from = match number {
        number if number >= known.next_segment => 0,
        number if number == known.active => known.active_bytes,
        _ => return Ok(()),
    };
    if from >= size && size > 0 {
        return Ok(());
    }
    // A rebuild from nothing trusts the headers of full segments; scrub and every read check the bodies. Others may
    // have been appended to last, also beside a newer one: a torn record must not take the place of a good older one.
    let full = size >= core.limits.segment_bytes_max && number != last;
    let depth = if known == Mark::default() && full { Depth::Headers } else { Depth::Bodies };
    let path = segment_path(&core.dir, number);
    let scanned = scan::scan(&path, from, depth).map_err(io_error)?;
    cut_torn_tail(&path, &scanned).map_err(io_error)?;
    core.lock().sizes.insert(number, scanned.end);
    // They may be in the kernel's memory alone: whoever wrote them died before its sync.
    File::open(&path).and_then(|file| files::sync_file(&file)).map_err(io_error)?;
    let located = scanned.records.iter().map(|(header, offset)| {
        (header.id, Location { segment: number, offset: *offset, length: header.length })
    });
    core.place(located)
}

impl Memory {
    fn count(&mut self, at: Location) {
        let live = self.live.entry(at.segment).or_default();
        live.bodies += 1;
        live.bytes += HEADER_BYTES as u64 + at.length;
        let end = at.offset + HEADER_BYTES as u64 + at.length;
        let size = self.sizes.entry(at.segment).or_default();
        *size = end.max(*size);
    }

    fn uncount(&mut self, at: Location) {
        if let Some(live) = self.live.get_mut(&at.segment) {
            live.less(at);
        }
    }
}
