//! `pollux cluster takeover`: a data node that was left alone is told by its operator to go on without the others.
//!
//! Only while the node is stopped, and only on the operator's word that the others are off: no node can know that of
//! another. What it writes, in this order, so that a crash in between leaves a node that is still one of the others:
//! the fork ([`crate::cluster::lineage`]), a vote for itself in a term that no leader before can have had, and in that
//! term a membership in which it votes alone. The others stay members, so that they may follow once they are back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::files::Files;
use super::stopped::{AtTheEnd, at_the_end};
use crate::clock::Clock;
use crate::cluster::blocking::blocking;
use crate::cluster::codec::payload_bytes;
use crate::cluster::config::{ClusterConfig, StartError};
use crate::cluster::greeting::Greeting;
use crate::cluster::lineage::{self, End, FORKS_MAX, Fork, Forks, Lineage};
use crate::cluster::marks::{self, Book};
use crate::cluster::network::Server;
use crate::cluster::start::versions;
use crate::cluster::token::Role;
use crate::cluster::transport::{Lane, Transport, TransportConfig};
use crate::cluster::types::{Membership, Payload};
use crate::mail::ids::NodeId;
use crate::state::reading;
use crate::store::files::DirLock;
use crate::store::log::{LogLimits, LogPosition, LogStore, LogVote};
use crate::store::tables::Tables;

/// How long the others may take to show that they live. Dials are tried anew several times within it.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// An epoch is the upper half of a term: whatever elections there were or will be in one, the next is above them.
const EPOCH_SHIFT: u32 = 32;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOver {
    pub node: NodeId,
    /// Those that are to follow.
    pub others: Vec<NodeId>,
}

/// Tells the stopped node in `config.dir` to go on alone. `lost`: what others have and it lacks is given up.
/// The caller has the operator's word that the others are off.
pub async fn take_over(config: &ClusterConfig, lost: bool, clock: &Clock) -> Result<TakenOver, StartError> {
    let (opening, ticking) = (config.clone(), clock.clone());
    let disk = blocking(move || Disk::open(&opening, &ticking)).await.map_err(StartError::new)??;
    let Standing { membership, in_sync } = disk.standing().await?;
    let others = may_go_alone(disk.node, &membership).map_err(StartError::new)?;
    if let Some(lives) = disk.who_answers(config, &others, clock).await? {
        return Err(StartError::new(format!(
            "node {lives} answers: while it runs this node must not go on alone; stop it, and make sure that it stays off"
        )));
    }
    if !lost {
        disk.lacks_nothing(in_sync)?;
    }
    disk.go_alone(&membership, clock).await?;
    Ok(TakenOver { node: disk.node, others })
}

/// What the node goes on with: what its rows and the log behind them come to, committed or not.
struct Standing {
    membership: Membership,
    /// It has all bodies.
    in_sync: bool,
}

/// The node's disk, held so that no process of it runs.
struct Disk {
    node: NodeId,
    files: Files,
    log: LogStore,
    tables: Tables,
    book: Arc<Book>,
    lineage: Arc<Lineage>,
    _lock: DirLock,
}

impl Disk {
    /// Blocks.
    fn open(config: &ClusterConfig, clock: &Clock) -> Result<Self, StartError> {
        if config.role != Role::Data {
            return Err(StartError::new("a witness has no mail to go on with: take over on a data node"));
        }
        let dir = &config.dir;
        let files = Files::new(dir);
        let (node, _) = files.read_identity()?.name().map_err(StartError::new)?;
        let lock = DirLock::acquire(dir).map_err(|why| {
            StartError::new(format!("{why}; stop this node first: it is told while it is off"))
        })?;
        refuse_if_ended(dir)?;
        let within = |name: &str| dir.join(name);
        let log = LogStore::open(&within("raft"), LogLimits::DATA_NODE.keeping(config.log_bytes_max()))
            .map_err(|why| {
                StartError::new(format!(
                    "{why}; what is acknowledged may be lost with it: take over on another data node"
                ))
            })?;
        if let Some(why) = Tables::condemned(&within("tables")) {
            return Err(StartError::new(format!(
                "the rows of this node are damaged ({why}), and only another data node can give them: start one first"
            )));
        }
        let tables = Tables::open(&within("tables")).map_err(|why| {
            StartError::new(format!(
                "{}: {why}; without its rows this node cannot go on alone",
                within("tables").display()
            ))
        })?;
        let mut start = [0; 8];
        clock.fill(&mut start);
        let book = Arc::new(Book::open(dir, log.clone(), u64::from_le_bytes(start)));
        let lineage = Arc::new(Lineage::open(dir).map_err(StartError::new)?);
        Ok(Self { node, files, log, tables, book, lineage, _lock: lock })
    }

    /// The last membership in the log counts, whether it was committed or not: so does Raft count votes.
    async fn standing(&self) -> Result<Standing, StartError> {
        let AtTheEnd { membership, overlay } = at_the_end(&self.log, &self.tables).await?;
        let replicas = reading::replicas(&overlay.over(&self.tables)).map_err(StartError::new)?;
        let in_sync = replicas.iter().any(|replica| replica.node == self.node && replica.in_sync);
        Ok(Standing { membership, in_sync })
    }

