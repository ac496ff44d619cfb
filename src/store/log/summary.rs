//! What a log file that is written no more has said, in a small file beside it, so that a start need not read them
//! all: a witness may keep 8 GiB. Only a cache: one that is missing or does not fit is made anew from the log file.

use std::fs;
use std::path::{Path, PathBuf};

use super::LogState;
use super::frame::{Fields, FileHeader, put_log_state, put_option};
use super::index::{Point, Run};
use super::recover::path_of;
use crate::store::files;

const MAGIC: &[u8; 8] = b"PLXIDX\0\x01";

/// All that a start needs to know of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub header: FileHeader,
    pub next_batch: u64,
    /// Length of the log file.
    pub bytes: u64,
    /// After its last record.
    pub state: LogState,
    /// The lowest entry that it truncated.
    pub cut_from: Option<u64>,
    /// Its entries that counted when the next file was begun.
    pub runs: Vec<Run>,
}

pub fn summary_path(dir: &Path, number: u32) -> PathBuf {
    path_of(dir, number).with_extension("idx")
}

impl Summary {
    /// For the next start; where it cannot be written, that one reads the file itself.
    pub fn write(&self, dir: &Path, number: u32) {
        if let Err(error) = files::write_atomically(&summary_path(dir, number), &self.encode()) {
            tracing::warn!(%error, file = number, "the summary of a log file cannot be written");
        }
    }

    /// The summary of file `number`, where there is one that fits a file of `bytes` with this header.
    pub fn read(dir: &Path, number: u32, header: FileHeader, bytes: u64) -> Option<Self> {
        let summary = Self::decode(&fs::read(summary_path(dir, number)).ok()?, number)?;
        (summary.header == header && summary.bytes == bytes).then_some(summary)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for field in [self.header.first_batch, self.header.salt, self.next_batch, self.bytes] {
            bytes.extend(field.to_le_bytes());
        }
        put_log_state(&mut bytes, &self.state);
        put_option(&mut bytes, self.cut_from.as_ref(), |to, from| to.extend(from.to_le_bytes()));
        bytes.extend((self.runs.len() as u32).to_le_bytes());
        for run in &self.runs {
            bytes.extend(run.end.to_le_bytes());
            bytes.extend((run.points.len() as u32).to_le_bytes());
            for point in &run.points {
                bytes.extend(point.first.to_le_bytes());
                bytes.extend(point.offset.to_le_bytes());
            }
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], number: u32) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(covered).to_le_bytes() != *crc {
            return None;
        }
        let mut fields = Fields(covered.strip_prefix(MAGIC)?);
        let header = FileHeader { first_batch: fields.u64()?, salt: fields.u64()? };
        let (next_batch, length) = (fields.u64()?, fields.u64()?);
        let (state, cut_from) = (fields.log_state()?, fields.option(Fields::u64)?);
        let mut runs = Vec::new();
        for _ in 0..fields.u32()? {
            let end = fields.u64()?;
            let mut points = Vec::new();
            for _ in 0..fields.u32()? {
                points.push(Point { first: fields.u64()?, offset: fields.u32()? });
            }
            points.shrink_to_fit();
            runs.push(Run { file: number, end, points });
        }
        let summary = Self { header, next_batch, bytes: length, state, cut_from, runs };
        fields.0.is_empty().then_some(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogPosition, LogVote};
    use super::*;

    fn summary() -> Summary {
        let at = |index| LogPosition { term: 2, leader: 0, index };
        let vote = LogVote { term: 3, voted_for: 1, committed: true };
        Summary {
            header: FileHeader { first_batch: 7, salt: 0x0102_0304 },
            next_batch: 9,
            bytes: 4_321,
            state: LogState {
                vote: Some(vote),
                purged: None,
                last: Some(at(0x0506)),
                committed: Some(at(5)),
            },
            cut_from: Some(4),
            runs: vec![Run { file: 3, end: 0x0507, points: vec![Point { first: 4, offset: 0x99 }] }],
        }
    }

    /// Once written, always read. A new format gets a new magic, and the old summaries are made anew.
    #[test]
    fn the_bytes_stay_as_they_are() {
        let golden = "504c584944580001070000000000000004030201000000000900000000000000e1100000\
                      00000000010300000000000000010000000000000001000102000000000000000000000000\
                      00000006050000000000000102000000000000000000000000000000050000000000000001\
                      040000000000000001000000070500000000000001000000040000000000000099000000";
        let bytes = summary().encode();
        let (covered, _) = bytes.split_last_chunk::<4>().unwrap();
        let hex: String = covered.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
        assert_eq!(Summary::decode(&bytes, 3), Some(summary()));
    }

    #[test]
    fn one_that_is_cut_or_changed_or_of_another_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (summary, bytes) = (summary(), summary().encode());
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(Summary::decode(&flipped, 3), None, "byte {at}");
            assert_eq!(Summary::decode(&bytes[..at], 3), None, "cut at {at}");
        }
        summary.write(dir.path(), 3);
        assert_eq!(Summary::read(dir.path(), 3, summary.header, 4_321), Some(summary.clone()));
        assert_eq!(Summary::read(dir.path(), 3, summary.header, 4_322), None, "it has grown");
        let other = FileHeader { salt: 1, ..summary.header };
        assert_eq!(Summary::read(dir.path(), 3, other, 4_321), None, "another log");
        assert_eq!(Summary::read(dir.path(), 4, summary.header, 4_321), None);
    }
}
