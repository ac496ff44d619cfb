//! From a command to its outcome: to the leader, wherever it is, until it is committed and applied here.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::Instant;

use super::codec::{CodecError, normal_payload, payload_from, take_u64};
use super::local::Local;
use super::network::kinds;
use super::replica::Fault;
use super::transport::{CallError, Lane};
use super::types::{Encoded, Payload, Role};
use crate::mail::ids::{CommandId, LogIndex, NodeId};
use crate::meters::{METERS, Proposed};
use crate::state::codec::{decode_outcome, encode_outcome, encode_proposal};
use crate::state::command::{Command, Proposal};
use crate::state::outcome::Outcome;

/// How long a proposal is tried before the caller hears that there is no quorum.
pub const PROPOSE_MAX: Duration = Duration::from_secs(10);
/// How long one try may take. A try that ends in time-out is *unknown*; the next carries the same id.
const TRY_MAX: Duration = Duration::from_secs(3);
/// Between tries, while nobody leads.
const PAUSE: Duration = Duration::from_millis(15);
/// Proposals of this node under way; beyond it callers hear that it is busy.
pub const PROPOSALS_MAX: usize = 4_096;

/// This node cannot commit now; the message may name who can.
pub const NOT_LEADER: u16 = 2;

/// Why one try came to nothing.
pub enum Missed {
    /// Somebody else leads, or nobody does.
    NotLeader,
    Stopped,
}

/// What a committed command came to.
pub struct Committed {
    pub index: LogIndex,
    pub outcome: Outcome,
}

impl Local {
    /// See [`Replica::propose`](super::replica::Replica::propose).
    pub async fn propose(self: &Arc<Self>, command: Command) -> Result<Outcome, Fault> {
        Ok(self.commit_new(command).await?.outcome)
    }

    /// See [`Replica::commit`](super::replica::Replica::commit).
    pub async fn commit_new(self: &Arc<Self>, command: Command) -> Result<Committed, Fault> {
        self.commit_as(self.clock.command_id(), command).await
    }

    /// The same under an id that others were told beforehand.
    pub async fn commit_as(self: &Arc<Self>, id: CommandId, command: Command) -> Result<Committed, Fault> {
        let began = Instant::now();
        let proposed = self.commit_uncounted(id, command).await;
        let counted = match &proposed {
            Ok(Committed { outcome: Outcome::Refused(_), .. }) => Proposed::Refused,
            Ok(_) => Proposed::Applied,
            Err(_) => Proposed::Failed,
        };
        METERS.proposals.of(counted).one();
        if proposed.is_ok() {
            METERS.commits.note(began.elapsed());
        }
        proposed
    }

    /// A command that changes nothing: its answer means that all that was committed before it is applied here.
    pub fn barrier_command() -> Command {
        Command::RenewLeases { leases: Vec::new() }
    }

    async fn commit_uncounted(self: &Arc<Self>, id: CommandId, command: Command) -> Result<Committed, Fault> {
        let Ok(_permit) = self.in_flight.clone().try_acquire_owned() else {
            return Err(Fault::Busy(format!("{PROPOSALS_MAX} proposals under way")));
        };
        let base = LogIndex(self.watched.applied_next.borrow().saturating_sub(1));
        let proposal = Proposal { id, base, at: self.clock.now(), command };
        let bytes = encode_proposal(&proposal).map_err(|error| Fault::Busy(error.to_string()))?;
        let encoded = normal_payload(&bytes);
        let until = Instant::now() + PROPOSE_MAX;
        let committed = self.commit(encoded, until).await?;
        self.applied(committed.index, until).await?;
        Ok(committed)
    }

    /// Waits until the entry at `index` shows in this node's rows and views.
    pub async fn applied(&self, index: LogIndex, until: Instant) -> Result<(), Fault> {
        let mut applied = self.watched.applied_next.subscribe();
        let seen = tokio::time::timeout_at(until, applied.wait_for(|next| *next > index.0)).await;
        match seen {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Fault::ShuttingDown),
            Err(_) => Err(Fault::NoQuorum),
        }
    }

    async fn commit(&self, encoded: Encoded, until: Instant) -> Result<Committed, Fault> {
        while Instant::now() < until {
            if self.is_stopping() {
                return Err(Fault::ShuttingDown);
            }
            let end = until.min(Instant::now() + TRY_MAX);
            let tried = match self.leader() {
                Some(leader) if leader == self.id => self.commit_here(encoded.clone(), end).await,
                Some(leader) => self.commit_at(leader, encoded.0.clone(), end).await,
                None => Err(Missed::NotLeader),
            };
            match tried {
                Ok(committed) => return Ok(committed),
                Err(Missed::Stopped) => return Err(Fault::ShuttingDown),
                Err(Missed::NotLeader) => tokio::time::sleep(PAUSE).await,
            }
        }
        Err(Fault::NoQuorum)
    }

    /// As the leader. A witness that leads for a moment takes nothing: it could not answer.
    async fn commit_here(&self, encoded: Encoded, until: Instant) -> Result<Committed, Missed> {
        if self.config.role == Role::Witness {
            return Err(Missed::NotLeader);
        }
        let committed = tokio::time::timeout_at(until, self.rounds.commit(encoded)).await;
        committed.unwrap_or(Err(Missed::NotLeader))
    }

    /// At the leader elsewhere; given up as soon as somebody else leads.
    async fn commit_at(&self, leader: NodeId, body: Bytes, until: Instant) -> Result<Committed, Missed> {
        let timeout = until.saturating_duration_since(Instant::now());
        let call = self.transport.call(leader, Lane::Control, kinds::PROPOSE, body, timeout);
        let deposed = self.until_server(|metrics| metrics.current_leader != Some(leader.0));
        let answer = tokio::select! {
            biased;
            answer = call => answer,
            _ = deposed => return Err(Missed::NotLeader),
        };
        answer.ok().and_then(|bytes| committed_from(bytes).ok()).ok_or(Missed::NotLeader)
    }

    /// A peer's proposal: committed here if this node leads, refused otherwise.
    pub async fn commit_for_peer(&self, body: Bytes) -> Result<Bytes, CallError> {
        let refused = |message: &str| CallError::Refused { code: NOT_LEADER, message: message.to_owned() };
        let Ok(Payload::Normal(encoded)) = payload_from(body) else {
            return Err(CallError::Protocol("not a proposal".into()));
        };
        if !self.leads() {
            return Err(refused("this node does not lead"));
        }
        match self.commit_here(encoded, Instant::now() + TRY_MAX).await {
            Ok(committed) => committed_bytes(&committed),
            Err(Missed::NotLeader) => Err(refused("this node does not lead any longer")),
            Err(Missed::Stopped) => Err(CallError::ShuttingDown),
        }
    }
}

fn committed_bytes(committed: &Committed) -> Result<Bytes, CallError> {
    let outcome =
        encode_outcome(&committed.outcome).map_err(|error| CallError::Protocol(error.to_string()))?;
    let mut out = BytesMut::with_capacity(8 + outcome.len());
    out.put_u64_le(committed.index.0);
    out.put_slice(&outcome);
    Ok(out.freeze())
}

fn committed_from(mut bytes: Bytes) -> Result<Committed, CodecError> {
    let index = LogIndex(take_u64(&mut bytes)?);
    let outcome = decode_outcome(&bytes).map_err(|_| CodecError("an outcome that cannot be read"))?;
    Ok(Committed { index, outcome })
}
