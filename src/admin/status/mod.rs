//! `pollux cluster status`: the cluster at a glance, for people and for scripts. Pure: a report goes in, text comes out.

mod render;
#[cfg(test)]
pub mod tests;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

pub use self::render::render;
use crate::config::Role;
use crate::mail::ids::Timestamp;

/// What `--json` shows; scripts rely on it (design 8). Fields are added, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub cluster_id: String,
    pub cluster_version: u32,
    /// The name of the node that answers.
    pub answered_by: String,
    /// The leader's id; null while there is none.
    pub leader: Option<u64>,
    pub term: u64,
    pub protection: Protection,
    /// When `protection` became what it is: RFC 3339, UTC.
    pub since: String,
    /// Why it is not protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Null where they are not known: a witness has none of the rows.
    #[serde(default)]
    pub alarms: Option<Vec<Alarm>>,
    /// Null where none is known.
    #[serde(default)]
    pub last_backup: Option<LastBackup>,
    /// Those of `address.virtual`; a witness, which has no settings, shows none.
    #[serde(default)]
    pub virtual_addresses: Vec<VirtualAddress>,
    pub nodes: Vec<Node>,
}

/// An address that follows leadership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualAddress {
    pub address: String,
    /// The node whose box has it; null: none says so.
    pub holder: Option<String>,
    /// Of that box.
    pub interface: Option<String>,
    /// Why no box has it.
    pub why: Option<String>,
}

/// The backup that holds the latest moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBackup {
    /// As `pollux backup list` names it.
    pub id: String,
    /// The moment that it holds: RFC 3339, UTC.
    pub of: String,
    /// The node that made it.
    pub by: String,
}

/// What somebody should look after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// `degraded`, `disk-nearly-full` and the like.
    pub kind: String,
    /// The node that it is about; null: the cluster as a whole.
    pub node: Option<String>,
    /// RFC 3339, UTC.
    pub since: String,
    /// The node that saw it.
    pub raised_by: String,
    pub note: String,
    /// The postmaster was told.
    pub mailed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    /// Any one node may fail.
    Protected,
    /// Full service, but the next failure may stop it or cost mail.
    Degraded,
    /// No majority: reading only.
    Unavailable,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: u64,
    pub name: String,
    pub role: Role,
    pub address: String,
    pub state: State,
    pub version: String,
    pub last_log: u64,
    pub applied: u64,
    pub lag_entries: u64,
    pub bodies_missing: u64,
    /// False while acknowledgements go on without this node.
    pub in_sync: bool,
    /// Bytes of log on this node's disk.
    pub log_bytes: u64,
    /// The log nears what the node may keep.
    pub log_alarm: bool,
    /// Null while no firewall is managed.
    pub firewall_in_sync: Option<bool>,
    /// Mail services that this node offers, as `name:port`, or `name:path` on a unix socket.
    pub services: Vec<String>,
    /// Null while the node serves clients.
    #[serde(default)]
    pub drain: Option<Drain>,
    /// Why there is no connection with it, where one of the two refuses the other; else null.
    #[serde(default)]
    pub refused: Option<String>,
    /// Null of a witness, and of a node that does not say.
    #[serde(default)]
    pub scrub: Option<Scrub>,
    /// Of a witness that keeps message bodies for a node that is away; else null.
    #[serde(default)]
    pub journal: Option<Journal>,
    /// Messages taken since the other data nodes went that nobody else has; null of a node that was not the one asked.
    #[serde(default)]
    pub single_copies: Option<SingleCopies>,
}

/// Message bodies, sealed, that a witness keeps until two data nodes have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Octets on its disk, and how many it may have.
    pub bytes: u64,
    pub bytes_max: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SingleCopies {
    pub messages: u64,
    /// Why no witness took the last of them.
    pub why: String,
}

/// How far a data node has come with reading its disk through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrub {
    /// The last pass, in RFC 3339; null before the first.
    pub began: Option<String>,
    /// That pass came to its end.
    pub done: bool,
    /// Bodies found damaged since the node was started, by a pass, a verification or a reader, and of them those that were
    /// mended.
    pub found: u64,
    pub mended: u64,
    /// What is wrong and could not be mended.
    pub trouble: Option<String>,
}

/// A node that is drained for work on its box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Connections of clients; null if the node does not answer.
    pub sessions: Option<u64>,
    /// Connections to other servers.
    pub deliveries: Option<u64>,
    pub safe_to_switch_off: bool,
    /// Why it is not; null where it is.
    pub waits_for: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Leader,
    Follower,
    Candidate,
    Learner,
    /// It does not answer the node that was asked.
    Down,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Leader => "leader",
            State::Follower => "follower",
            State::Candidate => "candidate",
            State::Learner => "learner",
            State::Down => "down",
        }
    }
}

/// RFC 3339 in UTC, to the second.
pub fn rfc3339(at: Timestamp) -> String {
    instant(at).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The same, to the millisecond.
pub fn rfc3339_ms(at: Timestamp) -> String {
    instant(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn instant(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.0 as i64).unwrap_or_default()
}
