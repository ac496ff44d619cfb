//! Who a new node is: its certificate and key, the cluster's CA on the first node.

use std::path::Path;

use super::Problem;
use super::found::write_secret;
use crate::admin::control::plan;
use crate::clock::Clock;
use crate::cluster::pki::{ClusterCa, ClusterId, NodeKey};
use crate::cluster::token::JoinToken;
use crate::cluster::transport::join::{JoinRequest, join as ask_to_join};
use crate::cluster::transport::{PeerAddress, Range, Versions};
use crate::config::Config;
use crate::mail::ids::NodeId;

pub const IDENTITY_FILE: &str = "identity.pem";
pub const CA_FILE: &str = "cluster-ca.pem";
pub const CA_KEY_FILE: &str = "cluster-ca.key";
pub const JOINED_FILE: &str = "joined.bin";
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

/// A new cluster: its CA, and the first node's certificate by it.
pub fn found(dir: &Path, first: &FirstSettings, clock: &Clock) -> Result<(), Problem> {
    let mut id = [0; 16];
    clock.fill(&mut id);
    let fault = |error: crate::cluster::pki::PkiError| format!("the cluster's CA: {error}");
    let ca = ClusterCa::create(ClusterId(id), clock.now()).map_err(fault)?;
    let identity = ca.issue(NodeId(1), clock.now()).map_err(fault)?;
    write_secret(&dir.join(CA_FILE), ca.certificate_pem().as_bytes())?;
    write_secret(&dir.join(CA_KEY_FILE), ca.key_pem().as_bytes())?;
    write_secret(&dir.join(IDENTITY_FILE), &identity.to_bytes())?;
    let first = serde_json::to_vec_pretty(first).map_err(|error| error.to_string())?;
    write_secret(&dir.join(FIRST_SETTINGS_FILE), &first)
}

/// Exchanges the token for a certificate. The key is made here and never travels.
pub async fn join(dir: &Path, token: &JoinToken, config: &Config) -> Result<NodeId, Problem> {
    let key = NodeKey::generate().map_err(|error| error.to_string())?;
    let request = JoinRequest {
        secret: token.secret,
        role: token.role,
        public_key: key.public().to_vec(),
        name: config.name.clone(),
        address: PeerAddress {
            control: config.cluster.advertise.clone(),
            bulk: config.cluster.bulk_advertise.clone(),
        },
        versions: versions(),
    };
    let (answer, identity) = ask_to_join(token, &key, request).await.map_err(|error| error.to_string())?;
    write_secret(&dir.join(IDENTITY_FILE), &identity.to_bytes())?;
    let bytes = crate::cluster::wire::encode(&answer).map_err(|error| error.to_string())?;
    write_secret(&dir.join(JOINED_FILE), &bytes)?;
    Ok(answer.node)
}

fn versions() -> Versions {
    let one = Range { min: 1, max: 1 };
    Versions { build: env!("CARGO_PKG_VERSION").to_owned(), protocol: one, command: one, snapshot: one }
}
