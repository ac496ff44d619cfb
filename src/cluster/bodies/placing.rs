//! One body on its way to this disk and to the peers, while the client still sends it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::pool::Trouble;
use super::server::{Ack, Piece};
use super::{
    BodyBounds, BodyService, Inner, KIND_LARGE, KIND_SMALL, PIECE_BYTES_MAX, ReplicaSet,
    SMALL_BODY_BYTES_MAX, blocking, disk, locked, ms,
};
use crate::cluster::replica::{Fault, Placing};
use crate::cluster::transport::{FramedStream, Lane};
use crate::mail::ids::{BodyId, NodeId};
use crate::state::command::PlacedBody;
use crate::store::segments::BodyWriter;

/// Between attempts on a peer that is connected but breaks each stream.
const RETRY_MS: u64 = 20;
/// A peer that catches up and did not take a body in time is left alone for so many times that time.
const SLOW_FOR: u32 = 20;
/// What a large body may take beyond the bound for small ones.
const BYTES_PER_EXTRA_MS: u64 = 10_000;

/// Dropping it unfinished leaves nothing behind, here or on the peers.
pub struct PlacingBody {
    inner: Arc<Inner>,
    /// `None` only after a fault.
    writer: Option<BodyWriter>,
    size: u64,
    spread: Spread,
}

/// How the peers get it.
enum Spread {
    /// Short so far: gathered, and sent in one frame at the end.
    Gathering(BytesMut),
    /// Streamed to each.
    Streaming(BTreeMap<NodeId, Upload>),
}

impl PlacingBody {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let writer = Some(inner.store.begin());
        Self { inner, writer, size: 0, spread: Spread::Gathering(BytesMut::new()) }
    }

    async fn write_here(&mut self, bytes: Bytes) -> Result<(), Fault> {
        let mut writer =
            self.writer.take().ok_or_else(|| Fault::Disk("an earlier write failed".to_owned()))?;
        self.size += bytes.len() as u64;
        // Short bodies are gathered in memory; only long ones touch the disk before they are whole.
        let pushed = if self.size <= SMALL_BODY_BYTES_MAX as u64 {
            writer.push(&bytes).map(|()| writer)
        } else {
            blocking(move || writer.push(&bytes).map(|()| writer)).await?
        };
        self.writer = Some(pushed.map_err(disk)?);
        Ok(())
    }

    async fn spread(&mut self, bytes: Bytes) {
        match &mut self.spread {
            Spread::Gathering(gathered) if gathered.len() + bytes.len() <= SMALL_BODY_BYTES_MAX => {
                gathered.extend_from_slice(&bytes);
            }
            Spread::Gathering(gathered) => {
                let gathered = std::mem::take(gathered).freeze();
                let mut uploads = self.inner.uploads();
                feed(&self.inner, &mut uploads, gathered).await;
                feed(&self.inner, &mut uploads, bytes).await;
                self.spread = Spread::Streaming(uploads);
            }
            Spread::Streaming(uploads) => feed(&self.inner, uploads, bytes).await,
        }
    }
}

impl Placing for PlacingBody {
    async fn push(&mut self, bytes: Bytes) -> Result<(), Fault> {
        self.write_here(bytes.clone()).await?;
        self.spread(bytes).await;
        Ok(())
    }

    async fn finish(mut self) -> Result<PlacedBody, Fault> {
        let writer = self.writer.take().ok_or_else(|| Fault::Disk("an earlier write failed".to_owned()))?;
        let size = u32::try_from(self.size).map_err(|_| Fault::Disk("a body over 4 GiB".to_owned()))?;
        let staged = if self.size <= SMALL_BODY_BYTES_MAX as u64 {
            writer.finish()
        } else {
            blocking(move || writer.finish()).await?
        };
        let staged = staged.map_err(disk)?;
        let id = staged.id();
        let replicas = self.inner.replicas.borrow().clone();
        self.inner.check_degraded(&replicas)?;
        let on = match self.spread {
            Spread::Gathering(gathered) => {
                let content = Content::Small(gathered.freeze());
                let (here, on) = tokio::join!(
                    staged.commit(),
                    self.inner.insist_on_all(&replicas, id, content, BTreeMap::new())
                );
                here.map_err(disk)?;
                on?
            }
            Spread::Streaming(uploads) => {
                let acks = uploads.into_iter().map(|(node, upload)| (node, upload.end(id))).collect();
                // A second attempt on a peer reads the body from here, so it must be here first.
                staged.commit().await.map_err(disk)?;
                self.inner.insist_on_all(&replicas, id, Content::Stored(self.size), acks).await?
            }
        };
        Ok(PlacedBody { id, size, on })
    }
}

