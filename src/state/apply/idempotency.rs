//! A command is applied once: the outcomes of the newest entries are remembered by command id.
//!
//! A proposal says what its proposer had applied when it first tried (`base`), so that its first try
//! lies above that index. While everything above `base` is remembered, an id that is not found was
//! never applied; older proposals are refused.

use super::transaction::Transaction;
use crate::mail::ids::{CommandId, LogIndex};
use crate::state::codec;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::rows::RowsError;
use crate::state::stored::{CommandRow, SlotPartRow, SlotRow};

/// Entries whose outcomes are remembered: a ring, keyed by the index modulo this.
pub const IDS_REMEMBERED_MAX: u64 = 65_536;
/// Bytes of all remembered outcomes together; beyond it the oldest are forgotten early.
pub const OUTCOME_BYTES_MAX: u64 = 256 << 20;
/// Bytes of an outcome in one row.
const PART_BYTES_MAX: usize = 4 << 10;
/// Slots looked at by one entry to get back under [`OUTCOME_BYTES_MAX`].
const FORGET_STEPS_MAX: u64 = 256;

/// What the same command came to when it was applied before.
pub fn remembered(tx: &Transaction, id: CommandId) -> Result<Option<Outcome>, RowsError> {
    let Some(CommandRow { slot }) = tx.get(&keys::command(id))? else {
        return Ok(None);
    };
    let lost = || RowsError(format!("the outcome in slot {slot} is missing"));
    let row: SlotRow = tx.get(&keys::slot(slot))?.ok_or_else(lost)?;
    let mut bytes = Vec::with_capacity(row.bytes as usize);
    for part in 0..row.parts {
        let row: SlotPartRow = tx.get(&keys::slot_part(slot, part))?.ok_or_else(lost)?;
        bytes.extend_from_slice(&row.bytes);
    }
    codec::decode_outcome(&bytes).map(Some).map_err(|error| RowsError(format!("slot {slot}: {error}")))
}

/// Refuses a proposal that may have been applied and forgotten. Half the ring is kept as a margin.
pub fn expired(tx: &Transaction, base: LogIndex) -> Option<Refusal> {
    let old = tx.index.0.saturating_sub(base.0) >= IDS_REMEMBERED_MAX / 2;
    (old || base < tx.meta.forgotten_to).then_some(Refusal::Expired)
}

pub fn remember(tx: &mut Transaction, id: CommandId, outcome: &Outcome) -> Result<(), RowsError> {
    let slot = slot_of(tx.index);
    forget(tx, slot)?;
    let bytes = codec::encode_outcome(outcome).map_err(|error| RowsError(format!("an outcome: {error}")))?;
    let parts = bytes.chunks(PART_BYTES_MAX);
    let row = SlotRow { id, index: tx.index, parts: parts.len() as u16, bytes: bytes.len() as u32 };
    tx.meta.outcome_bytes += bytes.len() as u64;
    tx.put(keys::slot(slot), &row)?;
    for (part, bytes) in parts.enumerate() {
        tx.put(keys::slot_part(slot, part as u16), &SlotPartRow { bytes: bytes.to_vec() })?;
    }
    tx.put(keys::command(id), &CommandRow { slot })?;
    forget_oldest(tx)
}

fn slot_of(index: LogIndex) -> u32 {
    (index.0 % IDS_REMEMBERED_MAX) as u32
}

fn forget(tx: &mut Transaction, slot: u32) -> Result<(), RowsError> {
    let Some(row) = tx.get::<SlotRow>(&keys::slot(slot))? else {
        return Ok(());
    };
    (0..row.parts).for_each(|part| tx.delete(keys::slot_part(slot, part)));
    tx.delete(keys::slot(slot));
    tx.delete(keys::command(row.id));
    tx.meta.outcome_bytes = tx.meta.outcome_bytes.saturating_sub(u64::from(row.bytes));
    Ok(())
}

/// Gets back under the bound on bytes, oldest first.
fn forget_oldest(tx: &mut Transaction) -> Result<(), RowsError> {
    for _ in 0..FORGET_STEPS_MAX {
        if tx.meta.outcome_bytes <= OUTCOME_BYTES_MAX {
            break;
        }
        // What is older than the ring is gone already, or lies in a slot that no entry came to since.
        let ring = tx.index.0.saturating_sub(IDS_REMEMBERED_MAX);
        let oldest = LogIndex(tx.meta.forgotten_to.0.max(ring) + 1);
        if oldest >= tx.index {
            break;
        }
        forget(tx, slot_of(oldest))?;
        tx.meta.forgotten_to = oldest;
    }
    Ok(())
}
