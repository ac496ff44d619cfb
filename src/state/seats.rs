//! Connections that hosts hold open at once, over all nodes, as they are replicated. So that most of them cost no commit,
//! each node may let in a *share* of the bound without a word; whoever wants more says what it holds and asks.
//!
//! A row of a host says how many seats each node has from now on, be it none; a node that it does not name has its share.
//! A host of which no node has more than its share needs no row. Whoever asks in vain is told who has seats: those say
//! what they use, and who does not answer in time has none any longer. Never knows what time it is.

use bincode::{Decode, Encode};

use super::blocks::Host;
use super::keys;
use super::reading;
use super::rows::{Rows, RowsError};
use super::stored::SeatsRow;
use crate::mail::ids::{LogIndex, NodeId};

/// A node may fill this part of the bound without asking; a smaller one where there are as many nodes: together they never
/// have all of it so.
pub const SHARE: u64 = 4;
/// Hosts with rows. Beyond it each node counts a further one for itself.
pub const HOSTS_MAX: u32 = 100_000;
/// Nodes named in one command.
pub const SILENT_MAX: usize = 16;

/// What all nodes have, of the hosts that have rows.
pub fn load(rows: &dyn Rows) -> Result<Vec<(Host, SeatsRow)>, RowsError> {
    let mut found = Vec::new();
    reading::visit::<SeatsRow>(rows, &keys::table(keys::SEATS), |key, row| {
        found.extend(keys::seats_of(key).map(|host| (host, row)));
    })?;
    Ok(found)
}

/// What a node that has so many may have in use without asking. Less than it has where all together have more than the bound,
/// which became smaller or was not kept to by a node that was taken to be dead.
pub fn allowed(held: &[HeldSeats], mine: HeldSeats, (seats_max, nodes): (u64, usize)) -> u64 {
    let unnamed = nodes.saturating_sub(held.len()) as u64;
    let others = held.iter().filter(|held| held.node != mine.node);
    let named = others.fold(0u64, |sum, held| sum.saturating_add(held.seats));
    let with_others = named.saturating_add(unnamed.saturating_mul(share(seats_max, nodes)));
    mine.seats.min(seats_max.saturating_sub(with_others))
}

/// What a node may let in of each host without asking, where there are so many data nodes.
pub fn share(seats_max: u64, nodes: usize) -> u64 {
    seats_max / SHARE.max(nodes as u64 + 1)
}

/// A node says what it uses, and may want one more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TakeSeats {
    pub node: NodeId,
    pub host: Host,
    /// Of the host, by the settings that the node knows.
    pub seats_max: u64,
    /// Connections that are open.
    pub in_use: u64,
    /// One more is to be let in.
    pub wants_one: bool,
    /// Nodes that were asked back what they have, and did not answer.
    pub silent: Vec<NodeId>,
}

/// What the node may let in from here on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Seats {
    pub at: LogIndex,
    pub seats: u64,
    /// Others that have some.
    pub holders: Vec<NodeId>,
}

/// What a node has of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct HeldSeats {
    pub node: NodeId,
    pub seats: u64,
}

/// The seats of a host, as they are since that entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatsChanged {
    pub host: Host,
    pub at: LogIndex,
    /// Who said what it uses.
    pub by: NodeId,
    /// It got none: whoever has more than it uses says so.
    pub in_vain: bool,
    pub seats_max: u64,
    /// What each may let in ([`allowed`]).
    pub held: Vec<HeldSeats>,
}
