//! What is remembered of backups: the latest moment that one holds.

use super::names::invalid;
use super::transaction::{Stop, Transaction};
use crate::state::backups::{ID_BYTES_MAX, NoteBackup};
use crate::state::keys;
use crate::state::outcome::Outcome;
use crate::state::stored::LastBackupRow;

pub fn note(tx: &mut Transaction, made: &NoteBackup) -> Result<Outcome, Stop> {
    let NoteBackup { of, by, id } = made;
    if id.is_empty() || id.len() > ID_BYTES_MAX || id.contains(char::is_control) {
        return Err(invalid("id of a backup", id).into());
    }
    let known = tx.get::<LastBackupRow>(&keys::last_backup())?;
    if known.is_none_or(|known| known.of < *of) {
        tx.put(keys::last_backup(), &LastBackupRow { of: *of, by: *by, id: id.clone() })?;
    }
    Ok(Outcome::Done)
}
