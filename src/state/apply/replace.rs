//! REPLACE (RFC 8508): a message comes in as another goes, in one step.

use super::messages::bring_in;
use super::opened::{Opened, check_net_quota, drop_bodies};
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
    let new = &replace.message;
    let (added, freed) = (u64::from(new.body.size), u64::from(old.size));
    if replace.from == replace.to {
        check_net_quota(tx, &source, added, freed)?;
        let uid = bring_in(tx, &mut source, new, may)?;
        source.expunge(old);
        drop_bodies(tx, &gone)?;
        let uid_validity = source.row.uid_validity;
        source.close(tx)?;
        return Ok(Outcome::Replaced { uid_validity, uid });
    }
    let mut target = Opened::open(tx, replace.to)?;
    let freed = if source.row.account == target.row.account { freed } else { 0 };
    check_net_quota(tx, &target, added, freed)?;
    let uid = bring_in(tx, &mut target, new, may)?;
    source.expunge(old);
    drop_bodies(tx, &gone)?;
    let uid_validity = target.row.uid_validity;
    target.close(tx)?;
    source.close(tx)?;
    Ok(Outcome::Replaced { uid_validity, uid })
}
