//! The in-sync set: which data nodes hold every body that was ever acknowledged (design 3).

use super::accounts::directory_changed;
use super::drained;
use super::transaction::{Stop, Transaction};
use crate::mail::ids::{LogIndex, NodeId};
use crate::state::change::Change;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::record::ReplicaRecord;
use crate::state::rows::RowsError;
use crate::state::stored::{ReplicasRow, Retired, RetiredRow};

/// Data nodes of one cluster.
pub const REPLICAS_MAX: usize = 64;

pub fn load(tx: &Transaction) -> Result<Vec<ReplicaRecord>, RowsError> {
    Ok(tx.get::<ReplicasRow>(&keys::replicas())?.unwrap_or_default().replicas)
}

pub fn retired(tx: &Transaction) -> Result<Vec<Retired>, RowsError> {
    Ok(tx.get::<RetiredRow>(&keys::retired())?.unwrap_or_default().retired)
}

fn save_retired(tx: &mut Transaction, retired: Vec<Retired>) -> Result<(), RowsError> {
    match retired.is_empty() {
        true => tx.delete(keys::retired()),
        false => tx.put(keys::retired(), &RetiredRow { retired })?,
    }
    Ok(())
}

fn save(tx: &mut Transaction, replicas: Vec<ReplicaRecord>) -> Result<(), RowsError> {
    tx.put(keys::replicas(), &ReplicasRow { replicas: replicas.clone() })?;
    tx.changes.push(Change::Replicas { replicas });
    Ok(())
}

/// At first behind: it lacks whatever was committed before it came. Adding it again changes nothing.
pub fn add(tx: &mut Transaction, node: NodeId) -> Result<Outcome, Stop> {
    let mut replicas = load(tx)?;
    let Err(place) = replicas.binary_search_by_key(&node, |replica| replica.node) else {
        return Ok(Outcome::Done);
    };
    if replicas.len() >= REPLICAS_MAX {
        return Err(Refusal::Limit(format!("{REPLICAS_MAX} data nodes")).into());
    }
    replicas.insert(place, ReplicaRecord { node, in_sync: false, since: tx.at, missed_at: tx.index });
    save(tx, replicas)?;
    Ok(Outcome::Done)
}

pub fn remove(tx: &mut Transaction, node: NodeId) -> Result<Outcome, Stop> {
    let mut replicas = load(tx)?;
    let place = position(&replicas, node)?;
    replicas.remove(place);
    let mut retired = retired(tx)?;
    retired.retain(|it| it.node != node);
    save_retired(tx, retired)?;
    drained::forget(tx, node)?;
    save(tx, replicas)?;
    Ok(Outcome::Done)
}

/// Whatever is committed from now on lies on nodes that stay, and at this entry one of them has all that was before.
pub fn retire(tx: &mut Transaction, node: NodeId, lost: bool) -> Result<Outcome, Stop> {
    let replicas = load(tx)?;
    let others = replicas.iter().any(|it| it.in_sync && it.node != node);
    // One that is not known yet was never sent mail.
    if !lost && !others && position(&replicas, node).is_ok() {
        return Err(Refusal::LastCopies(node).into());
    }
    add(tx, node)?;
    let mut retired = retired(tx)?;
    retired.retain(|it| it.node != node);
    let place = retired.partition_point(|it| it.node < node);
    retired.insert(place, Retired { node, at: tx.index });
    save_retired(tx, retired)?;
    mark_behind(tx, node)
}

pub fn reinstate(tx: &mut Transaction, node: NodeId, retired_at: LogIndex) -> Result<Outcome, Stop> {
    let mut replicas = load(tx)?;
    let place = position(&replicas, node)?;
    let mut retired = retired(tx)?;
    let is_it = |it: &Retired| it.node == node && it.at == retired_at;
    if !retired.iter().any(is_it) {
        return Err(Refusal::NotFound(format!("retirement of node {node} by entry {retired_at}")).into());
    }
    retired.retain(|it| !is_it(it));
    save_retired(tx, retired)?;
    replicas[place].missed_at = tx.index;
    save(tx, replicas)?;
    Ok(Outcome::Done)
}

/// Also for the last one in sync: with no node in sync, bodies go wherever one can take them.
pub fn mark_behind(tx: &mut Transaction, node: NodeId) -> Result<Outcome, Stop> {
    let mut replicas = load(tx)?;
    let place = position(&replicas, node)?;
    if replicas[place].in_sync {
        replicas[place].in_sync = false;
        replicas[place].since = tx.at;
        save(tx, replicas)?;
    }
    Ok(Outcome::Done)
}

pub fn mark_in_sync(tx: &mut Transaction, node: NodeId, complete_to: LogIndex) -> Result<Outcome, Stop> {
    let mut replicas = load(tx)?;
    let place = position(&replicas, node)?;
    let is_retired = retired(tx)?.iter().any(|it| it.node == node);
    if is_retired || replicas[place].missed_at > complete_to {
        return Err(Refusal::StillBehind.into());
    }
    if !replicas[place].in_sync {
        replicas[place].in_sync = true;
        replicas[place].since = tx.at;
        save(tx, replicas)?;
    }
    Ok(Outcome::Done)
}

/// This entry commits a body that lies only `on` these nodes.
pub fn missed(
    tx: &mut Transaction,
    mut replicas: Vec<ReplicaRecord>,
    on: &[NodeId],
) -> Result<(), RowsError> {
    let index = tx.index;
    replicas.iter_mut().filter(|it| !on.contains(&it.node)).for_each(|it| it.missed_at = index);
    save(tx, replicas)
}

pub fn position(replicas: &[ReplicaRecord], node: NodeId) -> Result<usize, Refusal> {
    replicas
        .binary_search_by_key(&node, |replica| replica.node)
        .map_err(|_| Refusal::NotFound(format!("data node {node}")))
}

/// The cluster version only rises: what a newer version wrote, an older build cannot read.
pub fn set_cluster_version(tx: &mut Transaction, version: u32) -> Result<Outcome, Stop> {
    if version < tx.meta.cluster_version {
        return Err(Refusal::Invalid(format!("cluster version {version}: it never goes down")).into());
    }
    if version > tx.meta.cluster_version {
        tx.meta.cluster_version = version;
        directory_changed(tx)?;
    }
    Ok(Outcome::Done)
}
