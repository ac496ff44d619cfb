//! Data nodes that are drained for work on their boxes: they go on replicating, and serve no clients.

use super::replicas;
use super::transaction::{Stop, Transaction};
use crate::mail::ids::NodeId;
use crate::state::change::Change;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::rows::RowsError;
use crate::state::stored::DrainedRow;

fn load(tx: &Transaction) -> Result<Vec<NodeId>, RowsError> {
    Ok(tx.get::<DrainedRow>(&keys::drained())?.unwrap_or_default().nodes)
}

fn save(tx: &mut Transaction, nodes: Vec<NodeId>) -> Result<(), RowsError> {
    match nodes.is_empty() {
        true => tx.delete(keys::drained()),
        false => tx.put(keys::drained(), &DrainedRow { nodes: nodes.clone() })?,
    }
    tx.changes.push(Change::Drained { nodes });
    Ok(())
}

/// Of two that are to be drained at the same time, the second is refused. Draining again changes nothing.
pub fn drain(tx: &mut Transaction, node: NodeId) -> Result<Outcome, Stop> {
    let mut nodes = load(tx)?;
    let known = replicas::load(tx)?;
    replicas::position(&known, node)?;
    let Err(place) = nodes.binary_search(&node) else { return Ok(Outcome::Done) };
    // One that is to be removed was marked behind.
    if !known.iter().any(|it| it.in_sync && it.node != node && !nodes.contains(&it.node)) {
        return Err(Refusal::LastServing(node).into());
    }
    nodes.insert(place, node);
    save(tx, nodes)?;
    Ok(Outcome::Done)
}

/// One that was not drained stays as it is.
pub fn undrain(tx: &mut Transaction, node: NodeId) -> Result<Outcome, Stop> {
    replicas::position(&replicas::load(tx)?, node)?;
    forget(tx, node)?;
    Ok(Outcome::Done)
}

pub fn forget(tx: &mut Transaction, node: NodeId) -> Result<(), RowsError> {
    let mut nodes = load(tx)?;
    if let Ok(place) = nodes.binary_search(&node) {
        nodes.remove(place);
        save(tx, nodes)?;
    }
    Ok(())
}
