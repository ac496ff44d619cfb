//! Bodies that this node lacks, from whoever has them.

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::timeout;

use super::{BodyService, Flight, Inner, KIND_FETCH, blocking, disk, locked, ms};
use crate::cluster::replica::Fault;
use crate::cluster::transport::{BACKGROUND, FramedStream, Lane};
use crate::mail::ids::{BodyId, NodeId};
use crate::store::segments::BodyError;

/// Who waits for a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A client.
    Reader,
    /// Catching up and healing, which give way.
    Background,
}

impl BodyService {
    /// The raw message: from this disk, or from a peer, and then kept. A body that is corrupt here is healed.
    pub async fn body(&self, id: BodyId) -> Result<Bytes, Fault> {
        let store = self.inner.store.clone();
        match blocking(move || store.get(id)).await? {
            Ok(Some(body)) => Ok(body),
            Ok(None) => self.inner.fetch(id, Urgency::Reader).await,
            Err(BodyError::Corrupt(_) | BodyError::Unreadable(_)) => {
                self.inner.heal(id, Urgency::Reader).await
            }
            // This disk is in trouble, the client need not be: a peer's copy will do, though it cannot be kept.
            Err(other) => self.inner.borrow(id, Urgency::Reader).await.ok_or(disk(other)),
        }
    }

    /// The same of several, in the order asked: those that are here are read in one go, away from the runtime's threads.
    pub async fn bodies(&self, ids: &[BodyId]) -> Vec<Result<Bytes, Fault>> {
        let (store, wanted) = (self.inner.store.clone(), ids.to_vec());
        let read = blocking(move || wanted.iter().map(|id| store.get(*id)).collect::<Vec<_>>()).await;
        let here = read.unwrap_or_default().into_iter().map(|body| body.ok().flatten());
        let mut bodies = Vec::with_capacity(ids.len());
        for (id, here) in ids.iter().zip(here.chain(std::iter::repeat(None))) {
            bodies.push(match here {
                Some(body) => Ok(body),
                None => self.body(*id).await,
            });
        }
        bodies
    }

    /// Fetches a body from a peer, whether or not it is here, and keeps it.
    pub async fn fetch(&self, id: BodyId) -> Result<Bytes, Fault> {
        self.inner.fetch(id, Urgency::Reader).await
    }
}

impl Inner {
    pub(super) async fn heal(self: &Arc<Self>, id: BodyId, urgency: Urgency) -> Result<Bytes, Fault> {
        self.counters.corrupt.fetch_add(1, Ordering::Relaxed);
        match self.fetch(id, urgency).await {
            Ok(body) => {
                self.counters.healed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("the stored body {id} was corrupt or unreadable: replaced by a peer's copy");
                Ok(body)
            }
            Err(fault) => {
                tracing::error!(
                    "the stored body {id} is corrupt or unreadable and no peer could replace it: {fault}"
                );
                Err(fault)
            }
        }
    }

    /// Joins a transfer under way, or starts one.
    pub(super) fn fetch(self: &Arc<Self>, id: BodyId, urgency: Urgency) -> Flight {
        let mut fetches = locked(&self.fetches);
        if let Some(flight) = fetches.get(&id) {
            return flight.clone();
        }
        let inner = self.clone();
        // A task of its own: the first reader's hurry must not end it for the others.
        let task = tokio::spawn(async move {
            let outcome = inner.transfer(id, urgency).await;
            locked(&inner.fetches).remove(&id);
            outcome
        });
        let flight = async move { task.await.unwrap_or(Err(Fault::ShuttingDown)) }.boxed().shared();
        fetches.insert(id, flight.clone());
        flight
    }

