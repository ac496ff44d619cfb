//! A batch that is being gathered, laid over the rows it will be written to.

use crate::state::rows::{Batch, Rows, RowsError, Visit, scan_under};

/// Pending writes. Many entries are applied into one overlay and see each other's writes; then
/// [`Overlay::into_batch`] is written in one atomic step.
#[derive(Debug, Default)]
pub struct Overlay {
    pending: Batch,
    /// What the present entry overwrote, so that a refusal leaves no trace.
    undo: Vec<Overwritten>,
}

/// A key, and what was pending under it, if anything was.
type Overwritten = (Vec<u8>, Option<Option<Vec<u8>>>);

/// A point to which [`Overlay::undo_to`] goes back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(usize);

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

    pub fn get(&self, rows: &dyn Rows, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        match self.pending.get(key) {
            Some(written) => Ok(written.clone()),
            None => rows.get(key),
        }
    }

    /// Visits the rows with `from <= key < to` as they will stand once this overlay is written.
    pub fn scan(&self, rows: &dyn Rows, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), RowsError> {
        scan_under(&self.pending, (from, to), visit, |visit| rows.scan(from, to, visit))
    }

    /// The rows as they will stand once this overlay is written over `rows`.
    pub fn over<'a>(&'a self, rows: &'a dyn Rows) -> impl Rows + 'a {
        Overlaid { overlay: self, rows }
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.write(key, Some(value));
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.write(key, None);
    }

    fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let before = self.pending.insert(key.clone(), value);
        self.undo.push((key, before));
    }

    /// Starts an entry: what came before can no longer be undone.
    pub(super) fn begin(&mut self) {
        self.undo.clear();
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.undo.len())
    }

    pub(super) fn undo_to(&mut self, mark: Mark) {
        while self.undo.len() > mark.0 {
            match self.undo.pop() {
                Some((key, Some(before))) => self.pending.insert(key, before),
                Some((key, None)) => self.pending.remove(&key),
                None => return,
            };
        }
    }
}

struct Overlaid<'a> {
    overlay: &'a Overlay,
    rows: &'a dyn Rows,
}

impl Rows for Overlaid<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        self.overlay.get(self.rows, key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), RowsError> {
        self.overlay.scan(self.rows, from, to, visit)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use proptest::prelude::*;

    use super::*;
    use crate::state::rows::MemoryRows;

    type Row = (Vec<u8>, Vec<u8>);

    fn scanned(overlay: &Overlay, rows: &MemoryRows, from: &[u8], to: &[u8], count_max: usize) -> Vec<Row> {
        let mut seen = Vec::new();
        overlay
            .scan(rows, from, to, &mut |key, value| {
                seen.push((key.to_vec(), value.to_vec()));
                if seen.len() == count_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        seen
    }

    fn writes() -> impl Strategy<Value = Vec<(u8, Option<u8>)>> {
        prop::collection::vec((0u8..20, prop::option::of(any::<u8>())), 0..30)
    }

    proptest! {
        /// Reading through the overlay is reading what will be there once it is written.
        #[test]
        fn reads_are_those_of_the_written_rows(
            base in writes(), over in writes(), undone in writes(), from in 0u8..20, to in 0u8..21, count in 1usize..9
        ) {
            let mut rows = MemoryRows::default();
            rows.write(base.into_iter().map(|(key, value)| (vec![key], value.map(|value| vec![value]))).collect());
            let mut overlay = Overlay::new();
            let write = |overlay: &mut Overlay, writes: Vec<(u8, Option<u8>)>| {
                for (key, value) in writes {
                    match value {
                        Some(value) => overlay.put(vec![key], vec![value]),
                        None => overlay.delete(vec![key]),
                    }
                }
            };
            write(&mut overlay, over);
            overlay.begin();
            let mark = overlay.mark();
            let before = overlay.pending.clone();
            write(&mut overlay, undone);
            overlay.undo_to(mark);
            prop_assert_eq!(&overlay.pending, &before);
            let seen = scanned(&overlay, &rows, &[from], &[to], count);
            let gets: Vec<_> = (0..20).map(|key| overlay.get(&rows, &[key]).unwrap()).collect();
            let mut written = rows.clone();
            written.write(overlay.into_batch());
            prop_assert_eq!(seen, scanned(&Overlay::new(), &written, &[from], &[to], count));
            prop_assert_eq!(gets, (0..20).map(|key| written.get(&[key]).unwrap()).collect::<Vec<_>>());
        }
    }
}
