//! Backups in a folder of this box: the files as they are, their owner's alone.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Hold, MARK, Stored};
use crate::backup::BackupError;
use crate::store::files::{self, DirLock, LockError};

const MARK_TEXT: &str = "This folder holds backups of a Pollux mail server, with its keys and password hashes: keep it as safe as the\n\
                         server itself. See 'pollux backup list'. Nothing here is to be changed by hand.\n";

#[derive(Debug, Clone)]
pub struct Folder {
    dir: PathBuf,
}

impl Folder {
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Where a file lies that is being written.
    pub fn draft(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.part"))
    }

    pub fn is_marked(&self) -> bool {
        self.path(MARK).is_file()
    }

    pub fn take(&self) -> Result<Hold, BackupError> {
        let dir = &self.dir;
        let fault = |error: std::io::Error| BackupError::at(dir.display(), &error);
        let is_strange = || -> Result<bool, BackupError> {
            Ok(fs::read_dir(dir).map_err(fault)?.flatten().any(|entry| is_foreign(&entry)))
        };
        if dir.exists() && !self.is_marked() && is_strange()? {
            return Err(BackupError::Refused(format!(
                "{} is not empty and holds no backups; name an empty folder, or one that is not there yet",
                dir.display()
            )));
        }
        files::create_dir_durably(dir).map_err(fault)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(fault)?;
        let lock = DirLock::acquire(dir).map_err(|error| match error {
            LockError::InUse(_) => BackupError::in_use(dir.display()),
            LockError::Io { cause, .. } => BackupError::at(dir.display(), &cause),
        })?;
        self.write(MARK, MARK_TEXT.as_bytes())?;
        self.clear_drafts()?;
        Ok(Hold::Folder(lock))
    }

    pub fn files(&self) -> Result<Vec<Stored>, BackupError> {
        let fault = |error: std::io::Error| BackupError::at(self.dir.display(), &error);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name != files::LOCK_NAME {
                files.push(Stored { name, bytes: entry.metadata().map_err(fault)?.len() });
            }
        }
        Ok(files)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let path = self.path(name);
        files::write_secret_atomically(&path, bytes).map_err(|error| BackupError::at(path.display(), &error))
    }

    pub fn begin(&self, name: &str) -> Result<File, BackupError> {
        let path = self.draft(name);
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        opened.map_err(|error| BackupError::at(path.display(), &error))
    }

    pub fn place(&self, name: &str, file: &File) -> Result<(), BackupError> {
        let path = self.draft(name);
        let placed = files::sync_file(file).and_then(|()| files::rename_durably(&path, &self.path(name)));
        placed.map_err(|error| BackupError::at(path.display(), &error))
    }

    pub fn give_up(&self, name: &str) {
        let _ = fs::remove_file(self.draft(name));
    }

    pub fn open(&self, name: &str) -> Result<File, BackupError> {
        let path = self.path(name);
        File::open(&path).map_err(|error| BackupError::at(path.display(), &error))
    }

    pub fn remove(&self, name: &str) -> Result<(), BackupError> {
        let path = self.path(name);
        let removed = fs::remove_file(&path).and_then(|()| files::sync_dir(&self.dir));
        removed.map_err(|error| BackupError::at(path.display(), &error))
    }

    /// What a process left that was killed while it wrote.
    fn clear_drafts(&self) -> Result<(), BackupError> {
        for Stored { name, .. } in self.files()? {
            let is_ours = ["pack-", "rows-", "keys-", "backup-", MARK].iter().any(|it| name.starts_with(it));
            if is_ours && (name.ends_with(".part") || name.ends_with(".new")) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }
}

/// What stands in the way of a new folder of backups: not what a try that was cut short left, nor a disk's own.
fn is_foreign(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    ![files::LOCK_NAME, "lost+found", "pollux-backups.new"].iter().any(|ours| name == *ours)
}