    async fn transfer(self: &Arc<Self>, id: BodyId, urgency: Urgency) -> Result<Bytes, Fault> {
        let permit = self.transfers.acquire().await.map_err(|_| Fault::ShuttingDown)?;
        let Some(body) = self.borrow(id, urgency).await else {
            // Others need not wait for a whole journal.
            drop(permit);
            return self.from_journals(id, urgency).await?.ok_or(Fault::BodyUnavailable(id));
        };
        let (store, kept) = (self.store.clone(), body.clone());
        // Where there is a record, it could not be read.
        blocking(move || store.put_anew(id, kept)).await?.map_err(disk)?;
        self.counters.fetched.fetch_add(1, Ordering::Relaxed);
        Ok(body)
    }

    /// From the first data node that has it.
    async fn borrow(&self, id: BodyId, urgency: Urgency) -> Option<Bytes> {
        for node in self.sources() {
            match self.ask(node, id, urgency).await {
                Ok(Some(body)) => return Some(body),
                Ok(None) => {}
                Err(why) => tracing::debug!(node = node.0, "the body {id} did not come: {why}"),
            }
        }
        None
    }

    /// Whether each other data node says that it does not have it, and no journal that was not read may.
    pub(super) async fn is_nowhere(self: &Arc<Self>, id: BodyId) -> bool {
        for node in self.sources() {
            if !matches!(self.ask(node, id, Urgency::Background).await, Ok(None)) {
                return false;
            }
        }
        self.journals_are_read().await
    }

    /// Those in sync first: they have it.
    fn sources(&self) -> Vec<NodeId> {
        let replicas = self.replicas.borrow();
        let others = replicas.data_nodes.difference(&replicas.in_sync);
        let nodes = replicas.in_sync.iter().chain(others).copied();
        nodes.filter(|node| *node != self.transport.node()).collect()
    }

    /// `None`: that node does not have it.
    async fn ask(&self, node: NodeId, id: BodyId, urgency: Urgency) -> Result<Option<Bytes>, String> {
        let kind = match urgency {
            Urgency::Reader => KIND_FETCH,
            Urgency::Background => KIND_FETCH | BACKGROUND,
        };
        let silence = ms(self.bounds.fetch_silence_ms_max);
        let opened = timeout(silence, self.transport.open_stream(node, Lane::Bulk, kind)).await;
        let mut stream = opened.map_err(|_| "no connection")?.map_err(|why| why.to_string())?;
        let question = stream.send(Bytes::copy_from_slice(&id.0));
        timeout(silence, question).await.map_err(|_| "stalled")?.map_err(|why| why.to_string())?;
        stream.finish();
        let head = self.frame(&mut stream).await?;
        let head: [u8; 8] = head[..].try_into().map_err(|_| "a head that cannot be understood")?;
        let Some(size) = u64::from_be_bytes(head).checked_sub(1) else { return Ok(None) };
        if size > self.bounds.body_bytes_max {
            return Err(format!("a body of {size} bytes is over the bound"));
        }
        // Memory grows with what comes, not with what was announced.
        let mut body = BytesMut::new();
        while (body.len() as u64) < size {
            let piece = self.frame(&mut stream).await?;
            if piece.is_empty() || (body.len() + piece.len()) as u64 > size {
                return Err("pieces that do not add up".to_owned());
            }
            body.extend_from_slice(&piece);
        }
        let body = body.freeze();
        let hashed = body.clone();
        let found = blocking(move || BodyId::of(&hashed)).await.map_err(|why| why.to_string())?;
        if found != id {
            tracing::warn!(
                node = node.0,
                "node {node} sent other bytes than the body {id}: it should be scrubbed"
            );
            return Err("other bytes".to_owned());
        }
        Ok(Some(body))
    }

    async fn frame(&self, stream: &mut FramedStream) -> Result<Bytes, String> {
        match timeout(ms(self.bounds.fetch_silence_ms_max), stream.recv()).await {
            Ok(Ok(Some(frame))) => Ok(frame),
            Ok(Ok(None)) => Err("it ended early".to_owned()),
            Ok(Err(why)) => Err(why.to_string()),
            Err(_) => Err("nothing came in time".to_owned()),
        }
    }
}
