//! Where the files of backups lie: a folder, or a bucket of an object store. Files have flat names, are whole or not there, and
//! are never changed. Everything here blocks.
//!
//! A folder has them as they are; in a bucket, which is somebody else's, all are [sealed]. `object_store` ends here.

mod asking;
mod bucket;
mod folder;
mod hold;
pub mod sealed;
#[cfg(test)]
pub(super) mod tests;

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bucket::{Bucket, Remote};
use folder::Folder;
pub use hold::Hold;

use super::BackupError;
use super::location::{Access, Location};
use crate::clock::Clock;

/// What says that backups lie here.
const MARK: &str = "pollux-backups";

#[derive(Debug, Clone)]
pub enum Storage {
    Folder(Folder),
    Bucket(Arc<Bucket>),
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub name: String,
    /// As it lies there.
    pub bytes: u64,
}

/// What a bucket needs of this box.
pub struct Workplace {
    pub access: Option<Access>,
    /// Files on their way lie here, without a name: some 64 MiB, or the rows of a backup.
    pub spool: PathBuf,
    pub clock: Clock,
}

impl Storage {
    /// Asks nothing yet.
    pub fn new(location: &Location, workplace: Workplace) -> Result<Self, BackupError> {
        match location {
            Location::Folder(dir) => Ok(Self::Folder(Folder::new(dir))),
            Location::Bucket { bucket, prefix } => {
                let access = workplace.access.ok_or_else(|| {
                    BackupError::Refused(format!("{location}: neither its keys nor the passphrase are given"))
                })?;
                Ok(Self::Bucket(Arc::new(Bucket::new(
                    (bucket, prefix),
                    access,
                    workplace.spool,
                    workplace.clock,
                )?)))
            }
        }
    }

    /// Whether backups lie here. Nothing can be read before.
    pub fn recognise(&self) -> Result<bool, BackupError> {
        match self {
            Self::Folder(folder) => Ok(folder.is_marked()),
            Self::Bucket(bucket) => bucket.unlock(),
        }
    }

    /// Takes it for this process alone; makes a folder where none is. Refused where other things lie.
    pub fn take(&self) -> Result<Hold, BackupError> {
        match self {
            Self::Folder(folder) => folder.take(),
            Self::Bucket(bucket) => bucket.take(),
        }
    }

    /// All that lies here but locks.
    pub fn files(&self) -> Result<Vec<Stored>, BackupError> {
        match self {
            Self::Folder(folder) => folder.files(),
            Self::Bucket(bucket) => bucket.files(),
        }
    }

    /// A small file.
    pub fn read(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, BackupError> {
        let file = self.open(name)?;
        if file.length() > bytes_max {
            return Err(self.damaged(name, "it is too long"));
        }
        let mut bytes = vec![0; file.length() as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// A small file; durable when it returns.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        match self {
            Self::Folder(folder) => folder.write(name, bytes),
            Self::Bucket(bucket) => bucket.write(name, bytes),
        }
    }

    /// A large one.
    pub fn begin(&self, name: &str) -> Result<Draft, BackupError> {
        let file = match self {
            Self::Folder(folder) => folder.begin(name)?,
            Self::Bucket(bucket) => bucket.spooled()?,
        };
        Ok(Draft {
            storage: self.clone(),
            name: name.to_owned(),
            file: BufWriter::new(file),
            is_placed: false,
        })
    }

    /// To read a part of it.
    pub fn open(&self, name: &str) -> Result<Readable, BackupError> {
        let of = match self {
            Self::Folder(folder) => Of::Here(folder.open(name)?),
            Self::Bucket(bucket) => Of::There(Box::new(bucket.open(name)?)),
        };
        Readable::new(self, name, of)
    }

    /// To read all of it.
    pub fn fetch(&self, name: &str) -> Result<Readable, BackupError> {
        let file = match self {
            Self::Folder(folder) => folder.open(name)?,
            Self::Bucket(bucket) => bucket.fetch(name)?,
        };
        Readable::new(self, name, Of::Here(file))
    }

    /// Durable when it returns.
    pub fn remove(&self, name: &str) -> Result<(), BackupError> {
        match self {
            Self::Folder(folder) => folder.remove(name),
            Self::Bucket(bucket) => bucket.remove(name),
        }
    }

    /// For people.
    pub fn path(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.path(name).display().to_string(),
            Self::Bucket(bucket) => bucket.path(name),
        }
    }

    pub(super) fn damaged(&self, name: &str, what: impl std::fmt::Display) -> BackupError {
        BackupError::Damaged(format!("{}: {what}", self.path(name)))
    }
}

impl std::fmt::Display for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.dir().display()),
            Self::Bucket(bucket) => write!(f, "{bucket}"),
        }
    }
}

/// A file that is being written. Dropped before it is placed it is gone.
pub struct Draft {
    storage: Storage,
    name: String,
    file: BufWriter<File>,
    is_placed: bool,
}

impl Draft {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.file.write_all(bytes).map_err(|error| self.fault(&error))
    }

    /// Durable, under its name, when it returns.
    pub fn place(mut self) -> Result<(), BackupError> {
        self.file.flush().map_err(|error| self.fault(&error))?;
        match &self.storage {
            Storage::Folder(folder) => folder.place(&self.name, self.file.get_ref())?,
            Storage::Bucket(bucket) => {
                let mut file = self.file.get_ref();
                file.seek(SeekFrom::Start(0)).map_err(|error| self.fault(&error))?;
                bucket.upload(&self.name, file)?;
            }
        }
        self.is_placed = true;
        Ok(())
    }

    fn fault(&self, error: &io::Error) -> BackupError {
        match &self.storage {
            Storage::Folder(folder) => BackupError::at(folder.draft(&self.name).display(), error),
            Storage::Bucket(bucket) => bucket.spool_fault(error),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let (Storage::Folder(folder), false) = (&self.storage, self.is_placed) {
            folder.give_up(&self.name);
        }
    }
}

/// A file that is read.
pub struct Readable {
    of: Of,
    length: u64,
    path: String,
}

enum Of {
    Here(File),
    There(Box<Remote>),
}

impl Readable {
    fn new(storage: &Storage, name: &str, of: Of) -> Result<Self, BackupError> {
        let path = storage.path(name);
        let length = match &of {
            Of::Here(file) => file.metadata().map_err(|error| BackupError::at(&path, &error))?.len(),
            Of::There(remote) => remote.length(),
        };
        Ok(Self { of, length, path })
    }

    /// Octets.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// For people.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn read_exact_at(&self, into: &mut [u8], offset: u64) -> Result<(), BackupError> {
        let fits = offset.checked_add(into.len() as u64).is_some_and(|end| end <= self.length);
        match &self.of {
            _ if !fits => Err(BackupError::at(&self.path, &io::ErrorKind::UnexpectedEof.into())),
            Of::Here(file) => {
                file.read_exact_at(into, offset).map_err(|error| BackupError::at(&self.path, &error))
            }
            Of::There(remote) => remote.read_exact_at(into, offset),
        }
    }

    pub fn damaged(&self, what: impl std::fmt::Display) -> BackupError {
        BackupError::Damaged(format!("{}: {what}", self.path))
    }
}
