//! What the node tells the process that holds the addresses, and hears of it: a line of JSON each, an answer to each order.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::clock::BootTime;

/// Octets of one line, either way: eight addresses, and what is wrong with each.
pub const LINE_BYTES_MAX: u64 = 16 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// These and no others, of what this process added; none is added after `until`.
    Hold { until: BootTime, addresses: Vec<IpAddr> },
    /// What it added, and these, wherever a former process left them.
    LetGo { addresses: Vec<IpAddr> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// Each address of the order.
    Held(Vec<Place>),
    /// The moment had passed, and nothing was added.
    Late,
    /// None is on this box any longer.
    Gone,
    Failed(String),
}

/// Where an address is, or why it is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub address: IpAddr,
    pub interface: Result<String, String>,
}
