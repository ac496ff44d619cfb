//! How a node without a certificate gets one: the bulk port, ALPN "pollux-join/1", one exchange.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use futures_util::future::BoxFuture;

use super::PeerAddress;
use super::hello::Versions;
use crate::cluster::pki::{ClusterId, NodeIdentity, NodeKey};
use crate::cluster::token::{JoinToken, Role, Secret, TokenError};
use crate::mail::ids::NodeId;

/// What a new node says.
#[derive(Debug, Clone, Encode, Decode)]
pub struct JoinRequest {
    pub secret: Secret,
    pub role: Role,
    /// The joiner's own key ([`NodeKey::public`]); the private half never travels.
    pub public_key: Vec<u8>,
    /// For people, unique in the cluster if the handler wants so; at most 64 octets.
    pub name: String,
    pub address: PeerAddress,
    pub versions: Versions,
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JoinAnswer {
    pub node: NodeId,
    pub cluster: ClusterId,
    /// From [`crate::cluster::pki::ClusterCa::certify`].
    pub chain_pem: String,
    pub ca_pem: String,
    pub members: BTreeMap<NodeId, PeerAddress>,
    /// For the rooms above: opaque here.
    pub extra: Vec<u8>,
}

/// Lets new nodes in.
pub trait JoinHandler: Send + Sync + 'static {
    /// Checks the secret, commits the new member, signs its key. `Err` is one line for the operator
    /// ([`TokenError`]'s words, where they fit).
    fn join(&self, request: JoinRequest) -> BoxFuture<'static, Result<JoinAnswer, String>>;
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("no node of the cluster could be reached: {0}")]
    Unreachable(String),
    #[error("the node at {0} is not of the cluster that made this token (its CA differs): do not go on")]
    WrongCluster(String),
    #[error("the cluster refused: {0}")]
    Refused(String),
    #[error("the answer cannot be used: {0}")]
    Answer(String),
}

/// Asks the token's addresses in turn. The secret is sent only to a node whose chain ends in the
/// token's CA.
pub async fn join(
    _token: &JoinToken,
    _key: &NodeKey,
    _request: JoinRequest,
) -> Result<(JoinAnswer, NodeIdentity), JoinError> {
    unimplemented!()
}
