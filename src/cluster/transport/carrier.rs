//! What carries calls and streams, where it is not QUIC: the network of a simulation. Each method promises what the
//! method of the same name on [`Transport`](super::Transport) promises; time-outs are the caller's.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{CallError, FramedStream, Lane, PeerAddress, PeerState};
use crate::mail::ids::NodeId;

pub trait Carrier: Send + Sync + 'static {
    fn node(&self) -> NodeId;
    fn set_peers(&self, members: BTreeMap<NodeId, PeerAddress>);
    fn peers(&self) -> Vec<NodeId>;
    fn revoke(&self, nodes: BTreeSet<NodeId>);
    fn was_removed(&self, node: NodeId) -> bool;
    fn greet_anew(&self);
    fn told_removed(&self) -> watch::Receiver<Option<NodeId>>;
    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        kind: u16,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, CallError>>;
    fn ping(&self, to: NodeId) -> BoxFuture<'static, Result<(), CallError>>;
    fn open_stream(
        &self,
        to: NodeId,
        lane: Lane,
        kind: u16,
    ) -> BoxFuture<'static, Result<FramedStream, CallError>>;
    fn connected(&self, to: NodeId, lane: Lane) -> BoxFuture<'static, Result<(), CallError>>;
    fn peer_state(&self, node: NodeId) -> PeerState;
    fn close(&self);
}

/// The writing half of a stream. Dropping it unfinished breaks the stream.
pub trait FrameSink: Send + 'static {
    fn send(&mut self, frames: Vec<Bytes>) -> BoxFuture<'_, Result<(), CallError>>;
    fn finish(&mut self);
}

/// The reading half.
pub trait FrameSource: Send + 'static {
    fn recv(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, CallError>>;
}
