//! The one thread that writes a log: gathers what waits, writes it as one frame, syncs once, answers all.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::frame::{FILE_HEADER_BYTES, FileHeader, FrameBuilder, Record};
use super::index::Place;
use super::recover::{Recovered, TailFile, path_of};
use super::summary::summary_path;
use super::{Core, LogError, LogLimits, LogPosition, LogState, LogVote, OnDurable};
use crate::store::files;

/// Records gathered into one frame, in bytes; a single larger append is a frame of its own.
const FRAME_BYTES_GATHERED_MAX: usize = 4 << 20;

/// One thing to write, in the order of the log.
pub struct Job {
    /// Numbers the jobs without gaps.
    pub sequence: u64,
    pub change: Change,
}

pub enum Change {
    Vote(LogVote, oneshot::Sender<Result<(), LogError>>),
    Append { entries: Vec<(LogPosition, Bytes)>, on_durable: OnDurable, _room: OwnedSemaphorePermit },
    Committed(Option<LogPosition>),
    TruncateAfter(Option<LogPosition>),
    Purge(LogPosition),
}

pub struct Writer {
    dir: PathBuf,
    limits: LogLimits,
    core: Arc<Core>,
    tail: TailFile,
    /// Bytes of each file before the last.
    closed: BTreeMap<u32, u64>,
    /// Waits for a frame that is synced for another reason.
    committed: Option<Option<LogPosition>>,
}

impl Writer {
    /// Takes over what was recovered; makes the first file of a new log.
    pub fn new(
        dir: PathBuf,
        limits: LogLimits,
        core: Arc<Core>,
        recovered: Recovered,
        fresh_salt: u64,
    ) -> io::Result<Self> {
        let tail = match recovered.tail {
            Some(tail) => tail,
            None => create_file(&dir, 1, 0, fresh_salt, &LogState::default())?,
        };
        let mut writer = Self { dir, limits, core, tail, closed: recovered.closed, committed: None };
        writer.core.salt.store(writer.tail.header.salt, Ordering::Relaxed);
        writer.drop_purged_files()?;
        writer.count_bytes();
        Ok(writer)
    }

