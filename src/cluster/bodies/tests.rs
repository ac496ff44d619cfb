//! Bodies between nodes in one process, each with a store of its own.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use futures_util::stream;
use tempfile::TempDir;

use super::journal::{JournalKey, JournalServer, is_journal_kind};
use super::upkeep::ScrubReport;
use super::*;
use crate::clock::Clock;
use crate::cluster::network::kinds;
use crate::cluster::pki::{ClusterCa, ClusterId};
use crate::cluster::replica::Placing;
use crate::cluster::start::versions;
use crate::cluster::transport::{
    CallError, FramedStream, Handler, Handshake, Lane, PeerAddress, TransportConfig,
};
use crate::cluster::wire;
use crate::mail::ids::Timestamp;
use crate::state::command::PlacedBody;
use crate::store::journal::{Journal, JournalLimits};
use crate::store::segments::{BodyLimits, ScrubProgress};

const LONG: Duration = Duration::from_secs(20);

pub(super) struct Node {
    pub service: BodyService,
    pub store: Bodies,
    pub transport: Transport,
    pub hooks: Arc<Hooks>,
    /// What it keeps where it is named as a witness.
    pub journal: Journal,
    dir: TempDir,
}

/// Commits nothing, but remembers, and tells the set as the feed would.
pub(super) struct Hooks {
    reported: Mutex<Vec<NodeId>>,
    pub refuses: AtomicBool,
    pub witnesses: Mutex<Vec<NodeId>>,
    key: JournalKey,
    no_quorum: AtomicBool,
    pub replicas: watch::Sender<ReplicaSet>,
}

impl Degrade for Hooks {
    fn behind(&self, node: NodeId) -> BoxFuture<'static, Result<(), Fault>> {
        locked(&self.reported).push(node);
        if self.no_quorum.load(Ordering::Relaxed) {
            return Box::pin(async { Err(Fault::NoQuorum) });
        }
        let replicas = self.replicas.clone();
        Box::pin(async move {
            // Others join the report while it is under way.
            tokio::task::yield_now().await;
            replicas.send_modify(|replicas| {
                replicas.in_sync.remove(&node);
            });
            Ok(())
        })
    }

    fn refuses_degraded(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    fn journals(&self) -> Option<Journals> {
        Some(Journals { key: self.key.clone(), witnesses: locked(&self.witnesses).clone() })
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Manner {
    Good,
    /// Takes streams and reads nothing.
    Stalls,
}

struct Serving {
    server: BodyServer,
    journal: JournalServer,
    manner: Manner,
}

impl Handler for Serving {
    fn call(&self, _from: NodeId, kind: u16, body: Bytes) -> BoxFuture<'static, Result<Bytes, CallError>> {
        assert_eq!(kind, kinds::JOURNAL);
        let journal = self.journal.clone();
        Box::pin(async move {
            let state = journal.answer(wire::decode(&body).unwrap()).await.unwrap();
            Ok(wire::encode(&state).unwrap().into())
        })
    }

    fn stream(&self, from: NodeId, kind: u16, stream: FramedStream) -> BoxFuture<'static, ()> {
        assert!(is_body_kind(kind) || is_journal_kind(kind));
        match self.manner {
            Manner::Good if is_journal_kind(kind) => self.journal.stream(from, kind, stream),
            Manner::Good => self.server.stream(from, kind, stream),
            Manner::Stalls => Box::pin(async move {
                let _open = stream;
                std::future::pending().await
            }),
        }
    }
}

struct NoHistory;

impl Handshake for NoHistory {
    fn lineage(&self) -> Vec<u8> {
        Vec::new()
    }

    fn apart(&self, _peer: NodeId, _lineage: &[u8]) -> Option<String> {
        None
    }

