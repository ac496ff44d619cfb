//! Starts and stops a node's replication.

use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Config as RaftConfig, SnapshotPolicy};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::blocking::blocking;
use super::bodies::journal::{JournalKey, JournalServer, Journals, is_journal_kind};
use super::bodies::{BodyBounds, BodyServer, BodyService, Degrade};
use super::config::{ClusterConfig, StartError};
use super::feed::{BodyNews, Feed};
use super::greeting::Greeting;
use super::handle::ClusterHandle;
use super::keeper;
use super::lineage::Lineage;
use super::local::{DataParts, Local};
use super::log::RaftLog;
use super::machine::{Keeping, Machine, Progress, Watched, WitnessFile};
use super::marks::Book;
use super::membership::{Admission, Files, refuse_if_ended};
use super::network::{self, Acks, Network, NodeCalls, Raft, Server, kinds, roster_of};
use super::pki::ClusterId;
use super::propose::PROPOSALS_MAX;
use super::replica::Fault;
use super::rounds::Rounds;
use super::sealing::Sealer;
use super::transport::{CallError, FramedStream, Range, Transport, TransportConfig, Versions};
use super::types::Role;
use super::wire;
use super::witness;
use crate::clock::Clock;
use crate::mail::ids::NodeId;
use crate::state::command::Command;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::versions::{NEWEST, OLDEST};
use crate::store::files::{DirLock, create_dir_durably};
use crate::store::journal::{Journal, JournalLimits};
use crate::store::log::{LogLimits, LogStore};
use crate::store::segments::{Bodies, BodyLimits};
use crate::store::tables::{Tables, TablesError};

/// How long a planned stop waits for another node to lead.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);
/// How long a planned stop waits until this node votes no longer, where that is of use.
const STAND_DOWN_MAX: Duration = Duration::from_secs(2);
/// How long the parts may take to stop.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How long a node whose rows are lost asks its peers for theirs.
const REBUILD_MAX: Duration = Duration::from_secs(60);
const REBUILD_PAUSE: Duration = Duration::from_millis(500);

/// What a witness gives back of its journal, it gives back in such pieces.
const JOURNAL_FILE_BYTES_MAX: u64 = 16 << 20;

/// What this build speaks (design 7); `command` are the cluster versions that it can run at.
pub fn versions() -> Versions {
    let only = Range { min: 1, max: 1 };
    let command = Range { min: OLDEST as u16, max: NEWEST as u16 };
    Versions { build: env!("CARGO_PKG_VERSION").to_owned(), protocol: only, command, snapshot: only }
}

/// A node's replication, running. Dropping it stops it without a hand-over; see [`Cluster::shutdown`].
pub struct Cluster {
    local: Arc<Local>,
    tasks: Vec<JoinHandle<()>>,
    /// Ends when it is dropped.
    _runtime: RaftRuntime,
    _lock: DirLock,
}

/// Raft's own threads. A runtime must not be waited for from within another, also when a start fails half-way.
struct RaftRuntime(Option<Runtime>);

impl std::ops::Deref for RaftRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().expect("the runtime is taken by drop alone")
    }
}

impl Drop for RaftRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What was opened from this disk.
pub(super) struct Opened {
    pub(super) log: LogStore,
    pub(super) keeping: Keeping,
    pub(super) watched: Watched,
    pub(super) data: Option<(Tables, Arc<Feed>, Bodies)>,
    /// A data node's, for bodies that a witness is to keep.
    pub(super) journal_key: Option<JournalKey>,
    /// A witness's, of such bodies.
    pub(super) journal: Option<Journal>,
    pub(super) news: BodyNews,
}

/// A node below Raft: its disk and its network, whatever they are made of.
pub(super) struct Parts {
    pub(super) node: NodeId,
    pub(super) cluster: ClusterId,
    pub(super) config: ClusterConfig,
    pub(super) clock: Clock,
    pub(super) opened: Opened,
    pub(super) book: Arc<Book>,
    pub(super) lineage: Arc<Lineage>,
    pub(super) transport: Transport,
    /// What it greets others with.
    pub(super) versions: Arc<ArcSwap<Versions>>,
    /// What the transport hands questions to.
    pub(super) server: Arc<Server>,
    pub(super) admission: Arc<Admission>,
}