    /// The first of `others` that gives a sign of life, be it a refusal.
    async fn who_answers(
        &self,
        config: &ClusterConfig,
        others: &[NodeId],
        clock: &Clock,
    ) -> Result<Option<NodeId>, StartError> {
        let handshake = Greeting::new(self.node, self.log.clone(), self.book.clone(), self.lineage.clone());
        let transport = Transport::start(
            TransportConfig {
                identity: self.files.read_identity()?,
                control: config.control_listen,
                bulk: config.bulk_listen,
                versions: Arc::new(ArcSwap::from_pointee(versions())),
                handshake: Arc::new(handshake),
                join: None,
                clock: clock.clone(),
                control_runtime: None,
            },
            Server::new(self.node, config.role, None),
        )
        .await
        .map_err(StartError::new)?;
        transport.set_peers(self.files.read_peers());
        let waits = others.iter().map(|node| Box::pin(transport.connected(*node, Lane::Control)));
        let connected = tokio::time::timeout(ANSWER_MAX, async {
            match others.is_empty() {
                true => std::future::pending().await,
                false => futures_util::future::select_ok(waits).await,
            }
        });
        // Whatever came of it: who is asked below is who answered, or refused.
        let _ = connected.await;
        let states = others.iter().map(|node| (*node, transport.peer_state(*node)));
        let mut alive =
            states.filter(|(_, state)| state.heard_ago.is_some() || state.refused_because.is_some());
        let answers = alive.next().map(|(node, _)| node);
        transport.shutdown().await;
        Ok(answers)
    }

    /// As far as this disk can tell.
    fn lacks_nothing(&self, in_sync: bool) -> Result<(), StartError> {
        let own = End::of(self.log.state());
        if let Some((peer, promised)) =
            self.book.furthest().filter(|(_, mark)| (mark.log_term, mark.log_next) > (own.term, own.next))
        {
            return Err(StartError::new(format!(
                "node {peer} has acknowledged changes that this node lacks ({promised}; here the log ends with entry {}): \
                 start that node instead, or give them up with --lost",
                own.next.saturating_sub(1)
            )));
        }
        if !in_sync {
            return Err(StartError::new(
                "this node is not in sync: it lacks mail that another data node has; start that one instead, or give up \
                 what only it has with --lost",
            ));
        }
        Ok(())
    }

    async fn go_alone(&self, membership: &Membership, clock: &Clock) -> Result<(), StartError> {
        let (state, forks) = (self.log.state(), self.lineage.forks());
        let mut id = [0; 16];
        clock.fill(&mut id);
        let fork = Fork { id, node: self.node, at: clock.now(), behind: End::of(state) };
        let forks = Forks(forks.0.iter().copied().chain([fork]).collect());
        if forks.0.len() > FORKS_MAX {
            return Err(StartError::new(format!(
                "this cluster was taken over {FORKS_MAX} times, which is the most: restore it from a backup"
            )));
        }
        let term = next_epoch(state.vote.map_or(0, |vote| vote.term).max(fork.behind.term));
        let nodes: BTreeMap<_, _> = membership.nodes().map(|(id, member)| (*id, member.clone())).collect();
        let alone = Membership::new(vec![BTreeSet::from([self.node.0])], nodes).map_err(StartError::new)?;
        let position = LogPosition { term, leader: 0, index: fork.behind.next };
        let lineage = self.lineage.clone();
        blocking(move || lineage.take_on(&forks)).await.map_err(StartError::new)?.map_err(StartError::new)?;
        let vote = LogVote { term, voted_for: self.node.0, committed: false };
        self.log.save_vote(vote).await.map_err(StartError::new)?;
        let (told, durable) = oneshot::channel();
        let entry = (position, payload_bytes(&Payload::Membership(alone)));
        let on_durable = Box::new(move |written| drop(told.send(written)));
        self.log.append(vec![entry], on_durable).await.map_err(StartError::new)?;
        durable.await.map_err(StartError::new)?.map_err(StartError::new)
    }
}

/// A node that gave way, or has forgotten, has nothing to take over with.
pub fn refuse_if_ended(dir: &Path) -> Result<(), StartError> {
    for end in [marks::forgetful(dir), lineage::quarantine(dir)] {
        if let Ok(why) = std::fs::read_to_string(end) {
            return Err(StartError::new(why));
        }
    }
    Ok(())
}

/// The others, if it makes sense.
fn may_go_alone(node: NodeId, membership: &Membership) -> Result<Vec<NodeId>, String> {
    if !membership.voter_ids().any(|id| id == node.0) {
        return Err(
            "this node does not vote, so it may lack what was acknowledged: take over on a node that votes"
                .into(),
        );
    }
    if membership.voter_ids().count() == 1 {
        return Err("this node is a majority by itself: start it".into());
    }
    Ok(membership.nodes().map(|(id, _)| NodeId(*id)).filter(|id| *id != node).collect())
}

/// The first term of the epoch after that of `term`.
fn next_epoch(term: u64) -> u64 {
    ((term >> EPOCH_SHIFT) + 1) << EPOCH_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::types::Member;

    fn membership(voters: &[u64], others: &[u64]) -> Membership {
        let nodes = voters.iter().chain(others).map(|id| (*id, Member::default()));
        Membership::new(vec![voters.iter().copied().collect()], nodes.collect::<BTreeMap<_, _>>()).unwrap()
    }

    #[test]
    fn only_a_voter_that_needs_others_goes_on_alone() {
        assert_eq!(may_go_alone(NodeId(1), &membership(&[1, 2], &[3])), Ok(vec![NodeId(2), NodeId(3)]));
        assert!(may_go_alone(NodeId(3), &membership(&[1, 2], &[3])).unwrap_err().contains("does not vote"));
        assert!(may_go_alone(NodeId(1), &membership(&[1], &[2])).unwrap_err().contains("start it"));
    }

    #[test]
    fn an_epoch_is_above_every_term_of_the_last() {
        assert_eq!(next_epoch(0), 1 << 32);
        assert_eq!(next_epoch((1 << 32) - 1), 1 << 32);
        assert_eq!(next_epoch(1 << 32), 2 << 32);
        assert_eq!(next_epoch((7 << 32) + 12), 8 << 32);
    }
}
