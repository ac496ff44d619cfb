//! A batch that is being gathered, laid over the rows it will be written to.

use std::ops::ControlFlow;

use crate::state::rows::{Batch, Rows, RowsError};

/// Pending writes. Many entries are applied into one overlay and see each other's writes; then
/// [`Overlay::into_batch`] is written in one atomic step.
#[derive(Debug, Default)]
pub struct Overlay {
    pending: Batch,
}

impl Overlay {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Rows written or deleted so far.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    pub fn into_batch(self) -> Batch {
        self.pending
    }

    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.pending.insert(key, Some(value));
    }

    pub fn delete(&mut self, key: Vec<u8>) {
        self.pending.insert(key, None);
    }

    pub fn get(&self, rows: &dyn Rows, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        match self.pending.get(key) {
            Some(written) => Ok(written.clone()),
            None => rows.get(key),
        }
    }

    /// Visits the rows with `from <= key < to` as they will stand once this overlay is written.
    pub fn scan(
        &self,
        rows: &dyn Rows,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RowsError> {
        if from >= to {
            return Ok(());
        }
        let mut pending = self.pending.range(from.to_vec()..to.to_vec()).peekable();
        let mut stopped = false;
        rows.scan(from, to, &mut |key, value| {
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
}
