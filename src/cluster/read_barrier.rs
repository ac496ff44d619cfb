//! The read barrier: brings this node's rows as far as all that was committed before the question, so that what is
//! refused for good is refused by what the cluster knows, not by what this node has heard so far.
//!
//! Raft's ReadIndex: the leader says how far it has committed once a majority has confirmed that it still leads; the
//! asking node waits until its own rows are there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::local::Local;
use super::network::kinds;
use super::propose::NOT_LEADER;
use super::replica::Fault;
use super::transport::{CallError, Lane};
use super::types::Role;
use super::wire;
use crate::mail::ids::{LogIndex, NodeId};

/// From the question to rows that are current; a fail-over fits in.
const REFRESH_MAX: Duration = Duration::from_secs(3);
/// Between tries, while nobody leads.
const PAUSE: Duration = Duration::from_millis(15);

/// One at a time: all who ask while one is under way are served by the next.
#[derive(Default)]
pub struct Barrier {
    /// When the last one that held was begun.
    held: Mutex<Option<Instant>>,
}

impl Local {
    /// See [`Replica::refresh`](super::replica::Replica::refresh).
    pub async fn refresh(self: &Arc<Self>) -> Result<(), Fault> {
        let asked = Instant::now();
        let until = asked + REFRESH_MAX;
        let Ok(mut held) = timeout_at(until, self.barrier.held.lock()).await else {
            return Err(Fault::NoQuorum);
        };
        if held.is_some_and(|begun| begun >= asked) {
            return Ok(());
        }
        let begun = Instant::now();
        let committed = self.committed_upto(until).await?;
        self.applied(committed, until).await?;
        *held = Some(begun);
        Ok(())
    }

    async fn committed_upto(&self, until: Instant) -> Result<LogIndex, Fault> {
        while Instant::now() < until {
            if self.is_stopping() {
                return Err(Fault::ShuttingDown);
            }
            let told = match self.leader() {
                Some(leader) if leader == self.id => self.read_index(until).await,
                Some(leader) => self.read_index_at(leader, until).await,
                None => None,
            };
            match told {
                Some(index) => return Ok(index),
                None => tokio::time::sleep(PAUSE).await,
            }
        }
        Err(Fault::NoQuorum)
    }

    /// `None`: this node does not lead, or no majority says that it still does.
    async fn read_index(&self, until: Instant) -> Option<LogIndex> {
        let confirmed = timeout_at(until, self.raft.get_read_linearizer(ReadPolicy::ReadIndex)).await.ok()?;
        match confirmed {
            Ok(linearizer) => Some(LogIndex(linearizer.read_log_id().index())),
            Err(RaftError::APIError(
                LinearizableReadError::ForwardToLeader(_) | LinearizableReadError::QuorumNotEnough(_),
            )) => None,
            Err(RaftError::Fatal(_)) => None,
        }
    }

    /// Given up as soon as somebody else leads.
    async fn read_index_at(&self, leader: NodeId, until: Instant) -> Option<LogIndex> {
        let timeout = until.saturating_duration_since(Instant::now());
        let call = self.transport.call(leader, Lane::Control, kinds::READ_INDEX, Bytes::new(), timeout);
        let deposed = self.until_server(|metrics| metrics.current_leader != Some(leader.0));
        let answer = tokio::select! {
            biased;
            answer = call => answer.ok()?,
            _ = deposed => return None,
        };
        wire::decode::<u64>(&answer).ok().map(LogIndex)
    }

    /// A peer asks how far this leader has committed.
    pub async fn read_index_for_peer(&self) -> Result<Bytes, CallError> {
        let leads = self.leads() && self.config.role == Role::Data;
        let told = if leads { self.read_index(Instant::now() + REFRESH_MAX).await } else { None };
        let Some(index) = told else {
            let message = "this node does not lead, or no majority says so".to_owned();
            return Err(CallError::Refused { code: NOT_LEADER, message });
        };
        let bytes = wire::encode(&index.0).map_err(|error| CallError::Protocol(error.to_string()))?;
        Ok(bytes.into())
    }
}
