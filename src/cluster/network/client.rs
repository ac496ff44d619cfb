//! Asking a peer: appends in one long-lived stream, heartbeats and votes as calls of their own, so that a
//! heartbeat never waits behind entries.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::gate::{Acks, LOOK_AGAIN, PeerLag, Verdict, WAIT_MAX, decide};
use super::messages::*;
use super::{Roster, kinds, snapshot};
use crate::cluster::codec::CodecError;
use crate::cluster::machine::SnapshotData;
use crate::cluster::marks::Book;
use crate::cluster::transport::{CallError, FrameReceiver, FrameSender, Lane, Transport};
use crate::cluster::types::{CommittedLeaderId, Member, Role, TypeConfig, Vote};
use crate::mail::ids::NodeId;

/// Appends on their way to one peer that it has not answered.
const APPENDS_IN_FLIGHT_MAX: usize = 64;

/// Between tries to open the stream of appends to a peer that does not answer.
const REOPEN_PAUSE: Duration = Duration::from_millis(50);

type Rpc<T> = Result<T, RPCError<TypeConfig>>;
type AppendResults<'s> = BoxStream<'s, Rpc<StreamAppendResult<TypeConfig>>>;

/// Makes the clients of one node.
#[derive(Clone)]
pub struct Network {
    pub node: NodeId,
    pub transport: Transport,
    pub roster: Roster,
    pub acks: Arc<Acks>,
    pub book: Arc<Book>,
    /// See [`Timing::gate_alive_ms`](crate::cluster::config::Timing).
    pub alive_within: Duration,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &Member) -> PeerClient {
        self.acks.forget(target);
        self.client(target, node, Purpose::Entries)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> PeerClient {
        self.client(target, node, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Member) -> PeerClient {
        self.client(target, node, Purpose::Snapshot)
    }
}

impl Network {
    fn client(&self, target: u64, node: &Member, purpose: Purpose) -> PeerClient {
        PeerClient { network: self.clone(), target, role: node.role, purpose }
    }

    /// Waits until the witness may have the entries before `wanted_next`; at most [`WAIT_MAX`].
    async fn pass_gate(&self, wanted_next: u64) {
        let mut ticks = self.acks.ticks();
        let until = Instant::now() + WAIT_MAX;
        loop {
            let peers = self.data_peers();
            let lags: Vec<PeerLag> = peers.iter().map(|peer| self.lag(*peer)).collect();
            if decide(&lags, wanted_next, self.alive_within) == Verdict::Pass {
                return;
            }
            if Instant::now() >= until {
                peers.iter().for_each(|peer| self.acks.give_up(*peer, wanted_next));
                return;
            }
            // A tick is an acknowledgement; without one the peer may have gone silent meanwhile.
            let _ = tokio::time::timeout(LOOK_AGAIN, ticks.changed()).await;
        }
    }

    fn data_peers(&self) -> Vec<u64> {
        let roster = self.roster.load();
        let is_data_peer = |entry: &&super::RosterEntry| {
            entry.voter && entry.member.role == Role::Data && entry.id != self.node.0
        };
        roster.iter().filter(is_data_peer).map(|entry| entry.id).collect()
    }

    fn lag(&self, peer: u64) -> PeerLag {
        let acked = self.acks.get(peer);
        PeerLag {
            heard_ago: self.transport.peer_state(NodeId(peer)).heard_ago,
            acked_next: acked.next,
            given_up_next: acked.given_up_next,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Entries,
    Heartbeat,
    Snapshot,
}

/// One peer, for one of Raft's purposes.
pub struct PeerClient {
    network: Network,
    target: u64,
    role: Role,
    purpose: Purpose,
}

impl PeerClient {
    async fn call(&self, kind: u16, body: Bytes, option: &RPCOption) -> Rpc<Bytes> {
        let timeout = option.hard_ttl();
        self.network
            .transport
            .call(NodeId(self.target), Lane::Control, kind, body, timeout)
            .await
            .map_err(|error| self.rpc_error(error, timeout))
    }

    fn rpc_error(&self, error: CallError, timeout: Duration) -> RPCError<TypeConfig> {
        match error {
            CallError::Timeout(_) => RPCError::Timeout(Timeout {
                action: RPCTypes::AppendEntries,
                id: self.network.node.0,
                target: self.target,
                timeout,
            }),
            other => RPCError::Unreachable(Unreachable::from_string(other)),
        }
    }

    async fn open_appends<S>(&mut self, input: S) -> Rpc<AppendResults<'_>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let stream = self
            .network
            .transport
            .open_stream(NodeId(self.target), Lane::Control, kinds::APPEND_STREAM)
            .await;
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                // openraft backs off where it reads entries to send, and an unopened stream reads none.
                tokio::time::sleep(REOPEN_PAUSE).await;
                return Err(self.rpc_error(error, Duration::ZERO));
            }
        };
        let (sender, receiver) = stream.split();
        let room = Arc::new(Semaphore::new(APPENDS_IN_FLIGHT_MAX));
        let (sent, in_flight) = mpsc::unbounded_channel();
        let writer = AppendWriter {
            network: self.network.clone(),
            gated: self.role == Role::Witness,
            sender,
            room,
            sent,
        };
        let session = AppendSession {
            acks: self.network.acks.clone(),
            book: self.network.book.clone(),
            target: self.target,
            receiver,
            in_flight,
            _writer: AbortOnDrop(tokio::spawn(writer.run(input))),
        };
        let results = futures_util::stream::unfold(Some(session), |session| async move {
            let mut session = session?;
            match session.next().await {
                Ok(Some(result)) => Some((Ok(result), Some(session))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Box::pin(results))
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends appends as they come; at most [`APPENDS_IN_FLIGHT_MAX`] are unanswered.
struct AppendWriter {
    network: Network,
    gated: bool,
    sender: FrameSender,
    room: Arc<Semaphore>,
    /// A permit per append, given back with its answer. Bounded by `room`.
    sent: mpsc::UnboundedSender<OwnedSemaphorePermit>,
}

impl AppendWriter {
    async fn run<S>(mut self, mut input: S)
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        loop {
            // Room first: an append is read from the log only when it can go at once.
            let Ok(permit) = self.room.clone().acquire_owned().await else { return };
            let Some(request) = input.next().await else { break };
            if self.gated
                && let Some(last) = request.entries.last()
            {
                self.network.pass_gate(last.log_id.index + 1).await;
            }
            let frame = append_bytes(&request);
            if self.sent.send(permit).is_err() || self.sender.send(frame).await.is_err() {
                return;
            }
        }
        // From here on an end of the answers is no surprise.
        drop(self.sent);
        self.sender.finish();
    }
}

struct AppendSession {
    acks: Arc<Acks>,
    book: Arc<Book>,
    target: u64,
    receiver: FrameReceiver,
    in_flight: mpsc::UnboundedReceiver<OwnedSemaphorePermit>,
    _writer: AbortOnDrop,
}

impl AppendSession {
    async fn next(&mut self) -> Rpc<Option<StreamAppendResult<TypeConfig>>> {
        let frame = self.receiver.recv().await.map_err(|error| network_error(&error))?;
        let Some(frame) = frame else { return self.ended() };
        self.in_flight.try_recv().ok();
        let result = streamed_from(frame).map_err(|error| network_error(&error))?;
        if let Ok(upto) = &result {
            self.acks.acked(self.target, upto.map_or(0, |upto| upto.index + 1));
            self.book.acked(NodeId(self.target), *upto);
        }
        Ok(Some(result))
    }

    /// The peer sends no more answers. Where one is due still this is an error, and never a quiet end: after a stream that
    /// only told how far all is committed, openraft would take up the last order it has ever heard of, which may be done,
    /// and its entries purged; and reading those stops the node.
    fn ended(&mut self) -> Rpc<Option<StreamAppendResult<TypeConfig>>> {
        match is_answered(&mut self.in_flight) {
            true => Ok(None),
            false => Err(network_error(&std::io::Error::from(std::io::ErrorKind::UnexpectedEof))),
        }
    }
}

/// Whether all was sent, and nothing that was sent lacks an answer.
fn is_answered<T>(in_flight: &mut mpsc::UnboundedReceiver<T>) -> bool {
    matches!(in_flight.try_recv(), Err(mpsc::error::TryRecvError::Disconnected))
}

fn network_error<E: std::error::Error + 'static>(error: &E) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(error))
}

fn answer<T>(decoded: Result<T, CodecError>) -> Rpc<T> {
    decoded.map_err(|error| network_error(&error))
}

impl RaftNetworkV2<TypeConfig> for PeerClient {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        answer(appended_from(self.call(kinds::APPEND, append_bytes(&request), &option).await?))
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Rpc<AppendResults<'s>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        match self.purpose {
            Purpose::Heartbeat | Purpose::Snapshot => {
                openraft::network::stream_append_sequential(self, input, option)
            }
            Purpose::Entries => Box::pin(self.open_appends(input)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        answer(vote_response_from(self.call(kinds::VOTE, vote_request_bytes(&request), &option).await?))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        answer(vote_response_from(self.call(kinds::PRE_VOTE, vote_request_bytes(&request), &option).await?))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<CommittedLeaderId, u64, Member, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let send = snapshot::send(&self.network.transport, NodeId(self.target), self.role, vote, snapshot);
        tokio::select! {
            biased;
            sent = send => sent,
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        answer(transferred_from(self.call(kinds::TRANSFER_LEADER, transfer_bytes(&request), &option).await?))
    }

    fn backoff(&self) -> Option<Backoff> {
        // A peer that restarts is back within one of these; the transport knows at once that nobody is there.
        Some(Backoff::new(std::iter::repeat(REOPEN_PAUSE)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_answered_when_nothing_more_is_sent_and_nothing_is_due() {
        let (sent, mut in_flight) = mpsc::unbounded_channel();
        assert!(!is_answered(&mut in_flight), "more may be sent");
        sent.send(1).unwrap();
        assert!(!is_answered(&mut in_flight), "an answer is due");
        sent.send(2).unwrap();
        drop(sent);
        assert!(!is_answered(&mut in_flight), "an answer is due still");
        assert!(is_answered(&mut in_flight));
    }
}
