//! The only rename and directory sync: files that are replaced whole or not at all, the lock that keeps
//! a second process out of a node's directory, and the space that is left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fs2::FileExt;

/// Files are replaced one at a time: they are few and small.
static REPLACING: Mutex<()> = Mutex::new(());

/// The lock file's name inside the locked directory.
pub const LOCK_NAME: &str = "lock";

/// Replaces `path` by a file holding `bytes`: after a crash there is the old file or the new one, whole.
/// Durable when it returns.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, |temporary| File::create(temporary))
}

/// The same for keys and the like: at no moment can anyone but the owner read it.
pub fn write_secret_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, |temporary| {
        let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(temporary)?;
        // One that a crash left behind kept its own mode.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        Ok(file)
    })
}

fn replace(path: &Path, bytes: &[u8], create: impl FnOnce(&Path) -> io::Result<File>) -> io::Result<()> {
    // Two writers of one path would share its temporary, and leave one's words with the other's end behind them.
    let _turn = REPLACING.lock().unwrap_or_else(PoisonError::into_inner);
    let temporary = temporary_beside(path)?;
    let written = create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        sync_file(&file)
    });
    if let Err(error) = written.and_then(|()| rename_durably(&temporary, path)) {
        // The half-written file would only take space on a disk that may be full.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(())
}

/// Renames and makes the new name durable. `from` and `to` are in the same directory or file system.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_dir(parent_of(to))?;
    if parent_of(from) != parent_of(to) {
        sync_dir(parent_of(from))?;
    }
    Ok(())
}

/// Makes the names in `dir` durable: files made, renamed or removed there.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a file's bytes and length durable (`fdatasync`, which includes a changed length).
pub fn sync_file(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Makes `dir` and its missing parents, each name durable.
pub fn create_dir_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = parent_of(dir);
    create_dir_durably(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(parent)
}

/// A file system's bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    /// What an unprivileged process may still write.
    pub free: u64,
}

/// Of the file system of `path`.
pub fn space(path: &Path) -> io::Result<Space> {
    let space = fs2::statvfs(path)?;
    Ok(Space { total: space.total_space(), free: space.available_space() })
}

/// Bytes that an unprivileged process may still write on the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    fs2::available_space(path)
}

/// Why a directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{} is in use by another pollux process; stop that one first", .0.display())]
    InUse(PathBuf),
    #[error("{} cannot be locked: {cause}", dir.display())]
    Io { dir: PathBuf, cause: io::Error },
}

/// Keeps every other process out of a directory for as long as it lives. The kernel lets go of it when
/// the process ends in whatever way.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Locks `dir`, making it first where it is missing.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let failed = |cause| LockError::Io { dir: dir.to_owned(), cause };
        create_dir_durably(dir).map_err(failed)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(LOCK_NAME))
            .map_err(failed)?;
        match file.try_lock_exclusive() {
            Ok(()) => Ok(Self { _file: file }),
            Err(error) if error.kind() == fs2::lock_contended_error().kind() => {
                Err(LockError::InUse(dir.to_owned()))
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// The directory that holds `path`; "" (a bare file name) means the current one.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ if path.has_root() => path,
        _ => Path::new("."),
    }
}

fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("a file needs a name"))?;
    let mut temporary = name.to_owned();
    temporary.push(".new");
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_temporary_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings");
        write_atomically(&path, b"first").unwrap();
        write_atomically(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_who_replace_a_file_at_once_leave_the_words_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings");
        let words = [vec![b'a'; 5_000], vec![b'b'; 70_000], vec![b'c'; 1]];
        std::thread::scope(|scope| {
            for words in &words {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| write_atomically(path, words).unwrap()));
            }
            for _ in 0..200 {
                let read = fs::read(&path).unwrap_or_else(|_| words[0].clone());
                assert!(words.contains(&read), "{} octets of several", read.len());
            }
        });
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings");
        // A directory in the way makes the rename fail after the bytes are written.
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"old").unwrap();
        assert!(write_atomically(&path, b"new").is_err());
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_is_its_owners_alone_whatever_lay_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        for left in [&path, &dir.path().join("key.new")] {
            fs::write(left, b"old").unwrap();
            fs::set_permissions(left, fs::Permissions::from_mode(0o644)).unwrap();
            write_secret_atomically(&path, b"secret").unwrap();
            assert_eq!((mode(), fs::read(&path).unwrap()), (0o600, b"secret".to_vec()));
        }
    }

    #[test]
    fn a_directory_is_locked_once_and_the_error_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let node = dir.path().join("a/b/node1");
        let lock = DirLock::acquire(&node).unwrap();
        let error = DirLock::acquire(&node).unwrap_err();
        assert!(matches!(error, LockError::InUse(_)));
        assert!(error.to_string().contains("a/b/node1"));
        drop(lock);
        DirLock::acquire(&node).unwrap();
    }

    #[test]
    fn the_space_that_is_left_is_known() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
        assert!(free_bytes(&dir.path().join("missing")).is_err());
    }
}
