//! The first words on every connection, both ways, and what may be wrong with them. Pure.

use bincode::{Decode, Encode};

use crate::cluster::pki::ClusterId;
use crate::mail::ids::NodeId;

/// Versions from `min` to `max`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Range {
    pub min: u16,
    pub max: u16,
}

/// What a build speaks.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Versions {
    /// For people: "0.1.0 (abcdef)".
    pub build: String,
    pub protocol: Range,
    pub command: Range,
    pub snapshot: Range,
}

/// What each side says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    pub cluster: ClusterId,
    pub node: NodeId,
    /// Random per start of the process, so that a restart is noticed at once.
    pub incarnation: u64,
    pub versions: Versions,
    /// Opaque here; [`Handshake`] compares it.
    pub lineage: Vec<u8>,
}

/// What a peer said of itself, once it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerHello {
    pub versions: Versions,
    pub incarnation: u64,
}

/// The part of the handshake that needs to know the cluster's history.
pub trait Handshake: Send + Sync + 'static {
    /// What this node says of its history, read anew for each connection.
    fn lineage(&self) -> Vec<u8>;
    /// `Err` is the reason, one line, shown to both sides.
    fn accept(&self, peer: NodeId, lineage: &[u8]) -> Result<(), String>;
}
