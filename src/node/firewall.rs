//! The firewall of this box and of the others, as operators see them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::inquiry::Inquiry;
use crate::admin::control::firewall::{FirewallState, NodeFirewall};
use crate::admin::status::rfc3339;
use crate::cluster::handle::ClusterHandle;
use crate::cluster::replica::Replica;
use crate::config::Config;
use crate::firewall::{Firewall, Place, Standing, State};

/// How long another node may take to say how its firewall stands.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// The keeper, once it runs; a witness has none.
#[derive(Clone, Default)]
pub(crate) struct SharedFirewall(Arc<OnceLock<Firewall>>);

impl SharedFirewall {
    /// Where there are rules it returns when it is known whether they are in force: no port is opened before.
    pub async fn start<R: Replica>(&self, replica: R, place: Place) {
        let are_rules = !replica.directory().firewall.is_empty();
        let firewall = self.0.get_or_init(|| Firewall::start(replica, place));
        if are_rules {
            firewall.first_standing().await;
        }
    }

    /// `None`: it does not run, or has just started.
    pub fn told(&self) -> Option<NodeFirewall> {
        let Standing { state, since, healed } = self.0.get()?.standing()?;
        let (state, why) = match state {
            State::Idle => (FirewallState::Idle, None),
            State::InStep => (FirewallState::InStep, None),
            State::Drifted(why) => (FirewallState::Drifted, Some(why)),
            State::Unable(why) => (FirewallState::Unable, Some(why)),
        };
        Some(NodeFirewall { node: String::new(), state, why, since: Some(rfc3339(since)), healed })
    }
}

/// Two nodes on one box have tables of their own: each is named after the node's folder.
pub fn place(config: &Config) -> Place {
    let dir = std::fs::canonicalize(&config.dir).unwrap_or_else(|_| config.dir.clone());
    let hash = blake3::hash(dir.as_os_str().as_encoded_bytes()).to_hex();
    Place {
        port_offset: config.listen.port_offset,
        cluster_ports: vec![config.cluster.listen.port(), config.cluster.bulk_listen.port()],
        table: format!("pollux_{}", &hash[..8]),
    }
}

/// All data nodes, this one first.
pub async fn of_all(cluster: &ClusterHandle, own: &SharedFirewall) -> Vec<NodeFirewall> {
    let others = cluster.inquire(Inquiry::Firewall.bytes(), ANSWER_MAX).await.into_iter().map(|told| {
        let said = told.answer.and_then(|answer| serde_json::from_slice(&answer).ok()).flatten();
        named(told.node, said)
    });
    std::iter::once(named(cluster.name(), own.told())).chain(others).collect()
}

fn named(node: String, told: Option<NodeFirewall>) -> NodeFirewall {
    let silent =
        NodeFirewall { node: String::new(), state: FirewallState::Silent, why: None, since: None, healed: 0 };
    NodeFirewall { node, ..told.unwrap_or(silent) }
}
