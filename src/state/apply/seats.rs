//! Seats of hosts: who has how many, so that all together are never more than the bound.

use std::sync::Arc;

use super::transaction::{Stop, Transaction};
use crate::mail::ids::NodeId;
use crate::state::change::Change;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::seats::{self, HOSTS_MAX, HeldSeats, SILENT_MAX, Seats, SeatsChanged, TakeSeats, share};
use crate::state::stored::{ReplicasRow, SeatsRow, SeatsTallyRow};

pub fn take(tx: &mut Transaction, ask: &TakeSeats) -> Result<Outcome, Stop> {
    if ask.silent.len() > SILENT_MAX {
        return Err(Refusal::Invalid("nodes that are silent".into()).into());
    }
    let replicas = tx.get::<ReplicasRow>(&keys::replicas())?.unwrap_or_default().replicas;
    let nodes: Vec<NodeId> = replicas.iter().map(|replica| replica.node).collect();
    let share = share(ask.seats_max, nodes.len());
    let key = keys::seats(ask.host);
    let mut tally = tx.get::<SeatsTallyRow>(&keys::seats_tally())?.unwrap_or_default();
    let known = tx.get::<SeatsRow>(&key)?;
    let had_row = known.is_some();
    let mut row = known.unwrap_or_default();
    // What a node had that was removed is nobody's.
    row.held.retain(|held| nodes.contains(&held.node));
    for silent in ask.silent.iter().filter(|silent| **silent != ask.node && nodes.contains(silent)) {
        set(&mut row, *silent, 0);
    }

    let of = |row: &SeatsRow, node: NodeId| {
        row.held.iter().find(|held| held.node == node).map_or(share, |held| held.seats)
    };
    let others = nodes.iter().filter(|node| **node != ask.node);
    let holders: Vec<NodeId> = others.copied().filter(|node| of(&row, *node) > 0).collect();
    let with_others = holders.iter().fold(0u64, |sum, node| sum.saturating_add(of(&row, *node)));
    let free = ask.seats_max.saturating_sub(with_others);
    let needed = ask.in_use.saturating_add(u64::from(ask.wants_one));
    let in_vain = ask.wants_one && needed > free;
    // Some in advance, ever fewer toward the end.
    let spare = if ask.wants_one { free.saturating_sub(needed) / 4 } else { 0 };
    let seats = if in_vain { ask.in_use } else { needed + spare };
    set(&mut row, ask.node, seats);
    row.seats_max = ask.seats_max;

    let needs_row = row.held.iter().any(|held| held.seats > share) || in_vain;
    match (had_row, needs_row) {
        (false, true) if tally.hosts >= HOSTS_MAX => {
            return Ok(Outcome::SeatsTaken(Seats { at: tx.index, seats: needed, holders: Vec::new() }));
        }
        (false, true) => tally.hosts = tally.hosts.saturating_add(1),
        (true, false) => tally.hosts = tally.hosts.saturating_sub(1),
        (false, false) | (true, true) => {}
    }
    match needs_row {
        true => tx.put(key, &row)?,
        false => {
            row.held.clear();
            tx.delete(key);
        }
    }
    tx.put(keys::seats_tally(), &tally)?;
    let (host, at, by, seats_max) = (ask.host, tx.index, ask.node, ask.seats_max);
    let allowed = |mine: &HeldSeats| HeldSeats {
        seats: seats::allowed(&row.held, *mine, (seats_max, nodes.len())),
        ..*mine
    };
    let held = row.held.iter().map(allowed).collect();
    let changed = SeatsChanged { host, at, by, in_vain, seats_max, held };
    tx.changes.push(Change::Seats(Arc::new(changed)));
    Ok(Outcome::SeatsTaken(Seats { at: tx.index, seats: seats.min(free), holders }))
}

fn set(row: &mut SeatsRow, node: NodeId, seats: u64) {
    match row.held.iter_mut().find(|held| held.node == node) {
        Some(held) => held.seats = seats,
        None => row.held.push(HeldSeats { node, seats }),
    }
}
