//! The narrow shape of a key-value store that apply needs, so that state knows no engine.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Reading failed: damaged or unreachable storage. Never "not found".
#[derive(Debug, Clone, thiserror::Error)]
#[error("state rows cannot be read: {0}")]
pub struct RowsError(pub String);

/// Looks at one row, and says whether to go on.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Ordered rows of bytes. Keys are at most 1 KiB, values at most 6 KiB (design 4a).
pub trait Rows: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError>;

    /// Visits rows with `from <= key < to` in key order until `visit` breaks.
    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), RowsError>;
}

/// What one apply call changes: `Some` puts, `None` deletes. Ordered, so that replicas write alike.
pub type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Rows in memory: for tests, and for reading a snapshot before it is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryRows(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl MemoryRows {
    pub fn write(&mut self, batch: Batch) {
        for (key, value) in batch {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }
}

impl Rows for MemoryRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), RowsError> {
        if from >= to {
            return Ok(());
        }
        for (key, value) in self.0.range(from.to_vec()..to.to_vec()) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
