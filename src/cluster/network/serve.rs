//! Answering peers: Raft's questions here, the node's and the bodies' by those who know.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::messages::*;
use super::{Raft, kinds, snapshot};
use crate::cluster::codec::CodecError;
use crate::cluster::transport::{CallError, FrameReceiver, FrameSender, FramedStream, Handler};
use crate::cluster::types::Role;
use crate::mail::ids::NodeId;
use crate::store::tables::Tables;

/// The code of every refusal of this room; the message says why.
pub const REFUSED: u16 = 1;

/// Questions to the node as a whole.
pub trait NodeCalls: Send + Sync + 'static {
    /// `None`: not a kind of ours.
    fn call(
        &self,
        from: NodeId,
        kind: u16,
        body: Bytes,
    ) -> Option<BoxFuture<'static, Result<Bytes, CallError>>>;
    fn stream(&self, from: NodeId, kind: u16, stream: FramedStream) -> BoxFuture<'static, ()>;
}

/// The handler of both lanes. Made before Raft is, since Raft needs the transport; refuses until then.
pub struct Server {
    node: NodeId,
    role: Role,
    raft: OnceLock<Raft>,
    calls: OnceLock<Arc<dyn NodeCalls>>,
    tables: Option<Tables>,
    /// One snapshot at a time is taken in.
    installing: Arc<Semaphore>,
}

impl Server {
    /// `tables`: a data node's, for snapshots.
    pub fn new(node: NodeId, role: Role, tables: Option<Tables>) -> Arc<Self> {
        Arc::new(Self {
            node,
            role,
            raft: OnceLock::new(),
            calls: OnceLock::new(),
            tables,
            installing: Arc::new(Semaphore::new(1)),
        })
    }

    /// From now on questions are answered.
    pub fn open(&self, raft: Raft, calls: Arc<dyn NodeCalls>) {
        let _ = self.calls.set(calls);
        let _ = self.raft.set(raft);
    }
}

impl Handler for Server {
    fn call(&self, from: NodeId, kind: u16, body: Bytes) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let (Some(raft), Some(calls)) = (self.raft.get().cloned(), self.calls.get()) else {
            return Box::pin(async { Err(refused("the node is starting")) });
        };
        match kind {
            kinds::APPEND => Box::pin(async move {
                let done = raft.append_entries(read(append_from(body))?).await;
                done.map(|response| appended_bytes(&response)).map_err(refused)
            }),
            kinds::VOTE => Box::pin(async move {
                let done = raft.vote(read(vote_request_from(body))?).await;
                done.map(|response| vote_response_bytes(&response)).map_err(refused)
            }),
            kinds::PRE_VOTE => Box::pin(async move {
                let done = raft.pre_vote(read(vote_request_from(body))?).await;
                done.map(|response| vote_response_bytes(&response)).map_err(refused)
            }),
            kinds::TRANSFER_LEADER => {
                let (node, role) = (self.node, self.role);
                Box::pin(async move {
                    let request = read(transfer_from(body))?;
                    if role == Role::Witness && *request.to_node_id() == node.0 {
                        return Err(refused("a witness does not take leadership over"));
                    }
                    let done = raft.handle_transfer_leader(request).await;
                    done.map(|response| transferred_bytes(&response)).map_err(refused)
                })
            }
            other => calls.call(from, other, body).unwrap_or_else(|| {
                Box::pin(async move { Err(refused(format!("call {other} is not known here"))) })
            }),
        }
    }

    fn stream(&self, from: NodeId, kind: u16, stream: FramedStream) -> BoxFuture<'static, ()> {
        let (Some(raft), Some(calls)) = (self.raft.get().cloned(), self.calls.get()) else {
            return Box::pin(async {});
        };
        match kind {
            kinds::APPEND_STREAM => Box::pin(take_appends(raft, stream)),
            kinds::SNAPSHOT_STREAM => {
                let (tables, installing) = (self.tables.clone(), self.installing.clone());
                Box::pin(async move {
                    let Ok(_one) = installing.try_acquire() else {
                        return tracing::warn!(
                            "node {from} sends a snapshot while another is taken in: not taken"
                        );
                    };
                    snapshot::receive(&raft, tables.as_ref(), stream).await;
                })
            }
            kinds::SNAPSHOT_FETCH if self.role == Role::Data => {
                Box::pin(async move { snapshot::give(&raft, stream).await })
            }
            other => calls.stream(from, other, stream),
        }
    }
}

/// Appends in, results out, in order.
async fn take_appends(raft: Raft, stream: FramedStream) {
    let (mut sender, receiver): (FrameSender, FrameReceiver) = stream.split();
    let requests = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let frame = receiver.recv().await.ok()??;
        match append_from(frame) {
            Ok(request) => Some((request, receiver)),
            Err(error) => {
                tracing::warn!("an append from a peer cannot be read: {error}");
                None
            }
        }
    });
    let mut results = Box::pin(raft.stream_append(requests));
    while let Some(result) = results.next().await {
        let Ok(result) = result else { return };
        if sender.send(streamed_bytes(&result)).await.is_err() {
            return;
        }
    }
    sender.finish();
}

fn read<T>(decoded: Result<T, CodecError>) -> Result<T, CallError> {
    decoded.map_err(|error| CallError::Protocol(error.to_string()))
}

/// A refusal that says why.
pub fn refused(why: impl std::fmt::Display) -> CallError {
    CallError::Refused { code: REFUSED, message: why.to_string() }
}
