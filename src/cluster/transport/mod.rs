//! Two QUIC endpoints a node, mutual TLS, calls and framed streams. Knows nothing of Raft.

mod frames;
pub mod hello;
pub mod join;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use self::frames::{FrameReceiver, FrameSender, FramedStream};
pub use self::hello::{Handshake, Hello, PeerHello, Range, Versions};
pub use self::join::{JoinAnswer, JoinHandler, JoinRequest};
use crate::clock::Clock;
use crate::cluster::pki::NodeIdentity;
use crate::mail::ids::NodeId;

/// Which of the two endpoints: Raft must never queue behind bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    Control,
    Bulk,
}

/// Where a node listens, as host:port; names are looked up at each dial.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct PeerAddress {
    pub control: String,
    pub bulk: String,
}

/// What this node does with what peers ask. `from` is as the peer's verified certificate says.
pub trait Handler: Send + Sync + 'static {
    fn call(&self, from: NodeId, kind: u16, body: Bytes) -> BoxFuture<'static, Result<Bytes, CallError>>;
    /// The stream is closed when it is dropped.
    fn stream(&self, from: NodeId, kind: u16, stream: FramedStream) -> BoxFuture<'static, ()>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection, or it was lost: nobody knows whether the peer saw the call.
    #[error("node {node} cannot be reached: {why}")]
    Unreachable { node: NodeId, why: String },
    #[error("node {0} did not answer in time")]
    Timeout(NodeId),
    #[error("node {0} is not a member of this cluster")]
    NotAMember(NodeId),
    /// The peer's handler said no.
    #[error("{message}")]
    Refused { code: u16, message: String },
    #[error("the other node broke the protocol: {0}")]
    Protocol(String),
    #[error("this node is shutting down")]
    ShuttingDown,
}

pub struct TransportConfig {
    pub identity: NodeIdentity,
    pub control: SocketAddr,
    pub bulk: SocketAddr,
    pub versions: Versions,
    /// Compares lineages before anything else is said.
    pub handshake: Arc<dyn Handshake>,
    /// Lets new nodes in; `None`: this node answers no joins.
    pub join: Option<Arc<dyn JoinHandler>>,
    pub clock: Clock,
    /// Where the control lane's tasks run (Raft has a runtime of its own); `None`: where `start` is called.
    pub control_runtime: Option<tokio::runtime::Handle>,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    #[error("cannot listen on udp {address}: {why}")]
    Listen { address: SocketAddr, why: String },
    #[error("this node's identity cannot be used: {0}")]
    Identity(String),
}

/// What is known of a peer, over both lanes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerState {
    /// Our connection to it stands and both hellos were accepted: control, bulk.
    pub connected: [bool; 2],
    /// Time since its last answer or question on the control lane; `None`: never yet.
    pub heard_ago: Option<Duration>,
    pub round_trip: Option<Duration>,
    /// Why the last connection was refused, by either side; cleared by a success.
    pub refused_because: Option<String>,
    /// What it said of itself.
    pub hello: Option<PeerHello>,
}

/// The two endpoints and all connections. Cheap to clone.
#[derive(Clone)]
pub struct Transport {}

impl Transport {
    pub async fn start(_config: TransportConfig, _handler: Arc<dyn Handler>) -> Result<Self, TransportError> {
        unimplemented!()
    }

    /// The current membership (this node may be among it). A node that is not in it is refused, and
    /// its connections are closed: removal revokes.
    pub fn set_peers(&self, _peers: BTreeMap<NodeId, PeerAddress>) {
        unimplemented!()
    }

    /// Asks `to` and waits for the answer. Fails at once when the connection is lost or the peer is
    /// known to be down; waits for a dial under way, within `timeout`.
    pub async fn call(
        &self,
        _to: NodeId,
        _lane: Lane,
        _kind: u16,
        _body: Bytes,
        _timeout: Duration,
    ) -> Result<Bytes, CallError> {
        unimplemented!()
    }

    /// Opens a stream of frames in both directions.
    pub async fn open_stream(&self, _to: NodeId, _lane: Lane, _kind: u16) -> Result<FramedStream, CallError> {
        unimplemented!()
    }

    pub fn peer_state(&self, _node: NodeId) -> PeerState {
        unimplemented!()
    }

    /// The bound addresses (port 0 in the configuration picks one): control, bulk.
    pub fn local(&self) -> (SocketAddr, SocketAddr) {
        unimplemented!()
    }

    /// Uses a renewed certificate or CA bundle for connections made from now on.
    pub fn replace_identity(&self, _identity: NodeIdentity) -> Result<(), TransportError> {
        unimplemented!()
    }

    /// Closes all connections, which fails their calls, and both ports.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
}