    fn accept(&self, _peer: NodeId, _lineage: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// Bounds so wide that only what the test is about can end a wait.
pub(super) fn patient() -> BodyBounds {
    let hour_ms = 3_600_000;
    BodyBounds { ack_ms_max: hour_ms, probe_ms_max: hour_ms, probe_after_ms: 1, ..BodyBounds::default() }
}

/// Of each node's journal.
pub(super) const JOURNAL_BYTES_MAX: u64 = 1 << 20;

/// Long enough for a peer that works, on a machine that has other work; a test waits it out for one that stalls.
pub(super) const STALLED_MS: u64 = 4_000;

async fn node(ca: &ClusterCa, id: u64, manner: Manner, bounds: BodyBounds) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let store =
        Bodies::open(dir.path(), BodyLimits { grace: Duration::ZERO, ..BodyLimits::default() }).unwrap();
    let config = TransportConfig {
        identity: ca.issue(NodeId(id), Clock::system().now()).unwrap(),
        control: ([127, 0, 0, 1], 0).into(),
        bulk: ([127, 0, 0, 1], 0).into(),
        versions: Arc::new(ArcSwap::from_pointee(versions())),
        handshake: Arc::new(NoHistory),
        join: None,
        clock: Clock::system(),
        control_runtime: None,
    };
    let limits = JournalLimits { bytes_max: JOURNAL_BYTES_MAX, file_bytes_max: JOURNAL_BYTES_MAX / 8 };
    let journal = Journal::open(&dir.path().join("journal"), limits, id).unwrap();
    let server = BodyServer::new(store.clone(), bounds);
    let handler = Serving { server, journal: JournalServer::start(journal.clone()), manner };
    let transport = Transport::start(config, Arc::new(handler)).await.unwrap();
    let (replicas, watching) = watch::channel(ReplicaSet::default());
    let hooks = Arc::new(Hooks {
        reported: Mutex::default(),
        refuses: AtomicBool::new(false),
        witnesses: Mutex::default(),
        key: JournalKey::new(ca),
        no_quorum: AtomicBool::new(false),
        replicas,
    });
    let service = BodyService::new(transport.clone(), store.clone(), watching, hooks.clone(), bounds);
    Node { service, store, transport, hooks, journal, dir }
}

/// Node 1, from which all is tried, and one more for each manner; all in sync.
pub(super) async fn cluster(bounds: BodyBounds, others: &[Manner]) -> Vec<Node> {
    let ca = ClusterCa::create(ClusterId([4; 16]), Clock::system().now()).unwrap();
    let mut nodes = vec![node(&ca, 1, Manner::Good, bounds).await];
    for (at, manner) in others.iter().enumerate() {
        nodes.push(node(&ca, at as u64 + 2, *manner, bounds).await);
    }
    let address = |node: &Node| {
        let (control, bulk) = node.transport.local().unwrap();
        PeerAddress { control: control.to_string(), bulk: bulk.to_string() }
    };
    let members: BTreeMap<_, _> = nodes.iter().map(|node| (node.transport.node(), address(node))).collect();
    for node in &nodes {
        node.transport.set_peers(members.clone());
        in_sync(node, members.keys().copied());
        locked(&node.hooks.reported).clear();
        node.hooks.replicas.send_modify(|set| set.data_nodes = members.keys().copied().collect());
    }
    for node in &nodes[1..] {
        for lane in [Lane::Control, Lane::Bulk] {
            nodes[0].transport.connected(node.transport.node(), lane).await.unwrap();
        }
    }
    nodes
}

pub(super) fn in_sync(node: &Node, nodes: impl Iterator<Item = NodeId>) {
    node.hooks.replicas.send_modify(|set| set.in_sync = nodes.collect());
}

pub(super) fn content(size: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; size];
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    reader.fill(&mut bytes);
    bytes.into()
}

pub(super) async fn place(on: &Node, body: &Bytes) -> Result<PlacedBody, Fault> {
    let mut placing = on.service.place()?;
    for piece in body.chunks(50_000) {
        placing.push(Bytes::copy_from_slice(piece)).await?;
    }
    tokio::time::timeout(LONG, placing.finish()).await.expect("placing comes to an end")
}

pub(super) fn ids(nodes: &[u64]) -> Vec<NodeId> {
    nodes.iter().copied().map(NodeId).collect()
}

fn put(on: &Node, body: &Bytes) -> BodyId {
    let id = BodyId::of(body);
    // `put` blocks, which a runtime's own thread must not.
    std::thread::scope(|scope| scope.spawn(|| on.store.put(id, body.clone())).join()).unwrap().unwrap();
    id
}

