//! What `init` was told that is replicated state, kept until the first start; and the node as the
//! cluster room takes it.

use super::Problem;
use crate::admin::control::plan;
use crate::cluster::config::{ClusterConfig, Retention, Timing, Upkeep};
use crate::cluster::token::Role as ClusterRole;
use crate::config::{Config, Preset, Role};

/// What `init` was told and the first start proposes; gone afterwards.
pub const FIRST_SETTINGS_FILE: &str = "first-settings.json";

/// What the operator gave to `init` that is replicated state: proposed at the first start.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FirstSettings {
    pub domain: Option<String>,
    pub hostname: Option<String>,
}

impl FirstSettings {
    /// What the state would refuse is refused before anything is made.
    pub fn check(&self) -> Result<(), Problem> {
        for name in [&self.domain, &self.hostname].into_iter().flatten() {
            plan::domain_name(name).map_err(|failure| failure.message)?;
        }
        Ok(())
    }
}

/// The part of the configuration that is the cluster's.
pub fn cluster_config(config: &Config) -> ClusterConfig {
    let preset = match config.preset {
        Preset::Default => Timing::normal(),
        Preset::SlowDisk => Timing::slow_disk(),
    };
    ClusterConfig {
        dir: config.dir.clone(),
        name: config.name.clone(),
        role: match config.role {
            Role::Data => ClusterRole::Data,
            Role::Witness => ClusterRole::Witness,
        },
        control_listen: config.cluster.listen,
        bulk_listen: config.cluster.bulk_listen,
        control_address: config.cluster.advertise.clone(),
        bulk_address: config.cluster.bulk_advertise.clone(),
        timing: Timing {
            heartbeat_ms: config.raft.heartbeat_ms,
            election_ms_min: config.raft.election_min_ms,
            election_ms_max: config.raft.election_max_ms,
            ..preset
        },
        retention: retention(config),
        upkeep: Upkeep::default(),
    }
}

/// A node that keeps few entries takes its markers as often, or nothing would ever go.
fn retention(config: &Config) -> Retention {
    let usual = Retention::default();
    Retention {
        snapshot_entries: usual.snapshot_entries.min(config.log_entries_kept),
        keep_entries: config.log_entries_kept,
        keep_bytes_max: config.log_bytes_kept.unwrap_or(usual.keep_bytes_max),
        witness_bytes_max: config.log_bytes_kept.unwrap_or(usual.witness_bytes_max),
        journal_bytes_max: config.journal_bytes_max,
    }
}
