//! The bytes of a log file: a header, then frames. A frame is what one sync made durable: one or more
//! records behind a header of its own. Pure: bytes in, bytes out.
//!
//! A frame is written only after the one before it was synced. So a bad frame with a good frame behind it
//! was durable once: damage. A bad frame at the very end was cut by a crash, if the file ends inside it or
//! a whole disk sector of it never arrived and reads as zeros; otherwise it is damage too.

use super::{LogPosition, LogState, LogVote};

/// Octets of a file's header: magic, first batch, salt, CRC.
pub const FILE_HEADER_BYTES: usize = 28;
/// Octets of a frame's header: magic, batch, body length, body CRC, header CRC.
pub const FRAME_HEADER_BYTES: usize = 24;
/// Ends a frame, so that its last sector is never all zeros.
const TRAILER: u8 = 0xA5;
const FILE_MAGIC: &[u8; 8] = b"PLXLOG\0\x01";
const FRAME_MAGIC: &[u8; 4] = b"PxLf";
/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// How a log file begins. The salt keeps bytes that a client chose from passing for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    pub first_batch: u64,
    pub salt: u64,
}

impl FileHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = FILE_MAGIC.to_vec();
        bytes.extend(self.first_batch.to_le_bytes());
        bytes.extend(self.salt.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..FILE_HEADER_BYTES)?;
        let (covered, crc) = bytes.split_at(FILE_HEADER_BYTES - 4);
        if !covered.starts_with(FILE_MAGIC) || crc32fast::hash(covered).to_le_bytes() != crc {
            return None;
        }
        let mut fields = Fields(&covered[8..]);
        Some(Self { first_batch: fields.u64()?, salt: fields.u64()? })
    }
}

/// How a frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Counts the syncs of this log, without gaps.
    pub batch: u64,
    pub body_bytes: u32,
    body_crc: u32,
}

impl FrameHeader {
    pub fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
        let (covered, crc) = bytes.split_at(FRAME_HEADER_BYTES - 4);
        if !covered.starts_with(FRAME_MAGIC) || header_crc(covered, salt).to_le_bytes() != crc {
            return None;
        }
        let mut fields = Fields(&covered[4..]);
        Some(Self { batch: fields.u64()?, body_bytes: fields.u32()?, body_crc: fields.u32()? })
    }

    /// Octets of the whole frame.
    pub fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.body_bytes) + 1
    }

    /// The frame's records, where `frame` is whole and undamaged.
    pub fn body<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let end = FRAME_HEADER_BYTES + self.body_bytes as usize;
        let body = frame.get(FRAME_HEADER_BYTES..end)?;
        (frame.get(end) == Some(&TRAILER) && crc32fast::hash(body) == self.body_crc).then_some(body)
    }
}

fn header_crc(covered: &[u8], salt: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(covered);
    hasher.finalize()
}

/// A frame being filled; its header is written last.
pub struct FrameBuilder {
    bytes: Vec<u8>,
}

impl Default for FrameBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameBuilder {
    pub fn new() -> Self {
        Self { bytes: vec![0; FRAME_HEADER_BYTES] }
    }

    pub fn push(&mut self, record: &Record<'_>) {
        record.encode(&mut self.bytes);
    }

    pub fn finish(mut self, batch: u64, salt: u64) -> Vec<u8> {
        let body = &self.bytes[FRAME_HEADER_BYTES..];
        let (length, crc) = (body.len() as u32, crc32fast::hash(body));
        let mut header = FRAME_MAGIC.to_vec();
        header.extend(batch.to_le_bytes());
        header.extend(length.to_le_bytes());
        header.extend(crc.to_le_bytes());
        header.extend(header_crc(&header, salt).to_le_bytes());
        self.bytes[..FRAME_HEADER_BYTES].copy_from_slice(&header);
        self.bytes.push(TRAILER);
        self.bytes
    }
}

/// What is wrong at the end of the good frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// A crash cut the last write; nothing of it was ever acknowledged.
    Torn,
    /// What was synced has changed.
    Damaged,
}

/// Judges `rest`, the bytes from the first bad frame to the end of the last file. `offset` is where they
/// begin in the file, `expected` the batch that should have been there.
pub fn judge_tail(rest: &[u8], offset: u64, expected: u64, salt: u64) -> Tail {
    let later =
        |at: usize| FrameHeader::decode(&rest[at..], salt).is_some_and(|found| found.batch > expected);
    let candidates = rest.windows(FRAME_MAGIC.len()).enumerate();
    if candidates.filter(|(_, window)| window == FRAME_MAGIC).any(|(at, _)| later(at)) {
        return Tail::Damaged;
    }
    let end = match FrameHeader::decode(rest, salt) {
        Some(header) if header.batch != expected => return Tail::Damaged,
        Some(header) => header.frame_bytes(),
        None => FRAME_HEADER_BYTES as u64,
    };
    let ends_inside = (rest.len() as u64) < end;
    if ends_inside || has_lost_sector(&rest[..end as usize], offset) { Tail::Torn } else { Tail::Damaged }
}