#[tokio::test]
async fn a_body_of_any_size_is_on_all_in_sync_nodes_when_finish_returns() {
    let nodes = cluster(patient(), &[Manner::Good, Manner::Good]).await;
    for size in [0, 1, 4096, SMALL_BODY_BYTES_MAX, SMALL_BODY_BYTES_MAX + 1, 3_000_000] {
        let body = content(size, 1);
        let placed = place(&nodes[0], &body).await.unwrap();
        let expected = PlacedBody { id: BodyId::of(&body), size: size as u32, on: ids(&[1, 2, 3]) };
        assert_eq!(placed, expected);
        for node in &nodes {
            assert!(node.store.get(placed.id).unwrap() == Some(body.clone()), "{size} bytes");
        }
        // A second time it is the same one body.
        assert_eq!(place(&nodes[1], &body).await.unwrap(), expected);
    }
    assert_eq!(nodes[2].store.count(), 6);
    assert!(locked(&nodes[0].hooks.reported).is_empty());
}

#[tokio::test]
async fn many_small_bodies_go_at_once() {
    let nodes = cluster(patient(), &[Manner::Good]).await;
    let bodies: Vec<Bytes> = (0..500).map(|seed| content(4096, seed)).collect();
    for placed in join_all(bodies.iter().map(|body| place(&nodes[0], body))).await {
        assert_eq!(placed.unwrap().on, ids(&[1, 2]));
    }
    assert_eq!((nodes[0].store.count(), nodes[1].store.count()), (500, 500));
}

#[tokio::test]
async fn a_peer_that_stalls_is_reported_once_and_then_left_out() {
    let bounds = BodyBounds { ack_ms_max: STALLED_MS, ..patient() };
    let nodes = cluster(bounds, &[Manner::Good, Manner::Stalls]).await;
    let bodies: Vec<Bytes> = (0..20).map(|seed| content(4096, seed)).collect();
    for placed in join_all(bodies.iter().map(|body| place(&nodes[0], body))).await {
        assert_eq!(placed.unwrap().on, ids(&[1, 2]));
    }
    assert_eq!(*locked(&nodes[0].hooks.reported), ids(&[3]));
}

#[tokio::test]
async fn a_peer_that_reads_nothing_of_a_large_body_holds_up_the_client_only_so_long() {
    let bounds = BodyBounds { ack_ms_max: 60, ..patient() };
    let nodes = cluster(bounds, &[Manner::Stalls]).await;
    // More than the stream's window of 8 MiB and the bytes in flight.
    let placed = place(&nodes[0], &content(12_000_000, 1)).await.unwrap();
    assert_eq!(placed.on, ids(&[1]));
    assert_eq!(*locked(&nodes[0].hooks.reported), ids(&[2]));
}

#[tokio::test]
async fn a_dead_peer_is_reported_without_waiting_for_the_bound() {
    let nodes = cluster(BodyBounds { probe_ms_max: 250, ..patient() }, &[Manner::Good]).await;
    nodes[1].transport.shutdown().await;
    assert_eq!(place(&nodes[0], &content(4096, 1)).await.unwrap().on, ids(&[1]));
    assert_eq!(*locked(&nodes[0].hooks.reported), ids(&[2]));
}

#[tokio::test]
async fn a_peer_that_dies_in_the_middle_of_a_body_is_left_out() {
    let nodes = cluster(BodyBounds { probe_ms_max: 250, ..patient() }, &[Manner::Good, Manner::Good]).await;
    let body = content(2_000_000, 1);
    let mut placing = nodes[0].service.place().unwrap();
    placing.push(body.slice(..1_000_000)).await.unwrap();
    nodes[1].transport.shutdown().await;
    placing.push(body.slice(1_000_000..)).await.unwrap();
    assert_eq!(placing.finish().await.unwrap().on, ids(&[1, 3]));
    assert!(nodes[2].store.get(BodyId::of(&body)).unwrap() == Some(body));
    assert_eq!(nodes[1].store.count(), 0, "half a body is none");
}

#[tokio::test]
async fn without_a_majority_nothing_is_acknowledged() {
    let nodes = cluster(BodyBounds { ack_ms_max: 60, ..patient() }, &[Manner::Stalls]).await;
    nodes[0].hooks.no_quorum.store(true, Ordering::Relaxed);
    assert!(matches!(place(&nodes[0], &content(10, 1)).await, Err(Fault::NoQuorum)));
    // The report is made anew, not remembered.
    nodes[0].hooks.no_quorum.store(false, Ordering::Relaxed);
    assert_eq!(place(&nodes[0], &content(10, 1)).await.unwrap().on, ids(&[1]));
}