    /// Writes until every handle of the log is gone, or a write fails.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let group = match self.gather(jobs) {
                Ok(group) => group,
                Err(RecvError) => break,
            };
            if let Err(error) = self.write_group(&group) {
                return self.fail(&error, group, jobs);
            }
            answer(group, &Ok(()));
        }
        // The log is closed: what only waited for company goes out on its own.
        if self.committed.is_some()
            && let Err(error) = self.write_group(&[])
        {
            tracing::warn!(%error, "the committed position was not saved at the end");
        }
    }

    /// Waits for a job, then takes what has gathered, up to a frame's bound.
    fn gather(&self, jobs: &Receiver<Job>) -> Result<Vec<Job>, RecvError> {
        let mut group = vec![jobs.recv()?];
        let mut bytes = bytes_of(&group[0]);
        while bytes < FRAME_BYTES_GATHERED_MAX
            && let Ok(job) = jobs.try_recv()
        {
            bytes += bytes_of(&job);
            group.push(job);
        }
        Ok(group)
    }

    fn write_group(&mut self, group: &[Job]) -> io::Result<()> {
        let mut frame = FrameBuilder::new();
        let mut records = Vec::new();
        for job in group {
            self.records_of(&job.change, &mut records);
        }
        // Alone, the committed position is not worth a sync.
        if records.is_empty() && !group.is_empty() {
            self.core.written(group, |_| Ok(()))?;
            return Ok(());
        }
        if let Some(committed) = self.committed.take() {
            records.push(Record::Committed(committed));
        }
        records.iter().for_each(|record| frame.push(record));
        if self.tail.bytes >= self.limits.file_bytes_max {
            self.begin_file()?;
        }
        let frame = frame.finish(self.tail.next_batch, self.tail.header.salt);
        self.write_frame(&frame)?;
        let place = Place { file: self.tail.number, offset: self.tail.bytes as u32 };
        self.tail.took(frame.len() as u64);
        self.tail.next_batch += 1;
        self.core.written(group, |index| {
            records.iter().try_for_each(|record| index.apply(record, place)).map_err(io::Error::other)
        })?;
        self.drop_purged_files()?;
        self.count_bytes();
        Ok(())
    }

    fn records_of<'a>(&mut self, change: &'a Change, records: &mut Vec<Record<'a>>) {
        match change {
            Change::Vote(vote, _) => records.push(Record::Vote(*vote)),
            Change::Append { entries, .. } => {
                records.extend(entries.iter().map(|(position, payload)| Record::Entry(*position, payload)));
            }
            Change::Committed(position) => self.committed = Some(*position),
            Change::TruncateAfter(position) => records.push(Record::TruncateAfter(*position)),
            Change::Purge(position) => records.push(Record::Purge(*position)),
        }
    }

    /// Durable when it returns. A frame that could not be written is cut off again, so that the next
    /// start finds a clean end.
    fn write_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let _watched = self.core.watch.begin();
        let written = self
            .tail
            .file
            .write_all_at(frame, self.tail.bytes)
            .and_then(|()| files::sync_file(&self.tail.file));
        if written.is_err() {
            let cut = self.tail.file.set_len(self.tail.bytes);
            let _ = cut.and_then(|()| files::sync_file(&self.tail.file));
        }
        written
    }

    fn begin_file(&mut self) -> io::Result<()> {
        let core = self.core.clone();
        let _watched = core.watch.begin();
        let summary = self.tail.summary(&core.lock().index);
        summary.write(&self.dir, self.tail.number);
        let (number, header) = (self.tail.number + 1, self.tail.header);
        let next = create_file(&self.dir, number, self.tail.next_batch, header.salt, &core.durable_state())?;
        core.lock().index.begin_file();
        let full = std::mem::replace(&mut self.tail, next);
        self.closed.insert(full.number, full.bytes);
        Ok(())
    }

    /// Removes the files before the oldest entry. Only after the purge is durable; oldest first, so that
    /// a crash in between leaves no gap.
    fn drop_purged_files(&mut self) -> io::Result<()> {
        let oldest = self.core.oldest_file().unwrap_or(self.tail.number);
        let mut dropped = false;
        while let Some(number) = self.closed.first_key_value().map(|(number, _)| *number)
            && number < oldest
        {
            fs::remove_file(path_of(&self.dir, number))?;
            // What stays of it is removed at the next start.
            let _ = fs::remove_file(summary_path(&self.dir, number));
            self.closed.remove(&number);
            dropped = true;
        }
        if dropped {
            files::sync_dir(&self.dir)?;
        }
        Ok(())
    }

    fn count_bytes(&self) {
        let bytes = self.closed.values().sum::<u64>() + self.tail.bytes;
        self.core.bytes_on_disk.store(bytes, Ordering::Relaxed);
    }

    /// A failed sync may have lost any part of the write, and a later one would not say so: nothing more
    /// is taken; everybody who waits or comes later hears of it.
    fn fail(self, error: &io::Error, group: Vec<Job>, jobs: &Receiver<Job>) {
        tracing::error!(%error, dir = %self.dir.display(), "the raft log cannot be written");
        let error = LogError::Io(error.to_string());
        self.core.fail(error.clone());
        answer(group, &Err(error.clone()));
        // `fail` closed the queue; what had gathered in it is answered as well.
        while let Ok(job) = jobs.recv() {
            answer(vec![job], &Err(error.clone()));
        }
    }
}

fn bytes_of(job: &Job) -> usize {
    match &job.change {
        Change::Append { entries, .. } => entries.iter().map(|(_, payload)| payload.len() + 32).sum(),
        Change::Vote(..) | Change::Committed(_) | Change::TruncateAfter(_) | Change::Purge(_) => 32,
    }
}

fn answer(group: Vec<Job>, result: &Result<(), LogError>) {
    for job in group {
        match job.change {
            // Whoever waited may have gone; the vote is as durable without.
            Change::Vote(_, reply) => drop(reply.send(result.clone())),
            Change::Append { on_durable, .. } => on_durable(result.clone().map_err(io::Error::from)),
            Change::Committed(_) | Change::TruncateAfter(_) | Change::Purge(_) => {}
        }
    }
}

/// A file gets its name when its header and checkpoint are durable, so neither is ever torn.
fn create_file(
    dir: &std::path::Path,
    number: u32,
    first_batch: u64,
    salt: u64,
    state: &LogState,
) -> io::Result<TailFile> {
    let path = path_of(dir, number);
    let temporary = path.with_extension("log.new");
    let header = FileHeader { first_batch, salt };
    let mut bytes = header.encode();
    let mut checkpoint = FrameBuilder::new();
    checkpoint.push(&Record::Checkpoint(*state));
    bytes.extend(checkpoint.finish(first_batch, salt));
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&temporary)?;
    file.write_all(&bytes)?;
    files::sync_file(&file)?;
    files::rename_durably(&temporary, &path)?;
    let (length, last_frame) = (bytes.len() as u64, FILE_HEADER_BYTES as u64);
    Ok(TailFile { number, file, bytes: length, last_frame, header, next_batch: first_batch + 1 })
}
