//! Reading a segment from end to end: what a crash tore is cut off, what is damaged in the middle is stepped over.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::record::{HEADER_BYTES, Header, next_header};
use crate::mail::ids::BodyId;
use crate::store::files;

/// How far behind an unreadable header the next one is looked for, in bytes.
const RESYNC_BYTES_MAX: u64 = 64 << 20;

pub fn segment_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:010}.seg"))
}

/// The segments in `dir` in order with their sizes in bytes. What sessions left half-spooled is removed.
pub fn list_segments(dir: &Path) -> io::Result<Vec<(u32, u64)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if name.starts_with("spool-") {
            fs::remove_file(entry.path())?;
        } else if let Some(number) = name.strip_suffix(".seg").and_then(|number| number.parse().ok()) {
            segments.push((number, entry.metadata()?.len()));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// What a scan reads of each body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    Headers,
    /// Bodies too; one that does not match its id is left out.
    Bodies,
}

/// Headers and their offsets, and where the readable part ends.
pub struct Scanned {
    pub records: Vec<(Header, u64)>,
    pub end: u64,
    pub length: u64,
}

pub fn scan(path: &Path, from: u64, depth: Depth) -> io::Result<Scanned> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut scanned = Scanned { records: Vec::new(), end: from, length };
    while scanned.end < length {
        match header_at(&file, scanned.end, length)? {
            Some(header) if header.record_bytes() <= length - scanned.end => {
                if depth == Depth::Headers || matches_id(&file, scanned.end, &header)? {
                    scanned.records.push((header, scanned.end));
                } else {
                    tracing::warn!(segment = %path.display(), body = %header.id, "a stored body is corrupt");
                }
                scanned.end += header.record_bytes();
            }
            // Its header is good and the file ends inside it: torn.
            Some(_) => break,
            None => {
                let Some(next) = resync(&file, scanned.end, length)? else { break };
                tracing::warn!(segment = %path.display(), offset = scanned.end, "stepped over damage");
                scanned.end = next;
            }
        }
    }
    Ok(scanned)
}

/// Cuts a torn end off and says so.
pub fn cut_torn_tail(path: &Path, scanned: &Scanned) -> io::Result<()> {
    if scanned.end == scanned.length {
        return Ok(());
    }
    let bytes = scanned.length - scanned.end;
    tracing::warn!(segment = %path.display(), bytes, "cut a torn write off the end of a segment");
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(scanned.end)?;
    files::sync_file(&file)
}

fn header_at(file: &File, offset: u64, length: u64) -> io::Result<Option<Header>> {
    if length - offset < HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(Header::decode(&bytes))
}

fn matches_id(file: &File, offset: u64, header: &Header) -> io::Result<bool> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    let (mut at, end) = (offset + HEADER_BYTES as u64, offset + header.record_bytes());
    while at < end {
        let want = buffer.len().min((end - at) as usize);
        file.read_exact_at(&mut buffer[..want], at)?;
        hasher.update(&buffer[..want]);
        at += want as u64;
    }
    Ok(BodyId(*hasher.finalize().as_bytes()) == header.id)
}

fn resync(file: &File, offset: u64, length: u64) -> io::Result<Option<u64>> {
    let bytes = (length - offset - 1).min(RESYNC_BYTES_MAX) as usize;
    let mut rest = vec![0; bytes];
    file.read_exact_at(&mut rest, offset + 1)?;
    Ok(next_header(&rest).map(|at| offset + 1 + at as u64))
}

/// The body at `offset`; `None`: it is not what `id` says.
pub fn read_body(path: &Path, offset: u64, id: &BodyId, length: u64) -> io::Result<Option<Bytes>> {
    let file = File::open(path)?;
    let expected = Header { id: *id, length };
    if offset.saturating_add(expected.record_bytes()) > file.metadata()?.len() {
        return Ok(None);
    }
    let mut record = vec![0; expected.record_bytes() as usize];
    file.read_exact_at(&mut record, offset)?;
    if Header::decode(&record) != Some(expected) {
        return Ok(None);
    }
    let body = Bytes::from(record).slice(HEADER_BYTES..);
    Ok((BodyId::of(&body) == *id).then_some(body))
}