/// Whether `bytes`, at `offset` of a file, have a sector of which all that lies in them is zero.
fn has_lost_sector(bytes: &[u8], offset: u64) -> bool {
    let first = ((SECTOR_BYTES - offset % SECTOR_BYTES) as usize).min(bytes.len());
    let (head, others) = bytes.split_at(first);
    let lost = |sector: &[u8]| !sector.is_empty() && sector.iter().all(|byte| *byte == 0);
    lost(head) || others.chunks(SECTOR_BYTES as usize).any(lost)
}

/// One change of the log. Tags are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    Vote(LogVote),
    Entry(LogPosition, &'a [u8]),
    Committed(Option<LogPosition>),
    TruncateAfter(Option<LogPosition>),
    Purge(LogPosition),
    /// All that earlier files said, at the head of a file.
    Checkpoint(LogState),
}

impl<'a> Record<'a> {
    fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Record::Vote(vote) => {
                to.push(1);
                put_vote(to, vote);
            }
            Record::Entry(position, payload) => {
                to.push(2);
                put_position(to, position);
                to.extend((payload.len() as u32).to_le_bytes());
                to.extend_from_slice(payload);
            }
            Record::Committed(position) => {
                to.push(3);
                put_option(to, position.as_ref(), put_position);
            }
            Record::TruncateAfter(position) => {
                to.push(4);
                put_option(to, position.as_ref(), put_position);
            }
            Record::Purge(position) => {
                to.push(5);
                put_position(to, position);
            }
            Record::Checkpoint(state) => {
                to.push(6);
                put_log_state(to, state);
            }
        }
    }

    /// All records of a frame's body; `None` where they do not fill it exactly.
    pub fn decode_all(body: &'a [u8]) -> Option<Vec<Record<'a>>> {
        let mut fields = Fields(body);
        let mut records = Vec::new();
        while !fields.0.is_empty() {
            records.push(Self::decode(&mut fields)?);
        }
        Some(records)
    }

    fn decode(fields: &mut Fields<'a>) -> Option<Self> {
        Some(match fields.u8()? {
            1 => Record::Vote(fields.vote()?),
            2 => {
                let position = fields.position()?;
                let length = fields.u32()?;
                Record::Entry(position, fields.take(length as usize)?)
            }
            3 => Record::Committed(fields.option(Fields::position)?),
            4 => Record::TruncateAfter(fields.option(Fields::position)?),
            5 => Record::Purge(fields.position()?),
            6 => Record::Checkpoint(fields.log_state()?),
            _ => return None,
        })
    }
}

fn put_position(to: &mut Vec<u8>, position: &LogPosition) {
    for field in [position.term, position.leader, position.index] {
        to.extend(field.to_le_bytes());
    }
}

fn put_vote(to: &mut Vec<u8>, vote: &LogVote) {
    to.extend(vote.term.to_le_bytes());
    to.extend(vote.voted_for.to_le_bytes());
    to.push(u8::from(vote.committed));
}

pub fn put_log_state(to: &mut Vec<u8>, state: &LogState) {
    put_option(to, state.vote.as_ref(), put_vote);
    put_option(to, state.purged.as_ref(), put_position);
    put_option(to, state.last.as_ref(), put_position);
    put_option(to, state.committed.as_ref(), put_position);
}

pub fn put_option<T>(to: &mut Vec<u8>, value: Option<&T>, put: impl Fn(&mut Vec<u8>, &T)) {
    to.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(to, value);
    }
}

/// Takes fields from the front; `None` when they run out or are out of range.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn position(&mut self) -> Option<LogPosition> {
        Some(LogPosition { term: self.u64()?, leader: self.u64()?, index: self.u64()? })
    }

    pub fn log_state(&mut self) -> Option<LogState> {
        Some(LogState {
            vote: self.option(Fields::vote)?,
            purged: self.option(Fields::position)?,
            last: self.option(Fields::position)?,
            committed: self.option(Fields::position)?,
        })
    }

    fn vote(&mut self) -> Option<LogVote> {
        let (term, voted_for) = (self.u64()?, self.u64()?);
        Some(LogVote { term, voted_for, committed: flag(self.u8()?)? })
    }

    pub fn option<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if flag(self.u8()?)? { read(self).map(Some) } else { Some(None) }
    }
}

fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        2.. => None,
    }
}
