//! Files on their way up and down, sealed a chunk at a time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::{Error as StoreError, GetOptions, GetRange, ObjectStoreExt, PutPayload};

use super::Bucket;
use crate::backup::BackupError;
use crate::backup::storage::sealed::{CHUNK_BYTES, FileKey, HEAD_BYTES, Layout, SEALED_CHUNK_BYTES};

/// What goes up at once. Stores want 5 MiB or more of each part but the last, and at most 10,000 parts.
const PART_BYTES: usize = 8 << 20;

/// A file that is read where it lies.
pub struct Remote {
    bucket: Arc<Bucket>,
    name: String,
    key: FileKey,
    layout: Layout,
}

impl Bucket {
    /// All of `from`; there when it returns.
    pub fn upload(&self, name: &str, from: &File) -> Result<(), BackupError> {
        let length = from.metadata().map_err(|error| self.spool_fault(&error))?.len();
        let mut sealing = Sealing::new(self, name, from, length);
        let first = sealing.part()?;
        if sealing.is_over() {
            return self.put(name, first);
        }
        let (store, at) = (Arc::clone(&self.store), self.at(name));
        let begun = self.wait(async move { store.put_multipart(&at).await });
        let mut upload = begun.map_err(|error| self.fault(name, &error))?;
        let mut part = Ok(first);
        loop {
            let outcome;
            let is_over = sealing.is_over();
            (upload, outcome) = match part {
                Ok(bytes) => self.wait(async move {
                    let mut done = upload.put_part(PutPayload::from(bytes)).await;
                    if done.is_ok() && is_over {
                        done = upload.complete().await.map(drop);
                    }
                    (upload, done.map_err(Stopped::Store))
                }),
                Err(error) => (upload, Err(Stopped::Here(error))),
            };
            match outcome {
                Ok(()) if is_over => return Ok(()),
                Ok(()) => part = sealing.part(),
                Err(stopped) => {
                    // Parts of what is given up take space there, which is paid for.
                    let _ = self.wait(async move { upload.abort().await });
                    return Err(match stopped {
                        Stopped::Store(error) => self.fault(name, &error),
                        Stopped::Here(error) => error,
                    });
                }
            }
        }
    }

    pub fn open(self: &Arc<Self>, name: &str) -> Result<Remote, BackupError> {
        let (store, at) = (Arc::clone(&self.store), self.at(name));
        let head =
            GetOptions { range: Some(GetRange::Bounded(0..HEAD_BYTES as u64)), ..GetOptions::default() };
        let read = self.wait(async move {
            let found = store.get_opts(&at, head).await?;
            let size = found.meta.size;
            Ok((found.bytes().await?, size))
        });
        let (head, size) = read.map_err(|error| self.fault(name, &error))?;
        let (key, layout) = self.opened(name, &head, size)?;
        Ok(Remote { bucket: Arc::clone(self), name: name.to_owned(), key, layout })
    }

