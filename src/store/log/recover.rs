//! Opening a log: reads the last file, and of each one before what its summary says; cuts off what a crash tore, and
//! tells that from damage.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::LogError;
use super::frame::{FILE_HEADER_BYTES, FileHeader, Record, Tail, judge_tail};
use super::index::{Index, Place};
use super::read::Frames;
use super::summary::{Summary, summary_path};
use crate::store::files;

/// What the files say.
pub struct Recovered {
    pub index: Index,
    /// The last file, to go on with; `None`: there is none yet.
    pub tail: Option<TailFile>,
    /// Bytes of each file before the last.
    pub closed: BTreeMap<u32, u64>,
}

/// The file that is written to.
pub struct TailFile {
    pub number: u32,
    pub file: File,
    pub bytes: u64,
    /// Where its last frame begins.
    pub last_frame: u64,
    pub header: FileHeader,
    pub next_batch: u64,
}

impl TailFile {
    /// A frame of `bytes` ends the file.
    pub fn took(&mut self, bytes: u64) {
        self.last_frame = self.bytes;
        self.bytes += bytes;
    }

    /// What this file has said, of which `index` has taken all.
    pub fn summary(&self, index: &Index) -> Summary {
        let (state, cut_from, runs) = index.summary(self.number);
        let (header, next_batch, bytes) = (self.header, self.next_batch, self.bytes);
        Summary { header, next_batch, bytes, state, cut_from, runs }
    }
}

pub fn path_of(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:010}.log"))
}

pub fn recover(dir: &Path, point_each_bytes: u64) -> Result<Recovered, LogError> {
    let numbers = file_numbers(dir)?;
    let mut index = Index::new(point_each_bytes);
    let mut closed = BTreeMap::new();
    let mut tail: Option<TailFile> = None;
    for (at, number) in numbers.iter().enumerate() {
        let place = if at + 1 == numbers.len() { Standing::Last } else { Standing::Inner };
        let next = read_file(dir, *number, tail.as_ref(), place, &mut index)?;
        if let Some(previous) = tail.replace(next) {
            closed.insert(previous.number, previous.bytes);
        }
    }
    if !index.is_whole() {
        return Err(LogError::Damaged(format!("entries are missing; the records end at {:?}", index.state)));
    }
    if let Some(tail) = &tail {
        settle(dir, tail).map_err(io_error)?;
    }
    Ok(Recovered { index, tail, closed })
}

/// Makes durable what was found: whoever wrote it may have died before its sync, or its sync may have failed. A
/// failed sync leaves pages that count as written and are not, so the last frame is written again, byte for byte.
fn settle(dir: &Path, tail: &TailFile) -> io::Result<()> {
    let last = read_at(&tail.file, tail.last_frame, (tail.bytes - tail.last_frame) as usize)?;
    tail.file.write_all_at(&last, tail.last_frame)?;
    files::sync_file(&tail.file)?;
    files::sync_dir(dir)
}

/// Whether a file may have a torn tail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Inner,
    Last,
}

/// The log files in order. A file that was still being made when the process died is removed.
fn file_numbers(dir: &Path) -> Result<Vec<u32>, LogError> {
    let (mut numbers, mut summaries) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).map_err(io_error)? {
        let path = entry.map_err(io_error)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".log.new") || name.ends_with(".idx.new") {
            fs::remove_file(&path).map_err(io_error)?;
        } else if let Some(number) = name.strip_suffix(".idx").and_then(|number| number.parse().ok()) {
            summaries.push(number);
        } else if let Some(number) = name.strip_suffix(".log").and_then(|number| number.parse().ok()) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    // A purge that a crash cut short.
    for orphan in summaries.into_iter().filter(|number| !numbers.contains(number)) {
        fs::remove_file(summary_path(dir, orphan)).map_err(io_error)?;
    }
    Ok(numbers)
}

