//! Where each body is: rows in a small sled of its own. Only a cache of what the segments say: what is newer than
//! its checkpoint is scanned at open, all of it when it is damaged.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::record::HEADER_BYTES;
use super::{BodyError, io_error};
use crate::mail::ids::BodyId;
use crate::state::rows::Batch;
use crate::store::files;
use crate::store::tables::TablesError;
use crate::store::tables::engine::Engine;

const CACHE_BYTES: u64 = 8 << 20;
const CHECKPOINT_KEY: &[u8] = b"checkpoint";
/// Its presence says that the index was found damaged while it was open.
const REBUILD_NAME: &str = "index.rebuild";

/// A body's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub segment: u32,
    pub offset: u64,
    /// Octets of the body.
    pub length: u64,
}

/// How far the segments had grown at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    pub active: u32,
    pub active_bytes: u64,
    /// Segments from here on did not exist.
    pub next_segment: u32,
}

impl Mark {
    /// Whether the record was written after this moment.
    pub fn is_before(&self, location: &Location) -> bool {
        location.segment >= self.next_segment
            || (location.segment == self.active && location.offset >= self.active_bytes)
    }
}

/// What lives in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Live {
    pub bodies: u64,
    /// Octets of the records, headers included.
    pub bytes: u64,
}

impl Live {
    /// One record less.
    pub fn less(&mut self, at: Location) {
        self.bodies = self.bodies.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(HEADER_BYTES as u64 + at.length);
    }
}

/// What the index on the disk says of the segments: the records before the mark, without those displaced since. What
/// came after the mark is counted anew after a crash.
#[derive(Debug, Clone, Default)]
pub struct Saved {
    pub mark: Mark,
    pub live: BTreeMap<u32, Live>,
}

impl Saved {
    /// The record at `at` counts no longer: what is to be written of its segment.
    pub fn without(&mut self, at: Location) -> Option<(u32, Live)> {
        if self.mark.is_before(&at) {
            return None;
        }
        let live = self.live.get_mut(&at.segment)?;
        live.less(at);
        Some((at.segment, *live))
    }
}

pub struct Index {
    engine: Engine,
    rebuild: PathBuf,
}

impl Index {
    /// Opens the index of the segments in `dir`; a damaged one is thrown away and begun anew.
    pub fn open(dir: &Path) -> Result<Self, BodyError> {
        let path = dir.join("index");
        let rebuild = dir.join(REBUILD_NAME);
        if !rebuild.exists() {
            match Engine::open(&path, CACHE_BYTES) {
                Ok(engine) => return Ok(Self { engine, rebuild }),
                Err(TablesError::Damaged(what)) => {
                    tracing::warn!(%what, "the index of the bodies is damaged; it is rebuilt from the segments");
                }
                Err(error) => return Err(BodyError::Io(error.to_string())),
            }
        }
        if path.exists() {
            fs::remove_dir_all(&path).map_err(io_error)?;
        }
        let engine = Engine::open(&path, CACHE_BYTES).map_err(|error| BodyError::Io(error.to_string()))?;
        if rebuild.exists() {
            fs::remove_file(&rebuild).map_err(io_error)?;
            files::sync_dir(dir).map_err(io_error)?;
        }
        Ok(Self { engine, rebuild })
    }

    pub fn get(&self, id: &BodyId) -> Result<Option<Location>, BodyError> {
        let row = self.noting(self.engine.get(&id.0))?;
        Ok(row.as_deref().and_then(decode_location))
    }

    /// Says where a body is, or that it is nowhere. In the same moment what lives in a segment becomes `live`, so that
    /// no crash parts the two.
    pub fn set(
        &self,
        id: BodyId,
        location: Option<Location>,
        live: Option<(u32, Live)>,
    ) -> Result<(), BodyError> {
        let mut batch = Batch::from([(id.0.to_vec(), location.map(encode_location))]);
        batch.extend(live.map(|(segment, live)| (live_key(segment), Some(row([live.bodies, live.bytes])))));
        self.noting(self.engine.apply(&batch))
    }

