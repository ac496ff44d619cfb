//! Backups: an exact copy of everything in a folder or a bucket, and the way back from there. A backup is there whole or not at
//! all, and one that is there is never changed, only removed.
//!
//! [`repository`] is what holds them, at a [`location`] and in its [`storage`]; `pack`, `rows` and [`manifest`] are what lies
//! there; [`create`], [`verify`], [`restore`] and [`remove`] are what is done with it. [`renew`] (pure) says what becomes of
//! rows in another cluster.

pub mod create;
pub mod location;
pub mod mailboxes;
pub mod manifest;
mod pack;
pub mod progress;
pub mod remove;
pub mod renew;
pub mod repository;
pub mod restore;
mod rows;
pub mod storage;
#[cfg(test)]
mod tests;
pub mod verify;

use std::fmt::Display;
use std::io;

use crate::state::rows::RowsError;

/// Why it was not done; one line that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// As it was asked it cannot be done.
    #[error("{0}")]
    Refused(String),
    /// A disk or the cluster does not take part now; later they may.
    #[error("{0}")]
    Unavailable(String),
    /// What was written once is not what it was.
    #[error("{0}")]
    Damaged(String),
}

impl BackupError {
    fn at(path: impl Display, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Unavailable(format!(
                "{path}: the disk is full; free space there or choose another folder (the backups before are whole)"
            )),
            io::ErrorKind::UnexpectedEof => Self::Damaged(format!("{path}: it is cut short")),
            _ => Self::Unavailable(format!("{path}: {error}")),
        }
    }

    fn in_use(place: impl Display) -> Self {
        Self::Unavailable(format!("{place} is being written to by another backup; wait until that is done"))
    }
}

fn rows_error(error: RowsError) -> BackupError {
    BackupError::Damaged(format!("a row of the backup cannot be read: {error}"))
}

/// So many hexadecimal digits say what a file is.
fn hex(digest: &blake3::Hash) -> String {
    digest.to_hex().to_string()
}
