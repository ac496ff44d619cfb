//! What backups lie in: what is called how, who may write, what a process that was killed left behind. It holds password hashes,
//! keys and mail: in a folder all of it is its owner's alone, in a bucket all is sealed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::location::Location;
use super::manifest::Manifest;
use super::pack::{self, Pack};
use super::rows::{RowsReader, RowsWriter};
use super::storage::{Hold, Storage, Workplace};
use super::{BackupError, hex};
use crate::cluster::copied::CaPems;
use crate::mail::ids::{BodyId, Timestamp};

const MANIFEST: (&str, &str) = ("backup-", ".json");
const ROWS: &str = "rows-";
const KEYS: &str = "keys-";
/// Manifests of one place.
pub const BACKUPS_MAX: usize = 100_000;
/// Bytes of a file of keys.
const KEYS_BYTES_MAX: u64 = 1 << 20;
/// Packs that are asked at the same time what is in them: a bucket is some round trips away for each.
const PACKS_AT_ONCE: usize = 8;

/// Backups that are read.
#[derive(Debug, Clone)]
pub struct Repository {
    storage: Storage,
}

/// The same, held by their only writer.
pub struct Writing {
    repository: Repository,
    hold: Hold,
}

impl Repository {
    pub fn open(location: &Location, workplace: Workplace) -> Result<Self, BackupError> {
        Self::over(Storage::new(location, workplace)?)
    }

    pub(super) fn over(storage: Storage) -> Result<Self, BackupError> {
        match storage.recognise()? {
            true => Ok(Self { storage }),
            false => Err(BackupError::Refused(format!(
                "{storage} holds no backups; name what was given to 'pollux backup create'"
            ))),
        }
    }

    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// All backups, oldest first. One that cannot be read stands there with the reason.
    pub fn backups(&self) -> Result<Vec<Result<Manifest, BackupError>>, BackupError> {
        let ids = self.ids()?;
        Ok(ids.iter().map(|id| Manifest::read(&self.storage, &manifest_name(id))).collect())
    }

    /// The one of that name; else the last at or before `at`; else the last.
    pub fn choose(&self, id: Option<&str>, at: Option<Timestamp>) -> Result<Manifest, BackupError> {
        let here = &self.storage;
        if let Some(id) = id {
            return match self.ids()?.contains(id) {
                true => Manifest::read(&self.storage, &manifest_name(id)),
                false => Err(BackupError::Refused(format!(
                    "there is no backup {id}; see 'pollux backup list {here}'"
                ))),
            };
        }
        let whole = self.backups()?.into_iter().collect::<Result<Vec<_>, _>>()?;
        let fits = |manifest: &Manifest| at.is_none_or(|at| manifest.at() <= at);
        whole.into_iter().rfind(fits).ok_or_else(|| {
            BackupError::Refused(format!(
                "there is no backup as old as that; see 'pollux backup list {here}'"
            ))
        })
    }

    /// The packs that are whole, ascending.
    pub fn packs(&self) -> Result<Vec<u32>, BackupError> {
        let numbers: BTreeSet<u32> = self.names()?.iter().filter_map(|name| pack::number_of(name)).collect();
        Ok(numbers.into_iter().collect())
    }

    /// The rows of a backup, from the first on.
    pub(super) fn rows(&self, manifest: &Manifest) -> Result<RowsReader, BackupError> {
        let written = manifest.written_rows();
        let written = written
            .ok_or_else(|| self.storage.damaged(&manifest_name(&manifest.id), "it names no digest"))?;
        RowsReader::open(self.storage.fetch(&rows_name(&manifest.id))?, written)
    }

    /// The CA of the cluster that was backed up.
    pub fn keys(&self, manifest: &Manifest) -> Result<CaPems, BackupError> {
        let name = keys_name(&manifest.id);
        let bytes = self.storage.read(&name, KEYS_BYTES_MAX)?;
        if hex(&blake3::hash(&bytes)) != manifest.keys_blake3 {
            return Err(self.storage.damaged(&name, "it is not what was written"));
        }
        let pems: [String; 2] =
            serde_json::from_slice(&bytes).map_err(|error| self.storage.damaged(&name, error))?;
        let [certificate, key] = pems;
        Ok(CaPems { certificate, key })
    }

    fn ids(&self) -> Result<BTreeSet<String>, BackupError> {
        let id = |name: &String| name.strip_prefix(MANIFEST.0)?.strip_suffix(MANIFEST.1).map(str::to_owned);
        Ok(self.names()?.iter().filter_map(id).collect())
    }

    fn names(&self) -> Result<Vec<String>, BackupError> {
        Ok(self.storage.files()?.into_iter().map(|file| file.name).collect())
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.storage.fmt(f)
    }
}

