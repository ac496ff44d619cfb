//! What makes a view exact while writes go on: the rows as they were, for keys the view has not reached yet. Pure.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::engine::Row;
use crate::state::rows::Batch;

/// One open view: how far it has read, and the pre-images beyond.
#[derive(Debug, Default)]
pub struct Overlay {
    /// The last key handed out.
    cursor: Option<Vec<u8>>,
    /// `None`: there was no such row.
    before: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub bytes: usize,
}

impl Overlay {
    /// Keeps how the rows of `batch` are now, before it is written.
    pub fn keep<E>(
        &mut self,
        batch: &Batch,
        mut now: impl FnMut(&[u8]) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<(), E> {
        for key in batch.keys() {
            if self.cursor.as_ref().is_some_and(|cursor| key <= cursor) || self.before.contains_key(key) {
                continue;
            }
            let value = now(key)?;
            self.bytes += cost(key, value.as_ref());
            self.before.insert(key.clone(), value);
        }
        Ok(())
    }

    /// Where the next turn reads the rows from.
    pub fn from(&self) -> Vec<u8> {
        match &self.cursor {
            // The next possible key.
            Some(cursor) => [cursor.as_slice(), &[0]].concat(),
            None => Vec::new(),
        }
    }

    /// Merges the next rows as they are now with the pre-images, at most about twice `rows_max` of them.
    /// `end`: `now` reaches to the last row. Answers whether the view is at its end.
    pub fn turn(&mut self, mut now: Vec<Row>, mut end: bool, rows_max: usize) -> (Vec<Row>, bool) {
        let mut until = match now.last() {
            Some((last, _)) if !end => Bound::Included(last.clone()),
            Some(_) | None => Bound::Unbounded,
        };
        // Many deleted rows: stop where the turn is full; the rows behind are read again next time.
        let within = self.before.range::<[u8], _>((Bound::Unbounded, as_slice(&until)));
        if let Some(full) = within.map(|(key, _)| key).nth(rows_max).cloned() {
            now.retain(|(key, _)| *key <= full);
            until = Bound::Included(full);
            end = false;
        }
        let kept = self.before.range::<[u8], _>((Bound::Unbounded, as_slice(&until)));
        let kept: Vec<_> = kept.map(|(key, _)| key.clone()).collect();
        let mut merged: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
            now.into_iter().map(|(key, value)| (key, Some(value))).collect();
        for key in kept {
            if let Some(value) = self.before.remove(&key) {
                self.bytes -= cost(&key, value.as_ref());
                merged.insert(key, value);
            }
        }
        if let Some((last, _)) = merged.last_key_value() {
            self.cursor = Some(last.clone());
        }
        (merged.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(), end)
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

/// Bytes that a pre-image takes, with the tree's share.
fn cost(key: &[u8], value: Option<&Vec<u8>>) -> usize {
    key.len() + value.map_or(0, Vec::len) + 64
}
