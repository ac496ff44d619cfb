//! How many messages refer to each body, and whether a body lies where it must.

use super::replicas;
use super::transaction::{Stop, Transaction};
use crate::mail::ids::{BodyId, NodeId};
use crate::state::change::Change;
use crate::state::command::PlacedBody;
use crate::state::keys;
use crate::state::outcome::Refusal;
use crate::state::record::{MessageRecord, ReplicaRecord};
use crate::state::rows::RowsError;
use crate::state::stored::BodyRow;

/// Refuses a body that is not durable on every in-sync data node (promise 1 of the design), and
/// notes which data nodes lack it.
pub fn admit(tx: &mut Transaction, body: &PlacedBody) -> Result<(), Stop> {
    let replicas = replicas::load(tx)?;
    let mut in_sync = replicas.iter().filter(|replica| replica.in_sync).peekable();
    let stays = match in_sync.peek() {
        Some(_) => in_sync.all(|it| body.on.contains(&it.node)),
        None => is_on_one_that_stays(tx, &replicas, body)?,
    };
    if body.on.is_empty() || !stays {
        return Err(Refusal::NotPlaced.into());
    }
    if replicas.iter().any(|replica| !body.on.contains(&replica.node)) {
        replicas::missed(tx, replicas, &body.on)?;
    }
    Ok(())
}

/// Not only on nodes that are to be removed, or were. Those in sync are none of these.
fn is_on_one_that_stays(
    tx: &Transaction,
    replicas: &[ReplicaRecord],
    body: &PlacedBody,
) -> Result<bool, RowsError> {
    let retired = replicas::retired(tx)?;
    let stays = |node: NodeId| !retired.iter().any(|it| it.node == node);
    let has = |replica: &ReplicaRecord| body.on.contains(&replica.node) && stays(replica.node);
    Ok(replicas.is_empty() || replicas.iter().any(has))
}

pub fn refer(tx: &mut Transaction, body: BodyId, times: u64) -> Result<(), RowsError> {
    let key = keys::body(body);
    let before = tx.get::<BodyRow>(&key)?.map_or(0, |row| row.references);
    tx.put(key, &BodyRow { references: before.saturating_add(times) })?;
    if before == 0 {
        tx.changes.push(Change::BodyNamed { body });
    }
    Ok(())
}

/// Gives up the references of messages that are gone.
pub fn drop_references(tx: &mut Transaction, messages: &[MessageRecord]) -> Result<(), RowsError> {
    messages.iter().try_for_each(|message| drop_reference(tx, message.body))
}

pub fn drop_reference(tx: &mut Transaction, body: BodyId) -> Result<(), RowsError> {
    let key = keys::body(body);
    match tx.get::<BodyRow>(&key)?.map_or(0, |row| row.references) {
        0 => {}
        1 => {
            tx.delete(key);
            tx.changes.push(Change::BodyDropped { body });
        }
        references => tx.put(key, &BodyRow { references: references - 1 })?,
    }
    Ok(())
}
