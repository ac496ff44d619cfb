//! Two QUIC endpoints a node, mutual TLS, calls and framed streams. Knows nothing of Raft.

mod carrier;
mod dial;
#[doc(hidden)]
pub mod frames;
pub mod hello;
pub mod join;
mod peer;
mod quic;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use quinn::{Connection, ConnectionError, Endpoint};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

pub use self::carrier::{Carrier, FrameSink, FrameSource};
pub use self::frames::{BACKGROUND, FRAME_BYTES_MAX, FrameReceiver, FrameSender, FramedStream};
use self::frames::{Opening, Purpose};
pub use self::hello::{Handshake, Hello, PeerHello, Range, Versions};
pub use self::join::{JoinAnswer, JoinError, JoinHandler, JoinRequest};
use self::peer::{CLOSE_BYE, CLOSE_REFUSED, CLOSE_REMOVED, LinkState, Peer, locked};
use crate::clock::Clock;
use crate::cluster::pki::{ClusterId, NodeIdentity};
use crate::cluster::wire::MESSAGE_BYTES_MAX;
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

/// What this node does with what peers ask. `from` is as the peer's verified certificate says. A future
/// is dropped when the connection it serves is lost: work that must go on is spawned.
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
    /// Read anew for each connection.
    pub versions: Arc<ArcSwap<Versions>>,
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

/// The two endpoints and all connections. Cheap to clone; the last clone dropped closes them.
#[derive(Clone)]
pub struct Transport {
    carried: Carried,
}

#[derive(Clone)]
enum Carried {
    Quic(Arc<Shared>, #[expect(dead_code, reason = "its drop closes the endpoints")] Arc<Guard>),
    Elsewhere(Arc<dyn Carrier>),
}

/// Tasks hold [`Shared`], so its own drop would never come.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// How long [`Transport::shutdown`] waits for the peers to hear of it.
const SHUTDOWN_MS_MAX: u64 = 500;

impl Transport {
    /// Binds both ports and answers on them; dials nobody until [`Transport::set_peers`].
    pub async fn start(config: TransportConfig, handler: Arc<dyn Handler>) -> Result<Self, TransportError> {
        let shared = Arc::new(Shared::bind(config, handler)?);
        for lane in [Lane::Control, Lane::Bulk] {
            shared.lanes[lane as usize].runtime.spawn(serve::accept(shared.clone(), lane));
        }
        let guard = Arc::new(Guard(shared.clone()));
        Ok(Self { carried: Carried::Quic(shared, guard) })
    }

    /// Carried by other means than QUIC: in memory, in a simulation.
    pub fn over(carrier: Arc<dyn Carrier>) -> Self {
        Self { carried: Carried::Elsewhere(carrier) }
    }

    /// The current membership (this node may be among it). A node that is not in it is refused, and
    /// its connections are closed: removal revokes.
    pub fn set_peers(&self, members: BTreeMap<NodeId, PeerAddress>) {
        let shared = match &self.carried {
            Carried::Quic(shared, _) => shared,
            Carried::Elsewhere(carrier) => return carrier.set_peers(members),
        };
        let mut peers = shared.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|node, peer| {
            let stays = members.contains_key(node);
            if !stays {
                let code = if shared.was_removed(*node) { CLOSE_REMOVED } else { CLOSE_REFUSED };
                peer.cut(code, "it is no longer a member of this cluster");
            }
            stays
        });
        for (node, address) in members {
            if node == shared.node {
                continue;
            }
            match peers.get(&node) {
                Some(peer) => peer.move_to(address),
                None => {
                    let peer = Arc::new(Peer::new(node, address));
                    peers.insert(node, peer.clone());
                    shared.keep_linked(&peer);
                }
            }
        }
    }

    /// These were members and never will be again: they are told so, now and whenever they come back. Only for what
    /// is committed: a node that hears it stops. [`Transport::set_peers`] then ends their connections.
    pub fn revoke(&self, nodes: impl IntoIterator<Item = NodeId>) {
        match &self.carried {
            Carried::Quic(shared, _) => locked(&shared.removed).extend(nodes),
            Carried::Elsewhere(carrier) => carrier.revoke(nodes.into_iter().collect()),
        }
    }

    pub fn was_removed(&self, node: NodeId) -> bool {
        match &self.carried {
            Carried::Quic(shared, _) => shared.was_removed(node),
            Carried::Elsewhere(carrier) => carrier.was_removed(node),
        }
    }

