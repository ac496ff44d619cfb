//! Bodies in a folder of backups: packs of some 64 MiB, each written once, of which the end says what is in it.
//!
//! A pack is: a word; records (id, length, the raw message); for each record its id, where it begins and its length; how many
//! they are, where that list begins, its BLAKE3, a word. A message proves itself: its id is its BLAKE3. Numbers are
//! little-endian.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::BackupError;
use crate::mail::ids::BodyId;
use crate::store::files;

/// A pack that has grown to this is closed.
pub const PACK_BYTES_MAX: u64 = 64 << 20;
/// Bodies of one pack; bounds what its list takes in memory.
pub const PACK_BODIES_MAX: usize = 100_000;
/// The largest body that is read: what the body store takes.
const BODY_BYTES_MAX: u64 = 1 << 30;

const BEGIN: &[u8; 8] = b"PLXPACK1";
const END: &[u8; 8] = b"PLXPEND1";
/// Of a record, before its body.
pub const RECORD_HEADER_BYTES: u64 = 40;
const ENTRY_BYTES: usize = 48;
const TAIL_BYTES: u64 = 8 + 8 + 32 + 8;

pub fn name(number: u32) -> String {
    format!("pack-{number:06}")
}

/// What a pack is called while it is not whole.
pub fn unfinished_name(number: u32) -> String {
    format!("{}.part", name(number))
}

pub fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("pack-")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Where a body lies in its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub id: BodyId,
    pub offset: u64,
    pub length: u64,
}

/// A pack that is being written. Dropped unfinished it is gone.
pub struct PackWriter {
    dir: PathBuf,
    number: u32,
    file: BufWriter<File>,
    bytes: u64,
    entries: Vec<Entry>,
    finished: bool,
}

impl PackWriter {
    pub fn begin(dir: &Path, number: u32) -> Result<Self, BackupError> {
        let path = dir.join(unfinished_name(number));
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| BackupError::at(&path, &error))?;
        let mut writer = Self {
            dir: dir.to_owned(),
            number,
            file: BufWriter::new(file),
            bytes: 0,
            entries: Vec::new(),
            finished: false,
        };
        writer.write(BEGIN)?;
        Ok(writer)
    }

    pub fn push(&mut self, id: BodyId, body: &[u8]) -> Result<(), BackupError> {
        self.entries.push(Entry { id, offset: self.bytes, length: body.len() as u64 });
        self.write(&id.0)?;
        self.write(&(body.len() as u64).to_le_bytes())?;
        self.write(body)
    }

    pub fn is_full(&self) -> bool {
        self.bytes >= PACK_BYTES_MAX || self.entries.len() >= PACK_BODIES_MAX
    }

    /// Durable, under its name, when it returns.
    pub fn finish(mut self) -> Result<(), BackupError> {
        let (at, list) = (self.bytes, encode(&self.entries));
        self.write(&list)?;
        self.write(&(self.entries.len() as u64).to_le_bytes())?;
        self.write(&at.to_le_bytes())?;
        self.write(blake3::hash(&list).as_bytes())?;
        self.write(END)?;
        let (part, path) = (self.part(), self.dir.join(name(self.number)));
        let flushed = self.file.flush().and_then(|()| files::sync_file(self.file.get_ref()));
        let placed = flushed.and_then(|()| files::rename_durably(&part, &path));
        placed.map_err(|error| BackupError::at(&part, &error))?;
        self.finished = true;
        Ok(())
    }

    fn part(&self) -> PathBuf {
        self.dir.join(unfinished_name(self.number))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.file.write_all(bytes).map_err(|error| BackupError::at(&self.part(), &error))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for PackWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(self.part());
        }
    }
}

/// A whole pack.
pub struct Pack {
    path: PathBuf,
    file: File,
    /// Where the list begins: the records end there.
    end: u64,
    pub entries: Vec<Entry>,
}

impl Pack {
    /// Reads what is in it, not yet the bodies.
    pub fn open(dir: &Path, number: u32) -> Result<Self, BackupError> {
        let path = dir.join(name(number));
        let fault = |error: std::io::Error| BackupError::at(&path, &error);
        let damaged = |what: &str| BackupError::damaged(&path, what);
        let mut file = File::open(&path).map_err(fault)?;
        let length = file.metadata().map_err(fault)?.len();
        let tail_at = length.checked_sub(TAIL_BYTES).ok_or_else(|| damaged("it is cut short"))?;
        file.seek(SeekFrom::Start(tail_at)).map_err(fault)?;
        let mut tail = [0; TAIL_BYTES as usize];
        file.read_exact(&mut tail).map_err(fault)?;
        let (count, end) = (number_at(&tail, 0), number_at(&tail, 8));
        let list_bytes = count.checked_mul(ENTRY_BYTES as u64).filter(|_| count <= PACK_BODIES_MAX as u64);
        let fits = list_bytes.and_then(|bytes| end.checked_add(bytes)) == Some(tail_at);
        if tail[48..] != END[..] || !fits {
            return Err(damaged("its end is not that of a pack"));
        }
        let mut list = vec![0; count as usize * ENTRY_BYTES];
        file.read_exact_at(&mut list, end).map_err(fault)?;
        if blake3::hash(&list).as_bytes()[..] != tail[16..48] {
            return Err(damaged("the list of what is in it is damaged"));
        }
        Ok(Self { entries: decode(&list), path, file, end })
    }

    /// One body, which is what its id says.
    pub fn read(&self, entry: &Entry) -> Result<Vec<u8>, BackupError> {
        if entry.length > BODY_BYTES_MAX {
            return Err(BackupError::damaged(&self.path, format!("message {} is too long", entry.id)));
        }
        let mut record = vec![0; (RECORD_HEADER_BYTES + entry.length) as usize];
        let read = self.file.read_exact_at(&mut record, entry.offset);
        read.map_err(|error| BackupError::at(&self.path, &error))?;
        let body = record.split_off(RECORD_HEADER_BYTES as usize);
        let names_it = record[..32] == entry.id.0[..] && record[32..] == entry.length.to_le_bytes();
        match names_it && BodyId::of(&body) == entry.id {
            true => Ok(body),
            false => Err(BackupError::damaged(&self.path, format!("message {} is damaged", entry.id))),
        }
    }

    /// That nothing lies between what is listed, so that who reads all records has read all.
    pub fn check_layout(&self) -> Result<(), BackupError> {
        let mut begin = [0; BEGIN.len()];
        self.file.read_exact_at(&mut begin, 0).map_err(|error| BackupError::at(&self.path, &error))?;
        let mut next = BEGIN.len() as u64;
        for entry in &self.entries {
            if entry.offset != next {
                break;
            }
            next += RECORD_HEADER_BYTES + entry.length;
        }
        match begin == *BEGIN && next == self.end {
            true => Ok(()),
            false => Err(BackupError::damaged(&self.path, "its records are not where they should be")),
        }
    }
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut list = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for Entry { id, offset, length } in entries {
        list.extend_from_slice(&id.0);
        list.extend_from_slice(&offset.to_le_bytes());
        list.extend_from_slice(&length.to_le_bytes());
    }
    list
}

fn decode(list: &[u8]) -> Vec<Entry> {
    let entry = |bytes: &[u8]| {
        let mut id = [0; 32];
        id.copy_from_slice(&bytes[..32]);
        Entry { id: BodyId(id), offset: number_at(bytes, 32), length: number_at(bytes, 40) }
    };
    list.chunks_exact(ENTRY_BYTES).map(entry).collect()
}

fn number_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
