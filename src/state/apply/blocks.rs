//! Offenses that are counted, and the hosts that are blocked. Looks at no more rows than there may be blocks.

use std::ops::ControlFlow;

use super::transaction::{Stop, Transaction};
use crate::state::blocks::{
    BLOCKS_MAX, Host, NOTE_BYTES_MAX, NewBlock, NoteOffense, OFFENDERS_MAX, OFFENDERS_SWEPT, Offense, Reason,
};
use crate::state::change::Change;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::rows::RowsError;
use crate::state::stored::{BlockRow, BlocksRow, OffenderRow};

pub fn note(tx: &mut Transaction, noted: &NoteOffense) -> Result<Outcome, Stop> {
    let mut tally = tally(tx)?;
    let key = keys::offender(noted.offense, noted.host);
    let known = tx.get::<OffenderRow>(&key)?;
    if known.is_none() {
        make_room(tx, &mut tally)?;
        tally.offenders = tally.offenders.saturating_add(1);
    }
    let fresh = OffenderRow { count: 0, forget_at: noted.forget_at };
    let mut row = known.filter(|row| row.forget_at > tx.at).unwrap_or(fresh);
    row.count = row.count.saturating_add(1);
    if row.count > noted.tolerated {
        tx.delete(key);
        tally.offenders = tally.offenders.saturating_sub(1);
        let reason = Reason::of(noted.offense);
        let row = BlockRow { since: tx.at, until: noted.blocked_until, reason };
        block(tx, &mut tally, noted.host, row)?;
    } else {
        tx.put(key, &row)?;
    }
    tx.put(keys::blocks(), &tally)?;
    Ok(Outcome::Done)
}

pub fn add(tx: &mut Transaction, new: &NewBlock) -> Result<Outcome, Stop> {
    if new.note.len() > NOTE_BYTES_MAX || new.note.contains(char::is_control) {
        return Err(Refusal::Invalid("why a host is blocked".into()).into());
    }
    let mut tally = tally(tx)?;
    let row = BlockRow { since: tx.at, until: new.until, reason: Reason::Operator(new.note.clone()) };
    // What an operator says counts, be it less than what was there.
    remove(tx, &mut tally, new.host)?;
    if !block(tx, &mut tally, new.host, row)? {
        return Err(Refusal::Limit(format!("{BLOCKS_MAX} blocks")).into());
    }
    tx.put(keys::blocks(), &tally)?;
    Ok(Outcome::Done)
}

/// What the host did is forgotten as well; all hosts: the blocks alone.
pub fn clear(tx: &mut Transaction, host: Option<Host>) -> Result<Outcome, Stop> {
    let mut tally = tally(tx)?;
    match host {
        Some(host) => {
            remove(tx, &mut tally, host)?;
            for offense in Offense::ALL {
                let key = keys::offender(offense, host);
                if tx.get::<OffenderRow>(&key)?.is_some() {
                    tx.delete(key);
                    tally.offenders = tally.offenders.saturating_sub(1);
                }
            }
        }
        None => {
            for (key, _) in tx.first::<BlockRow>(&keys::table(keys::BLOCK), usize::MAX)? {
                tx.delete(key);
            }
            tally.blocks = 0;
        }
    }
    tx.put(keys::blocks(), &tally)?;
    tx.changes.push(Change::Blocks);
    Ok(Outcome::Done)
}

fn tally(tx: &Transaction) -> Result<BlocksRow, RowsError> {
    Ok(tx.get(&keys::blocks())?.unwrap_or_default())
}

/// False: there is no room, and none is made.
fn block(tx: &mut Transaction, tally: &mut BlocksRow, host: Host, row: BlockRow) -> Result<bool, RowsError> {
    let key = keys::block(host);
    match tx.get::<BlockRow>(&key)? {
        Some(known) if known.until >= row.until => return Ok(true),
        Some(_) => {}
        None if tally.blocks >= BLOCKS_MAX && !end_one(tx, tally)? => return Ok(false),
        None => tally.blocks = tally.blocks.saturating_add(1),
    }
    tx.put(key, &row)?;
    tx.changes.push(Change::Blocks);
    Ok(true)
}

fn remove(tx: &mut Transaction, tally: &mut BlocksRow, host: Host) -> Result<(), RowsError> {
    let key = keys::block(host);
    if tx.get::<BlockRow>(&key)?.is_some() {
        tx.delete(key);
        tally.blocks = tally.blocks.saturating_sub(1);
    }
    Ok(())
}

/// All that are over; else, of those that no operator made, the one that ends first. False: there is none.
fn end_one(tx: &mut Transaction, tally: &mut BlocksRow) -> Result<bool, RowsError> {
    let (now, mut over) = (tx.at, Vec::new());
    let mut first = None;
    tx.visit::<BlockRow>(&keys::table(keys::BLOCK), |key, row| {
        if row.until <= now {
            over.push(key.to_vec());
        } else if !matches!(row.reason, Reason::Operator(_))
            && first.as_ref().is_none_or(|(until, _)| row.until < *until)
        {
            first = Some((row.until, key.to_vec()));
        }
        ControlFlow::Continue(())
    })?;
    if over.is_empty() {
        over.extend(first.map(|(_, key)| key));
    }
    tally.blocks = tally.blocks.saturating_sub(over.len() as u32);
    let any = !over.is_empty();
    over.into_iter().for_each(|key| tx.delete(key));
    Ok(any)
}

/// Each new count looks at some others, round and round; where there is no room one of those goes, whatever it says.
fn make_room(tx: &mut Transaction, tally: &mut BlocksRow) -> Result<(), RowsError> {
    let mut span = keys::table(keys::OFFENDER);
    if !tally.swept_to.is_empty() {
        span.from = std::mem::take(&mut tally.swept_to);
        span.from.push(0);
    }
    let mut seen = tx.first::<OffenderRow>(&span, OFFENDERS_SWEPT)?;
    if seen.is_empty() {
        seen = tx.first(&keys::table(keys::OFFENDER), OFFENDERS_SWEPT)?;
    }
    for (key, row) in seen {
        if row.forget_at <= tx.at || tally.offenders >= OFFENDERS_MAX {
            tx.delete(key.clone());
            tally.offenders = tally.offenders.saturating_sub(1);
        }
        tally.swept_to = key;
    }
    Ok(())
}