    /// Whether, since this was asked last, a node was refused that this cluster certified and that is no member as far as
    /// is known here: it may have joined while this node was away.
    pub fn stranger_knocked(&self) -> bool {
        match &self.carried {
            Carried::Quic(shared, _) => shared.strangers.knocked.swap(false, Ordering::Relaxed),
            // Nobody shows a certificate there.
            Carried::Elsewhere(_) => false,
        }
    }

    /// What this node says of its history has changed: all connections end, and begin anew with the first words.
    pub fn greet_anew(&self) {
        let shared = match &self.carried {
            Carried::Quic(shared, _) => shared,
            Carried::Elsewhere(carrier) => return carrier.greet_anew(),
        };
        shared.greetings.fetch_add(1, Ordering::SeqCst);
        for peer in shared.peers.read().unwrap_or_else(PoisonError::into_inner).values() {
            peer.greet_anew();
        }
    }

    /// Which peer, whose certificate was checked, said that this node was removed for ever.
    pub fn told_removed(&self) -> watch::Receiver<Option<NodeId>> {
        match &self.carried {
            Carried::Quic(shared, _) => shared.told_removed.subscribe(),
            Carried::Elsewhere(carrier) => carrier.told_removed(),
        }
    }

    /// Asks `to` and waits for the answer. Fails at once when the connection is lost or the peer is
    /// known to be down; waits for a dial under way, within `timeout`. [`BACKGROUND`] in `kind` makes
    /// it give way to others.
    #[expect(clippy::too_many_arguments, reason = "five, besides self; each call site names all of them")]
    pub async fn call(
        &self,
        to: NodeId,
        lane: Lane,
        kind: u16,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        if body.len() > MESSAGE_BYTES_MAX {
            let message =
                format!("a message of {} bytes is over the bound of {MESSAGE_BYTES_MAX}", body.len());
            return Err(CallError::Protocol(message));
        }
        let shared = match &self.carried {
            Carried::Quic(shared, _) => shared,
            Carried::Elsewhere(carrier) => {
                let call = carrier.call(to, lane, kind, body);
                return tokio::time::timeout(timeout, call).await.unwrap_or(Err(CallError::Timeout(to)));
            }
        };
        let opening = Opening { what: Purpose::Call, kind, length: body.len() as u32 };
        tokio::time::timeout(timeout, shared.call(to, lane, opening, body))
            .await
            .unwrap_or(Err(CallError::Timeout(to)))
    }

    /// Asks on the control lane whether the process lives; its handler is not bothered.
    pub async fn ping(&self, to: NodeId, timeout: Duration) -> Result<(), CallError> {
        let shared = match &self.carried {
            Carried::Quic(shared, _) => shared,
            Carried::Elsewhere(carrier) => {
                let ping = tokio::time::timeout(timeout, carrier.ping(to));
                return ping.await.unwrap_or(Err(CallError::Timeout(to)));
            }
        };
        let opening = Opening { what: Purpose::Ping, kind: 0, length: 0 };
        let call = shared.call(to, Lane::Control, opening, Bytes::new());
        tokio::time::timeout(timeout, call).await.unwrap_or(Err(CallError::Timeout(to))).map(|_| ())
    }

    /// Opens a stream of frames in both directions. The peer learns of it at once.
    pub async fn open_stream(&self, to: NodeId, lane: Lane, kind: u16) -> Result<FramedStream, CallError> {
        let shared = match &self.carried {
            Carried::Quic(shared, _) => shared,
            Carried::Elsewhere(carrier) => return carrier.open_stream(to, lane, kind).await,
        };
        let peer = shared.member(to)?;
        let connection = linked(&peer, lane).await?;
        let (mut send, recv) = connection.open_bi().await.map_err(|why| peer.unreachable(why))?;
        let opening = Opening { what: Purpose::Stream, kind, length: 0 };
        send.set_priority(opening.priority()).map_err(|why| peer.unreachable(why))?;
        send.write_chunk(opening.encode()).await.map_err(|why| peer.unreachable(why))?;
        Ok(FramedStream::new(peer, send, recv))
    }

    /// Waits until our connection to `to` stands; however long that takes, while it is a member.
    pub async fn connected(&self, to: NodeId, lane: Lane) -> Result<(), CallError> {
        let shared = match &self.carried {
            Carried::Quic(shared, _) => shared,
            Carried::Elsewhere(carrier) => return carrier.connected(to, lane).await,
        };
        let peer = shared.member(to)?;
        let mut state = peer.link(lane).state.subscribe();
        loop {
            if matches!(*state.borrow_and_update(), LinkState::Up(_)) {
                return Ok(());
            }
            shared.member(to)?;
            state.changed().await.map_err(|_| CallError::ShuttingDown)?;
        }
    }

