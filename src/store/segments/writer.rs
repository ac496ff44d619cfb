//! The one thread that changes the body store: gathers bodies, appends them with one sync, adopts spooled files, forgets.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::index::{Location, Mark, Saved};
use super::record::{HEADER_BYTES, Header};
use super::scan::segment_path;
use super::spool::Spool;
use super::{BodyError, Core, io_error};
use crate::mail::ids::BodyId;
use crate::store::files;

/// Bodies gathered for one sync, in bytes.
const GROUP_BYTES_MAX: usize = 8 << 20;

pub type Answer<T> = oneshot::Sender<Result<T, BodyError>>;

/// What a record that is there already is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The body need not be written again.
    Enough,
    /// It could not be read: the body is written again, and found there from then on.
    Distrusted,
}

/// One change, in the order it was asked.
pub enum Job {
    Store {
        id: BodyId,
        bytes: Bytes,
        presence: Presence,
        answer: Answer<()>,
        _room: Option<OwnedSemaphorePermit>,
    },
    Adopt {
        id: BodyId,
        length: u64,
        spool: Spool,
        presence: Presence,
        answer: Answer<()>,
    },
    /// Copies a live record out of a segment that is compacted.
    Move {
        id: BodyId,
        from: Location,
        bytes: Bytes,
        answer: Answer<()>,
    },
    Forget(Vec<BodyId>, Answer<Vec<BodyId>>),
    DropCorrupt(BodyId, Location, Answer<()>),
    /// Deletes a segment out of which everything that lives was moved.
    Retire(u32, Answer<()>),
}

pub struct Writer {
    pub core: Arc<Core>,
    pub active: Option<Active>,
    next_segment: u32,
    /// Written since the index was last made durable.
    unsaved_bytes: u64,
    gathered: Gathered,
}

/// The segment that is appended to. A start of the process never appends to an older one.
pub struct Active {
    pub number: u32,
    pub file: File,
    pub bytes: u64,
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    /// Offsets are relative to the start of `bytes`.
    records: BTreeMap<BodyId, (u64, u64)>,
    answers: Vec<Answer<()>>,
}

impl Writer {
    pub fn new(core: Arc<Core>, next_segment: u32) -> Self {
        Self { core, active: None, next_segment, unsaved_bytes: 0, gathered: Gathered::default() }
    }

