//! The narrow shape of a key-value store that apply needs, so that state knows no engine.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

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

/// Visits the rows with `from <= key < to` as they stand once `batch` is written over those that `scan` visits.
pub fn scan_under<E>(
    batch: &Batch,
    (from, to): (&[u8], &[u8]),
    visit: Visit<'_>,
    scan: impl FnOnce(Visit<'_>) -> Result<(), E>,
) -> Result<(), E> {
    if from >= to {
        return Ok(());
    }
    let within = (Bound::Included(from), Bound::Excluded(to));
    let mut pending = batch.range::<[u8], _>(within).peekable();
    let mut stopped = false;
    scan(&mut |key, value| {
        while let Some((written, new)) = pending.next_if(|(written, _)| written.as_slice() < key) {
            if let Some(new) = new
                && visit(written, new).is_break()
            {
                stopped = true;
                return ControlFlow::Break(());
            }
        }
        let flow = match pending.next_if(|(written, _)| written.as_slice() == key) {
            Some((_, Some(new))) => visit(key, new),
            Some((_, None)) => ControlFlow::Continue(()),
            None => visit(key, value),
        };
        stopped = flow.is_break();
        flow
    })?;
    for (key, value) in pending {
        if stopped {
            break;
        }
        if let Some(value) = value {
            stopped = visit(key, value).is_break();
        }
    }
    Ok(())
}

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