#[tokio::test]
async fn the_policy_may_refuse_a_single_copy() {
    let nodes = cluster(BodyBounds { ack_ms_max: 60, ..patient() }, &[Manner::Stalls]).await;
    nodes[0].hooks.refuses.store(true, Ordering::Relaxed);
    assert!(matches!(place(&nodes[0], &content(10, 1)).await, Err(Fault::NotReplicated(_))));
    assert!(locked(&nodes[0].hooks.reported).is_empty());
    in_sync(&nodes[0], ids(&[1]).into_iter());
    assert!(matches!(nodes[0].service.place().err(), Some(Fault::NotReplicated(_))));
    // A cluster of one data node has nothing to refuse for.
    nodes[0].hooks.replicas.send_modify(|set| set.data_nodes = set.in_sync.clone());
    assert_eq!(place(&nodes[0], &content(10, 1)).await.unwrap().on, ids(&[1]));
}

#[tokio::test]
async fn a_body_dropped_unfinished_leaves_nothing() {
    let nodes = cluster(patient(), &[Manner::Good]).await;
    for size in [4096, 1_000_000] {
        let mut placing = nodes[0].service.place().unwrap();
        placing.push(content(size, 1)).await.unwrap();
        drop(placing);
    }
    // What comes after on the same connection is served when the dropped ones are over.
    place(&nodes[0], &content(1_000_000, 2)).await.unwrap();
    assert_eq!((nodes[0].store.count(), nodes[1].store.count()), (1, 1));
}

#[tokio::test]
async fn a_peer_that_catches_up_takes_new_bodies_but_is_not_waited_for_long() {
    let bounds = BodyBounds { invite_ms_max: 3_600_000, ..patient() };
    let nodes = cluster(bounds, &[Manner::Good]).await;
    in_sync(&nodes[0], ids(&[1]).into_iter());
    for size in [4096, 1_000_000] {
        assert_eq!(place(&nodes[0], &content(size, 1)).await.unwrap().on, ids(&[1, 2]), "it misses nothing");
    }
    let nodes = cluster(BodyBounds { invite_ms_max: 60, ..patient() }, &[Manner::Stalls]).await;
    in_sync(&nodes[0], ids(&[1]).into_iter());
    for size in [4096, 1_000_000] {
        assert_eq!(place(&nodes[0], &content(size, 1)).await.unwrap().on, ids(&[1]));
    }
    assert!(locked(&nodes[0].hooks.reported).is_empty(), "it is behind already");
}

#[tokio::test]
async fn two_copies_satisfy_the_policy_whichever_of_three_nodes_is_lost() {
    let bounds = BodyBounds { ack_ms_max: STALLED_MS, ..patient() };
    let nodes = cluster(bounds, &[Manner::Good, Manner::Stalls]).await;
    nodes[0].hooks.refuses.store(true, Ordering::Relaxed);
    assert_eq!(place(&nodes[0], &content(10, 1)).await.unwrap().on, ids(&[1, 2]));
    assert_eq!(*locked(&nodes[0].hooks.reported), ids(&[3]));
    let nodes = cluster(bounds, &[Manner::Stalls, Manner::Stalls]).await;
    nodes[0].hooks.refuses.store(true, Ordering::Relaxed);
    assert!(matches!(place(&nodes[0], &content(10, 1)).await, Err(Fault::NotReplicated(_))));
}

#[tokio::test]
async fn a_body_is_placed_again_on_a_node_that_came_into_sync_meanwhile() {
    let nodes = cluster(patient(), &[Manner::Good, Manner::Good]).await;
    for size in [4096, 1_000_000] {
        in_sync(&nodes[0], ids(&[1]).into_iter());
        nodes[0].hooks.replicas.send_modify(|set| set.data_nodes = ids(&[1]).into_iter().collect());
        let placed = place(&nodes[0], &content(size, 1)).await.unwrap();
        assert_eq!(placed.on, ids(&[1]));
        in_sync(&nodes[0], ids(&[1, 2, 3]).into_iter());
        assert_eq!(nodes[0].service.place_again(&placed).await.unwrap().on, ids(&[1, 2, 3]));
        assert!(nodes[2].store.contains(placed.id).unwrap());
    }
}

