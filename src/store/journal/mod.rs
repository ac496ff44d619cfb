//! A bounded heap of records for a time: appended in order and durable together, given back from the front in whole files,
//! read from the front to the end. There is no look-up; on an idle day there is no file.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::files::{create_dir_durably, sync_dir, sync_file};

/// Before each record: its length, then a CRC-32 of its octets; both little-endian.
const HEAD_BYTES: usize = 8;
/// Octets of a record.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
const SUFFIX: &str = "journal";

/// Bounds of a journal.
#[derive(Debug, Clone, Copy)]
pub struct JournalLimits {
    /// All files together.
    pub bytes_max: u64,
    /// A file is closed when it has grown to this: what is given back is given back in such pieces.
    pub file_bytes_max: u64,
}

/// Why a journal took nothing of what it was given.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    #[error("the journal has the {0} octets that it may have")]
    Full(u64),
    #[error("a record of {0} octets is over the bound of {RECORD_BYTES_MAX}")]
    TooLarge(usize),
    /// Later records are taken again once there is space.
    #[error("the disk is full")]
    DiskFull,
    /// A write or sync failed: what is on the disk is not known, and nothing is taken until the next start.
    #[error("the journal cannot be written: {0}")]
    Failed(String),
}

/// A place between two records. One that was taken before a restart is no place any longer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Differs from start to start.
    pub run: u64,
    /// Octets of records before it, those that are gone included.
    pub at: u64,
}

/// Cheap to clone. All of it blocks.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    limits: JournalLimits,
    run: u64,
    files: Mutex<Files>,
}

/// By where they begin.
#[derive(Default)]
struct Files {
    sizes: BTreeMap<u64, u64>,
    /// The last of them, open.
    last: Option<File>,
    failure: Option<String>,
}

impl Files {
    fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }

    fn end(&self) -> u64 {
        self.sizes.last_key_value().map_or(0, |(at, size)| at + size)
    }
}

impl Journal {
    /// `run` is to be another number at each start. Nothing is made before the first record, which begins a new file: what a
    /// crash left at the end of the last one stays what it is.
    pub fn open(dir: &Path, limits: JournalLimits, run: u64) -> io::Result<Self> {
        let mut files = Files::default();
        for at in starts(dir)? {
            let size = fs::metadata(path(dir, at))?.len();
            files.sizes.insert(at, size);
        }
        let shared = Shared { dir: dir.to_owned(), limits, run, files: Mutex::new(files) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Durable when it returns, all of them or none.
    pub fn append(&self, records: &[Bytes]) -> Result<(), JournalError> {
        if let Some(large) = records.iter().find(|record| record.len() > RECORD_BYTES_MAX) {
            return Err(JournalError::TooLarge(large.len()));
        }
        let mut files = self.shared.files();
        if let Some(why) = &files.failure {
            return Err(JournalError::Failed(why.clone()));
        }
        let bytes: u64 = records.iter().map(|record| (HEAD_BYTES + record.len()) as u64).sum();
        if files.bytes() + bytes > self.shared.limits.bytes_max {
            return Err(JournalError::Full(self.shared.limits.bytes_max));
        }
        match self.shared.write(&mut files, records) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.shared.undo(&mut files, error)),
        }
    }

    /// On this disk.
    pub fn bytes(&self) -> u64 {
        self.shared.files().bytes()
    }

    pub fn bytes_max(&self) -> u64 {
        self.shared.limits.bytes_max
    }

    /// Behind all records.
    pub fn end(&self) -> Mark {
        Mark { run: self.shared.run, at: self.shared.files().end() }
    }

    /// Gives back the files of which no record lies behind `mark`.
    pub fn drop_before(&self, mark: Mark) -> io::Result<()> {
        let mut files = self.shared.files();
        if mark.run != self.shared.run {
            return Ok(());
        }
        let end = files.end();
        let gone: Vec<u64> = files
            .sizes
            .iter()
            .filter(|(at, size)| **size > 0 && **at + **size <= mark.at)
            .map(|(at, _)| *at)
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        for at in gone {
            let size = files.sizes[&at];
            fs::remove_file(path(&self.shared.dir, at))?;
            files.sizes.remove(&at);
            if at + size == end {
                // Places must not begin anew while marks of this run are about: the next file begins where this one ended.
                files.last = None;
                files.sizes.insert(end, 0);
            }
        }
        sync_dir(&self.shared.dir)
    }

