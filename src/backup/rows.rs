//! The rows of one backup in a file: exactly those of a view, in its order.
//!
//! The file is: a word; frames (their bytes, then rows: length and octets of key and value); a frame of none; how many rows
//! there are; the BLAKE3 of all that. Numbers are little-endian.

use super::BackupError;
use super::storage::{Draft, Readable};
use crate::mail::ids::BodyId;
use crate::state::keys;
use crate::store::tables::Row;

/// Bytes of one frame: 1000 rows of 7 KiB are less.
const FRAME_BYTES_MAX: usize = 8 << 20;
/// What is read at once.
const AHEAD_BYTES: u64 = 256 << 10;
const BEGIN: &[u8; 8] = b"PLXROWS1";

pub struct RowsWriter {
    file: Draft,
    hasher: blake3::Hasher,
    rows: u64,
}

/// What is known of a file of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub rows: u64,
    pub digest: blake3::Hash,
}

impl RowsWriter {
    pub fn begin(file: Draft) -> Result<Self, BackupError> {
        let mut writer = Self { file, hasher: blake3::Hasher::new(), rows: 0 };
        writer.write(BEGIN)?;
        Ok(writer)
    }

    pub fn push(&mut self, rows: &[Row]) -> Result<(), BackupError> {
        let mut frame = Vec::new();
        for (key, value) in rows {
            for part in [key, value] {
                let length = u16::try_from(part.len()).expect("the tables bound keys and values to 6 KiB");
                frame.extend_from_slice(&length.to_le_bytes());
                frame.extend_from_slice(part);
            }
        }
        if frame.is_empty() {
            return Ok(());
        }
        self.rows += rows.len() as u64;
        self.write(&(frame.len() as u32).to_le_bytes())?;
        self.write(&frame)
    }

    /// Durable when it returns.
    pub fn finish(mut self) -> Result<Written, BackupError> {
        self.write(&0_u32.to_le_bytes())?;
        self.write(&self.rows.to_le_bytes())?;
        let digest = self.hasher.finalize();
        self.file.write(digest.as_bytes())?;
        self.file.place()?;
        Ok(Written { rows: self.rows, digest })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.hasher.update(bytes);
        self.file.write(bytes)
    }
}

/// Reads them back. Only at the end is it known that all of it was as it was written.
pub struct RowsReader {
    file: Readable,
    /// Read ahead, from `at` on.
    ahead: Vec<u8>,
    at: usize,
    /// Where what is read ahead ends.
    next: u64,
    hasher: blake3::Hasher,
    rows: u64,
    expected: Written,
}

impl RowsReader {
    pub fn open(file: Readable, expected: Written) -> Result<Self, BackupError> {
        let hasher = blake3::Hasher::new();
        let mut reader = Self { file, ahead: Vec::new(), at: 0, next: 0, hasher, rows: 0, expected };
        let mut begin = [0; BEGIN.len()];
        reader.read(&mut begin)?;
        match begin == *BEGIN {
            true => Ok(reader),
            false => Err(reader.damaged("it is no file of rows")),
        }
    }

    /// The next; empty at the end, if all were what they should be.
    pub fn next_rows(&mut self) -> Result<Vec<Row>, BackupError> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(self.damaged("a frame is too long"));
        }
        if length == 0 {
            return self.end().map(|()| Vec::new());
        }
        let mut frame = vec![0; length];
        self.read(&mut frame)?;
        let rows = rows_of(&frame).ok_or_else(|| self.damaged("a frame holds no rows"))?;
        self.rows += rows.len() as u64;
        Ok(rows)
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let mut count = [0; 8];
        self.read(&mut count)?;
        let digest = self.hasher.finalize();
        let mut stored = [0; 32];
        self.take(&mut stored)?;
        let read = Written { rows: u64::from_le_bytes(count), digest };
        match digest == stored && read == self.expected && self.rows == read.rows {
            true => Ok(()),
            false => Err(self.damaged("its rows are not those that were written")),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), BackupError> {
        self.take(into)?;
        self.hasher.update(into);
        Ok(())
    }

    fn take(&mut self, into: &mut [u8]) -> Result<(), BackupError> {
        let mut taken = 0;
        while taken < into.len() {
            if self.at == self.ahead.len() {
                // At least one octet: beyond the end that is the error that it should be.
                let more = (self.file.length() - self.next).clamp(1, AHEAD_BYTES);
                self.ahead.resize(more as usize, 0);
                self.at = self.ahead.len();
                self.file.read_exact_at(&mut self.ahead, self.next)?;
                (self.at, self.next) = (0, self.next + more);
            }
            let count = (into.len() - taken).min(self.ahead.len() - self.at);
            into[taken..taken + count].copy_from_slice(&self.ahead[self.at..self.at + count]);
            (self.at, taken) = (self.at + count, taken + count);
        }
        Ok(())
    }

    fn damaged(&self, what: &str) -> BackupError {
        self.file.damaged(what)
    }
}

/// The bodies that some of them name.
pub fn bodies_named(rows: &[Row]) -> impl Iterator<Item = BodyId> {
    let named = rows.iter().filter(|(key, _)| key.first() == Some(&keys::BODY));
    named.filter_map(|(key, _)| keys::body_of(key))
}

fn rows_of(mut frame: &[u8]) -> Option<Vec<Row>> {
    let mut part = || -> Option<Option<Vec<u8>>> {
        if frame.is_empty() {
            return Some(None);
        }
        let (length, rest) = frame.split_first_chunk::<2>()?;
        let (part, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        frame = rest;
        Some(Some(part.to_vec()))
    };
    let mut rows = Vec::new();
    while let Some(key) = part()? {
        rows.push((key, part()??));
    }
    Some(rows)
}