impl Cluster {
    /// Starts the node that `found` or `join` made in `config.dir`.
    pub async fn start(config: ClusterConfig, clock: Clock) -> Result<(Cluster, ClusterHandle), StartError> {
        let files = Files::new(&config.dir);
        let identity = files.read_identity()?;
        let (node, cluster) = identity.name().map_err(StartError::new)?;
        let (opening, ticking) = (config.clone(), clock.clone());
        let (lock, book, lineage, opened) =
            blocking(move || open(node, &opening, &ticking)).await.map_err(StartError::new)??;
        let runtime = RaftRuntime(Some(raft_runtime(config.role)?));

        let (book, lineage) = (Arc::new(book), Arc::new(lineage));
        let admission = Arc::new(Admission::default());
        let tables = opened.data.as_ref().map(|(tables, ..)| tables.clone());
        let server = Server::new(node, config.role, tables);
        let versions = Arc::new(ArcSwap::from_pointee(versions()));
        let transport = Transport::start(
            TransportConfig {
                identity,
                control: config.control_listen,
                bulk: config.bulk_listen,
                versions: versions.clone(),
                handshake: Arc::new(Greeting::new(node, opened.log.clone(), book.clone(), lineage.clone())),
                join: (config.role == Role::Data).then(|| admission.clone() as _),
                clock: clock.clone(),
                control_runtime: Some(runtime.handle().clone()),
            },
            server.clone(),
        )
        .await
        .map_err(StartError::new)?;

        let parts = Parts {
            node,
            cluster,
            config,
            clock,
            opened,
            book,
            lineage,
            transport,
            versions,
            server,
            admission,
        };
        let (local, tasks) = assemble(parts, runtime.handle()).await?;
        let handle = ClusterHandle { local: local.clone() };
        Ok((Cluster { local, tasks, _runtime: runtime, _lock: lock }, handle))
    }

