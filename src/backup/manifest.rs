//! What a backup is: one file, written last. Where it is, the backup is whole.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::rows::Written;
use super::storage::Storage;
use super::{BackupError, hex};
use crate::cluster::copied::Position;
use crate::mail::ids::Timestamp;

/// Raised when what lies in the folder changes its meaning.
pub const FORMAT: u32 = 1;
/// Bytes of one file; a longer one is none of ours.
const BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// The time in UTC; in order of time.
    pub id: String,
    /// Of the moment that it shows, ms since 1970.
    pub at_ms: u64,
    pub cluster: String,
    pub node: String,
    /// The build that made it.
    pub build: String,
    /// The last entry that it holds.
    pub term: u64,
    pub index: u64,
    pub rows: u64,
    /// BLAKE3 of the file of rows without its last 32 octets.
    pub rows_blake3: String,
    /// BLAKE3 of the file of keys.
    pub keys_blake3: String,
    pub users: u64,
    pub messages: u64,
    /// Bodies that its rows name, and those that were new in the folder.
    pub bodies: u64,
    pub bodies_added: u64,
    pub bytes_added: u64,
    /// Named, and on no node any longer.
    pub bodies_lost: Vec<String>,
    /// The packs that there were.
    pub packs: Vec<u32>,
}

impl Manifest {
    pub fn at(&self) -> Timestamp {
        Timestamp(self.at_ms)
    }

    pub fn position(&self) -> Position {
        Position { term: self.term, index: self.index }
    }

    /// `None`: it names no digest.
    pub(super) fn written_rows(&self) -> Option<Written> {
        Some(Written { rows: self.rows, digest: blake3::Hash::from_hex(&self.rows_blake3).ok()? })
    }

    /// Durable, under its name, when it returns.
    pub(super) fn write(&self, storage: &Storage, name: &str) -> Result<(), BackupError> {
        let json = serde_json::to_string(self).expect("it consists of numbers and texts");
        let text = format!("{json}\n{}\n", hex(&blake3::hash(json.as_bytes())));
        storage.write(name, text.as_bytes())
    }

    pub fn read(storage: &Storage, name: &str) -> Result<Self, BackupError> {
        let text = storage.read(name, BYTES_MAX)?;
        let text = String::from_utf8(text).map_err(|_| storage.damaged(name, "it is no text"))?;
        let lines = text.strip_suffix('\n').and_then(|text| text.split_once('\n'));
        let sound = lines.filter(|(json, digest)| hex(&blake3::hash(json.as_bytes())) == *digest);
        let (json, _) = sound.ok_or_else(|| storage.damaged(name, "it is not what was written"))?;
        let manifest: Self = serde_json::from_str(json).map_err(|error| storage.damaged(name, error))?;
        match manifest.format {
            FORMAT => Ok(manifest),
            other => Err(BackupError::Refused(format!(
                "{}: it has format {other}, and this build reads {FORMAT}: use a newer pollux",
                storage.path(name)
            ))),
        }
    }
}

/// What a backup of that moment is called: `20261127T133742.123Z`.
pub fn id_at(at: Timestamp) -> String {
    let moment: DateTime<Utc> = DateTime::from_timestamp_millis(at.0 as i64).unwrap_or_default();
    moment.format("%Y%m%dT%H%M%S%.3fZ").to_string()
}