    /// The other members, as last set.
    pub fn peers(&self) -> Vec<NodeId> {
        match &self.carried {
            Carried::Quic(shared, _) => {
                shared.peers.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
            }
            Carried::Elsewhere(carrier) => carrier.peers(),
        }
    }

    /// All defaults for a node that is no member.
    pub fn peer_state(&self, node: NodeId) -> PeerState {
        match &self.carried {
            Carried::Quic(shared, _) => shared.peer(node).map(|peer| peer.state()).unwrap_or_default(),
            Carried::Elsewhere(carrier) => carrier.peer_state(node),
        }
    }

    pub fn node(&self) -> NodeId {
        match &self.carried {
            Carried::Quic(shared, _) => shared.node,
            Carried::Elsewhere(carrier) => carrier.node(),
        }
    }

    /// The bound addresses (port 0 in the configuration picks one): control, bulk. `None`: not on QUIC.
    pub fn local(&self) -> Option<(SocketAddr, SocketAddr)> {
        let Carried::Quic(shared, _) = &self.carried else { return None };
        Some((shared.local(Lane::Control), shared.local(Lane::Bulk)))
    }

    /// Uses a renewed certificate or CA bundle for connections made from now on.
    pub fn replace_identity(&self, identity: &NodeIdentity) -> Result<(), TransportError> {
        let Carried::Quic(shared, _) = &self.carried else { return Ok(()) };
        let name = identity.name().map_err(|why| TransportError::Identity(why.to_string()))?;
        if name != (shared.node, shared.cluster) {
            return Err(TransportError::Identity("it is another node's".to_owned()));
        }
        let tls = quic::Tls::new(identity)?;
        for lane in [Lane::Control, Lane::Bulk] {
            shared.endpoint(lane).set_server_config(Some(tls.server(lane)));
        }
        shared.tls.store(Arc::new(tls));
        Ok(())
    }

    /// Closes all connections, which fails their calls, and tells the peers, within 500 ms.
    pub async fn shutdown(&self) {
        let shared = match &self.carried {
            Carried::Quic(shared, _) => shared,
            Carried::Elsewhere(carrier) => return carrier.close(),
        };
        shared.close();
        let idle = async {
            shared.endpoint(Lane::Control).wait_idle().await;
            shared.endpoint(Lane::Bulk).wait_idle().await;
        };
        let _ = tokio::time::timeout(Duration::from_millis(SHUTDOWN_MS_MAX), idle).await;
    }
}

/// What all tasks of one transport share.
struct Shared {
    node: NodeId,
    cluster: ClusterId,
    incarnation: u64,
    versions: Arc<ArcSwap<Versions>>,
    handshake: Arc<dyn Handshake>,
    handler: Arc<dyn Handler>,
    join: Option<Arc<dyn JoinHandler>>,
    joins: Semaphore,
    lanes: [LaneEndpoint; 2],
    tls: ArcSwap<quic::Tls>,
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    /// Ids are never given twice, so what is in here stays true.
    removed: Mutex<BTreeSet<NodeId>>,
    told_removed: watch::Sender<Option<NodeId>>,
    /// Counts how often all had to greet anew: who was met before the last time has to be met again.
    greetings: AtomicU64,
    strangers: serve::Strangers,
}

struct LaneEndpoint {
    endpoint: Endpoint,
    local: SocketAddr,
    runtime: Handle,
}

impl Shared {
    fn bind(config: TransportConfig, handler: Arc<dyn Handler>) -> Result<Self, TransportError> {
        let (node, cluster) =
            config.identity.name().map_err(|why| TransportError::Identity(why.to_string()))?;
        let tls = quic::Tls::new(&config.identity)?;
        let lane = |lane, address, runtime: Handle| {
            let _inside = runtime.enter();
            let endpoint = quic::bind(address, &config.identity, tls.server(lane), config.clock.clone())?;
            let local = endpoint
                .local_addr()
                .map_err(|why| TransportError::Listen { address, why: why.to_string() })?;
            Ok(LaneEndpoint { endpoint, local, runtime })
        };
        let here = Handle::current();
        let control_runtime = config.control_runtime.clone().unwrap_or_else(|| here.clone());
        let control = lane(Lane::Control, config.control, control_runtime)?;
        let bulk = lane(Lane::Bulk, config.bulk, here)?;
        let mut incarnation = [0; 8];
        config.clock.fill(&mut incarnation);
        Ok(Self {
            node,
            cluster,
            incarnation: u64::from_le_bytes(incarnation),
            versions: config.versions,
            handshake: config.handshake,
            handler,
            join: config.join,
            joins: Semaphore::new(join::JOINS_AT_ONCE_MAX),
            lanes: [control, bulk],
            tls: ArcSwap::from_pointee(tls),
            peers: RwLock::new(BTreeMap::new()),
            removed: Mutex::default(),
            told_removed: watch::Sender::new(None),
            greetings: AtomicU64::new(0),
            strangers: serve::Strangers::default(),
        })
    }