    /// Ids behind `after` in order.
    pub fn after(&self, after: Option<BodyId>, max: usize) -> Result<Vec<(BodyId, Location)>, BodyError> {
        // The smallest key behind an id is the id and a zero; other rows have shorter keys.
        let from = after.map_or(Vec::new(), |id| [id.0.as_slice(), &[0]].concat());
        let mut found = Vec::new();
        let scanned = self.engine.scan(&from, None, &mut |key, value| {
            if found.len() == max {
                return ControlFlow::Break(());
            }
            if let (Ok(id), Some(location)) = (key.try_into(), decode_location(value)) {
                found.push((BodyId(id), location));
            }
            ControlFlow::Continue(())
        });
        self.noting(scanned)?;
        Ok(found)
    }

    /// The last checkpoint and what lived in each segment then.
    pub fn checkpoint(&self) -> Result<(Mark, BTreeMap<u32, Live>), BodyError> {
        let Some(row) = self.noting(self.engine.get(CHECKPOINT_KEY))? else {
            return Ok((Mark::default(), BTreeMap::new()));
        };
        let [active, active_bytes, next_segment] = numbers(&row).unwrap_or_default();
        let mut live = BTreeMap::new();
        let scanned = self.engine.scan(b"live", Some(b"livf"), &mut |key, value| {
            let segment = key.strip_prefix(b"live").and_then(|segment| segment.try_into().ok());
            if let (Some(segment), Some([bodies, bytes])) = (segment, numbers(value)) {
                live.insert(u32::from_be_bytes(segment), Live { bodies, bytes });
            }
            ControlFlow::Continue(())
        });
        self.noting(scanned)?;
        Ok((Mark { active: active as u32, active_bytes, next_segment: next_segment as u32 }, live))
    }

    /// Makes the index durable up to `mark`.
    pub fn save_checkpoint(&self, mark: Mark, live: &BTreeMap<u32, Live>) -> Result<(), BodyError> {
        // Rows first, then the mark that vouches for them.
        self.noting(self.engine.sync())?;
        let mut batch: Batch = live
            .iter()
            .map(|(segment, live)| (live_key(*segment), Some(row([live.bodies, live.bytes]))))
            .collect();
        let mark = [u64::from(mark.active), mark.active_bytes, u64::from(mark.next_segment)];
        batch.insert(CHECKPOINT_KEY.to_vec(), Some(row(mark)));
        self.noting(self.engine.apply(&batch))?;
        self.noting(self.engine.sync())
    }

    /// Forgets a segment that is about to be deleted.
    pub fn drop_segment(&self, segment: u32) -> Result<(), BodyError> {
        self.noting(self.engine.apply(&Batch::from([(live_key(segment), None)])))
    }

    fn noting<T>(&self, result: Result<T, TablesError>) -> Result<T, BodyError> {
        result.map_err(|error| {
            if matches!(error, TablesError::Damaged(_)) {
                tracing::error!(%error, "the index of the bodies is damaged; it is rebuilt at the next start");
                let _ = files::write_atomically(&self.rebuild, b"");
            }
            BodyError::Io(format!("index of the bodies: {error}"))
        })
    }
}

fn live_key(segment: u32) -> Vec<u8> {
    [b"live".as_slice(), &segment.to_be_bytes()].concat()
}

fn encode_location(location: Location) -> Vec<u8> {
    row([u64::from(location.segment), location.offset, location.length])
}

fn decode_location(row: &[u8]) -> Option<Location> {
    let [segment, offset, length] = numbers(row)?;
    Some(Location { segment: segment as u32, offset, length })
}

fn row<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn numbers<const N: usize>(row: &[u8]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    if row.len() != N * 8 {
        return None;
    }
    for (number, bytes) in numbers.iter_mut().zip(row.chunks(8)) {
        *number = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    Some(numbers)
}
