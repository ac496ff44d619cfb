//! Applies one proposal to the rows. Total and deterministic.

pub mod overlay;

pub use overlay::Overlay;

use super::change::Change;
use super::command::Proposal;
use super::outcome::Outcome;
use super::rows::{Rows, RowsError};
use crate::mail::ids::LogIndex;

/// What one entry came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    pub outcome: Outcome,
    /// Empty for a repeat. May also tell of earlier deletions whose remains were swept on the way.
    pub changes: Vec<Change>,
}

/// Applies the entry at `index`: reads `rows` under `batch`, writes into `batch`.
///
/// Never panics for a command that decodes. Fails only when the rows cannot be read; `batch` is then
/// to be thrown away.
pub fn apply(
    rows: &dyn Rows,
    batch: &mut Overlay,
    index: LogIndex,
    proposal: &Proposal,
) -> Result<Applied, RowsError> {
    let _ = (rows, batch, index, proposal);
    unimplemented!("apply")
}
