//! One entry's access to the rows: typed reads and writes, changes for the feed, and the way back.

use std::ops::ControlFlow;

use super::overlay::Overlay;
use crate::mail::ids::{LogIndex, Timestamp};
use crate::state::change::Change;
use crate::state::codec::{self, Record};
use crate::state::keys::{self, Span};
use crate::state::outcome::Refusal;
use crate::state::rows::{Rows, RowsError};
use crate::state::stored::MetaRow;

/// Why a command ends early.
#[derive(Debug)]
pub(super) enum Stop {
    Refused(Refusal),
    Rows(RowsError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl From<RowsError> for Stop {
    fn from(error: RowsError) -> Self {
        Stop::Rows(error)
    }
}

/// A row of [`Transaction::first`]: its key, and what it holds.
pub(super) type Found<R> = (Vec<u8>, R);

pub(super) struct Transaction<'a> {
    rows: &'a dyn Rows,
    batch: &'a mut Overlay,
    pub index: LogIndex,
    pub at: Timestamp,
    /// Written back by [`Transaction::commit`].
    pub meta: MetaRow,
    pub changes: Vec<Change>,
}

impl<'a> Transaction<'a> {
    pub fn begin(
        rows: &'a dyn Rows,
        batch: &'a mut Overlay,
        index: LogIndex,
        at: Timestamp,
    ) -> Result<Self, RowsError> {
        batch.begin();
        let mut tx = Self { rows, batch, index, at, meta: MetaRow::default(), changes: Vec::new() };
        tx.meta = tx.get(&keys::meta())?.unwrap_or_default();
        Ok(tx)
    }

    /// Runs `work`; if it does not succeed, nothing that it did remains.
    pub fn attempt<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        let mark = self.batch.mark();
        let meta = self.meta.clone();
        let changes = self.changes.len();
        let result = work(self);
        if result.is_err() {
            self.batch.undo_to(mark);
            self.meta = meta;
            self.changes.truncate(changes);
        }
        result
    }

    pub fn commit(mut self) -> Result<Vec<Change>, RowsError> {
        let meta = self.meta.clone();
        self.put(keys::meta(), &meta)?;
        Ok(self.changes)
    }

    pub fn get<R: Record>(&self, key: &[u8]) -> Result<Option<R>, RowsError> {
        match self.batch.get(self.rows, key)? {
            Some(bytes) => codec::decode_row(key, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Apply bounds what it puts in rows, so that a row too large to encode is damage or a bug.
    pub fn put<R: Record>(&mut self, key: Vec<u8>, row: &R) -> Result<(), RowsError> {
        let bytes = codec::encode_row(&key, row)?;
        self.batch.put(key, bytes);
        Ok(())
    }

    pub fn delete(&mut self, key: Vec<u8>) {
        self.batch.delete(key);
    }

    /// The first `count_max` rows of `span`.
    pub fn first<R: Record>(&self, span: &Span, count_max: usize) -> Result<Vec<Found<R>>, RowsError> {
        let mut found = Vec::new();
        self.visit(span, |key, row| {
            found.push((key.to_vec(), row));
            if found.len() < count_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(found)
    }

    /// Visits the rows of `span` in key order until `look` breaks.
    pub fn visit<R: Record>(
        &self,
        span: &Span,
        mut look: impl FnMut(&[u8], R) -> ControlFlow<()>,
    ) -> Result<(), RowsError> {
        let mut failed = None;
        self.batch.scan(self.rows, &span.from, &span.to, &mut |key, bytes| match codec::decode_row(
            key, bytes,
        ) {
            Ok(row) => look(key, row),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }
}
