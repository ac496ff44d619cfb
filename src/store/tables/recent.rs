//! What was written lately and is not in the engine yet. The engine pays for each batch, however small, with two writes
//! of its own and the waking of a pool of threads; so batches gather here, seen by every reader, and go to it together.
//! A crash loses no more than it loses of the engine's rows before they are synced: they are a cache of the log's truth.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use super::TablesError;
use crate::state::rows::Batch;

/// Rows that gather; with more of them, or of their bytes, the writer waits until they are in the engine.
const ROWS_MAX: usize = 2_000;
const BYTES_MAX: usize = 1 << 20;
/// What gathered goes into the engine after this at the latest.
const AGE_MAX: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub struct Recent {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since the last went: what readers look at first.
    newest: Batch,
    newest_bytes: usize,
    /// When the first of `newest` came.
    since: Option<Instant>,
    /// On its way into the engine: what readers look at next.
    leaving: Arc<Batch>,
    /// Nothing gathers: who writes is to ask the writer itself.
    through: bool,
    /// What gathered could not be written: nothing more is taken.
    failed: Option<TablesError>,
}

/// What became of a batch.
pub enum Taken {
    /// It is the first: the writer must learn when it is due.
    First,
    Gathered,
    /// It gathered, and there is no room for more.
    Full,
    /// It did not.
    Through(Batch),
}

impl Recent {
    pub fn take_in(&self, batch: Batch) -> Result<Taken, TablesError> {
        let mut state = self.write();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if state.through {
            return Ok(Taken::Through(batch));
        }
        let first = state.newest.is_empty();
        for (key, value) in batch {
            state.newest_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            state.newest.insert(key, value);
        }
        if state.newest.len() > ROWS_MAX || state.newest_bytes > BYTES_MAX {
            return Ok(Taken::Full);
        }
        if first && !state.newest.is_empty() {
            state.since = Some(Instant::now());
            return Ok(Taken::First);
        }
        Ok(Taken::Gathered)
    }

    /// From now on, whether writes go past here.
    pub fn set_through(&self, through: bool) {
        self.write().through = through;
    }

    /// The rows that could not be written, and the failure, go with the engine that they were for.
    pub fn begin_anew(&self) {
        let mut state = self.write();
        (state.leaving, state.failed, state.through) = (Arc::default(), None, false);
    }

    /// When what gathered is to go into the engine.
    pub fn due(&self) -> Option<Instant> {
        self.read().since.map(|since| since + AGE_MAX)
    }

    /// What is to go into the engine now; seen here until it [has left](Self::left).
    pub fn leave(&self) -> Arc<Batch> {
        let mut state = self.write();
        if state.leaving.is_empty() {
            state.leaving = Arc::new(std::mem::take(&mut state.newest));
            (state.newest_bytes, state.since) = (0, None);
        }
        state.leaving.clone()
    }

    pub fn left(&self, result: Result<(), TablesError>) {
        let mut state = self.write();
        match result {
            Ok(()) => state.leaving = Arc::default(),
            // What waits now is never due: the next who writes hears of it.
            Err(error) => (state.failed, state.since) = (Some(error), None),
        }
    }

    /// `Some(None)`: the row was deleted lately.
    pub fn get(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let state = self.read();
        state.newest.get(key).or_else(|| state.leaving.get(key)).cloned()
    }

    /// What changed with `from <= key < to`.
    pub fn between(&self, from: &[u8], to: &[u8]) -> Batch {
        let state = self.read();
        let within = |batch: &Batch| -> Batch {
            let rows =
                batch.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Excluded(to)));
            rows.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let mut rows = within(&state.leaving);
        rows.extend(within(&state.newest));
        rows
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("no holder of the recent rows panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("no holder of the recent rows panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: u8, value: Option<u8>) -> Batch {
        Batch::from([(vec![key], value.map(|value| vec![value]))])
    }

    #[test]
    fn rows_are_seen_until_they_are_in_the_engine_and_the_newest_counts() {
        let recent = Recent::default();
        assert!(recent.due().is_none());
        assert!(matches!(recent.take_in(one(1, Some(1))), Ok(Taken::First)));
        assert!(matches!(recent.take_in(one(2, None)), Ok(Taken::Gathered)));
        assert!(recent.due().is_some());
        assert_eq!(*recent.leave(), [one(1, Some(1)), one(2, None)].into_iter().flatten().collect());
        assert!(recent.due().is_none());
        assert_eq!(
            (recent.get(&[1]), recent.get(&[2]), recent.get(&[3])),
            (Some(Some(vec![1])), Some(None), None)
        );
        assert!(matches!(recent.take_in(one(1, Some(9))), Ok(Taken::First)));
        assert_eq!(recent.get(&[1]), Some(Some(vec![9])));
        assert_eq!(
            recent.between(&[1], &[3]),
            [one(1, Some(9)), one(2, None)].into_iter().flatten().collect()
        );
        recent.left(Ok(()));
        assert_eq!((recent.get(&[1]), recent.get(&[2])), (Some(Some(vec![9])), None));
    }

    #[test]
    fn what_gathers_is_bounded_and_may_be_turned_away() {
        let recent = Recent::default();
        let many = |count: usize| (0..count as u32).map(|key| (key.to_be_bytes().to_vec(), None)).collect();
        assert!(matches!(recent.take_in(many(ROWS_MAX)), Ok(Taken::First)));
        assert!(matches!(recent.take_in(many(ROWS_MAX + 1)), Ok(Taken::Full)));
        recent.leave();
        recent.left(Ok(()));
        let large = Batch::from([(vec![1], Some(vec![0; BYTES_MAX]))]);
        assert!(matches!(recent.take_in(large), Ok(Taken::Full)));
        recent.set_through(true);
        assert!(matches!(recent.take_in(one(1, None)), Ok(Taken::Through(batch)) if batch == one(1, None)));
    }

    #[test]
    fn nothing_is_taken_once_writing_failed_and_what_gathered_is_still_seen() {
        let recent = Recent::default();
        recent.take_in(one(1, Some(1))).unwrap();
        recent.leave();
        recent.left(Err(TablesError::Io("full".into())));
        assert!(recent.take_in(one(2, Some(2))).is_err());
        assert_eq!(recent.get(&[1]), Some(Some(vec![1])));
    }
}
