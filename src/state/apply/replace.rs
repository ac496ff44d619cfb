//! REPLACE (RFC 8508): a message comes in as another goes, in one step.

use super::messages::bring_in;
use super::opened::{Opened, check_net_quota};
use super::removed;
use super::transaction::{Stop, Transaction};
use crate::mail::flags::Flags;
use crate::state::command::{Replace, UidSet};
use crate::state::outcome::Outcome;

/// All or nothing; nobody ever sees both messages, or neither. The flags of the one that goes are its own; of those of the
/// one that comes, `may` are set.
pub fn replace(tx: &mut Transaction, replace: &Replace, may: Flags) -> Result<Outcome, Stop> {
    let mut source = Opened::open(tx, replace.from)?;
    let gone = source.read(tx, &UidSet::from_ascending([replace.uid]))?;
    let Some(old) = gone.first() else { return Ok(Outcome::ReplacedNothing) };
    let (owner, new) = (source.row.account, &replace.message);
    let mut target = match replace.from == replace.to {
        true => None,
        false => Some(Opened::open(tx, replace.to)?),
    };
    let into = target.as_mut().unwrap_or(&mut source);
    let freed = if into.row.account == owner { u64::from(old.size) } else { 0 };
    check_net_quota(tx, into, new.body.size.into(), freed)?;
    let uid = bring_in(tx, into, new, may)?;
    let uid_validity = into.row.uid_validity;
    source.expunge(old);
    removed::expunged(tx, &mut source, &gone)?;
    if let Some(target) = target {
        target.close(tx)?;
    }
    source.close(tx)?;
    Ok(Outcome::Replaced { uid_validity, uid })
}
