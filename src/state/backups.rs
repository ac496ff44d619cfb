//! That a backup was made, and of when: known to both nodes, so that either tells when the last one is too old.

use bincode::{Decode, Encode};

use super::keys;
use super::reading::get;
use super::rows::{Rows, RowsError};
use super::stored::LastBackupRow;
use crate::mail::ids::{NodeId, Timestamp};

/// Octets of a backup's id.
pub const ID_BYTES_MAX: usize = 64;

/// A backup is whole in its folder.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NoteBackup {
    /// The moment that it holds, by the clock of the node that made it.
    pub of: Timestamp,
    pub by: NodeId,
    /// As `pollux backup list` names it.
    pub id: String,
}

/// The one that holds the latest moment. `None`: none was made, or by builds that did not note it.
pub fn last_backup(rows: &dyn Rows) -> Result<Option<NoteBackup>, RowsError> {
    let row = get::<LastBackupRow>(rows, &keys::last_backup())?;
    Ok(row.map(|LastBackupRow { of, by, id }| NoteBackup { of, by, id }))
}