/// Reads one file into `index`; a torn tail is cut off. Of one that is written no more its summary is enough.
fn read_file(
    dir: &Path,
    number: u32,
    previous: Option<&TailFile>,
    standing: Standing,
    index: &mut Index,
) -> Result<TailFile, LogError> {
    let path = path_of(dir, number);
    let damaged = |what: String| LogError::Damaged(format!("{}: {what}", path.display()));
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io_error)?;
    let length = file.metadata().map_err(io_error)?.len();
    // A file gets its name only when its header and checkpoint are durable, so neither can be torn.
    let header = read_at(&file, 0, FILE_HEADER_BYTES.min(length as usize))
        .map(|bytes| FileHeader::decode(&bytes))
        .map_err(io_error)?
        .ok_or_else(|| damaged("its header cannot be read".into()))?;
    if let Some(previous) = previous
        && (previous.number + 1 != number
            || previous.next_batch != header.first_batch
            || previous.header.salt != header.salt)
    {
        return Err(damaged(format!("it does not follow file {}", previous.number)));
    }
    index.begin_file();
    let mut tail = TailFile { number, file, bytes: 0, last_frame: 0, header, next_batch: header.first_batch };
    tail.took(FILE_HEADER_BYTES as u64);
    take_frames(&mut tail, 1, index).map_err(io_error)?.map_err(&damaged)?;
    if tail.next_batch == header.first_batch {
        return Err(damaged("its checkpoint is missing".into()));
    }
    if standing == Standing::Inner
        && let Some(summary) = Summary::read(dir, number, header, length)
    {
        (tail.bytes, tail.next_batch) = (summary.bytes, summary.next_batch);
        index.absorb(summary);
        return Ok(tail);
    }
    take_frames(&mut tail, u64::MAX, index).map_err(io_error)?.map_err(&damaged)?;
    if tail.bytes < length {
        judge(&tail, length, standing).map_err(&damaged)?;
        cut(&tail, length, &path).map_err(io_error)?;
    }
    if standing == Standing::Inner {
        tail.summary(index).write(dir, number);
    }
    Ok(tail)
}

/// Takes whole and undamaged frames with the batches that are due, `most` at most. `Ok(Err)`: what is in one makes no sense.
fn take_frames(tail: &mut TailFile, most: u64, index: &mut Index) -> io::Result<Result<(), String>> {
    let file = tail.file.try_clone()?;
    let mut frames = Frames::new(&file, tail.header.salt, tail.bytes);
    for _ in 0..most {
        let offset = tail.bytes;
        let Some((header, body)) = frames.next()? else { break };
        if header.batch != tail.next_batch {
            break;
        }
        let Some(records) = Record::decode_all(body) else {
            return Ok(Err(format!("the records of batch {} make no sense", tail.next_batch)));
        };
        let place = Place { file: tail.number, offset: offset as u32 };
        for record in &records {
            if let Err(what) = index.apply(record, place) {
                return Ok(Err(what));
            }
        }
        tail.took(header.frame_bytes());
        tail.next_batch += 1;
    }
    Ok(Ok(()))
}

/// Whether the bad end of a file may be cut off.
fn judge(tail: &TailFile, length: u64, standing: Standing) -> Result<(), String> {
    let what = format!("batch {} at offset {} cannot be read", tail.next_batch, tail.bytes);
    if standing == Standing::Inner {
        return Err(what);
    }
    let rest = read_at(&tail.file, tail.bytes, (length - tail.bytes) as usize)
        .map_err(|error| format!("{what}: {error}"))?;
    match judge_tail(&rest, tail.bytes, tail.next_batch, tail.header.salt) {
        Tail::Torn => Ok(()),
        Tail::Damaged => Err(what),
    }
}

fn cut(tail: &TailFile, length: u64, path: &Path) -> io::Result<()> {
    tracing::warn!(
        file = %path.display(),
        bytes = length - tail.bytes,
        "cut a write that a crash tore off the end of the raft log"
    );
    tail.file.set_len(tail.bytes)?;
    files::sync_file(&tail.file)
}

pub fn read_at(file: &File, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer)
}

pub fn io_error(error: io::Error) -> LogError {
    LogError::Io(error.to_string())
}
