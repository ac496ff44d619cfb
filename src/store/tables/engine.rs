//! One sled database: rows with a version and a CRC, every call fenced, since sled panics on files it cannot read.

use std::fs::File;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use super::TablesError;
use crate::state::rows::Batch;
use crate::store::files;

/// Format of a stored row: this byte, CRC32 over key and value (little endian), value.
const ROW_VERSION: u8 = 1;
const ROW_HEADER_BYTES: usize = 5;
/// Together 5 s.
const LOCK_WAITS_MAX: u32 = 500;
const LOCK_WAIT: Duration = Duration::from_millis(10);
pub const KEY_BYTES_MAX: usize = 1 << 10;
pub const VALUE_BYTES_MAX: usize = 6 << 10;

/// A row as it is handed out.
pub type Row = (Vec<u8>, Vec<u8>);

/// Called for each row of a scan, with its key and value.
type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

pub struct Engine {
    db: sled::Db,
    /// sled's own flush is not durable on Linux; a sync through this handle is.
    db_file: File,
}

impl Engine {
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, TablesError> {
        files::create_dir_durably(dir).map_err(io_error)?;
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None)
            .print_profile_on_drop(false);
        let db = open_unlocked(&config)?;
        let db_file = File::open(dir.join("db")).map_err(io_error)?;
        files::sync_dir(dir).map_err(io_error)?;
        Ok(Self { db, db_file })
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, TablesError> {
        fenced(|| self.db.get(key))?.map(|stored| unwrap_row(key, &stored)).transpose()
    }

    /// Visits rows with `from <= key` (`< to`, if given) in key order until `visit` breaks.
    pub fn scan(&self, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), TablesError> {
        let mut rows = match to {
            Some(to) => fenced(|| Ok(self.db.range(from..to)))?,
            None => fenced(|| Ok(self.db.range(from..)))?,
        };
        while let Some((key, stored)) = fenced(|| rows.next().transpose())? {
            if visit(&key, &unwrap_row(&key, &stored)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    pub fn apply(&self, changes: &Batch) -> Result<(), TablesError> {
        // Of one row there is no half. A batch costs sled two writes to its file, each of which wakes all its threads.
        if let (Some((key, value)), 1) = (changes.first_key_value(), changes.len()) {
            return fenced(|| match value {
                Some(value) => self.db.insert(key, wrap_row(key, value)).map(drop),
                None => self.db.remove(key).map(drop),
            });
        }
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key.as_slice(), wrap_row(key, value)),
                None => batch.remove(key.as_slice()),
            }
        }
        fenced(|| self.db.apply_batch(batch))
    }

    /// The point of durability: sled writes its buffers, then the file is synced.
    pub fn sync(&self) -> Result<(), TablesError> {
        fenced(|| self.db.flush())?;
        files::sync_file(&self.db_file).map_err(io_error)
    }
}

/// After the last handle is dropped, sled's own threads may hold its lock file for a moment. The directory
/// above is ours alone, so whoever holds the lock is on its way out.
fn open_unlocked(config: &sled::Config) -> Result<sled::Db, TablesError> {
    let mut waits_left = LOCK_WAITS_MAX;
    loop {
        match fenced(|| config.open()) {
            Err(TablesError::Io(what)) if what.contains("could not acquire lock") && waits_left > 0 => {
                waits_left -= 1;
                std::thread::sleep(LOCK_WAIT);
            }
            opened => return opened,
        }
    }
}

/// Refuses what the engine was not measured with.
pub fn check_sizes(batch: &Batch) -> Result<(), TablesError> {
    for (key, value) in batch {
        let bytes = value.as_ref().map_or(0, Vec::len);
        if key.len() > KEY_BYTES_MAX || bytes > VALUE_BYTES_MAX {
            return Err(TablesError::TooLarge(format!("key of {} bytes, value of {bytes}", key.len())));
        }
    }
    Ok(())
}

fn wrap_row(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(ROW_HEADER_BYTES + value.len());
    stored.push(ROW_VERSION);
    stored.extend(row_crc(key, value).to_le_bytes());
    stored.extend_from_slice(value);
    stored
}

fn unwrap_row(key: &[u8], stored: &[u8]) -> Result<Vec<u8>, TablesError> {
    let value = match stored.split_first_chunk::<ROW_HEADER_BYTES>() {
        Some(([ROW_VERSION, crc @ ..], value)) if *crc == row_crc(key, value).to_le_bytes() => value,
        Some(_) | None => {
            return Err(TablesError::Damaged(format!("the row at {key:02x?} fails its checksum")));
        }
    };
    Ok(value.to_vec())
}

/// Covers the key, so that a value under a wrong key is found too.
fn row_crc(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(key.len() as u32).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

/// Turns sled's errors and panics into ours.
fn fenced<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, TablesError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(io_error(error)),
        Ok(Err(error)) => Err(TablesError::Damaged(error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(TablesError::Damaged(format!("sled panicked: {}", text.unwrap_or("no message"))))
        }
    }
}

pub fn io_error(error: std::io::Error) -> TablesError {
    TablesError::Io(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_refused_when_any_byte_of_it_or_its_key_changed() {
        let stored = wrap_row(b"key", b"value");
        assert_eq!(unwrap_row(b"key", &stored).unwrap(), b"value");
        assert!(unwrap_row(b"kez", &stored).is_err());
        for at in 0..stored.len() {
            let mut flipped = stored.clone();
            flipped[at] ^= 1;
            assert!(unwrap_row(b"key", &flipped).is_err(), "byte {at}");
            assert!(unwrap_row(b"key", &stored[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_panic_of_the_engine_is_damage() {
        let result: Result<(), _> = fenced(|| panic!("page table"));
        assert!(matches!(result, Err(TablesError::Damaged(what)) if what.contains("page table")));
    }
}