    /// All of it, in a file without a name.
    pub fn fetch(&self, name: &str) -> Result<File, BackupError> {
        let mut file = self.spooled()?;
        let (store, at) = (Arc::clone(&self.store), self.at(name));
        let begun = self.wait(async move {
            let found = store.get(&at).await?;
            Ok((found.meta.size, found.into_stream()))
        });
        let (size, mut stream) = begun.map_err(|error| self.fault(name, &error))?;
        let (mut held, mut opening, mut number) = (Vec::new(), None, 0);
        loop {
            let piece: Option<Result<Bytes, StoreError>>;
            (stream, piece) = self.wait(async move {
                let piece = stream.next().await;
                (stream, piece)
            });
            let is_end = piece.is_none();
            if let Some(piece) = piece {
                held.extend_from_slice(&piece.map_err(|error| self.fault(name, &error))?);
            }
            if opening.is_none() && held.len() >= HEAD_BYTES {
                let rest = held.split_off(HEAD_BYTES);
                opening = Some(self.opened(name, &held, size)?);
                held = rest;
            }
            while let Some((key, layout)) = opening.as_ref().filter(|(_, layout)| number < layout.chunks) {
                let place = layout.place(number);
                let length = (place.end - place.start) as usize;
                if held.len() < length {
                    break;
                }
                let rest = held.split_off(length);
                let chunk = key.open(number, layout.is_last(number), std::mem::replace(&mut held, rest));
                let chunk = chunk.ok_or_else(|| self.changed(name))?;
                file.write_all(&chunk).map_err(|error| self.spool_fault(&error))?;
                number += 1;
            }
            if is_end {
                let is_whole =
                    held.is_empty() && opening.as_ref().is_some_and(|(_, layout)| number == layout.chunks);
                file.seek(SeekFrom::Start(0)).map_err(|error| self.spool_fault(&error))?;
                return if is_whole { Ok(file) } else { Err(self.changed(name)) };
            }
        }
    }
}

impl Remote {
    /// Octets inside.
    pub fn length(&self) -> u64 {
        self.layout.length
    }

    /// What is asked for lies within the length.
    pub fn read_exact_at(&self, into: &mut [u8], offset: u64) -> Result<(), BackupError> {
        if into.is_empty() {
            return Ok(());
        }
        let (first, last) =
            (offset / CHUNK_BYTES as u64, (offset + into.len() as u64 - 1) / CHUNK_BYTES as u64);
        let range = self.layout.place(first).start..self.layout.place(last).end;
        let expected = range.end - range.start;
        let (store, at) = (self.bucket.store(), self.bucket.at(&self.name));
        let read = self.bucket.wait(async move { store.get_range(&at, range).await });
        let sealed = read.map_err(|error| self.bucket.fault(&self.name, &error))?;
        let mut inside = Vec::with_capacity(sealed.len());
        for (number, chunk) in (first..).zip(sealed.chunks(SEALED_CHUNK_BYTES)) {
            let opened = self.key.open(number, self.layout.is_last(number), chunk.to_vec());
            inside.extend(opened.ok_or_else(|| self.bucket.changed(&self.name))?);
        }
        let from = (offset - first * CHUNK_BYTES as u64) as usize;
        let wanted = inside.get(from..from + into.len()).filter(|_| sealed.len() as u64 == expected);
        into.copy_from_slice(wanted.ok_or_else(|| self.bucket.changed(&self.name))?);
        Ok(())
    }
}

enum Stopped {
    Store(StoreError),
    Here(BackupError),
}

/// A file of this box on its way up, a part at a time.
struct Sealing<'a> {
    bucket: &'a Bucket,
    file: &'a File,
    key: FileKey,
    /// Before the first part.
    head: Option<[u8; HEAD_BYTES]>,
    number: u64,
    chunks: u64,
}

impl<'a> Sealing<'a> {
    fn new(bucket: &'a Bucket, name: &str, file: &'a File, length: u64) -> Self {
        let (head, key) = bucket.new_file(name);
        let chunks = length.div_ceil(CHUNK_BYTES as u64).max(1);
        Self { bucket, file, key, head: Some(head), number: 0, chunks }
    }

    fn is_over(&self) -> bool {
        self.number == self.chunks
    }

    fn part(&mut self) -> Result<Vec<u8>, BackupError> {
        let mut part = Vec::with_capacity(PART_BYTES + SEALED_CHUNK_BYTES);
        part.extend(self.head.take().into_iter().flatten());
        while part.len() < PART_BYTES && !self.is_over() {
            let mut chunk = Vec::with_capacity(SEALED_CHUNK_BYTES);
            let read = self.file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
            read.map_err(|error| self.bucket.spool_fault(&error))?;
            part.extend(self.key.seal(self.number, self.number + 1 == self.chunks, chunk));
            self.number += 1;
        }
        Ok(part)
    }
}
