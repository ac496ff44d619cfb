//! Opening a log: reads every file, cuts off what a crash tore, and tells that from damage.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::LogError;
use super::frame::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FrameHeader, Record, Tail, judge_tail,
};
use super::index::{Index, Place};
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
    pub salt: u64,
    pub next_batch: u64,
}

pub fn path_of(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:010}.log"))
}

pub fn recover(dir: &Path) -> Result<Recovered, LogError> {
    let numbers = file_numbers(dir)?;
    let mut index = Index::default();
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
    Ok(Recovered { index, tail, closed })
}

/// Whether a file may have a torn tail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Inner,
    Last,
}

/// The log files in order. A file that was still being made when the process died is removed.
fn file_numbers(dir: &Path) -> Result<Vec<u32>, LogError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error)? {
        let path = entry.map_err(io_error)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".log.new") {
            fs::remove_file(&path).map_err(io_error)?;
        } else if let Some(number) = name.strip_suffix(".log").and_then(|number| number.parse().ok()) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads one file into `index`; a torn tail is cut off.
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
            || previous.salt != header.salt)
    {
        return Err(damaged(format!("it does not follow file {}", previous.number)));
    }
    let mut tail = TailFile {
        number,
        file,
        bytes: FILE_HEADER_BYTES as u64,
        salt: header.salt,
        next_batch: header.first_batch,
    };
    while tail.bytes < length {
        match read_frame(&tail, length).map_err(io_error)? {
            Some(frame) => take_frame(&mut tail, &frame, index).map_err(&damaged)?,
            None => {
                judge(&tail, length, header, standing).map_err(&damaged)?;
                cut(&tail, length, &path).map_err(io_error)?;
                break;
            }
        }
    }
    if tail.next_batch == header.first_batch {
        return Err(damaged("its checkpoint is missing".into()));
    }
    Ok(tail)
}

/// The next frame, whole and undamaged, with the batch that is due.
fn read_frame(tail: &TailFile, length: u64) -> io::Result<Option<Vec<u8>>> {
    let left = length - tail.bytes;
    if left < FRAME_HEADER_BYTES as u64 {
        return Ok(None);
    }
    let bytes = read_at(&tail.file, tail.bytes, FRAME_HEADER_BYTES)?;
    let Some(header) = FrameHeader::decode(&bytes, tail.salt) else { return Ok(None) };
    if header.batch != tail.next_batch || header.frame_bytes() > left {
        return Ok(None);
    }
    let frame = read_at(&tail.file, tail.bytes, header.frame_bytes() as usize)?;
    Ok(header.body(&frame).is_some().then_some(frame))
}

fn take_frame(tail: &mut TailFile, frame: &[u8], index: &mut Index) -> Result<(), String> {
    let records = FrameHeader::decode(frame, tail.salt)
        .and_then(|header| header.body(frame))
        .and_then(Record::decode_all)
        .ok_or_else(|| format!("the records of batch {} make no sense", tail.next_batch))?;
    let place = Place { file: tail.number, offset: tail.bytes as u32, bytes: frame.len() as u32 };
    for record in &records {
        index.apply(record, place)?;
    }
    tail.bytes += frame.len() as u64;
    tail.next_batch += 1;
    Ok(())
}

/// Whether the bad end of a file may be cut off.
fn judge(tail: &TailFile, length: u64, header: FileHeader, standing: Standing) -> Result<(), String> {
    let what = format!("batch {} at offset {} cannot be read", tail.next_batch, tail.bytes);
    if standing == Standing::Inner || tail.next_batch == header.first_batch {
        return Err(what);
    }
    let rest = read_at(&tail.file, tail.bytes, (length - tail.bytes) as usize)
        .map_err(|error| format!("{what}: {error}"))?;
    match judge_tail(&rest, tail.bytes, tail.next_batch, tail.salt) {
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
