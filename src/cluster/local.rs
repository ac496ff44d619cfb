//! This node while it runs: what its handle, its tasks and its answers to peers share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::{Semaphore, watch};

use super::blocking::blocking;
use super::bodies::BodyService;
use super::config::ClusterConfig;
use super::feed::Feed;
use super::machine::Watched;
use super::network::{Raft, Roster, RosterEntry};
use super::pki::ClusterId;
use super::runtime::InOrder;
use super::transport::{Lane, PeerAddress, Transport, Versions};
use super::types::{Role, TypeConfig};
use crate::clock::Clock;
use crate::mail::ids::NodeId;
use crate::store::files::write_atomically;
use crate::store::log::LogStore;
use crate::store::tables::Tables;

/// What Raft says of itself.
pub type Metrics = openraft::RaftMetrics<TypeConfig>;
/// The part of it that changes with leaders and members alone, not with each entry.
pub type ServerMetrics = openraft::metrics::RaftServerMetrics<TypeConfig>;

/// One node's parts, after the start.
pub struct Local {
    pub id: NodeId,
    pub cluster: ClusterId,
    pub config: ClusterConfig,
    pub clock: Clock,
    pub raft: Raft,
    pub transport: Transport,
    /// What it greets others with.
    pub versions: Arc<ArcSwap<Versions>>,
    pub roster: Roster,
    pub log: LogStore,
    pub book: Arc<super::marks::Book>,
    pub lineage: Arc<super::lineage::Lineage>,
    pub watched: Watched,
    /// A data node's; a witness has none.
    pub data: Option<DataParts>,
    /// A witness's, unless it is to keep none.
    pub journal: Option<super::bodies::journal::JournalServer>,
    pub rounds: super::rounds::Rounds,
    /// Proposals of this node under way.
    pub in_flight: Arc<Semaphore>,
    /// See [`Local::refresh`].
    pub barrier: super::read_barrier::Barrier,
    pub standing: super::status::Standing,
    /// Set once by the rooms above, when they are there.
    pub offers: std::sync::OnceLock<super::status::Offers>,
    pub working: std::sync::OnceLock<super::drain::Working>,
    pub answerer: std::sync::OnceLock<super::inquiries::Answerer>,
    pub standing_aside: std::sync::OnceLock<super::permit::StandAside>,
    /// Members that a peer spoke of, of use while the log lacks them.
    pub heard: watch::Sender<Arc<super::keeper::Heard>>,
    pub verifying: super::verify::Desk,
    /// Held by the leader while it changes the membership.
    pub changing: tokio::sync::Mutex<()>,
    /// True from the first word of a shutdown.
    pub stopping: watch::Sender<bool>,
    /// Why this node can no longer go on; set once.
    pub failure: watch::Sender<Option<String>>,
}

#[derive(Clone)]
pub struct DataParts {
    pub tables: Tables,
    pub feed: Arc<Feed>,
    pub bodies: BodyService,
}

impl Local {
    /// The leader as this node knows it; it may have died since.
    pub fn leader(&self) -> Option<NodeId> {
        self.look(|metrics| metrics.current_leader.map(NodeId))
    }

    pub fn leads(&self) -> bool {
        self.look(|metrics| metrics.state == ServerState::Leader)
    }

    /// Whether its calls would reach `node` now; itself it always reaches.
    pub fn reaches(&self, node: NodeId) -> bool {
        node == self.id || self.transport.peer_state(node).connected[Lane::Control as usize]
    }

    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    pub fn member(&self, node: NodeId) -> Option<RosterEntry> {
        self.roster.load().iter().find(|entry| entry.id == node.0).cloned()
    }

    /// Whether the last membership of its log names this node.
    pub fn is_member(&self) -> bool {
        self.look(|metrics| metrics.membership_config.membership().get_node(&self.id.0).is_some())
    }

    /// The other data nodes that vote.
    pub fn data_voters(&self) -> Vec<NodeId> {
        let roster = self.roster.load();
        let other_data =
            |entry: &&RosterEntry| entry.voter && entry.member.role == Role::Data && entry.id != self.id.0;
        roster.iter().filter(other_data).map(|entry| NodeId(entry.id)).collect()
    }

    pub fn witnesses(&self) -> Vec<NodeId> {
        let roster = self.roster.load();
        roster
            .iter()
            .filter(|entry| entry.member.role == Role::Witness)
            .map(|entry| NodeId(entry.id))
            .collect()
    }

    /// Says once why the node must stop. Whoever runs it ends the process.
    pub fn fail(&self, why: String) {
        tracing::error!("this node stops: {why}");
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            failure.get_or_insert(why);
            first
        });
    }

    /// The same, for ever: what lies at `end` keeps the node from being started again.
    pub async fn fail_for_good(&self, end: PathBuf, why: String) {
        let written = why.clone();
        if let Ok(Err(error)) = blocking(move || write_atomically(&end, written.as_bytes())).await {
            tracing::error!("it could not be written down that this node must not start again: {error}");
        }
        self.fail(why);
    }

    /// Why a peer and this node do not speak, if it is such a reason. Not by the roster: a disk that was wiped knows of none.
    pub fn refusal(&self, such: impl Fn(&str) -> bool) -> Option<String> {
        let refused = |peer| self.transport.peer_state(peer).refused_because;
        self.transport.peers().into_iter().filter_map(refused).find(|why| such(why))
    }

    /// Looks at Raft's own figures, for a moment.
    pub fn look<T>(&self, look: impl FnOnce(&Metrics) -> T) -> T {
        look(&self.raft.metrics().borrow_watched())
    }

    pub fn look_at_server<T>(&self, look: impl FnOnce(&ServerMetrics) -> T) -> T {
        look(&self.raft.server_metrics().borrow_watched())
    }

    /// Waits until Raft's figures are so. False: Raft has ended.
    pub async fn until(&self, so: impl Fn(&Metrics) -> bool + Send) -> bool {
        until(self.raft.metrics(), so).await
    }

    /// As [`Local::until`], for what leaders and members are: whoever waits is not woken by each entry.
    pub async fn until_server(&self, so: impl Fn(&ServerMetrics) -> bool + Send) -> bool {
        until(self.raft.server_metrics(), so).await
    }

    /// The election time-out, for waits that are counted in it.
    pub fn election(&self) -> Duration {
        Duration::from_millis(self.config.timing.election_ms_max)
    }
}

pub fn peer_address(entry: &RosterEntry) -> PeerAddress {
    PeerAddress { control: entry.member.control.clone(), bulk: entry.member.bulk.clone() }
}

async fn until<T: Send + Sync + 'static>(
    mut figures: impl WatchReceiver<InOrder, T>,
    so: impl Fn(&T) -> bool + Send,
) -> bool {
    loop {
        if so(&figures.borrow_and_update()) {
            return true;
        }
        if figures.changed().await.is_err() {
            return false;
        }
    }
}