#[tokio::test]
async fn bytes_that_are_not_the_body_are_refused() {
    let nodes = cluster(patient(), &[Manner::Good]).await;
    let (body, wrong) = (content(100, 1), BodyId([9; 32]));
    let pool = Pool::start(nodes[0].transport.clone(), NodeId(2), KIND_SMALL, 1 << 20);
    let refused = pool.send(wrong, body.clone()).await;
    assert!(matches!(refused, Err(pool::Trouble::Refused(why)) if why.contains("not the body")));
    for kind in [KIND_SMALL, KIND_LARGE, KIND_FETCH] {
        for garbage in [&b""[..], b"x", &[7; 100], &[0xff; 70_000]] {
            let mut stream = nodes[0].transport.open_stream(NodeId(2), Lane::Bulk, kind).await.unwrap();
            // The peer may have hung up already.
            let _ = stream.send(Bytes::copy_from_slice(garbage)).await;
            stream.finish();
            while let Ok(Some(_)) = stream.recv().await {}
        }
    }
    assert_eq!(nodes[1].store.count(), 0);
    assert!(pool.send(BodyId::of(&body), body).await.is_ok());
}

#[tokio::test]
async fn readers_of_one_missing_body_share_one_transfer() {
    let nodes = cluster(patient(), &[Manner::Good, Manner::Good]).await;
    let body = content(300_000, 1);
    let id = put(&nodes[2], &body);
    for read in join_all((0..20).map(|_| nodes[0].service.fetch(id))).await {
        assert!(read.is_ok_and(|read| read == body));
    }
    assert_eq!(nodes[0].service.counts().fetched, 1);
    assert!(nodes[0].service.body(id).await.is_ok_and(|read| read == body));
    assert_eq!(nodes[0].service.counts().fetched, 1, "from this disk now");
}

#[tokio::test]
async fn a_body_that_nobody_has_is_unavailable() {
    let nodes = cluster(patient(), &[Manner::Good]).await;
    let id = BodyId([1; 32]);
    assert!(matches!(nodes[0].service.body(id).await, Err(Fault::BodyUnavailable(missing)) if missing == id));
    nodes[1].transport.shutdown().await;
    assert!(matches!(nodes[0].service.body(id).await, Err(Fault::BodyUnavailable(_))));
}

#[tokio::test]
async fn a_fetch_goes_on_to_the_next_peer_when_one_is_silent() {
    let bounds = BodyBounds { fetch_silence_ms_max: 50, ..patient() };
    let nodes = cluster(bounds, &[Manner::Stalls, Manner::Good]).await;
    let body = content(5_000, 1);
    let id = put(&nodes[2], &body);
    assert!(nodes[0].service.body(id).await.is_ok_and(|read| read == body));
}

#[tokio::test]
async fn catching_up_fetches_what_is_missing_and_tells_what_is_not_to_be_had() {
    let nodes = cluster(patient(), &[Manner::Good]).await;
    let mut named: Vec<BodyId> = (0..300).map(|seed| put(&nodes[1], &content(500, seed))).collect();
    for seed in 0..250 {
        put(&nodes[0], &content(500, seed));
    }
    named.push(BodyId([7; 32]));
    let report = nodes[0].service.catch_up(stream::iter(named.clone().into_iter().map(Ok))).await.unwrap();
    assert_eq!(report, CaughtUp { checked: 301, fetched: 50, unavailable: 0, lost: 1 });
    assert_eq!(nodes[0].service.counts().missing, 1);
    named.pop();
    let report = nodes[0].service.catch_up(stream::iter(named.into_iter().map(Ok))).await.unwrap();
    assert_eq!(report, CaughtUp { checked: 300, ..CaughtUp::default() });
    assert_eq!(nodes[0].service.counts().missing, 0);
    // Whoever cannot be asked may have it.
    nodes[1].transport.shutdown().await;
    let report = nodes[0].service.catch_up(stream::iter([Ok(BodyId([7; 32]))])).await.unwrap();
    assert_eq!(report, CaughtUp { checked: 1, unavailable: 1, ..CaughtUp::default() });
    // A scan that fails half-way is not a whole one.
    let partial = [Ok(put(&nodes[0], &content(500, 1))), Err(Fault::Disk("a damaged row".into()))];
    assert!(matches!(nodes[0].service.catch_up(stream::iter(partial)).await, Err(Fault::Disk(_))));
}

