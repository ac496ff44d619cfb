//! Frames of a file one after the other, read in pieces, and the entries in them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::frame::{FRAME_HEADER_BYTES, FrameHeader, Record};
use super::index::Stretch;
use super::recover::{io_error, path_of};
use super::{Core, LogError, LogPosition};

/// What is read at once, unless a single frame is larger.
const PIECE_BYTES: usize = 64 << 10;

/// Reads the frames of one file in order.
pub struct Frames<'a> {
    file: &'a File,
    salt: u64,
    /// Where the next frame begins.
    pub offset: u64,
    piece: Vec<u8>,
    piece_offset: u64,
}

impl<'a> Frames<'a> {
    pub fn new(file: &'a File, salt: u64, offset: u64) -> Self {
        Self { file, salt, offset, piece: Vec::new(), piece_offset: offset }
    }

    /// The next frame's header and body; `None`: there is none that is whole and undamaged, and `offset` stays.
    pub fn next(&mut self) -> io::Result<Option<(FrameHeader, &[u8])>> {
        let salt = self.salt;
        let bytes = self.at_least(FRAME_HEADER_BYTES)?;
        let Some(header) = bytes.and_then(|bytes| FrameHeader::decode(bytes, salt)) else { return Ok(None) };
        let from = self.offset;
        let whole =
            self.at_least(header.frame_bytes() as usize)?.is_some_and(|frame| header.body(frame).is_some());
        if !whole {
            return Ok(None);
        }
        self.offset += header.frame_bytes();
        let body = header.body(&self.piece[(from - self.piece_offset) as usize..]);
        Ok(body.map(|body| (header, body)))
    }

    /// The `count` bytes at `offset`, or more; `None`: the file ends before.
    fn at_least(&mut self, count: usize) -> io::Result<Option<&[u8]>> {
        let mut skip = (self.offset - self.piece_offset) as usize;
        if self.piece.len() < skip + count {
            self.piece.resize(count.max(PIECE_BYTES), 0);
            self.piece_offset = self.offset;
            skip = 0;
            let mut filled = 0;
            while filled < self.piece.len() {
                match self.file.read_at(&mut self.piece[filled..], self.offset + filled as u64) {
                    Ok(0) => break,
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.piece.truncate(filled);
        }
        Ok(self.piece.get(skip..).filter(|bytes| bytes.len() >= count))
    }
}

impl Core {
    /// The entries of `stretches`, until `bytes_max` are exceeded.
    pub(super) fn read_from_disk(
        &self,
        stretches: &[Stretch],
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Bytes)>, LogError> {
        let mut found = Found { entries: Vec::new(), bytes: 0, bytes_max };
        for stretch in stretches {
            if found.is_enough() {
                break;
            }
            self.read_stretch(stretch, &mut found)?;
        }
        Ok(found.entries)
    }

    fn read_stretch(&self, stretch: &Stretch, found: &mut Found) -> Result<(), LogError> {
        let path = path_of(&self.dir, stretch.file);
        let file = File::open(&path).map_err(io_error)?;
        let salt = self.salt.load(std::sync::atomic::Ordering::Relaxed);
        let mut frames = Frames::new(&file, salt, u64::from(stretch.offset));
        let mut wanted = stretch.entries.clone();
        while !wanted.is_empty() && !found.is_enough() {
            let offset = frames.offset;
            let records = frames.next().map_err(io_error)?.and_then(|(_, body)| Record::decode_all(body));
            let taken = records.and_then(|records| entries_of(&records, &wanted)).ok_or_else(|| {
                LogError::Damaged(format!("{} at offset {offset} has changed", path.display()))
            })?;
            wanted.start += taken.len() as u64;
            taken.into_iter().for_each(|entry| found.take(entry));
        }
        Ok(())
    }
}

/// The entries of one frame that are in `wanted`, which begin at its start. A frame may hold an index more than
/// once; the last one counts. `None`: they do not follow each other.
fn entries_of<'a>(records: &[Record<'a>], wanted: &Range<u64>) -> Option<Vec<(LogPosition, &'a [u8])>> {
    let mut entries: Vec<(LogPosition, &[u8])> = Vec::new();
    for record in records {
        let Record::Entry(position, payload) = record else { continue };
        if wanted.contains(&position.index) {
            let at = (position.index - wanted.start) as usize;
            if at > entries.len() {
                return None;
            }
            entries.truncate(at);
            entries.push((*position, payload));
        }
    }
    Some(entries)
}

struct Found {
    entries: Vec<(LogPosition, Bytes)>,
    bytes: usize,
    bytes_max: usize,
}

impl Found {
    fn is_enough(&self) -> bool {
        self.bytes > self.bytes_max
    }

    fn take(&mut self, (position, payload): (LogPosition, &[u8])) {
        if !self.is_enough() {
            self.bytes += payload.len();
            self.entries.push((position, Bytes::copy_from_slice(payload)));
        }
    }
}
