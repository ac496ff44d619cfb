//! Node ids: each is given once, whoever was away when the last one was given or its node removed.

use super::transaction::{Stop, Transaction};
use crate::mail::ids::NodeId;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::stored::NodeIdsRow;

/// The founder's, which no command gave.
const FIRST: NodeId = NodeId(1);

/// `above` is for members that came in by another way than this one.
pub fn give(tx: &mut Transaction, above: NodeId) -> Result<Outcome, Stop> {
    let last = tx.get::<NodeIdsRow>(&keys::node_ids())?.map_or(FIRST, |row| row.last_given);
    let Some(next) = last.max(above).0.checked_add(1) else {
        return Err(Refusal::Limit(format!("{} node ids", u64::MAX)).into());
    };
    let node = NodeId(next);
    tx.put(keys::node_ids(), &NodeIdsRow { last_given: node })?;
    Ok(Outcome::NodeIdGiven { node })
}