impl BodyService {
    /// Brings a stored body to the in-sync nodes that joined since it was placed (apply answered that
    /// it is not placed).
    pub async fn place_again(&self, placed: &PlacedBody) -> Result<PlacedBody, Fault> {
        let inner = &self.inner;
        let id = placed.id;
        let body = self.body(id).await?;
        let replicas = inner.replicas.borrow().clone();
        inner.check_degraded(&replicas)?;
        let content = Content::of(body);
        let on = inner.insist_on_all(&replicas, id, content, BTreeMap::new()).await?;
        Ok(PlacedBody { on, ..placed.clone() })
    }
}

#[derive(Clone)]
pub(super) enum Content {
    Small(Bytes),
    /// This many bytes, in this node's store.
    Stored(u64),
}

impl Content {
    fn of(body: Bytes) -> Self {
        match body.len() {
            0..=SMALL_BODY_BYTES_MAX => Self::Small(body),
            longer => Self::Stored(longer as u64),
        }
    }

    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Small(bytes) => bytes.len() as u64,
            Self::Stored(size) => *size,
        }
    }
}

type Uploading = JoinHandle<Result<(), Trouble>>;

impl Inner {
    fn peers_of<'a>(&self, nodes: impl Iterator<Item = &'a NodeId>) -> Vec<NodeId> {
        nodes.copied().filter(|node| *node != self.transport.node()).collect()
    }

    fn uploads(self: &Arc<Self>) -> BTreeMap<NodeId, Upload> {
        let replicas = self.replicas.borrow().clone();
        let nodes = self.peers_of(replicas.data_nodes.union(&replicas.in_sync));
        nodes
            .into_iter()
            .map(|node| (node, Upload::start(self.clone(), node, replicas.in_sync.contains(&node))))
            .collect()
    }

    /// Where the body is durable, once each in-sync node has it or is committed as behind. Where this node is the only one, a
    /// witness keeps the second copy.
    async fn insist_on_all(
        self: &Arc<Self>,
        replicas: &ReplicaSet,
        id: BodyId,
        content: Content,
        mut uploads: BTreeMap<NodeId, Uploading>,
    ) -> Result<Vec<NodeId>, Fault> {
        let nodes = self.peers_of(replicas.data_nodes.union(&replicas.in_sync));
        let placing = nodes.iter().map(|node| {
            let (node, content, upload) = (*node, content.clone(), uploads.remove(node));
            let required = replicas.in_sync.contains(&node);
            async move {
                let has = match required {
                    true => self.insist(node, id, content, upload).await?,
                    false => self.invite(node, id, content, upload).await,
                };
                Ok::<_, Fault>(has.then_some(node))
            }
        });
        let mut on = vec![self.transport.node()];
        for acked in join_all(placing).await {
            on.extend(acked?);
        }
        let alone = on.len() < 2 && !nodes.is_empty();
        if alone && !self.journal(id, &content).await && self.degrade.refuses_degraded() {
            return Err(Fault::NotReplicated("no other data node and no witness has taken it".to_owned()));
        }
        on.sort_unstable();
        Ok(on)
    }

    /// To one that catches up. If it takes new bodies as they come, it misses none meanwhile, and so comes to
    /// an end under any load; but nobody waits long for it, nor for one that was slow a moment ago.
    async fn invite(&self, node: NodeId, id: BodyId, content: Content, upload: Option<Uploading>) -> bool {
        if self.is_slow(node) || !self.transport.peer_state(node).connected[Lane::Bulk as usize] {
            if let Content::Small(bytes) = &content {
                self.pool(node, KIND_SMALL).offer(id, bytes.clone());
            }
            return false;
        }
        let patience = ms(self.bounds.invite_ms_max);
        let taken = timeout(patience, self.send(node, id, content, upload)).await;
        let taken = matches!(taken, Ok(Ok(())));
        if !taken {
            locked(&self.slow).insert(node, Instant::now());
        }
        taken
    }

    /// Whether it took no body in time a moment ago.
    pub(super) fn is_slow(&self, node: NodeId) -> bool {
        let patience = ms(self.bounds.invite_ms_max) * SLOW_FOR;
        locked(&self.slow).get(&node).is_some_and(|since| since.elapsed() < patience)
    }

    /// Whether `node` has it; `false`: it is committed as behind.
    async fn insist(
        self: &Arc<Self>,
        node: NodeId,
        id: BodyId,
        content: Content,
        upload: Option<Uploading>,
    ) -> Result<bool, Fault> {
        let allowed_ms = self.bounds.allowed_ms(content.size());
        let mut replicas = self.replicas.clone();
        let why = tokio::select! {
            biased;
            sent = self.send(node, id, content, upload) => match sent {
                Ok(()) => return Ok(true),
                Err(why) => why,
            },
            // Before patience: where several bodies wait for one node, the first to lose it speaks for all.
            Ok(_) = replicas.wait_for(|replicas| !replicas.in_sync.contains(&node)) => return Ok(false),
            why = self.lose_patience(node, allowed_ms) => why,
        };
        // Another in-sync peer makes the second copy that the policy asks for.
        let another =
            self.replicas.borrow().in_sync.iter().any(|it| *it != node && *it != self.transport.node());
        if !another && self.degrade.refuses_degraded() && !self.may_journal() {
            return Err(Fault::NotReplicated(format!("node {node} has not taken it: {why}")));
        }
        tracing::warn!(node = node.0, "node {node} has not taken the body {id} ({why}): it is behind");
        self.behind(node).await?;
        Ok(false)
    }

    /// Tries until the peer has it or says no.
    async fn send(
        &self,
        node: NodeId,
        id: BodyId,
        content: Content,
        upload: Option<Uploading>,
    ) -> Result<(), String> {
        let mut upload = upload;
        loop {
            let outcome = match (upload.take(), &content) {
                (Some(upload), _) => {
                    upload.await.unwrap_or_else(|error| Err(Trouble::Lost(error.to_string())))
                }
                (None, Content::Small(bytes)) => self.pool(node, KIND_SMALL).send(id, bytes.clone()).await,
                (None, Content::Stored(_)) => self.send_stored(node, id).await,
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(Trouble::Refused(why)) => return Err(why),
                Err(Trouble::Lost(why)) => tracing::debug!(node = node.0, "body {id}: {why}"),
            }
            tokio::time::sleep(ms(RETRY_MS)).await;
            self.transport.connected(node, Lane::Bulk).await.map_err(|error| error.to_string())?;
        }
    }

    async fn send_stored(&self, node: NodeId, id: BodyId) -> Result<(), Trouble> {
        let mut rest = self.stored(id).await.map_err(Trouble::Refused)?;
        let mut stream = self.open(node).await?;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES_MAX));
            stream.send(Piece::Data(piece).encode()).await.map_err(|why| Trouble::Lost(why.to_string()))?;
        }
        end(stream, id).await
    }

    /// What was placed here a moment ago.
    pub(super) async fn stored(&self, id: BodyId) -> Result<Bytes, String> {
        let store = self.store.clone();
        let read = blocking(move || store.get(id)).await.map_err(|why| why.to_string())?;
        read.map_err(|why| why.to_string())?.ok_or_else(|| "it is not here".to_owned())
    }

    async fn open(&self, node: NodeId) -> Result<FramedStream, Trouble> {
        let opened = self.transport.open_stream(node, Lane::Bulk, KIND_LARGE).await;
        opened.map_err(|why| Trouble::Lost(why.to_string()))
    }

    /// Returns when waiting for `node` has no sense any longer, with the reason: it is silent, or it
    /// lives and is too slow.
    async fn lose_patience(&self, node: NodeId, allowed_ms: u64) -> String {
        let bounds = &self.bounds;
        let silent = async {
            loop {
                tokio::time::sleep(ms(bounds.probe_after_ms)).await;
                if let Err(why) = self.transport.ping(node, ms(bounds.probe_ms_max)).await {
                    return why.to_string();
                }
            }
        };
        match timeout(ms(allowed_ms), silent).await {
            Ok(why) => why,
            Err(_) => format!("no ack within {allowed_ms} ms"),
        }
    }
}