/// Flips a bit of `body` wherever it lies under `dir`.
fn damage(dir: &Path, body: &[u8]) {
    let needle = &body[body.len() / 2..][..32];
    let mut found = 0;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
                let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                std::os::unix::fs::FileExt::write_all_at(&file, &[bytes[at] ^ 1], at as u64).unwrap();
                found += 1;
            }
        }
    }
    assert_eq!(found, 1, "the body lies on this disk once");
}

#[tokio::test]
async fn a_corrupt_body_is_healed_when_read_and_when_scrubbed() {
    let nodes = cluster(patient(), &[Manner::Good]).await;
    let (read, scrubbed) = (content(9_000, 1), content(9_000, 2));
    for body in [&read, &scrubbed] {
        place(&nodes[0], body).await.unwrap();
        damage(nodes[0].dir.path(), body);
    }
    assert!(nodes[0].service.body(BodyId::of(&read)).await.is_ok_and(|body| body == read));
    let report = scrub(&nodes[0]).await;
    assert_eq!((report.corrupt, report.healed), (1, 1));
    let report = scrub(&nodes[0]).await;
    assert_eq!((report.checked, report.corrupt), (2, 0));
    let counts = nodes[0].service.counts();
    assert_eq!((counts.corrupt, counts.healed), (2, 2));
    // Without a peer that has it, it is told, not invented.
    damage(nodes[0].dir.path(), &read);
    nodes[1].transport.shutdown().await;
    let report = scrub(&nodes[0]).await;
    assert_eq!((report.corrupt, report.healed), (1, 0));
}

#[tokio::test]
async fn forgotten_bodies_go_but_not_within_their_grace() {
    let nodes = cluster(patient(), &[]).await;
    let (gone, stays) = (put(&nodes[0], &content(100, 1)), put(&nodes[0], &content(100, 2)));
    assert!(nodes[0].service.forget(vec![gone]).await.unwrap().is_empty());
    assert!(!nodes[0].store.contains(gone).unwrap() && nodes[0].store.contains(stays).unwrap());
    assert_eq!(nodes[0].service.ids_after(None, 9).await.unwrap(), [stays]);
}

/// A whole pass at full speed.
async fn scrub(node: &Node) -> ScrubReport {
    node.service.scrub(FROM_THE_START, u64::MAX).await.unwrap()
}

const FROM_THE_START: ScrubProgress = ScrubProgress { began: Timestamp(5), after: None, done: false };

#[tokio::test]
async fn a_scrub_that_was_cut_short_goes_on_where_its_last_note_was() {
    const BODIES: usize = 600;
    let nodes = cluster(BodyBounds { scrub_note_bytes: 1, ..patient() }, &[]).await;
    for seed in 0..BODIES {
        put(&nodes[0], &content(100, seed as u64));
    }
    // One byte a second: it rests for good after the first stretch, which is noted.
    let service = nodes[0].service.clone();
    let slow = tokio::spawn(async move { service.scrub(FROM_THE_START, 1).await });
    let half_way = loop {
        if let Some(progress) = nodes[0].service.scrub_progress().await.unwrap() {
            break progress;
        }
        tokio::task::yield_now().await;
    };
    slow.abort();
    assert!(half_way.after.is_some() && !half_way.done);
    assert_eq!(half_way.began, FROM_THE_START.began);
    let ids = nodes[0].service.ids_after(half_way.after, BODIES).await.unwrap();
    assert!(!ids.is_empty() && ids.len() < BODIES);
    let report = nodes[0].service.scrub(half_way, u64::MAX).await.unwrap();
    assert_eq!(report.checked as usize, ids.len(), "none twice, none left out");
    let done = nodes[0].service.scrub_progress().await.unwrap().unwrap();
    assert!(done.done && done.began == FROM_THE_START.began);
    assert_eq!(scrub(&nodes[0]).await.checked as usize, BODIES);
}
