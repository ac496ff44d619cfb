//! Who belongs to the cluster: founding, joining, removing, handing over.

mod address;
mod files;
mod join;
mod refound;
mod stand_down;
mod stopped;
mod takeover;

pub use self::files::{Files, found};
pub use self::join::{Admission, join};
pub use self::refound::{Laid, Refounding};
pub use self::stopped::Left;
pub use self::takeover::{TakenOver, refuse_if_ended, take_over};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use openraft::ChangeMembers;
use openraft::ServerState;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::VoteRequest;
use tokio::time::Instant;

use super::codec::MEMBERS_MAX;
use super::local::{Local, Metrics};
use super::network::{RosterEntry, kinds, roster_of};
use super::propose::NOT_LEADER;
use super::replica::Fault;
use super::token::{JoinToken, Role, Secret};
use super::transport::{CallError, Lane};
use super::types::{Member, Vote, log_id};
use super::wire;
use crate::mail::ids::{NodeId, Timestamp};
use crate::state::command::Command;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::reading;
use crate::state::stored::Retired;

/// How long a change of the membership may take, finding the leader included.
const CHANGE_MAX: Duration = Duration::from_secs(15);
/// Between tries, while nobody leads.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a hand-over may take.
const TRANSFER_MAX: Duration = Duration::from_secs(5);
/// Election time-outs in which an heir is to lead; the heir's own election takes one as a rule.
const HEIR_ELECTIONS: u32 = 4;
/// The longest a join token lives: a week.
pub const TOKEN_TTL_MS_MAX: u64 = 7 * 86_400_000;

/// Why an operator's wish was not done. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    #[error("{0}")]
    Refused(String),
    #[error("no majority of the cluster answers: try again when more nodes are up")]
    NoQuorum,
}

impl ClusterError {
    pub(super) fn refused(why: impl std::fmt::Display) -> Self {
        Self::Refused(why.to_string())
    }
}

/// A change of the membership, for the leader.
#[derive(Debug, Clone, Encode, Decode)]
pub enum MembershipCall {
    /// `node` was given to this join by the replicated state: a retry finds its own work done.
    Admit {
        node: NodeId,
        name: String,
        role: Role,
        control: String,
        bulk: String,
    },
    /// `lost`: its disk is, as its operator says: what only that node has is given up.
    Remove {
        node: NodeId,
        lost: bool,
    },
    Transfer {
        to: NodeId,
    },
    /// It stops by plan, and votes no longer until it is back.
    StandDown {
        node: NodeId,
    },
}

enum Tried {
    NotLeader,
    Refused(String),
}

impl Local {
    pub async fn transfer(self: &Arc<Self>, to: NodeId) -> Result<(), ClusterError> {
        self.at_leader(MembershipCall::Transfer { to }).await?;
        let leads = self.until_server(|metrics| metrics.current_leader == Some(to.0));
        match tokio::time::timeout(TRANSFER_MAX, leads).await {
            Ok(true) => Ok(()),
            _ => Err(ClusterError::refused(format!(
                "node {to} did not take over in time; the old leader goes on"
            ))),
        }
    }

    /// `lost`: the node's disk is lost, and what only it has is given up.
    pub async fn remove(self: &Arc<Self>, node: NodeId, lost: bool) -> Result<(), ClusterError> {
        let role = self.member(node).map(|entry| entry.member.role);
        let role = role.ok_or_else(|| ClusterError::refused(format!("there is no node {node}")))?;
        self.at_leader(MembershipCall::Remove { node, lost }).await?;
        if role == Role::Data {
            self.propose(Command::RemoveReplica { node }).await.map_err(|_| ClusterError::NoQuorum)?;
        }
        Ok(())
    }

    /// The id comes from the replicated state, so that none is ever given twice, whichever node lets in.
    pub async fn admit(self: &Arc<Self>, member: Member) -> Result<NodeId, ClusterError> {
        let roster = self.roster.load_full();
        may_join(&roster, &member).map_err(ClusterError::Refused)?;
        let above = NodeId(roster.iter().map(|entry| entry.id).max().unwrap_or(0));
        let node = match self.propose(Command::GiveNodeId { above }).await {
            Ok(Outcome::NodeIdGiven { node }) => node,
            Ok(Outcome::Refused(refusal)) => return Err(ClusterError::refused(refusal)),
            Ok(other) => return Err(ClusterError::refused(format!("no node id was given: {other:?}"))),
            Err(Fault::NoQuorum) => return Err(ClusterError::NoQuorum),
            Err(fault) => return Err(ClusterError::refused(fault)),
        };
        let Member { name, role, control, bulk } = member;
        self.at_leader(MembershipCall::Admit { node, name, role, control, bulk }).await?;
        Ok(node)
    }

