//! COPY and MOVE: messages under new UIDs, in one step.

use super::bodies;
use super::keywords::{NoRoom, Table};
use super::opened::{Opened, check_quota};
use super::transaction::{Stop, Transaction};
use crate::mail::flags::Flags;
use crate::mail::ids::Uid;
use crate::state::command::{Transfer, UidSet};
use crate::state::outcome::Outcome;
use crate::state::record::MessageRecord;

/// The messages come with those of their flags that are in `may`.
pub fn copy(tx: &mut Transaction, transfer: &Transfer, may: Flags) -> Result<Outcome, Stop> {
    let Transfer { from, uids, to } = transfer;
    let mut source = Opened::open(tx, *from)?;
    let messages = source.read(tx, uids)?;
    let mut target = Opened::open(tx, *to)?;
    check_quota(tx, &target, messages.iter().map(|message| u64::from(message.size)).sum())?;
    let new = take_over(tx, &messages, (source.keywords(tx)?, may), &mut target)?;
    for message in &messages {
        bodies::refer(tx, message.body, 1)?;
    }
    let uid_validity = target.row.uid_validity;
    target.close(tx)?;
    Ok(copied(uid_validity, &messages, new))
}

/// RFC 6851: as COPY and EXPUNGE in one; nobody ever sees the messages in both places or in none.
pub fn move_to(tx: &mut Transaction, transfer: &Transfer, may: Flags) -> Result<Outcome, Stop> {
    let Transfer { from, uids, to } = transfer;
    let mut source = Opened::open(tx, *from)?;
    let messages = source.read(tx, uids)?;
    let table = source.keywords(tx)?.clone();
    if from == to {
        let new = take_over(tx, &messages, (&table, may), &mut source)?;
        messages.iter().for_each(|message| source.expunge(message));
        let uid_validity = source.row.uid_validity;
        source.close(tx)?;
        return Ok(copied(uid_validity, &messages, new));
    }
    let mut target = Opened::open(tx, *to)?;
    if source.row.account != target.row.account {
        check_quota(tx, &target, messages.iter().map(|message| u64::from(message.size)).sum())?;
    }
    let new = take_over(tx, &messages, (&table, may), &mut target)?;
    messages.iter().for_each(|message| source.expunge(message));
    let uid_validity = target.row.uid_validity;
    target.close(tx)?;
    source.close(tx)?;
    Ok(copied(uid_validity, &messages, new))
}

/// Adds the messages to `target` in their order. Keywords go by name; those beyond the target's
/// table are left behind rather than the message.
fn take_over(
    tx: &Transaction,
    messages: &[MessageRecord],
    (names, may): (&Table, Flags),
    target: &mut Opened,
) -> Result<Vec<Uid>, Stop> {
    let mut new = Vec::with_capacity(messages.len());
    for message in messages {
        let kept = message.flags.within(may);
        let flags: Flags = match kept.keywords {
            0 => kept,
            _ => target.keywords(tx)?.flags(&names.named(kept), NoRoom::LeaveOut)?,
        };
        new.push(target.add(MessageRecord { flags, saved_at: tx.at, ..*message })?);
    }
    Ok(new)
}

fn copied(uid_validity: crate::mail::ids::UidValidity, messages: &[MessageRecord], new: Vec<Uid>) -> Outcome {
    Outcome::Copied {
        uid_validity,
        from: UidSet::from_ascending(messages.iter().map(|message| message.uid)),
        to: UidSet::from_ascending(new),
    }
}