impl Writing {
    /// Makes the place one of backups where it is empty; clears away what an earlier try did not end.
    pub fn begin(location: &Location, workplace: Workplace) -> Result<Self, BackupError> {
        Self::over(Storage::new(location, workplace)?)
    }

    /// Of backups that are there.
    pub fn of(repository: Repository) -> Result<Self, BackupError> {
        Self::over(repository.storage)
    }

    pub(super) fn over(storage: Storage) -> Result<Self, BackupError> {
        let hold = storage.take()?;
        let writing = Self { repository: Repository { storage }, hold };
        writing.clear()?;
        Ok(writing)
    }

    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// That nobody else took the place over.
    pub(super) fn check(&self) -> Result<(), BackupError> {
        self.hold.check()
    }

    /// The first that no backup has, at or behind that of `id`'s moment.
    pub fn free_id(&self, at: Timestamp) -> Result<(String, Timestamp), BackupError> {
        let ids = self.repository.ids()?;
        if ids.len() >= BACKUPS_MAX {
            return Err(BackupError::Refused(format!(
                "{} holds {BACKUPS_MAX} backups; begin a new one",
                self.repository
            )));
        }
        let mut at = at;
        while ids.contains(&super::manifest::id_at(at)) {
            at = Timestamp(at.0 + 1);
        }
        Ok((super::manifest::id_at(at), at))
    }

    /// The ids of all bodies in whole packs, ascending: 32 octets of memory each, for as long as a backup is made.
    pub fn known_bodies(&self) -> Result<Vec<BodyId>, BackupError> {
        let (packs, next) = (self.repository.packs()?, AtomicUsize::new(0));
        let some = || -> Result<Vec<BodyId>, BackupError> {
            let mut known = Vec::new();
            while let Some(number) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                // One that cannot be read ends it for all.
                let bodies =
                    self.bodies_of(*number).inspect_err(|_| next.store(packs.len(), Ordering::Relaxed));
                known.extend(bodies?);
            }
            Ok(known)
        };
        let mut known = Vec::new();
        std::thread::scope(|scope| {
            let count = PACKS_AT_ONCE.min(packs.len());
            let readers: Vec<_> = (0..count).map(|_| scope.spawn(some)).collect();
            readers.into_iter().try_for_each(|reader| {
                known.extend(reader.join().expect("who reads a pack does not panic")?);
                Ok(())
            })
        })?;
        known.sort_unstable();
        known.dedup();
        Ok(known)
    }

    fn bodies_of(&self, number: u32) -> Result<impl Iterator<Item = BodyId>, BackupError> {
        let pack = Pack::open(&self.repository.storage, number).map_err(|error| match error {
            BackupError::Damaged(what) => BackupError::Damaged(format!(
                "{what}; move it away, and the next backup holds its messages anew"
            )),
            other => other,
        })?;
        Ok(pack.entries.into_iter().map(|entry| entry.id))
    }

    pub(super) fn begin_rows(&self, id: &str) -> Result<RowsWriter, BackupError> {
        RowsWriter::begin(self.repository.storage.begin(&rows_name(id))?)
    }

    /// Durable when it returns; gives its digest.
    pub(super) fn write_keys(&self, id: &str, ca: &CaPems) -> Result<String, BackupError> {
        let bytes = serde_json::to_vec(&[&ca.certificate, &ca.key]).expect("it consists of texts");
        self.repository.storage.write(&keys_name(id), &bytes)?;
        Ok(hex(&blake3::hash(&bytes)))
    }

    /// From then on the backup is there.
    pub(super) fn publish(&self, manifest: &Manifest) -> Result<(), BackupError> {
        self.check()?;
        manifest.write(&self.repository.storage, &manifest_name(&manifest.id))?;
        // Who took the place over in between may have cleared away what the backup consists of.
        self.check().inspect_err(|_| {
            let _ = self.repository.storage.remove(&manifest_name(&manifest.id));
        })
    }

    /// From then on it is not there, whatever of its files is.
    pub(super) fn unpublish(&self, id: &str) -> Result<(), BackupError> {
        self.check()?;
        self.repository.storage.remove(&manifest_name(id))
    }

    /// Removes what belongs to no backup: packs alone are kept, for the next backup is spared their messages.
    pub(super) fn clear(&self) -> Result<(), BackupError> {
        self.check()?;
        let ids = self.repository.ids()?;
        for name in self.repository.names()? {
            let of_none = |prefix: &str| name.strip_prefix(prefix).is_some_and(|id| !ids.contains(id));
            if of_none(ROWS) || of_none(KEYS) {
                self.repository.storage.remove(&name)?;
            }
        }
        Ok(())
    }
}

fn manifest_name(id: &str) -> String {
    format!("{}{id}{}", MANIFEST.0, MANIFEST.1)
}

fn rows_name(id: &str) -> String {
    format!("{ROWS}{id}")
}

fn keys_name(id: &str) -> String {
    format!("{KEYS}{id}")
}