    pub async fn join_token(&self, role: Role, ttl_ms: u64) -> Result<String, ClusterError> {
        if self.config.role == Role::Witness {
            return Err(ClusterError::refused(
                "a witness lets no nodes in, for it lacks the cluster's CA key: make the token on a data node",
            ));
        }
        let files = Files::new(&self.config.dir);
        let ca = files.read_ca().map_err(ClusterError::refused)?;
        let mut secret = [0; 32];
        self.clock.fill(&mut secret);
        let now = self.clock.now();
        let token = JoinToken {
            ca: ca.fingerprint(),
            addresses: vec![self.config.bulk_address.clone()],
            role,
            secret: Secret(secret),
            expires: Timestamp(now.0 + ttl_ms.min(TOKEN_TTL_MS_MAX)),
        };
        let record = token.record();
        let written = super::blocking::blocking(move || files.add_token(record, now)).await;
        written.map_err(ClusterError::refused)?.map_err(ClusterError::refused)?;
        Ok(token.to_string())
    }

    /// Has the leader do it, wherever it is.
    async fn at_leader(self: &Arc<Self>, call: MembershipCall) -> Result<u64, ClusterError> {
        let until = Instant::now() + CHANGE_MAX;
        let body = Bytes::from(wire::encode(&call).map_err(ClusterError::refused)?);
        while Instant::now() < until {
            let tried = match self.leader() {
                Some(leader) if leader == self.id => self.change(call.clone()).await,
                Some(leader) => {
                    let timeout = until.saturating_duration_since(Instant::now());
                    let call =
                        self.transport.call(leader, Lane::Control, kinds::MEMBERSHIP, body.clone(), timeout);
                    match call.await {
                        Ok(answer) => Ok(wire::decode(&answer).map_err(ClusterError::refused)?),
                        Err(CallError::Refused { code, message }) if code != NOT_LEADER => {
                            Err(Tried::Refused(message))
                        }
                        Err(_) => Err(Tried::NotLeader),
                    }
                }
                None => Err(Tried::NotLeader),
            };
            match tried {
                Ok(answer) => return Ok(answer),
                Err(Tried::Refused(why)) => return Err(ClusterError::Refused(why)),
                Err(Tried::NotLeader) => tokio::time::sleep(PAUSE).await,
            }
        }
        Err(ClusterError::NoQuorum)
    }

    /// A peer's wish.
    pub async fn change_for_peer(self: &Arc<Self>, body: Bytes) -> Result<Bytes, CallError> {
        let call: MembershipCall =
            wire::decode(&body).map_err(|error| CallError::Protocol(error.to_string()))?;
        answer(self.change(call).await)
    }

    async fn change(self: &Arc<Self>, call: MembershipCall) -> Result<u64, Tried> {
        if !self.leads() {
            return Err(Tried::NotLeader);
        }
        // One change at a time, so that two joins never get one name.
        let _turn = self.changing.lock().await;
        match call {
            MembershipCall::Admit { node, name, role, control, bulk } => {
                self.admit_here(node, Member { name, role, control, bulk }).await
            }
            MembershipCall::Remove { node, lost } => self.remove_here(node, lost).await,
            MembershipCall::Transfer { to } => self.transfer_here(to).await,
            MembershipCall::StandDown { node } => self.stand_down_here(node).await,
        }
    }

    async fn admit_here(&self, node: NodeId, member: Member) -> Result<u64, Tried> {
        let members = roster_of(&self.look(|metrics| metrics.membership_config.clone()));
        match members.iter().find(|entry| entry.id == node.0) {
            // The first try was done and its answer lost.
            Some(entry) if entry.member == member => return Ok(node.0),
            Some(_) => return Err(Tried::Refused(format!("node id {node} is another node's"))),
            None if self.transport.was_removed(node) => {
                return Err(Tried::Refused(format!("node {node} was removed while it joined: join anew")));
            }
            None => may_join(&members, &member).map_err(Tried::Refused)?,
        }
        self.change_raft(ChangeMembers::AddNodes(BTreeMap::from([(node.0, member)])), true).await?;
        Ok(node.0)
    }

