//! The machine's own rows, beside those of the state: what is applied, and the membership.

use bytes::{Bytes, BytesMut};

use crate::cluster::codec::{
    CodecError, finish, put_log_id_option, put_stored_membership, take_log_id_option, take_stored_membership,
};
use crate::cluster::types::{Entry, LogId, Payload, StoredMembership};
use crate::state::rows::{Batch, Rows, RowsError};

/// `state::keys` leaves the tables from 0xf0 upwards to this room.
const APPLIED: [u8; 2] = [0xf0, 0];
const MEMBERSHIP: [u8; 2] = [0xf0, 1];
/// A row holds at most 6 KiB; a membership may be longer and is cut into parts.
const PART_BYTES_MAX: usize = 4096;
const PARTS_MAX: u8 = 32;

/// What a machine has to remember beside the state itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    pub last_applied: Option<LogId>,
    pub membership: StoredMembership,
}

impl Progress {
    pub fn read(rows: &dyn Rows) -> Result<Self, RowsError> {
        let damaged = |error: CodecError| RowsError(error.to_string());
        let mut progress = Self::default();
        if let Some(bytes) = rows.get(&APPLIED)? {
            let mut bytes = Bytes::from(bytes);
            progress.last_applied = take_log_id_option(&mut bytes).map_err(damaged)?;
            finish(&bytes).map_err(damaged)?;
        }
        let mut membership = BytesMut::new();
        for part in 0..PARTS_MAX {
            match rows.get(&part_key(part))? {
                Some(bytes) => membership.extend_from_slice(&bytes),
                None => break,
            }
        }
        if !membership.is_empty() {
            let mut bytes = membership.freeze();
            progress.membership = take_stored_membership(&mut bytes).map_err(damaged)?;
            finish(&bytes).map_err(damaged)?;
        }
        Ok(progress)
    }

    /// What is to be remembered once these entries are applied.
    pub fn pass(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.last_applied = Some(entry.log_id);
            if let Payload::Membership(membership) = &entry.payload {
                self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
            }
        }
    }

    /// Into the same batch as the data, so that no crash parts them.
    pub fn write_applied(&self, batch: &mut Batch) {
        let mut bytes = BytesMut::new();
        put_log_id_option(&mut bytes, &self.last_applied);
        batch.insert(APPLIED.to_vec(), Some(bytes.to_vec()));
    }

    pub fn write_membership(&self, batch: &mut Batch) {
        let mut bytes = BytesMut::new();
        put_stored_membership(&mut bytes, &self.membership);
        let mut parts = bytes.chunks(PART_BYTES_MAX);
        for part in 0..PARTS_MAX {
            batch.insert(part_key(part), parts.next().map(<[u8]>::to_vec));
        }
        debug_assert!(parts.next().is_none(), "codec::MEMBERS_MAX bounds a membership");
    }

    /// For the witness, which has no rows.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        put_log_id_option(&mut bytes, &self.last_applied);
        put_stored_membership(&mut bytes, &self.membership);
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.to_vec()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let (body, checksum) = bytes.split_last_chunk::<4>().ok_or(CodecError("cut short"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return Err(CodecError("the checksum does not fit"));
        }
        let mut body = Bytes::copy_from_slice(body);
        let progress = Self {
            last_applied: take_log_id_option(&mut body)?,
            membership: take_stored_membership(&mut body)?,
        };
        finish(&body)?;
        Ok(progress)
    }
}

/// What is applied, where that is the row that says so.
pub fn position_in((key, value): &(Vec<u8>, Vec<u8>)) -> Result<Option<LogId>, RowsError> {
    if key.as_slice() != APPLIED {
        return Ok(None);
    }
    let damaged = |error: CodecError| RowsError(error.to_string());
    let mut bytes = Bytes::copy_from_slice(value);
    let position = take_log_id_option(&mut bytes).map_err(damaged)?;
    finish(&bytes).map_err(damaged)?;
    Ok(position)
}

fn part_key(part: u8) -> Vec<u8> {
    [&MEMBERSHIP[..], &[part]].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::cluster::codec::MEMBERS_MAX;
    use crate::cluster::types::{Member, Membership, log_id};
    use crate::state::rows::MemoryRows;

    fn largest() -> Progress {
        let text = "x".repeat(Member::TEXT_BYTES_MAX);
        let member =
            Member { name: text.clone(), control: text.clone(), bulk: text.clone(), ..Member::default() };
        let ids: BTreeSet<u64> = (0..MEMBERS_MAX as u64).collect();
        let nodes: BTreeMap<u64, Member> = ids.iter().map(|id| (*id, member.clone())).collect();
        let membership = Membership::new(vec![ids.clone(), ids], nodes).unwrap();
        Progress {
            last_applied: Some(log_id(3, 9)),
            membership: StoredMembership::new(Some(log_id(2, 5)), membership),
        }
    }

    #[test]
    fn the_largest_membership_is_read_back_from_rows_and_a_smaller_one_leaves_nothing_of_it() {
        let mut rows = MemoryRows::default();
        for progress in [largest(), Progress { last_applied: Some(log_id(3, 10)), ..Progress::default() }] {
            let mut batch = Batch::new();
            progress.write_applied(&mut batch);
            progress.write_membership(&mut batch);
            assert!(batch.values().flatten().all(|value| value.len() <= 6 << 10));
            rows.write(batch);
            assert_eq!(Progress::read(&rows).unwrap(), progress);
        }
    }

    #[test]
    fn the_witness_file_is_read_back_and_damage_is_seen() {
        let bytes = largest().to_bytes();
        assert_eq!(Progress::from_bytes(&bytes).unwrap(), largest());
        let mut damaged = bytes.clone();
        damaged[7] ^= 1;
        assert!(Progress::from_bytes(&damaged).is_err());
        assert!(Progress::from_bytes(&bytes[..3]).is_err());
    }
}