async fn end(mut stream: FramedStream, id: BodyId) -> Result<(), Trouble> {
    let lost = |why: &dyn std::fmt::Display| Trouble::Lost(why.to_string());
    stream.send(Piece::End(id).encode()).await.map_err(|why| lost(&why))?;
    stream.finish();
    let frame = stream.recv().await.map_err(|why| lost(&why))?;
    let ack = frame.as_deref().and_then(Ack::decode).ok_or_else(|| lost(&"no ack came"))?;
    ack.verdict.map_err(Trouble::Refused)
}

async fn in_time<T>(allowed_ms: u64, work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let late = || Trouble::Lost(format!("not done within {allowed_ms} ms"));
    timeout(ms(allowed_ms), work).await.unwrap_or_else(|_| Err(late()))
}

impl BodyBounds {
    pub(super) fn allowed_ms(&self, size: u64) -> u64 {
        self.ack_ms_max + size / BYTES_PER_EXTRA_MS
    }
}

/// A large body on its way to one peer.
struct Upload {
    pieces: mpsc::UnboundedSender<Step>,
    /// Bounds what `pieces` holds.
    budget: Arc<Semaphore>,
    /// Whether the ack must wait for this peer.
    in_sync: bool,
    task: AbortOnDrop,
}

struct AbortOnDrop(Option<Uploading>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

enum Step {
    Piece(Bytes, OwnedSemaphorePermit),
    End(BodyId),
}

impl Upload {
    fn start(inner: Arc<Inner>, node: NodeId, in_sync: bool) -> Self {
        let (pieces, mut steps) = mpsc::unbounded_channel();
        let budget = Arc::new(Semaphore::new(inner.bounds.in_flight_bytes_max.max(PIECE_BYTES_MAX)));
        let task = tokio::spawn(async move {
            let bounds = inner.bounds;
            let mut size = 0;
            let mut stream = in_time(bounds.ack_ms_max, inner.open(node)).await?;
            while let Some(step) = steps.recv().await {
                match step {
                    Step::Piece(bytes, permit) => {
                        size += bytes.len() as u64;
                        let sent = stream.send(Piece::Data(bytes).encode()).await;
                        sent.map_err(|why| Trouble::Lost(why.to_string()))?;
                        drop(permit);
                    }
                    // From here on nobody may be left who would end the wait.
                    Step::End(id) => return in_time(bounds.allowed_ms(size), end(stream, id)).await,
                }
            }
            Err(Trouble::Lost("given up".to_owned()))
        });
        Self { pieces, budget, in_sync, task: AbortOnDrop(Some(task)) }
    }

    /// `false`: this peer does not take it now.
    async fn push(&self, piece: Bytes, patience_ms: u64) -> bool {
        let weight = piece.len() as u32;
        let permit = if self.in_sync {
            let room = self.budget.clone().acquire_many_owned(weight);
            timeout(ms(patience_ms), room).await.ok().and_then(Result::ok)
        } else {
            self.budget.clone().try_acquire_many_owned(weight).ok()
        };
        permit.is_some_and(|permit| self.pieces.send(Step::Piece(piece, permit)).is_ok())
    }

    fn end(mut self, id: BodyId) -> Uploading {
        // A closed channel means that the task has ended, with its reason.
        let _ = self.pieces.send(Step::End(id));
        let task = self.task.0.take();
        task.unwrap_or_else(|| tokio::spawn(async { Err(Trouble::Lost("given up".to_owned())) }))
    }
}

/// Peers that do not take it are left out; [`Inner::insist`] sends to those that matter once more.
async fn feed(inner: &Inner, uploads: &mut BTreeMap<NodeId, Upload>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
        let pushes = uploads.iter().map(|(node, upload)| {
            let pushed = upload.push(piece.clone(), inner.bounds.ack_ms_max);
            async move { (*node, pushed.await) }
        });
        for (node, taken) in join_all(pushes).await {
            if !taken {
                uploads.remove(&node);
            }
        }
    }
}
