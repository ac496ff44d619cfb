//! The metadata rows on disk, in sled: one writer thread, a CRC on every row, a real point of durability,
//! exact views while writes go on.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::state::rows::{Batch, Rows, RowsError};

/// Why the tables refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TablesError {
    /// Rows are missing or changed, or the engine cannot read its own files. Set the directory aside
    /// ([`Tables::set_aside`]) and take a snapshot from a peer.
    #[error("the tables are damaged: {0}")]
    Damaged(String),
    #[error("the tables cannot be written or read: {0}")]
    Io(String),
    /// A key over 1 KiB or a value over 6 KiB.
    #[error("a row is too large: {0}")]
    TooLarge(String),
    /// The view was given up: its reader stalled while writers waited, or the rows were replaced.
    #[error("the view was abandoned: {0}")]
    ViewAbandoned(String),
}

/// The rows of one node. Cheap to clone.
#[derive(Clone)]
pub struct Tables {}

impl Tables {
    pub fn open(dir: &Path) -> Result<Self, TablesError> {
        todo!("{dir:?}")
    }

    /// Renames a damaged directory to a dated name beside it and removes older ones set aside: one is kept.
    pub fn set_aside(dir: &Path) -> Result<PathBuf, TablesError> {
        todo!("{dir:?}")
    }

    /// Writes a batch as a whole; blocks until readers see it. Not durable before [`Tables::sync`].
    pub fn write(&self, batch: Batch) -> Result<(), TablesError> {
        todo!("{batch:?}")
    }

    /// As [`Tables::write`], for async callers.
    pub async fn write_async(&self, batch: Batch) -> Result<(), TablesError> {
        todo!("{batch:?}")
    }

    /// Makes durable all that was written before. The only point of durability. Blocks.
    pub fn sync(&self) -> Result<(), TablesError> {
        todo!()
    }

    /// All rows as they are at this moment, read in turns while writes go on. Blocks for a turn of the writer.
    pub fn begin_view(&self) -> Result<View, TablesError> {
        todo!()
    }

    /// Opens an empty set of rows beside the present ones, for a snapshot.
    pub fn begin_install(&self) -> Result<Installer, TablesError> {
        todo!()
    }

    /// What was damaged, once something was found to be.
    pub fn damage(&self) -> Option<String> {
        todo!()
    }
}

impl Rows for Tables {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        todo!("{key:?}")
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RowsError> {
        todo!("{from:?} {to:?} {:p}", &visit)
    }
}

/// A consistent picture of all rows. Dropping it ends it.
pub struct View {}

impl View {
    /// The next rows in key order, at most `rows_max` (at most 500); empty at the end. Blocks for a turn of the writer.
    pub fn next_rows(&mut self, rows_max: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, TablesError> {
        todo!("{rows_max}")
    }
}

/// A set of rows being built beside the present ones. Dropping it unfinished leaves nothing behind.
pub struct Installer {}

impl Installer {
    pub fn push(&mut self, rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), TablesError> {
        todo!("{rows:?}")
    }

    /// Syncs the new rows and puts them in place of the old for every clone of the [`Tables`]. A crash at
    /// any point leaves the old rows or the new ones, whole. Durable when it returns.
    pub fn finish(self) -> Result<(), TablesError> {
        todo!()
    }
}
