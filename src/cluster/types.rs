//! The concrete types of our Raft, named once. Nothing above this room sees them.

use std::fmt;

use bytes::Bytes;
use openraft::impls::leader_id_std;
use openraft::vote::RaftLeaderId;

pub use super::token::Role;
use crate::mail::ids::NodeId;
use crate::state::outcome::Outcome;

/// A node as the replicated membership knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// For people; unique in the cluster.
    pub name: String,
    pub role: Role,
    /// `host:port` of the control lane (Raft, calls).
    pub control: String,
    /// `host:port` of the bulk lane (bodies, snapshots).
    pub bulk: String,
}

impl Default for Member {
    fn default() -> Self {
        Self { name: String::new(), role: Role::Data, control: String::new(), bulk: String::new() }
    }
}

impl Member {
    /// Octets of each text field; the membership is one log entry.
    pub const TEXT_BYTES_MAX: usize = 255;
}

/// One encoded [`Proposal`](crate::state::command::Proposal), behind the byte that marks an entry as normal
/// (see [`super::codec`]): encoded once by the proposer, then shared, never copied.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded(pub Bytes);

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What apply answers the node that proposed; `None` for entries that are not commands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer(pub Option<Outcome>);

openraft::declare_raft_types!(
    /// One leader per term (`leader_id_std`): two nodes never both lead in a term.
    pub TypeConfig:
        D = Encoded,
        R = Answer,
        NodeId = u64,
        Node = Member,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = super::runtime::Runtime,
);

pub type LeaderId = leader_id_std::LeaderId<u64, u64>;
pub type CommittedLeaderId = <LeaderId as RaftLeaderId>::Committed;
pub type LogId = openraft::LogId<CommittedLeaderId>;
pub type Vote = openraft::Vote<LeaderId>;
pub type Payload = openraft::EntryPayload<Encoded, u64, Member>;
pub type Entry = openraft::Entry<CommittedLeaderId, Payload>;
pub type Membership = openraft::Membership<u64, Member>;
pub type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, Member>;
pub type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId, u64, Member>;

/// A log id from its parts.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: LeaderId::new(term, 0).to_committed(), index }
}

/// The data nodes among the members.
pub fn data_nodes(membership: &Membership) -> impl Iterator<Item = NodeId> + '_ {
    membership.nodes().filter(|(_, member)| member.role == Role::Data).map(|(id, _)| NodeId(*id))
}
