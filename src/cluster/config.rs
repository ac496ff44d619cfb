//! What the replication of one node needs to know: where it lives, how patient it is, how much it keeps.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::transport::PeerAddress;
use super::types::{Member, Role};

/// One node's part of the cluster, before it has heard from anyone.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The node's data directory; this room keeps everything under it.
    pub dir: PathBuf,
    /// For people; unique in the cluster.
    pub name: String,
    pub role: Role,
    /// Where the control lane listens.
    pub control_listen: SocketAddr,
    /// Where the bulk lane listens.
    pub bulk_listen: SocketAddr,
    /// How others reach the control lane, `host:port`.
    pub control_address: String,
    /// How others reach the bulk lane, `host:port`.
    pub bulk_address: String,
    pub timing: Timing,
    pub retention: Retention,
    pub upkeep: Upkeep,
}

impl ClusterConfig {
    /// Bytes of log that this node keeps at most.
    pub fn log_bytes_max(&self) -> u64 {
        match self.role {
            Role::Data => self.retention.keep_bytes_max,
            Role::Witness => self.retention.witness_bytes_max,
        }
    }

    /// How others reach it.
    pub fn address(&self) -> PeerAddress {
        PeerAddress { control: self.control_address.clone(), bulk: self.bulk_address.clone() }
    }

    pub fn member(&self) -> Member {
        Member {
            name: self.name.clone(),
            role: self.role,
            control: self.control_address.clone(),
            bulk: self.bulk_address.clone(),
        }
    }
}

/// How patient the nodes are with each other. The same on all nodes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Must exceed a follower's p99.9 fsync.
    pub heartbeat_ms: u64,
    pub election_ms_min: u64,
    pub election_ms_max: u64,
    /// A data peer that answered within this is alive for the witness gate.
    pub gate_alive_ms: u64,
    /// A log sync that hangs for this hands leadership over and stops the process.
    pub flush_hang_ms: u64,
}

impl Timing {
    /// Fail-over under 1 s on a LAN with ordinary disks (design 4).
    pub const fn normal() -> Self {
        Self {
            heartbeat_ms: 75,
            election_ms_min: 225,
            election_ms_max: 350,
            gate_alive_ms: 250,
            flush_hang_ms: 2_000,
        }
    }

    /// For disks whose sync takes hundreds of milliseconds (NAS, SD cards). Fail-over takes some seconds.
    pub const fn slow_disk() -> Self {
        Self {
            heartbeat_ms: 400,
            election_ms_min: 1_600,
            election_ms_max: 2_600,
            gate_alive_ms: 1_300,
            flush_hang_ms: 10_000,
        }
    }
}

/// How much of the log stays on disk after it is in the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// A data node syncs its rows and takes a snapshot marker each so many entries.
    pub snapshot_entries: u64,
    /// Entries kept on a data node behind its marker: a node away for a while catches up by log.
    pub keep_entries: u64,
    /// Bytes kept on a data node; beyond it entries go although fewer than `keep_entries` are left.
    pub keep_bytes_max: u64,
    /// Bytes of log that a witness keeps for a data node that is away. Beyond it the oldest go.
    pub witness_bytes_max: u64,
    /// Octets of bodies that a witness keeps for a data node that is left alone; 0: none.
    pub journal_bytes_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            snapshot_entries: 20_000,
            keep_entries: 500_000,
            keep_bytes_max: 1 << 30,
            witness_bytes_max: 8 << 30,
            journal_bytes_max: 2 << 30,
        }
    }
}

/// How a data node looks after its bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upkeep {
    /// A body that nothing names is kept for this long. Longer than any proposal is under way.
    pub grace_ms: u64,
    /// How often all bodies are compared with what is named.
    pub sweep_each_ms: u64,
    /// What the days of `scrub.interval_days` are counted in.
    pub scrub_day_ms: u64,
}

impl Upkeep {
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    pub fn sweep_each(&self) -> Duration {
        Duration::from_millis(self.sweep_each_ms)
    }
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { grace_ms: 600_000, sweep_each_ms: 86_400_000, scrub_day_ms: 86_400_000 }
    }
}

/// What keeps a node from starting. One line: what is wrong, and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl StartError {
    pub fn new(text: impl std::fmt::Display) -> Self {
        Self(text.to_string().replace('\n', " "))
    }
}
