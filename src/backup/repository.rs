//! A folder of backups: what lies where, who may write, what a process that was killed left behind. It holds password
//! hashes, keys and mail: all of it is its owner's alone.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::pack;
use super::{BackupError, hex};
use crate::cluster::copied::CaPems;
use crate::mail::ids::{BodyId, Timestamp};
use crate::store::files::{self, DirLock, LockError};

/// A folder with this file is one of backups.
const MARK: &str = "pollux-backups";
const MARK_TEXT: &str = "This folder holds backups of a Pollux mail server, with its keys and password hashes: keep it as safe as the\n\
                         server itself. See 'pollux backup list'. Nothing here is to be changed by hand.\n";
const MANIFEST: (&str, &str) = ("backup-", ".json");
/// Manifests of one folder.
pub const BACKUPS_MAX: usize = 100_000;
/// Bytes of a file of keys.
const KEYS_BYTES_MAX: u64 = 1 << 20;

/// A folder of backups that is read.
#[derive(Debug, Clone)]
pub struct Repository {
    dir: PathBuf,
}

/// The same, held by its only writer.
pub struct Writing {
    repository: Repository,
    _lock: DirLock,
}

impl Repository {
    pub fn open(dir: &Path) -> Result<Self, BackupError> {
        match dir.join(MARK).is_file() {
            true => Ok(Self { dir: dir.to_owned() }),
            false => Err(BackupError::Refused(format!(
                "{} holds no backups; name the folder that was given to 'pollux backup create'",
                dir.display()
            ))),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All backups, oldest first. One that cannot be read stands there with the reason.
    pub fn backups(&self) -> Result<Vec<Result<Manifest, BackupError>>, BackupError> {
        let ids = self.ids()?;
        Ok(ids.iter().map(|id| Manifest::read(&self.manifest_path(id))).collect())
    }

    /// The one of that name; else the last at or before `at`; else the last.
    pub fn choose(&self, id: Option<&str>, at: Option<Timestamp>) -> Result<Manifest, BackupError> {
        let here = self.dir.display();
        if let Some(id) = id {
            return match self.ids()?.contains(id) {
                true => Manifest::read(&self.manifest_path(id)),
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

    pub fn rows_path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("rows-{id}"))
    }

    /// The CA of the cluster that was backed up.
    pub fn keys(&self, manifest: &Manifest) -> Result<CaPems, BackupError> {
        let path = self.keys_path(&manifest.id);
        let fault = |error: std::io::Error| BackupError::at(&path, &error);
        if fs::metadata(&path).map_err(fault)?.len() > KEYS_BYTES_MAX {
            return Err(BackupError::damaged(&path, "it is too long"));
        }
        let bytes = fs::read(&path).map_err(fault)?;
        if hex(&blake3::hash(&bytes)) != manifest.keys_blake3 {
            return Err(BackupError::damaged(&path, "it is not what was written"));
        }
        let pems: [String; 2] =
            serde_json::from_slice(&bytes).map_err(|error| BackupError::damaged(&path, error))?;
        let [certificate, key] = pems;
        Ok(CaPems { certificate, key })
    }

    fn ids(&self) -> Result<BTreeSet<String>, BackupError> {
        let id = |name: &String| name.strip_prefix(MANIFEST.0)?.strip_suffix(MANIFEST.1).map(str::to_owned);
        Ok(self.names()?.iter().filter_map(id).collect())
    }

    fn names(&self) -> Result<Vec<String>, BackupError> {
        let fault = |error: std::io::Error| BackupError::at(&self.dir, &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(fault)? {
            names.extend(entry.map_err(fault)?.file_name().into_string());
        }
        Ok(names)
    }

    fn manifest_path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{}{id}{}", MANIFEST.0, MANIFEST.1))
    }

    fn keys_path(&self, id: &str) -> PathBuf {
        self.dir.join(format!("keys-{id}"))
    }
}

impl Writing {
    /// Makes the folder where it is missing; clears away what an earlier try did not end.
    pub fn begin(dir: &Path) -> Result<Self, BackupError> {
        let fault = |error: std::io::Error| BackupError::at(dir, &error);
        let mark = dir.join(MARK);
        if dir.exists()
            && !mark.is_file()
            && fs::read_dir(dir).map_err(fault)?.flatten().any(|it| is_foreign(&it))
        {
            return Err(BackupError::Refused(format!(
                "{} is not empty and holds no backups; name an empty folder, or one that is not there yet",
                dir.display()
            )));
        }
        files::create_dir_durably(dir).map_err(fault)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(fault)?;
        let lock = DirLock::acquire(dir).map_err(|error| match error {
            LockError::InUse(_) => BackupError::Unavailable(format!(
                "{} is being written to by another backup; wait until that is done",
                dir.display()
            )),
            LockError::Io { cause, .. } => BackupError::at(dir, &cause),
        })?;
        files::write_secret_atomically(&mark, MARK_TEXT.as_bytes())
            .map_err(|error| BackupError::at(&mark, &error))?;
        let writing = Self { repository: Repository { dir: dir.to_owned() }, _lock: lock };
        writing.clear()?;
        Ok(writing)
    }

    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The first that no backup has, at or behind that of `id`'s moment.
    pub fn free_id(&self, at: Timestamp) -> Result<(String, Timestamp), BackupError> {
        let ids = self.repository.ids()?;
        if ids.len() >= BACKUPS_MAX {
            return Err(BackupError::Refused(format!(
                "{} holds {BACKUPS_MAX} backups; begin a new folder",
                self.repository.dir.display()
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
        let mut known = Vec::new();
        for number in self.repository.packs()? {
            let pack = pack::Pack::open(&self.repository.dir, number).map_err(|error| match error {
                BackupError::Damaged(what) => BackupError::Damaged(format!(
                    "{what}; move it out of the folder, and the next backup holds its messages anew"
                )),
                other => other,
            })?;
            known.extend(pack.entries.iter().map(|entry| entry.id));
        }
        known.sort_unstable();
        known.dedup();
        Ok(known)
    }

    /// Durable when it returns; gives its digest.
    pub(super) fn write_keys(&self, id: &str, ca: &CaPems) -> Result<String, BackupError> {
        let bytes = serde_json::to_vec(&[&ca.certificate, &ca.key]).expect("it consists of texts");
        let path = self.repository.keys_path(id);
        files::write_secret_atomically(&path, &bytes).map_err(|error| BackupError::at(&path, &error))?;
        Ok(hex(&blake3::hash(&bytes)))
    }

    /// From then on the backup is there.
    pub(super) fn publish(&self, manifest: &Manifest) -> Result<(), BackupError> {
        // The names of rows and keys before that which says they are there.
        let dir = &self.repository.dir;
        files::sync_dir(dir).map_err(|error| BackupError::at(dir, &error))?;
        manifest.write(&self.repository.manifest_path(&manifest.id))
    }

    /// From then on it is not there, whatever of its files is.
    pub(super) fn unpublish(&self, id: &str) -> Result<(), BackupError> {
        let path = self.repository.manifest_path(id);
        let removed = fs::remove_file(&path).and_then(|()| files::sync_dir(&self.repository.dir));
        removed.map_err(|error| BackupError::at(&path, &error))
    }

    /// Removes what belongs to no backup: packs alone are kept, for the next backup is spared their messages.
    pub(super) fn clear(&self) -> Result<(), BackupError> {
        let ids = self.repository.ids()?;
        for name in self.repository.names()? {
            let of_none = |prefix: &str| name.strip_prefix(prefix).is_some_and(|id| !ids.contains(id));
            let ours = ["pack-", "rows-", "keys-", "backup-", MARK].iter().any(|it| name.starts_with(it));
            let unfinished = ours && (name.ends_with(".part") || name.ends_with(".new"));
            if unfinished || of_none("rows-") || of_none("keys-") {
                let path = self.repository.dir.join(&name);
                fs::remove_file(&path).map_err(|error| BackupError::at(&path, &error))?;
            }
        }
        Ok(())
    }
}

/// What stands in the way of a new folder of backups: not what a try that was cut short left, nor a disk's own.
fn is_foreign(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    !["lock", "lost+found", "pollux-backups.new"].iter().any(|ours| name == *ours)
}
