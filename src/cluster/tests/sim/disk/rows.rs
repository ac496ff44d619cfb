//! The rows' part. A hash over all rows is kept up with each change, for the comparison of replicas.

use super::{Lie, Open, State};
use crate::cluster::machine::Progress;
use crate::state::rows::{Batch, MemoryRows, Rows, RowsError, Visit};
use crate::store::tables::{Row, RowDisk, TablesError};

/// Writes of a disk that leaves out rows.
const SKIPS_ONE_OF: u64 = 100;

/// The sum of the rows' hashes: the order of writing does not matter, each row does.
pub fn hash_of(rows: &MemoryRows) -> u64 {
    rows.0.iter().fold(0, |sum, (key, value)| sum.wrapping_add(row_hash(key, value)))
}

fn row_hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(value);
    let hash = hasher.finalize();
    u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
}

fn gone() -> TablesError {
    TablesError::Io("the process is dead".into())
}

impl State {
    fn write_rows(&mut self, batch: Batch) {
        for (key, value) in &batch {
            if let Some(old) = self.rows.0.get(key) {
                self.rows_hash = self.rows_hash.wrapping_sub(row_hash(key, old));
            }
            if let Some(new) = value {
                self.rows_hash = self.rows_hash.wrapping_add(row_hash(key, new));
            }
        }
        self.rows.write(batch.clone());
        self.rows_unsynced.push(batch);
    }
}

impl Rows for Open {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        self.state().ok_or_else(|| RowsError(gone().to_string()))?.rows.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), RowsError> {
        self.state().ok_or_else(|| RowsError(gone().to_string()))?.rows.scan(from, to, visit)
    }
}

impl RowDisk for Open {
    fn write(&self, mut batch: Batch) -> Result<(), TablesError> {
        let mut state = self.state().ok_or_else(gone)?;
        if state.lie == Lie::SkipsRows && self.shared.dice.below(SKIPS_ONE_OF) == 0 {
            batch.pop_last();
        }
        state.write_rows(batch);
        let progress = Progress::read(&state.rows).map_err(|error| TablesError::Io(error.to_string()))?;
        let Some(last) = progress.last_applied else { return Ok(()) };
        let hash = state.rows_hash;
        // The check looks at disks, this one among them.
        drop(state);
        if self.shared.check.applied(self.shared.node, last.index, hash) {
            let rows = self.state().ok_or_else(gone)?.rows.clone();
            self.shared.check.bodies(&rows);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), TablesError> {
        let mut state = self.state().ok_or_else(gone)?;
        for batch in std::mem::take(&mut state.rows_unsynced) {
            state.rows_synced.write(batch);
        }
        Ok(())
    }

    fn all(&self) -> Result<Vec<Row>, TablesError> {
        let state = self.state().ok_or_else(gone)?;
        Ok(state.rows.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn replace(&self, rows: Vec<Row>) -> Result<(), TablesError> {
        let mut state = self.state().ok_or_else(gone)?;
        self.shared.check.installed(self.shared.node);
        state.rows = MemoryRows(rows.into_iter().collect());
        state.rows_hash = hash_of(&state.rows);
        state.rows_unsynced.clear();
        state.rows_synced = state.rows.clone();
        Ok(())
    }
}