    /// Resolves when this node can no longer go on, with the reason in one line. The process is then to end, at once
    /// and with an error: what hung may keep it from ending well.
    pub async fn failed(&self) -> String {
        let mut failure = self.local.failure.subscribe();
        match failure.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(why)) => why.clone(),
            _ => "this node's replication ended".into(),
        }
    }

    /// Slow disks have their time.
    fn patient(&self, bound: Duration) -> Duration {
        bound.max(self.local.election() * 2)
    }

    /// The first step of a planned stop, while clients are still served: leadership goes elsewhere.
    pub async fn hand_over(&self) {
        keeper::hand_over(&self.local, Instant::now() + self.patient(HAND_OVER_MAX)).await;
    }

    /// A planned stop: leadership goes elsewhere, then all parts stop, and the rows are made durable.
    pub async fn shutdown(self) {
        self.hand_over().await;
        self.local.stopping.send_replace(true);
        self.local.stand_down(self.patient(STAND_DOWN_MAX)).await;
        self.tasks.iter().for_each(JoinHandle::abort);
        let _ = tokio::time::timeout(STOP_MAX, self.local.raft.shutdown()).await;
        let _ = tokio::time::timeout(STOP_MAX, self.local.transport.shutdown()).await;
        if let Some(data) = &self.local.data {
            let tables = data.tables.clone();
            let synced = blocking(move || tables.sync());
            if let Ok(Ok(Err(error))) = tokio::time::timeout(STOP_MAX, synced).await {
                tracing::warn!("the last sync of the tables failed: {error}");
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.local.stopping.send_replace(true);
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Raft, what the parts of a node share, and the tasks, over a disk and a network that are open.
pub(super) async fn assemble(
    parts: Parts,
    runtime: &Handle,
) -> Result<(Arc<Local>, Vec<JoinHandle<()>>), StartError> {
    let Parts { node, cluster, config, clock, opened, book, lineage, transport, versions, server, admission } =
        parts;
    let roster = Arc::new(ArcSwap::from_pointee(Vec::new()));
    let network = Network {
        node,
        transport: transport.clone(),
        roster: roster.clone(),
        acks: Arc::new(Acks::default()),
        book: book.clone(),
        alive_within: Duration::from_millis(config.timing.gate_alive_ms),
    };
    let log = RaftLog::new(opened.log.clone(), opened.watched.floor_next.clone());
    let raft_config = raft_config(&config).map_err(StartError::new)?;
    let files = Files::new(&config.dir);
    if let Some((tables, ..)) = &opened.data {
        rebuild_if_behind(&config, &transport, tables, &opened.log, &files).await?;
    }
    let (keeping, watched) = (opened.keeping, opened.watched.clone());
    let opening = blocking(move || Machine::open(keeping, watched)).await;
    let machine = opening.map_err(StartError::new)?.map_err(StartError::new)?;
    let making =
        runtime.spawn(async move { Raft::new(node.0, Arc::new(raft_config), network, log, machine).await });
    let raft = making.await.map_err(StartError::new)?.map_err(StartError::new)?;
    roster.store(Arc::new(roster_of(&raft.metrics().borrow_watched().membership_config)));

    let degrading = Arc::new(Degrading { journal_key: opened.journal_key, ..Degrading::default() });
    let store = opened.data.as_ref().map(|(.., store)| store.clone());
    let data = opened.data.map(|(tables, feed, store)| {
        let bodies = BodyService::new(
            transport.clone(),
            store.clone(),
            feed.replica_set(),
            degrading.clone(),
            BodyBounds::default(),
        );
        (DataParts { tables, feed, bodies }, BodyServer::new(store, BodyBounds::default()))
    });
    let (data, body_server) = data.unzip();
    let local = Arc::new(Local {
        id: node,
        cluster,
        config,
        clock,
        raft: raft.clone(),
        transport,
        versions,
        roster,
        log: opened.log,
        book,
        lineage,
        watched: opened.watched,
        data,
        journal: opened.journal.map(JournalServer::start),
        rounds: Rounds::start(runtime, raft.clone()),
        in_flight: Arc::new(Semaphore::new(PROPOSALS_MAX)),
        barrier: Default::default(),
        standing: Default::default(),
        offers: Default::default(),
        working: Default::default(),
        answerer: Default::default(),
        standing_aside: Default::default(),
        heard: watch::Sender::new(Arc::new(files.read_heard())),
        verifying: Default::default(),
        changing: Default::default(),
        stopping: watch::Sender::new(false),
        failure: watch::Sender::new(None),
    });
    admission.open(&local);
    degrading.open(&local);
    local.transport.revoke(files.read_removed());
    local.transport.set_peers(keeper::peers(&local, &files.read_peers()));
    server.open(raft, Arc::new(Calls { local: Arc::downgrade(&local), bodies: body_server }));
    begin_if_founder(&local, &files).await?;

    let tasks = spawn_tasks(runtime, &local, store, opened.news);
    Ok((local, tasks))
}

/// Opens everything on this disk. Blocks.
fn open(
    node: NodeId,
    config: &ClusterConfig,
    clock: &Clock,
) -> Result<(DirLock, Book, Lineage, Opened), StartError> {
    let dir = &config.dir;
    let lock = DirLock::acquire(dir).map_err(StartError::new)?;
    refuse_if_ended(dir)?;
    let lineage = Lineage::open(dir).map_err(StartError::new)?;
    let within = |name: &str| -> Result<std::path::PathBuf, StartError> {
        let path = dir.join(name);
        create_dir_durably(&path).map_err(|error| StartError::new(format!("{}: {error}", path.display())))?;
        Ok(path)
    };
    let limits = match config.role {
        Role::Data => LogLimits::DATA_NODE,
        Role::Witness => LogLimits::WITNESS,
    };
    let limits = limits.keeping(config.log_bytes_max());
    let log = LogStore::open(&within("raft")?, limits).map_err(|error| {
        StartError::new(format!(
            "{error}; a node whose log is damaged must not vote: `pollux cluster remove` it, empty {} and join it anew",
            dir.display()
        ))
    })?;
    let mut start = [0; 8];
    clock.fill(&mut start);
    let book = Book::open(dir, log.clone(), u64::from_le_bytes(start));
    let watched = Watched::default();
    let ca = match config.role {
        Role::Data => Some(Files::new(dir).read_ca().map_err(|why| {
            StartError::new(format!("{why}; copy ca.key from the other data node to {}", dir.display()))
        })?),
        Role::Witness => None,
    };
    let (feed, news) = Feed::new(ca.as_ref().map(Sealer::new));
    let journal = match config.role {
        Role::Witness => open_journal(config, u64::from_le_bytes(start))?,
        Role::Data => None,
    };
    let (keeping, data) = match config.role {
        Role::Data => {
            let others = Files::new(dir).read_peers().keys().any(|peer| *peer != node);
            let tables = open_tables(&within("tables")?, others)?;
            let limits = BodyLimits { grace: config.upkeep.grace(), ..BodyLimits::default() };
            let bodies = Bodies::open(&within("bodies")?, limits)
                .map_err(|error| StartError::new(format!("{}: {error}", dir.join("bodies").display())))?;
            let keeping = Keeping::Data { tables: tables.clone(), feed: feed.clone() };
            (keeping, Some((tables, feed, bodies)))
        }
        Role::Witness => (Keeping::Witness(WitnessFile::new(dir.join("cluster").join("witness"))), None),
    };
    let journal_key = ca.as_ref().map(JournalKey::new);
    Ok((lock, book, lineage, Opened { log, keeping, watched, data, journal_key, journal, news }))
}

/// `None`: this witness is to keep none.
fn open_journal(config: &ClusterConfig, run: u64) -> Result<Option<Journal>, StartError> {
    let (dir, bytes_max) = (config.dir.join("journal"), config.retention.journal_bytes_max);
    if bytes_max == 0 {
        return Ok(None);
    }
    let limits = JournalLimits { bytes_max, file_bytes_max: JOURNAL_FILE_BYTES_MAX };
    let opened = Journal::open(&dir, limits, run);
    opened.map(Some).map_err(|error| StartError::new(format!("{}: {error}", dir.display())))
}

/// Rows that end before the log begins (they were damaged and set aside) come from a peer, before Raft starts: the log
/// and the vote are whole, so that this node stays the voter it was.
async fn rebuild_if_behind(
    config: &ClusterConfig,
    transport: &Transport,
    tables: &Tables,
    log: &LogStore,
    files: &Files,
) -> Result<(), StartError> {
    let Some(purged) = log.state().purged else { return Ok(()) };
    let rows = tables.clone();
    let read = blocking(move || Progress::read(&rows)).await.map_err(StartError::new)?;
    let last = read.map_err(StartError::new)?.last_applied;
    if last.is_some_and(|last| last.index >= purged.index) {
        return Ok(());
    }
    let peers = files.read_peers();
    transport.set_peers(peers.clone());
    let until = Instant::now() + REBUILD_MAX;
    let mut why = "no other node is known".to_owned();
    while Instant::now() < until {
        for peer in peers.keys().filter(|peer| **peer != transport.node()) {
            match network::fetch(transport, *peer, tables, purged.index + 1).await {
                Ok(next) => {
                    tracing::warn!("the rows are built anew from node {peer}, up to entry {next}");
                    return Ok(());
                }
                Err(error) => why = error,
            }
        }
        tokio::time::sleep(REBUILD_PAUSE).await;
    }
    Err(StartError::new(format!(
        "the rows in {} are lost or damaged and no other data node could give its own ({why}): start another data node \
         first",
        config.dir.join("tables").display()
    )))
}

/// Damaged rows are set aside: the log, or a peer's snapshot, brings them back. Those in which damage was found while the
/// node ran, or that a verification found to be wrong, are as well, where there are `others` to have them from.
fn open_tables(dir: &Path, others: bool) -> Result<Tables, StartError> {
    let explain = |error: TablesError| StartError::new(format!("{}: {error}", dir.display()));
    let opened = match Tables::condemned(dir) {
        Some(why) if others => Err(TablesError::Damaged(why)),
        Some(why) => {
            tracing::error!(
                "the rows are damaged ({why}), and no other data node is known that could give its own"
            );
            Tables::open(dir)
        }
        None => Tables::open(dir),
    };
    match opened {
        Err(TablesError::Damaged(why)) => {
            let aside = Tables::set_aside(dir).map_err(explain)?;
            tracing::error!(
                "the rows are damaged ({why}); they are set aside in {} and built anew",
                aside.display()
            );
            Tables::open(dir).map_err(explain)
        }
        opened => opened.map_err(explain),
    }
}

fn raft_runtime(role: Role) -> Result<Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(match role {
            Role::Data => 2,
            Role::Witness => 1,
        })
        .max_blocking_threads(16)
        .thread_name("raft")
        .enable_all()
        .build()
        .map_err(|error| StartError::new(format!("threads cannot be started: {error}")))
}

fn raft_config(config: &ClusterConfig) -> Result<RaftConfig, openraft::ConfigError> {
    let (timing, retention) = (config.timing, config.retention);
    let (snapshot_policy, keep) = match config.role {
        Role::Data => (SnapshotPolicy::LogsSinceLast(retention.snapshot_entries), retention.keep_entries),
        // The witness purges by itself, when the data nodes have what goes.
        Role::Witness => (SnapshotPolicy::Never, u64::MAX / 2),
    };
    let raft = RaftConfig {
        cluster_name: "pollux".into(),
        heartbeat_interval: timing.heartbeat_ms,
        election_timeout_min: timing.election_ms_min,
        election_timeout_max: timing.election_ms_max,
        max_payload_entries: 1024,
        // Whoever is in the log gets the log; a snapshot is for what was purged.
        replication_lag_threshold: u64::MAX / 2,
        snapshot_policy,
        max_in_snapshot_log_to_keep: keep,
        purge_batch_size: (retention.snapshot_entries / 4).max(1),
        enable_elect: config.role == Role::Data,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        ..RaftConfig::default()
    };
    raft.validate()
}

/// The founder's first start makes the first entry: a cluster of one.
async fn begin_if_founder(local: &Arc<Local>, files: &Files) -> Result<(), StartError> {
    if !files.is_founder() || local.raft.is_initialized().await.map_err(StartError::new)? {
        return Ok(());
    }
    let members = std::collections::BTreeMap::from([(local.id.0, local.config.member())]);
    local.raft.initialize(members).await.map_err(StartError::new)
}

fn spawn_tasks(
    runtime: &Handle,
    local: &Arc<Local>,
    store: Option<Bodies>,
    news: BodyNews,
) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![
        runtime.spawn(keeper::follow_membership(local.clone())),
        runtime.spawn(keeper::follow_raft(local.clone())),
        runtime.spawn(keeper::watch_disk(local.clone(), store)),
        runtime.spawn(keeper::hear_of_members(local.clone())),
        runtime.spawn(keeper::notice_removal(local.clone())),
        runtime.spawn(keeper::notice_forgetting(local.clone())),
        runtime.spawn(keeper::follow_takeover(local.clone())),
        runtime.spawn(keeper::give_way(local.clone())),
        runtime.spawn(keeper::keep_marks(local.clone())),
        runtime.spawn(keeper::renew_identity(local.clone())),
        runtime.spawn(keeper::keep_address(local.clone())),
    ];
    match &local.data {
        Some(data) => tasks.extend([
            runtime.spawn(keeper::promote_learners(local.clone())),
            runtime.spawn(keeper::bound_log(local.clone())),
            runtime.spawn(keeper::note_standing(local.clone())),
            runtime.spawn(keeper::step_aside(local.clone())),
            runtime.spawn(keeper::keep_version(local.clone(), data.clone())),
            // Bodies are not Raft's business: they stay off its threads.
            tokio::spawn(keeper::stay_in_sync(local.clone(), data.clone())),
            tokio::spawn(keeper::drop_strangers(local.clone(), data.clone())),
            tokio::spawn(keeper::check_named(local.clone(), data.clone(), news.named)),
            tokio::spawn(keeper::forget_bodies(local.clone(), data.clone(), news.dropped)),
            tokio::spawn(keeper::scrub(local.clone(), data.clone())),
            tokio::spawn(keeper::recount_missing(local.clone(), data.clone())),
            tokio::spawn(keeper::drop_journals(local.clone(), data.clone())),
            tokio::spawn(keeper::forget_removed(local.clone(), data.clone())),
        ]),
        None => tasks.extend([
            runtime.spawn(witness::keep_log(local.clone())),
            runtime.spawn(witness::rescue(local.clone())),
        ]),
    }
    tasks
}

/// Questions of peers to the node as a whole.
struct Calls {
    local: Weak<Local>,
    bodies: Option<BodyServer>,
}

impl NodeCalls for Calls {
    fn call(
        &self,
        from: NodeId,
        kind: u16,
        body: Bytes,
    ) -> Option<BoxFuture<'static, Result<Bytes, CallError>>> {
        let local = self.local.upgrade()?;
        match kind {
            kinds::PROPOSE => Some(Box::pin(async move { local.commit_for_peer(body).await })),
            kinds::MEMBERSHIP => Some(Box::pin(async move { local.change_for_peer(body).await })),
            kinds::ADDRESS => Some(Box::pin(async move { local.move_for_peer(from, body).await })),
            kinds::STATUS => Some(Box::pin(async move {
                let report = wire::encode(&local.report());
                report.map(Bytes::from).map_err(|error| CallError::Protocol(error.to_string()))
            })),
            kinds::MARK => Some(Box::pin(async move { local.remember_mark(from, &body) })),
            kinds::SERVICES => Some(Box::pin(async move {
                let services = wire::encode(&local.services());
                services.map(Bytes::from).map_err(|error| CallError::Protocol(error.to_string()))
            })),
            kinds::CLOCK => Some(Box::pin(async move {
                let now = wire::encode(&local.clock.now().0);
                now.map(Bytes::from).map_err(|error| CallError::Protocol(error.to_string()))
            })),
            kinds::WORK => Some(Box::pin(async move {
                let work = wire::encode(&local.work());
                work.map(Bytes::from).map_err(|error| CallError::Protocol(error.to_string()))
            })),
            kinds::INQUIRY => Some(Box::pin(async move { local.answer_inquiry(body).await })),
            kinds::READ_INDEX => Some(Box::pin(async move { local.read_index_for_peer().await })),
            kinds::ROSTER => Some(Box::pin(async move { local.tell_members() })),
            kinds::SCRUBBED => Some(Box::pin(async move {
                let scrubbed = wire::encode(&local.scrubbed().await);
                scrubbed.map(Bytes::from).map_err(|error| CallError::Protocol(error.to_string()))
            })),
            kinds::JOURNAL => local.journal.clone().map(|journal| -> BoxFuture<'static, _> {
                Box::pin(async move { answer_of_journal(&journal, &body).await })
            }),
            kinds::REBUILD => Some(Box::pin(async move { local.rebuild_for_peer(&body) })),
            kinds::CERTIFY => Some(Box::pin(async move { local.certify_for_peer(from, body).await })),
            _ => None,
        }
    }

    fn stream(&self, from: NodeId, kind: u16, stream: FramedStream) -> BoxFuture<'static, ()> {
        if kind == kinds::VERIFY
            && let Some(local) = self.local.upgrade()
        {
            return Box::pin(async move { local.look_for_peer(from, stream).await });
        }
        if is_journal_kind(kind)
            && let Some(journal) = self.local.upgrade().and_then(|local| local.journal.clone())
        {
            return journal.stream(from, kind, stream);
        }
        match &self.bodies {
            Some(bodies) if super::bodies::is_body_kind(kind) => bodies.stream(from, kind, stream),
            _ => Box::pin(async {}),
        }
    }
}