    fn keep_linked(self: &Arc<Self>, peer: &Arc<Peer>) {
        for lane in [Lane::Control, Lane::Bulk] {
            let task = dial::keep_linked(self.clone(), peer.clone(), lane);
            peer.set_task(lane, self.lanes[lane as usize].runtime.spawn(task).abort_handle());
        }
    }

    fn endpoint(&self, lane: Lane) -> &Endpoint {
        &self.lanes[lane as usize].endpoint
    }

    fn local(&self, lane: Lane) -> SocketAddr {
        self.lanes[lane as usize].local
    }

    fn tls(&self) -> Arc<quic::Tls> {
        self.tls.load_full()
    }

    fn hello(&self) -> Hello {
        Hello {
            cluster: self.cluster,
            node: self.node,
            incarnation: self.incarnation,
            versions: Versions::clone(&self.versions.load()),
            lineage: self.handshake.lineage(),
        }
    }

    fn peer(&self, node: NodeId) -> Option<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    fn member(&self, node: NodeId) -> Result<Arc<Peer>, CallError> {
        self.peer(node).ok_or(CallError::NotAMember(node))
    }

    fn was_removed(&self, node: NodeId) -> bool {
        locked(&self.removed).contains(&node)
    }

    /// To be asked before the first words, and again once the connection can be found by [`Transport::greet_anew`].
    fn greetings(&self) -> u64 {
        self.greetings.load(Ordering::SeqCst)
    }

    /// `by` ended a connection.
    fn closed(&self, by: NodeId, why: &ConnectionError) {
        if matches!(why, ConnectionError::ApplicationClosed(close) if close.error_code == CLOSE_REMOVED) {
            self.told_removed.send_replace(Some(by));
        }
    }

    /// Under the lock that a removal takes, so that no connection slips in beside it.
    fn take_in(
        &self,
        node: NodeId,
        lane: Lane,
        connection: Connection,
        hello: PeerHello,
    ) -> Result<Arc<Peer>, String> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        let peer = peers.get(&node).ok_or_else(|| hello::not_a_member(node))?;
        peer.came_in(lane, connection, hello);
        Ok(peer.clone())
    }

    async fn call(&self, to: NodeId, lane: Lane, opening: Opening, body: Bytes) -> Result<Bytes, CallError> {
        let peer = self.member(to)?;
        let connection = linked(&peer, lane).await?;
        let (mut send, mut recv) = connection.open_bi().await.map_err(|why| peer.unreachable(why))?;
        send.set_priority(opening.priority()).map_err(|why| peer.unreachable(why))?;
        // The length in the opening tells a body cut short by a lost caller from a whole one.
        send.write_all_chunks(&mut [opening.encode(), body]).await.map_err(|why| peer.unreachable(why))?;
        send.finish().map_err(|why| peer.unreachable(why))?;
        let answer = serve::read_answer(&mut recv).await.map_err(|why| peer.unreachable(why))?;
        peer.heard();
        answer
    }

    fn close(&self) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        for peer in std::mem::take(&mut *peers).into_values() {
            peer.cut(CLOSE_BYE, "the node is stopping");
        }
        for lane in &self.lanes {
            lane.endpoint.close(CLOSE_BYE, b"the node is stopping");
        }
    }
}

/// The connection to `peer`, or why there is none. Waits for an attempt under way, not for a next one.
async fn linked(peer: &Peer, lane: Lane) -> Result<Connection, CallError> {
    let mut state = peer.link(lane).state.subscribe();
    let settled = state
        .wait_for(|state| !matches!(state, LinkState::Dialling))
        .await
        .map_err(|_| CallError::ShuttingDown)?;
    match &*settled {
        LinkState::Up(connection) => Ok(connection.clone()),
        LinkState::Down(why) => Err(peer.unreachable(why)),
        LinkState::Dialling => Err(peer.unreachable("it is being dialled")),
    }
}