    /// From the first record to the last that is there now. Files that are given back meanwhile are left out.
    pub fn reader(&self) -> JournalReader {
        let files = self.shared.files();
        let rest = files.sizes.iter().map(|(at, size)| (path(&self.shared.dir, *at), *size)).collect();
        JournalReader { rest, open: None }
    }
}

impl Shared {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, files: &mut Files, records: &[Bytes]) -> io::Result<()> {
        let (at, size) = files.sizes.last_key_value().map_or((0, 0), |(at, size)| (*at, *size));
        if files.last.is_none() || size >= self.limits.file_bytes_max {
            let at = at + size;
            create_dir_durably(&self.dir)?;
            files.last = Some(OpenOptions::new().create(true).append(true).open(path(&self.dir, at))?);
            sync_dir(&self.dir)?;
            files.sizes.entry(at).or_default();
        }
        let mut bytes = Vec::with_capacity(records.iter().map(|record| HEAD_BYTES + record.len()).sum());
        for record in records {
            bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
            bytes.extend_from_slice(record);
        }
        let mut file = files.last.as_ref().ok_or_else(|| io::Error::other("no file is open"))?;
        file.write_all(&bytes)?;
        sync_file(file)?;
        if let Some(mut last) = files.sizes.last_entry() {
            *last.get_mut() += bytes.len() as u64;
        }
        Ok(())
    }

    /// Takes half a write back. A sync that failed is not tried again: what it lost, the next one would not say.
    fn undo(&self, files: &mut Files, error: io::Error) -> JournalError {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let size = files.sizes.last_key_value().map_or(0, |(_, size)| *size);
        let cut = files.last.as_ref().map_or(Ok(()), |file| file.set_len(size));
        if full && cut.is_ok() {
            return JournalError::DiskFull;
        }
        files.failure = Some(error.to_string());
        JournalError::Failed(error.to_string())
    }
}

pub struct JournalReader {
    /// Files, and how far each is to be read.
    rest: VecDeque<(PathBuf, u64)>,
    open: Option<(BufReader<File>, u64)>,
}

impl JournalReader {
    /// The next record; `None` at the end. What a file holds behind half a record (a crash) or one that rotted is left out: the
    /// caller knows what it lacks.
    pub fn next_record(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let Some((file, left)) = &mut self.open else {
                let Some((path, size)) = self.rest.pop_front() else { return Ok(None) };
                match File::open(&path) {
                    Ok(file) => self.open = Some((BufReader::new(file), size)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                continue;
            };
            match read_record(file, *left)? {
                Found::Record(record) => {
                    *left -= (HEAD_BYTES + record.len()) as u64;
                    return Ok(Some(record));
                }
                Found::End => self.open = None,
                Found::Damage => {
                    tracing::warn!(
                        "a record of the journal is cut short or damaged: {left} octets from it on are left out"
                    );
                    self.open = None;
                }
            }
        }
    }
}

enum Found {
    Record(Bytes),
    End,
    Damage,
}

fn read_record(file: &mut impl Read, left: u64) -> io::Result<Found> {
    if left == 0 {
        return Ok(Found::End);
    }
    let mut head = [0; HEAD_BYTES];
    if left < HEAD_BYTES as u64 || !filled(file, &mut head)? {
        return Ok(Found::Damage);
    }
    let [length, crc] =
        [&head[..4], &head[4..]].map(|half| u32::from_le_bytes([half[0], half[1], half[2], half[3]]));
    if length as usize > RECORD_BYTES_MAX || u64::from(length) > left - HEAD_BYTES as u64 {
        return Ok(Found::Damage);
    }
    let mut record = vec![0; length as usize];
    let whole = filled(file, &mut record)? && crc32fast::hash(&record) == crc;
    Ok(if whole { Found::Record(record.into()) } else { Found::Damage })
}

/// `false`: the file ended before.
fn filled(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn path(dir: &Path, at: u64) -> PathBuf {
    dir.join(format!("{at:016x}.{SUFFIX}"))
}

/// Where its files begin.
fn starts(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut starts = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let start = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.strip_suffix('.'));
        starts.extend(start.and_then(|hex| u64::from_str_radix(hex, 16).ok()));
    }
    Ok(starts)
}