async fn answer_of_journal(journal: &JournalServer, question: &[u8]) -> Result<Bytes, CallError> {
    let protocol = |why: wire::WireError| CallError::Protocol(why.to_string());
    let state =
        journal.answer(wire::decode(question).map_err(protocol)?).await.map_err(CallError::Protocol)?;
    wire::encode(&state).map(Bytes::from).map_err(protocol)
}

/// Commits that a node is behind, and knows who keeps bodies meanwhile.
#[derive(Default)]
struct Degrading {
    local: OnceLock<Weak<Local>>,
    journal_key: Option<JournalKey>,
}

impl Degrading {
    fn open(&self, local: &Arc<Local>) {
        let _ = self.local.set(Arc::downgrade(local));
    }

    fn local(&self) -> Option<Arc<Local>> {
        self.local.get().and_then(Weak::upgrade)
    }
}

impl Degrade for Degrading {
    fn behind(&self, node: NodeId) -> BoxFuture<'static, Result<(), Fault>> {
        let local = self.local();
        Box::pin(async move {
            let local = local.ok_or(Fault::ShuttingDown)?;
            match local.propose(Command::MarkBehind { node }).await? {
                Outcome::Refused(Refusal::NotFound(_)) => Ok(()),
                Outcome::Refused(refusal) => Err(Fault::NotReplicated(refusal.to_string())),
                _ => Ok(()),
            }
        })
    }

    fn refuses_degraded(&self) -> bool {
        let Some(local) = self.local() else { return false };
        let Some(data) = &local.data else { return false };
        let directory = data.feed.directory().borrow().clone();
        directory.settings.get("cluster.degraded_ack").is_some_and(|value| value == "refuse")
    }

    fn journals(&self) -> Option<Journals> {
        let (local, key) = (self.local()?, self.journal_key.clone()?);
        let witnesses = local.witnesses();
        (!witnesses.is_empty()).then_some(Journals { key, witnesses })
    }
}
