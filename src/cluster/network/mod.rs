//! Raft between nodes: what is asked, by whom, and in which bytes.

mod client;
mod gate;
#[doc(hidden)]
pub mod messages;
mod serve;
mod snapshot;

pub use self::client::{Network, PeerClient};
pub use self::gate::{Acks, PeerLag, Verdict, decide};
pub use self::serve::{NodeCalls, REFUSED, Server, refused};
pub use self::snapshot::fetch;

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::types::{Member, StoredMembership, TypeConfig};

/// One Raft node of ours.
pub type Raft = openraft::Raft<TypeConfig, super::machine::Machine>;

/// What a peer can be asked. Numbers are never reused; 0x0200 upwards are the bodies', 0x0300 the journal's.
pub mod kinds {
    /// One append without a stream: heartbeats.
    pub const APPEND: u16 = 0x01;
    pub const VOTE: u16 = 0x02;
    pub const PRE_VOTE: u16 = 0x03;
    pub const TRANSFER_LEADER: u16 = 0x04;
    /// Stream: appends one way, what became of them the other, in order.
    pub const APPEND_STREAM: u16 = 0x05;
    /// Stream, bulk lane: header, rows, end; then one answer.
    pub const SNAPSHOT_STREAM: u16 = 0x06;
    /// An encoded proposal, for the leader.
    pub const PROPOSE: u16 = 0x07;
    /// What the node knows of itself.
    pub const STATUS: u16 = 0x08;
    /// A change of the membership, for the leader.
    pub const MEMBERSHIP: u16 = 0x09;
    /// Stream, bulk lane: a data node's rows, for a peer whose own are damaged.
    pub const SNAPSHOT_FETCH: u16 = 0x0a;
    /// A node's public key, for a data node to certify anew.
    pub const CERTIFY: u16 = 0x0b;
    /// How far a node's disk has come, for the others to remember.
    pub const MARK: u16 = 0x0c;
    /// What the node offers to clients; one that is too old to know says that it does not.
    pub const SERVICES: u16 = 0x0d;
    /// The committed members as the node knows them; one that is too old to know says that it does not.
    pub const ROSTER: u16 = 0x0e;
    /// How far the leader has committed, once a majority has confirmed that it leads.
    pub const READ_INDEX: u16 = 0x0f;
    /// What the rooms above ask each other; one that is too old to know says that it does not.
    pub const INQUIRY: u16 = 0x10;
    /// What time the node has; one that is too old to know says that it does not.
    pub const CLOCK: u16 = 0x20;
    /// What the node has in hand for clients; one that is too old to know says that it does not.
    pub const WORK: u16 = 0x11;
    /// Stream, bulk lane: what a data node holds, right behind one entry; one that is too old to know ends it.
    pub const VERIFY: u16 = 0x21;
    /// That the node's rows are to be built anew, as it found itself that they are wrong.
    pub const REBUILD: u16 = 0x22;
    /// How far the node's scrub has come; one that is too old to know says that it does not.
    pub const SCRUBBED: u16 = 0x23;
    /// How the witness's journal of bodies stands, and what it needs no longer; one that keeps none says that it does not know.
    pub const JOURNAL: u16 = 0x24;
    /// Where the node that asks is to be found from now on, for the leader; one that is too old to know says that it does not.
    pub const ADDRESS: u16 = 0x25;
}

/// The members in force, for whoever needs them without asking Raft. Swapped when they change.
pub type Roster = Arc<ArcSwap<Vec<RosterEntry>>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterEntry {
    pub id: u64,
    pub member: Member,
    pub voter: bool,
}

/// The roster of a membership, ascending by id.
pub fn roster_of(stored: &StoredMembership) -> Vec<RosterEntry> {
    let voters: std::collections::BTreeSet<u64> = stored.voter_ids().collect();
    let entry = |(id, member): (&u64, &Member)| RosterEntry {
        id: *id,
        member: member.clone(),
        voter: voters.contains(id),
    };
    stored.membership().nodes().map(entry).collect()
}