    async fn remove_here(self: &Arc<Self>, node: NodeId, lost: bool) -> Result<u64, Tried> {
        let Some(entry) = self.member(node) else { return Ok(0) };
        if lost && self.report_of(node).await.is_some() {
            return Err(Tried::Refused(format!(
                "node {node} answers: stop it first if its disk is lost, or remove it without --lost"
            )));
        }
        if entry.member.role == Role::Data {
            self.others_serve(node)?;
            self.retire(node, lost).await?;
        }
        if node == self.id {
            let Some(heir) = self.best_heir() else {
                return Err(Tried::Refused(match self.data_voters().is_empty() {
                    true => "the last data node cannot be removed".into(),
                    false => "no other data node answers that could lead without this one".into(),
                }));
            };
            self.transfer_here(heir).await?;
            return Err(Tried::NotLeader);
        }
        let ids = BTreeSet::from([node.0]);
        let change =
            if entry.voter { ChangeMembers::RemoveVoters(ids) } else { ChangeMembers::RemoveNodes(ids) };
        self.change_raft(change, false).await?;
        Ok(0)
    }

    /// A removal leaves no cluster of which every data node is drained.
    fn others_serve(&self, node: NodeId) -> Result<(), Tried> {
        let roster = self.roster.load();
        let mut others =
            roster.iter().filter(|entry| entry.member.role == Role::Data && entry.id != node.0).peekable();
        if others.peek().is_some() && others.all(|entry| self.is_drained(NodeId(entry.id))) {
            let why = format!("without node {node} nobody would serve: undrain another data node first");
            return Err(Tried::Refused(why));
        }
        Ok(())
    }

    /// Before its removal: what is acknowledged from then on lies on nodes that stay, however long the removal takes
    /// and whoever ends it.
    async fn retire(self: &Arc<Self>, node: NodeId, lost: bool) -> Result<(), Tried> {
        match self.propose(Command::RetireReplica { node, lost }).await {
            Ok(Outcome::Refused(refusal @ Refusal::LastCopies(_))) => Err(Tried::Refused(format!(
                "{refusal}: wait until another data node is in sync (pollux cluster status); if its disk is lost, stop \
                 it and remove it with --lost"
            ))),
            Ok(Outcome::Refused(refusal)) => Err(Tried::Refused(refusal.to_string())),
            Ok(_) => Ok(()),
            Err(_) => Err(Tried::NotLeader),
        }
    }

    /// As the leader: data nodes whose removal came to nothing count again.
    pub async fn reinstate(self: &Arc<Self>) -> Result<(), Fault> {
        let Some(data) = &self.data else { return Ok(()) };
        // A removal under way ends first, or is begun after this.
        let _turn = self.changing.lock().await;
        let tables = data.tables.clone();
        let retired = super::blocking::blocking(move || reading::retired(&tables)).await;
        let retired = retired.map_err(|_| Fault::ShuttingDown)?.map_err(|error| Fault::Disk(error.0))?;
        for Retired { node, at } in retired {
            // Not yet committed, or half done: it may be removed still.
            if !self.leads() || !self.look(|metrics| stays_a_member(metrics, node)) {
                continue;
            }
            if let Outcome::Done = self.propose(Command::ReinstateReplica { node, retired_at: at }).await? {
                tracing::info!("node {node} was to be removed and is a member still: it counts again");
            }
        }
        Ok(())
    }

