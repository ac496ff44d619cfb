//! What an operator is told of the cluster (design 8). Plain data; the rooms above turn it into tables and JSON.

use crate::mail::ids::{NodeId, Timestamp};

use super::types::Role;

/// The cluster as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The cluster's uuid, as text.
    pub cluster_id: String,
    /// The replicated version that gates commands.
    pub cluster_version: u32,
    /// The node that answers.
    pub node: NodeId,
    pub leader: Option<NodeId>,
    pub term: u64,
    pub protection: Protection,
    /// When `protection` became what it is, as far as this node knows.
    pub since: Timestamp,
    /// Ascending by id.
    pub nodes: Vec<NodeStatus>,
}

/// Whether the next failure would cost anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Any one node may fail: every body has its copies, every voter is there.
    Protected,
    /// It serves, but one more failure may stop it or cost copies.
    Degraded,
    /// No majority: reading only.
    Unavailable,
}

impl Protection {
    pub fn as_str(self) -> &'static str {
        match self {
            Protection::Protected => "protected",
            Protection::Degraded => "degraded",
            Protection::Unavailable => "unavailable",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    pub id: NodeId,
    pub name: String,
    pub role: Role,
    /// Of the control lane.
    pub address: String,
    pub state: NodeState,
    /// The build's version; empty when it did not answer.
    pub version: String,
    pub last_log: u64,
    pub applied: u64,
    /// How far `applied` (a witness: `last_log`) is behind the leader's log.
    pub lag_entries: u64,
    /// Bodies that this node should hold and does not.
    pub bodies_missing: u64,
    /// In the in-sync set (a witness: always).
    pub in_sync: bool,
    /// Bytes of log on disk.
    pub log_bytes: u64,
    /// The log has reached 80 % of what this node may keep.
    pub log_alarm: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    Leader,
    Follower,
    Candidate,
    /// Not a voter yet: it catches up.
    Learner,
    /// It did not answer.
    Unreachable,
}

impl NodeState {
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Leader => "leader",
            NodeState::Follower => "follower",
            NodeState::Candidate => "candidate",
            NodeState::Learner => "learner",
            NodeState::Unreachable => "unreachable",
        }
    }
}