    pub fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            self.take(job);
            while self.gathered.bytes.len() < GROUP_BYTES_MAX
                && let Ok(job) = jobs.try_recv()
            {
                self.take(job);
            }
            self.write_gathered();
        }
        if self.core.check().is_ok()
            && let Err(error) = self.save()
        {
            tracing::warn!(%error, "the index of the bodies was not saved at the end");
        }
    }

    /// Gathers a body, or does everything else after what was gathered before it.
    pub fn take(&mut self, job: Job) {
        match job {
            Job::Store { id, bytes, presence, answer, _room } => match self.wants(id, presence) {
                Ok(true) => self.gather(id, &bytes, answer),
                Ok(false) => self.gathered.answers.push(answer),
                Err(error) => drop(answer.send(Err(error))),
            },
            Job::Move { id, from, bytes, answer } => match self.core.index.get(&id) {
                Ok(Some(at)) if at == from => self.gather(id, &bytes, answer),
                Ok(_) => drop(answer.send(Ok(()))),
                Err(error) => drop(answer.send(Err(error))),
            },
            Job::Adopt { id, length, spool, presence, answer } => {
                self.write_gathered();
                let adopted = self.adopt(id, length, spool, presence);
                drop(answer.send(self.core.noting(adopted)));
            }
            Job::Forget(ids, answer) => {
                self.write_gathered();
                drop(answer.send(self.forget(ids)));
            }
            Job::DropCorrupt(id, at, answer) => {
                self.write_gathered();
                drop(answer.send(self.drop_corrupt(id, at)));
            }
            Job::Retire(segment, answer) => {
                self.write_gathered();
                let retired = self.retire(segment);
                drop(answer.send(self.core.noting(retired)));
            }
        }
    }

    /// Whether a body must be written. One that is there is pinned instead: its grace begins anew.
    fn wants(&self, id: BodyId, presence: Presence) -> Result<bool, BodyError> {
        self.core.check()?;
        if self.gathered.records.contains_key(&id) {
            return Ok(false);
        }
        let there = presence == Presence::Enough && self.core.index.get(&id)?.is_some();
        // Where no more pins fit, a second record does the same: it is young.
        Ok(!there || !self.core.lock().grace.pin(id, Instant::now()))
    }

    fn gather(&mut self, id: BodyId, bytes: &Bytes, answer: Answer<()>) {
        let gathered = &mut self.gathered;
        let length = bytes.len() as u64;
        gathered.records.insert(id, (gathered.bytes.len() as u64, length));
        gathered.bytes.extend(Header { id, length }.encode());
        gathered.bytes.extend_from_slice(bytes);
        gathered.answers.push(answer);
    }

    /// Makes all that was gathered durable with one sync, and answers.
    pub fn write_gathered(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        let appended = self.append(&gathered);
        let result = self.core.noting(appended);
        if let Err(error) = &result {
            tracing::error!(%error, dir = %self.core.dir.display(), "bodies cannot be written");
        }
        for answer in gathered.answers {
            let _ = answer.send(result.clone());
        }
    }

    fn append(&mut self, gathered: &Gathered) -> Result<(), BodyError> {
        if gathered.records.is_empty() {
            return Ok(());
        }
        self.core.check()?;
        let (segment, start) = self.append_bytes(&gathered.bytes).map_err(io_error)?;
        let located = |(id, (offset, length)): (&BodyId, &(u64, u64))| {
            (*id, Location { segment, offset: start + offset, length: *length })
        };
        self.core.place(gathered.records.iter().map(located))?;
        self.wrote(gathered.bytes.len() as u64)?;
        if self.active.as_ref().is_some_and(|active| active.bytes >= self.core.limits.segment_bytes_max) {
            self.active = None;
            self.core.lock().active = 0;
        }
        Ok(())
    }

    /// Appends durably. On a full or failing disk the segment is cut back to its last good length.
    fn append_bytes(&mut self, bytes: &[u8]) -> io::Result<(u32, u64)> {
        let core = self.core.clone();
        let _watched = core.watch.begin();
        if self.active.is_none() {
            self.active = Some(self.begin_segment()?);
        }
        let Some(active) = self.active.as_mut() else { return Err(io::Error::other("no segment")) };
        let start = active.bytes;
        let written = active.file.write_all_at(bytes, start);
        if let Err(error) = written.and_then(|()| files::sync_file(&active.file)) {
            let cut = active.file.set_len(start).and_then(|()| files::sync_file(&active.file));
            // After a failed sync the kernel may have dropped pages: never append behind them.
            if error.kind() != io::ErrorKind::StorageFull || cut.is_err() {
                self.active = None;
                self.core.lock().active = 0;
            }
            return Err(error);
        }
        active.bytes += bytes.len() as u64;
        Ok((active.number, start))
    }

    /// Callers see the segment as active from before its first byte, so that no compaction takes it.
    fn begin_segment(&mut self) -> io::Result<Active> {
        let number = self.next_segment;
        let path = segment_path(&self.core.dir, number);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        // Its name counts from here on, even if the sync of the directory fails.
        self.next_segment += 1;
        self.core.lock().active = number;
        files::sync_dir(&self.core.dir)?;
        Ok(Active { number, file, bytes: 0 })
    }

    /// Makes a spooled file, already synced, a segment of its own.
    fn adopt(&mut self, id: BodyId, length: u64, spool: Spool, presence: Presence) -> Result<(), BodyError> {
        if !self.wants(id, presence)? {
            return Ok(());
        }
        let segment = self.next_segment;
        self.next_segment += 1;
        spool.rename_to(&segment_path(&self.core.dir, segment)).map_err(io_error)?;
        self.core.place([(id, Location { segment, offset: 0, length })])?;
        self.wrote(HEADER_BYTES as u64 + length)
    }

    fn forget(&mut self, ids: Vec<BodyId>) -> Result<Vec<BodyId>, BodyError> {
        let now = Instant::now();
        self.core.lock().grace.advance(self.mark(), now);
        let mut young = Vec::new();
        for id in ids {
            let Some(at) = self.core.index.get(&id)? else { continue };
            if self.core.lock().grace.is_young(&id, &at, now) {
                young.push(id);
            } else {
                self.core.displace(id, at)?;
            }
        }
        Ok(young)
    }

    fn drop_corrupt(&mut self, id: BodyId, at: Location) -> Result<(), BodyError> {
        if self.core.index.get(&id)? == Some(at) {
            tracing::error!(body = %id, segment = at.segment, offset = at.offset, "a stored body is corrupt");
            self.core.displace(id, at)?;
        }
        Ok(())
    }

    /// The index must name the copies durably before their source goes.
    fn retire(&mut self, segment: u32) -> Result<(), BodyError> {
        self.save()?;
        fs::remove_file(segment_path(&self.core.dir, segment)).map_err(io_error)?;
        files::sync_dir(&self.core.dir).map_err(io_error)?;
        let mut memory = self.core.lock();
        memory.live.remove(&segment);
        memory.saved.live.remove(&segment);
        memory.sizes.remove(&segment);
        drop(memory);
        self.core.index.drop_segment(segment)
    }

    fn wrote(&mut self, bytes: u64) -> Result<(), BodyError> {
        self.core.lock().grace.advance(self.mark(), Instant::now());
        self.unsaved_bytes += bytes;
        if self.unsaved_bytes >= self.core.limits.segment_bytes_max {
            self.save()?;
        }
        Ok(())
    }

    /// Makes the index durable as it is.
    pub fn save(&mut self) -> Result<(), BodyError> {
        let saved = Saved { mark: self.mark(), live: self.core.lock().live.clone() };
        self.core.index.save_checkpoint(saved.mark, &saved.live)?;
        self.core.lock().saved = saved;
        self.unsaved_bytes = 0;
        Ok(())
    }

    /// How far the segments have grown.
    pub fn mark(&self) -> Mark {
        let (active, active_bytes) =
            self.active.as_ref().map_or((0, 0), |active| (active.number, active.bytes));
        Mark { active, active_bytes, next_segment: self.next_segment }
    }
}