    async fn change_raft(&self, change: ChangeMembers<u64, Member>, retain: bool) -> Result<(), Tried> {
        // Who has just been removed leads for a moment still, and changes nothing any more.
        if !self.is_member() {
            return Err(Tried::NotLeader);
        }
        let changed = tokio::time::timeout(CHANGE_MAX, self.raft.change_membership(change, retain)).await;
        match changed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                Err(Tried::Refused(format!("the membership was not changed: {error}")))
            }
            Ok(Err(_)) => Err(Tried::NotLeader),
            Err(_) => {
                Err(Tried::Refused("the change was not committed in time; see pollux cluster status".into()))
            }
        }
    }

    async fn transfer_here(self: &Arc<Self>, to: NodeId) -> Result<u64, Tried> {
        if to == self.id {
            return Ok(0);
        }
        if !self.data_voters().contains(&to) {
            return Err(Tried::Refused(format!("node {to} is not a data node that votes")));
        }
        if self.is_drained(to) && !self.is_drained(self.id) {
            return Err(Tried::Refused(format!(
                "node {to} is drained: undrain it first (pollux cluster undrain)"
            )));
        }
        if !self.transport.peer_state(to).connected[Lane::Control as usize] {
            return Err(Tried::Refused(format!("node {to} does not answer")));
        }
        let _aside = self.stand_aside().await;
        let term = self.look(|metrics| metrics.current_term);
        self.raft.trigger().transfer_leader(to.0).await.map_err(|_| Tried::NotLeader)?;
        tokio::spawn(self.clone().stand_again(term, to));
        let gone =
            self.until_server(|metrics| metrics.current_leader.is_some_and(|leader| leader != self.id.0));
        match tokio::time::timeout(TRANSFER_MAX, gone).await {
            Ok(true) => Ok(0),
            _ => {
                Err(Tried::Refused(format!("node {to} did not take over in time; this node goes on leading")))
            }
        }
    }

    /// Once it has named its heir, Raft's leader neither sends heartbeats nor takes proposals until another leads. An heir
    /// that dies just then would leave a majority without a leader for good, for the witness does not stand. So after a
    /// while this leader gives the heir its vote, as if it had been asked for it: then it leads no longer, and whoever
    /// can is elected, this node among them. The vote is safe as any is: an heir that does ask in that term gets it only
    /// with a whole log.
    async fn stand_again(self: Arc<Self>, term: u64, heir: NodeId) {
        let still_leads =
            |metrics: &Metrics| metrics.state == ServerState::Leader && metrics.current_term == term;
        loop {
            tokio::time::sleep(self.election() * HEIR_ELECTIONS).await;
            if self.is_stopping() || !self.look(still_leads) {
                return;
            }
            tracing::warn!("node {heir} did not take over: whoever can is elected");
            let request = VoteRequest {
                vote: Vote::new(term + 1, heir.0),
                last_log_id: self.log.state().last.map(|last| log_id(last.term, last.index)),
                leadership_transfer: true,
            };
            if self.raft.vote(request).await.is_err() {
                return;
            }
        }
    }

    /// As the leader, when its turn to change something comes.
    pub async fn give_up_leading(self: &Arc<Self>, heir: NodeId) -> Result<(), String> {
        match self.change(MembershipCall::Transfer { to: heir }).await {
            Ok(_) | Err(Tried::NotLeader) => Ok(()),
            Err(Tried::Refused(why)) => Err(why),
        }
    }

    /// The data node that has most of this leader's log, of those that can be reached; a drained one only if there is no
    /// other.
    pub fn best_heir(&self) -> Option<NodeId> {
        let linked = |node: &NodeId| self.transport.peer_state(*node).connected[Lane::Control as usize];
        let candidates = self.data_voters().into_iter().filter(linked);
        self.look(|metrics| candidates.max_by_key(|node| (!self.is_drained(*node), matched(metrics, *node))))
    }
}

/// What a peer is told of a change that it wished.
fn answer<T: Encode>(tried: Result<T, Tried>) -> Result<Bytes, CallError> {
    match tried {
        Ok(done) => {
            wire::encode(&done).map(Bytes::from).map_err(|error| CallError::Protocol(error.to_string()))
        }
        Err(Tried::NotLeader) => {
            Err(CallError::Refused { code: NOT_LEADER, message: "this node does not lead".into() })
        }
        Err(Tried::Refused(message)) => Err(CallError::Refused { code: super::network::REFUSED, message }),
    }
}

/// Whether the members that are committed are the last this node knows of, `node` among them.
fn stays_a_member(metrics: &Metrics, node: NodeId) -> bool {
    let (known, committed) = (&metrics.membership_config, &metrics.committed_membership_config);
    known.log_id() == committed.log_id()
        && known.membership().get_joint_config().len() == 1
        && known.membership().get_node(&node.0).is_some()
}

/// `Err` is one line for who wants to join.
fn may_join(members: &[RosterEntry], member: &Member) -> Result<(), String> {
    if members.len() >= MEMBERS_MAX {
        return Err(format!("a cluster has at most {MEMBERS_MAX} nodes"));
    }
    if members.iter().any(|entry| entry.member.name == member.name) {
        return Err(format!("there is a node named {} already: choose another name", member.name));
    }
    Ok(())
}

/// The index up to which a peer has this leader's log.
pub fn matched(metrics: &Metrics, node: NodeId) -> Option<u64> {
    metrics.replication.as_ref()?.get(&node.0)?.as_ref().map(|id| id.index)
}
