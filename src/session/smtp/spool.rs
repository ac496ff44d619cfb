//! Where a mail waits until it is judged: its beginning in memory, the rest in a file that has no name.
//!
//! What is spooled is not acknowledged: a crash loses nothing that anybody was promised, and leaves nothing behind.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

/// Octets of one mail in memory.
const MEMORY_BYTES_MAX: usize = 64 * 1024;
/// Octets of all files of a node; beyond, mail is refused for now.
pub const SPOOL_BYTES_MAX: u64 = 4 << 30;
/// Octets read at a time.
const READ_BYTES: usize = 32 * 1024;

/// The spool of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Room>);

#[derive(Debug)]
struct Room {
    folder: PathBuf,
    bytes_max: u64,
    bytes: AtomicU64,
    files: AtomicU64,
}

/// A mail that waits. Dropped, it is gone.
#[derive(Debug)]
pub struct Spooled {
    room: Arc<Room>,
    memory: Vec<Bytes>,
    memory_bytes: usize,
    file: Option<File>,
    file_bytes: u64,
}

impl Spool {
    /// `folder` is made when it is needed first.
    pub fn new(folder: PathBuf, bytes_max: u64) -> Self {
        Self(Arc::new(Room { folder, bytes_max, bytes: AtomicU64::new(0), files: AtomicU64::new(0) }))
    }

    pub fn open(&self) -> Spooled {
        let room = Arc::clone(&self.0);
        Spooled { room, memory: Vec::new(), memory_bytes: 0, file: None, file_bytes: 0 }
    }
}

impl Spooled {
    pub async fn push(&mut self, bytes: Bytes) -> io::Result<()> {
        if self.file.is_none() && self.memory_bytes + bytes.len() <= MEMORY_BYTES_MAX {
            self.memory_bytes += bytes.len();
            self.memory.push(bytes);
            return Ok(());
        }
        let length = bytes.len() as u64;
        self.file_bytes += length;
        if self.room.bytes.fetch_add(length, Ordering::Relaxed) + length > self.room.bytes_max {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the spool is full"));
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(self.room.nameless_file().await?),
        };
        file.write_all(&bytes).await
    }

    /// From now on [`Spooled::next`] gives it back from its start.
    pub async fn rewind(&mut self) -> io::Result<()> {
        self.memory.reverse();
        if let Some(file) = &mut self.file {
            file.flush().await?;
            file.rewind().await?;
        }
        Ok(())
    }

    /// The next part; `None` at the end.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(bytes) = self.memory.pop() {
            return Ok(Some(bytes));
        }
        let Some(file) = &mut self.file else { return Ok(None) };
        let mut part = BytesMut::with_capacity(READ_BYTES);
        file.read_buf(&mut part).await?;
        Ok((!part.is_empty()).then(|| part.freeze()))
    }
}

impl Room {
    /// Gone from its folder before anything is in it.
    async fn nameless_file(&self) -> io::Result<File> {
        tokio::fs::create_dir_all(&self.folder).await?;
        loop {
            let number = self.files.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(format!("{}.{number}", std::process::id()));
            let opened = File::options().read(true).write(true).create_new(true).open(&path).await;
            match opened {
                Ok(file) => {
                    tokio::fs::remove_file(&path).await?;
                    return Ok(file);
                }
                // Of a life of this node that ended in between.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    tokio::fs::remove_file(&path).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        self.room.bytes.fetch_sub(self.file_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(spooled: &mut Spooled) -> Vec<u8> {
        spooled.rewind().await.unwrap();
        let mut all = Vec::new();
        while let Some(part) = spooled.next().await.unwrap() {
            all.extend_from_slice(&part);
        }
        all
    }

    fn part(byte: u8, length: usize) -> Bytes {
        Bytes::from(vec![byte; length])
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_and_a_small_mail_needs_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().join("spool"), SPOOL_BYTES_MAX);
        let mut small = spool.open();
        small.push(part(1, MEMORY_BYTES_MAX - 1)).await.unwrap();
        small.push(part(2, 1)).await.unwrap();
        assert!(!folder.path().join("spool").exists());
        assert_eq!(all(&mut small).await, [vec![1; MEMORY_BYTES_MAX - 1], vec![2]].concat());
        let mut large = spool.open();
        let lengths = [MEMORY_BYTES_MAX, 1, READ_BYTES * 3 + 5, 7];
        for (at, length) in lengths.into_iter().enumerate() {
            large.push(part(at as u8, length)).await.unwrap();
        }
        let whole: Vec<u8> = (0..4).flat_map(|at| vec![at as u8; lengths[at]]).collect();
        assert_eq!(all(&mut large).await, whole);
        let left = std::fs::read_dir(folder.path().join("spool")).unwrap().count();
        assert_eq!(left, 0, "no file has a name");
    }

    #[tokio::test]
    async fn the_files_of_a_node_are_bounded_together_and_room_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().to_owned(), 200_000);
        let (mut one, mut other) = (spool.open(), spool.open());
        one.push(part(1, 150_000)).await.unwrap();
        other.push(part(2, 50_000)).await.unwrap();
        other.push(part(2, 50_000)).await.unwrap();
        let full = other.push(part(2, 1)).await.unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        drop(one);
        drop(other);
        spool.open().push(part(3, 200_000)).await.unwrap();
    }
}
