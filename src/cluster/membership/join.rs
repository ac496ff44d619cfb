//! Letting a new node in, from both sides.

use std::sync::{Arc, OnceLock, Weak};

use bincode::{Decode, Encode};
use futures_util::future::BoxFuture;

use super::Files;
use crate::clock::Clock;
use crate::cluster::config::{ClusterConfig, StartError};
use crate::cluster::local::{Local, peer_address};
use crate::cluster::pki::NodeKey;
use crate::cluster::token::{JoinToken, Role, TokenError};
use crate::cluster::transport::join::join as ask;
use crate::cluster::transport::{JoinAnswer, JoinHandler, JoinRequest, PeerAddress};
use crate::cluster::types::Member;
use crate::cluster::wire;
use crate::mail::ids::NodeId;

/// What a new node gets beside its certificate.
#[derive(Debug, Clone, Encode, Decode)]
struct Dowry {
    /// A data node may let others in: the CA's key. `None` for a witness.
    ca_key_pem: Option<String>,
}

/// Answers those who want to join. Made before the node is whole.
#[derive(Default)]
pub struct Admission {
    local: OnceLock<Weak<Local>>,
}

impl Admission {
    pub fn open(&self, local: &Arc<Local>) {
        let _ = self.local.set(Arc::downgrade(local));
    }
}

impl JoinHandler for Admission {
    fn join(&self, request: JoinRequest) -> BoxFuture<'static, Result<JoinAnswer, String>> {
        let local = self.local.get().and_then(Weak::upgrade);
        Box::pin(async move {
            let local = local.ok_or("the node is starting: try again")?;
            let files = Files::new(&local.config.dir);
            let (role, secret, now) = (request.role, request.secret, local.clock.now());
            let burning = files.clone();
            blocking(move || burning.burn_token(&secret, role, now)).await?;
            // Work of its own: the joiner's lost connection must not leave it half done.
            let admitted = tokio::spawn(async move { local.let_in(request).await }).await;
            let admitted = admitted.unwrap_or_else(|error| Err(error.to_string()));
            if admitted.is_err() {
                blocking(move || files.restore_token(&secret).map_err(|error| error.to_string())).await?;
            }
            admitted
        })
    }
}

impl Local {
    async fn let_in(self: &Arc<Self>, request: JoinRequest) -> Result<JoinAnswer, String> {
        let ca = Files::new(&self.config.dir).read_ca()?;
        let member = Member {
            name: request.name,
            role: request.role,
            control: request.address.control.clone(),
            bulk: request.address.bulk.clone(),
        };
        let too_long = |text: &String| text.len() > Member::TEXT_BYTES_MAX;
        if [&member.name, &member.control, &member.bulk].into_iter().any(too_long) {
            return Err(format!("a name or address is longer than {} octets", Member::TEXT_BYTES_MAX));
        }
        let node = self.admit(member).await.map_err(|error| error.to_string())?;
        let chain_pem =
            ca.certify(node, &request.public_key, self.clock.now()).map_err(|error| error.to_string())?;
        let dowry = Dowry { ca_key_pem: (request.role == Role::Data).then(|| ca.key_pem()) };
        let roster = self.roster.load();
        let mut members: std::collections::BTreeMap<NodeId, PeerAddress> =
            roster.iter().map(|entry| (NodeId(entry.id), peer_address(entry))).collect();
        members.insert(node, request.address);
        Ok(JoinAnswer {
            node,
            cluster: self.cluster,
            chain_pem,
            ca_pem: ca.certificate_pem().to_owned(),
            members,
            extra: wire::encode(&dowry).map_err(|error| error.to_string())?,
        })
    }
}

/// Makes this directory a node of an existing cluster. The node catches up once it is started.
pub async fn join(config: &ClusterConfig, token: &str, clock: &Clock) -> Result<NodeId, StartError> {
    let token: JoinToken = token.parse().map_err(|error: TokenError| StartError::new(error))?;
    if token.expires <= clock.now() {
        return Err(StartError::new(TokenError::Expired));
    }
    if token.role != config.role {
        return Err(StartError::new(TokenError::WrongRole));
    }
    let files = Files::new(&config.dir);
    if files.is_member() {
        return Err(StartError::new(format!(
            "{} belongs to a cluster already: choose another directory",
            config.dir.display()
        )));
    }
    let key = NodeKey::generate().map_err(StartError::new)?;
    let request = JoinRequest {
        secret: token.secret,
        role: config.role,
        public_key: key.public().to_vec(),
        name: config.name.clone(),
        address: config.address(),
        versions: crate::cluster::start::versions(),
    };
    let (answer, identity) = ask(&token, &key, request).await.map_err(StartError::new)?;
    let dowry: Dowry = wire::decode(&answer.extra).map_err(StartError::new)?;
    let dir = config.dir.clone();
    let node = answer.node;
    let written = blocking(move || {
        let write = || -> std::io::Result<()> {
            files.create()?;
            if let Some(key_pem) = &dowry.ca_key_pem {
                files.write_ca(&answer.ca_pem, key_pem)?;
            }
            files.write_peers(&answer.members)?;
            files.write_identity(&identity)
        };
        write().map_err(|error| format!("{}: {error}", dir.display()))
    });
    written.await.map_err(StartError::new)?;
    Ok(node)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
