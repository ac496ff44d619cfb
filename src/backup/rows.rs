//! The rows of one backup in a file: exactly those of a view, in its order.
//!
//! The file is: a word; frames (their bytes, then rows: length and octets of key and value); a frame of none; how many rows
//! there are; the BLAKE3 of all that. Numbers are little-endian.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::BackupError;
use crate::mail::ids::BodyId;
use crate::state::keys;
use crate::store::files;
use crate::store::tables::Row;

/// Bytes of one frame: 1000 rows of 7 KiB are less.
const FRAME_BYTES_MAX: usize = 8 << 20;
const BEGIN: &[u8; 8] = b"PLXROWS1";

pub struct RowsWriter {
    path: PathBuf,
    file: BufWriter<File>,
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
    pub fn begin(path: &Path) -> Result<Self, BackupError> {
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = BufWriter::new(opened.map_err(|error| BackupError::at(path, &error))?);
        let mut writer = Self { path: path.to_owned(), file, hasher: blake3::Hasher::new(), rows: 0 };
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
        let ended = self.file.write_all(digest.as_bytes()).and_then(|()| self.file.flush());
        let ended = ended.and_then(|()| files::sync_file(self.file.get_ref()));
        ended.map_err(|error| BackupError::at(&self.path, &error))?;
        Ok(Written { rows: self.rows, digest })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|error| BackupError::at(&self.path, &error))
    }
}

/// Reads them back. Only at the end is it known that all of it was as it was written.
pub struct RowsReader {
    path: PathBuf,
    file: BufReader<File>,
    hasher: blake3::Hasher,
    rows: u64,
    expected: Written,
}

impl RowsReader {
    pub fn open(path: &Path, expected: Written) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(|error| BackupError::at(path, &error))?;
        let (file, hasher) = (BufReader::new(file), blake3::Hasher::new());
        let mut reader = Self { path: path.to_owned(), file, hasher, rows: 0, expected };
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
        self.file.read_exact(&mut stored).map_err(|error| BackupError::at(&self.path, &error))?;
        let read = Written { rows: u64::from_le_bytes(count), digest };
        match digest == stored && read == self.expected && self.rows == read.rows {
            true => Ok(()),
            false => Err(self.damaged("its rows are not those that were written")),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), BackupError> {
        self.file.read_exact(into).map_err(|error| BackupError::at(&self.path, &error))?;
        self.hasher.update(into);
        Ok(())
    }

    fn damaged(&self, what: &str) -> BackupError {
        BackupError::damaged(&self.path, what)
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
