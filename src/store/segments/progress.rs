//! How far the scrub has come, so that a restart goes on with it: a pass may take days.

use std::fs;
use std::io;
use std::path::Path;

use crate::mail::ids::{BodyId, Timestamp};
use crate::store::files;

const NAME: &str = "scrub";
const MAGIC: &[u8; 8] = b"PLXSCR\0\x01";

/// One pass over all bodies, in the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubProgress {
    pub began: Timestamp,
    /// All up to this one were read; `None`: none yet.
    pub after: Option<BodyId>,
    pub done: bool,
}

impl ScrubProgress {
    /// `None`: no pass was begun, or nobody can tell; then one begins anew.
    pub fn read(dir: &Path) -> Option<Self> {
        Self::decode(&fs::read(dir.join(NAME)).ok()?)
    }

    pub fn write(&self, dir: &Path) -> io::Result<()> {
        files::write_atomically(&dir.join(NAME), &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.began.0.to_le_bytes());
        bytes.extend([u8::from(self.done), u8::from(self.after.is_some())]);
        bytes.extend(self.after.map_or([0; 32], |id| id.0));
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(covered).to_le_bytes() != *crc {
            return None;
        }
        let (began, rest) = covered.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let ([done, some], id) = rest.split_first_chunk::<2>()?;
        let id = BodyId(id.try_into().ok()?);
        let began = Timestamp(u64::from_le_bytes(*began));
        Some(Self { began, after: (*some == 1).then_some(id), done: *done == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_a_changed_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ScrubProgress::read(dir.path()), None);
        for after in [None, Some(BodyId([7; 32]))] {
            let progress = ScrubProgress { began: Timestamp(0x0102), after, done: after.is_none() };
            progress.write(dir.path()).unwrap();
            assert_eq!(ScrubProgress::read(dir.path()), Some(progress));
        }
        let bytes = fs::read(dir.path().join(NAME)).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(ScrubProgress::decode(&flipped), None, "byte {at}");
        }
        // Once written, always read.
        let golden = [b"PLXSCR\0\x01".as_slice(), &[2, 1, 0, 0, 0, 0, 0, 0, 0, 1], &[7; 32]].concat();
        assert_eq!(bytes[..bytes.len() - 4], golden);
    }
}
