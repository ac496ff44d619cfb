//! Bodies among backups: packs of some 64 MiB, each written once, of which the end says what is in it.
//!
//! A pack is: a word; records (id, length, the raw message); for each record its id, where it begins and its length; how many
//! they are, where that list begins, its BLAKE3, a word. A message proves itself: its id is its BLAKE3. Numbers are
//! little-endian.

use super::BackupError;
use super::storage::{Draft, Readable, Storage};
use crate::mail::ids::BodyId;

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
    file: Draft,
    bytes: u64,
    entries: Vec<Entry>,
}

impl PackWriter {
    pub fn begin(storage: &Storage, number: u32) -> Result<Self, BackupError> {
        let file = storage.begin(&name(number))?;
        let mut writer = Self { file, bytes: 0, entries: Vec::new() };
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
        self.file.place()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.file.write(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// A whole pack.
pub struct Pack {
    file: Readable,
    /// Where the list begins: the records end there.
    end: u64,
    pub entries: Vec<Entry>,
}

impl Pack {
    /// To read little of it: what is in it, and some bodies.
    pub fn open(storage: &Storage, number: u32) -> Result<Self, BackupError> {
        Self::of(storage.open(&name(number))?)
    }

    /// To read most of it.
    pub fn fetch(storage: &Storage, number: u32) -> Result<Self, BackupError> {
        Self::of(storage.fetch(&name(number))?)
    }

    fn of(file: Readable) -> Result<Self, BackupError> {
        let damaged = |what: &str| file.damaged(what);
        let tail_at = file.length().checked_sub(TAIL_BYTES).ok_or_else(|| damaged("it is cut short"))?;
        let mut tail = [0; TAIL_BYTES as usize];
        file.read_exact_at(&mut tail, tail_at)?;
        let (count, end) = (number_at(&tail, 0), number_at(&tail, 8));
        let list_bytes = count.checked_mul(ENTRY_BYTES as u64).filter(|_| count <= PACK_BODIES_MAX as u64);
        let fits = list_bytes.and_then(|bytes| end.checked_add(bytes)) == Some(tail_at);
        if tail[48..] != END[..] || !fits {
            return Err(damaged("its end is not that of a pack"));
        }
        let mut list = vec![0; count as usize * ENTRY_BYTES];
        file.read_exact_at(&mut list, end)?;
        if blake3::hash(&list).as_bytes()[..] != tail[16..48] {
            return Err(damaged("the list of what is in it is damaged"));
        }
        Ok(Self { entries: decode(&list), file, end })
    }

    /// One body, which is what its id says.
    pub fn read(&self, entry: &Entry) -> Result<Vec<u8>, BackupError> {
        if entry.length > BODY_BYTES_MAX {
            return Err(self.file.damaged(format!("message {} is too long", entry.id)));
        }
        let mut record = vec![0; (RECORD_HEADER_BYTES + entry.length) as usize];
        self.file.read_exact_at(&mut record, entry.offset)?;
        let body = record.split_off(RECORD_HEADER_BYTES as usize);
        let names_it = record[..32] == entry.id.0[..] && record[32..] == entry.length.to_le_bytes();
        match names_it && BodyId::of(&body) == entry.id {
            true => Ok(body),
            false => Err(self.file.damaged(format!("message {} is damaged", entry.id))),
        }
    }

    /// That nothing lies between what is listed, so that who reads all records has read all.
    pub fn check_layout(&self) -> Result<(), BackupError> {
        let mut begin = [0; BEGIN.len()];
        self.file.read_exact_at(&mut begin, 0)?;
        let mut next = BEGIN.len() as u64;
        for entry in &self.entries {
            if entry.offset != next {
                break;
            }
            next += RECORD_HEADER_BYTES + entry.length;
        }
        match begin == *BEGIN && next == self.end {
            true => Ok(()),
            false => Err(self.file.damaged("its records are not where they should be")),
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
