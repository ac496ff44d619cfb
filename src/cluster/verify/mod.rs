//! Whether the data nodes hold the same, and each of them what it should. Whoever is asked has all of them look at their
//! rows right behind one entry, holds the digests against each other, and has the rows of a node that is wrong built anew.
//!
//! Nobody is healed by guess: the node that is wrong is the one whose rows do not add up to its own digests.

mod judge;
mod look;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use self::judge::{Held, judge};
use self::look::{Found, Opened, OwnReport, Question, Said};
use super::blocking::blocking;
use super::bodies::{Depth, Inspected};
use super::local::Local;
use super::membership::ClusterError;
use super::network::{RosterEntry, kinds};
use super::replica::Fault;
use super::transport::{FramedStream, Lane};
use super::types::Role;
use super::wire;
use crate::mail::ids::{BodyId, CommandId, LogIndex, NodeId};
use crate::state::digest::{Digest, Group};
use crate::state::naming::{self, Mention, NamedGroup};

/// A node that says nothing for this long has not answered. It says every other second that it is still looking.
const STALL_MAX: Duration = Duration::from_secs(15);
/// How long the connection to a node may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a node may take to hear that it is to have its rows anew.
const ORDER_MAX: Duration = Duration::from_secs(5);

/// What a node remembers of verifications.
#[derive(Default)]
pub struct Desk {
    /// Held by the one that this node is asked for.
    one: tokio::sync::Mutex<()>,
    /// The last in which this node's own rows were wrong, if it was the last of all.
    unsound: Mutex<Option<CommandId>>,
    trouble: Mutex<Trouble>,
}

/// What is wrong on this node's disk and could not be mended, in one line each.
#[derive(Default)]
struct Trouble {
    rows: Option<String>,
    bodies: Option<String>,
}

impl Desk {
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.locked_trouble();
        trouble.rows.clone().or_else(|| trouble.bodies.clone())
    }

    /// `None`: they are right.
    fn note_rows(&self, wrong: Option<String>) {
        self.locked_trouble().rows = wrong;
    }

    /// How many of all bodies `name` could not have mended.
    pub fn note_bodies(&self, name: &str, unmended: u64) {
        self.locked_trouble().bodies = (unmended > 0).then(|| {
            format!(
                "{unmended} message bodies of {name} are damaged or missing, and no node that answers has them: start all data \
                 nodes and run 'pollux cluster verify --bodies'"
            )
        });
    }

    fn locked_trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsound(&self) -> MutexGuard<'_, Option<CommandId>> {
        self.unsound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of it. Plain data; the rooms above show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// All data nodes, ascending by id.
    pub nodes: Vec<NodeVerified>,
    /// They differ between nodes each of which agrees with itself.
    pub disputed: Vec<NamedGroup>,
    pub rebuild: Option<Rebuild>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeVerified {
    pub node: NodeId,
    pub name: String,
    /// `Err`: why nothing is known of it.
    pub looked: Result<Looked, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Behind which entry.
    pub index: LogIndex,
    pub groups: u64,
    pub rows: u64,
    /// Their rows do not add up to their digests.
    pub wrong: Vec<NamedGroup>,
    /// Why the rows cannot all be read.
    pub damaged: Option<String>,
    pub bodies: Inspected,
    pub mentions: BTreeMap<BodyId, Vec<Mention>>,
    /// Why not all bodies were looked at.
    pub bodies_unseen: Option<String>,
}

/// A node that is to have its rows anew: it ends, and does so when it is started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    pub node: String,
    pub from: String,
    /// Why it could not be told.
    pub untold: Option<String>,
}

impl Verification {
    /// All data nodes answered, and nothing was wrong anywhere.
    pub fn is_equal(&self) -> bool {
        let well = |node: &NodeVerified| {
            node.looked.as_ref().is_ok_and(|looked| {
                looked.wrong.is_empty()
                    && looked.damaged.is_none()
                    && looked.bodies.wrong.is_empty()
                    && looked.bodies_unseen.is_none()
            })
        };
        self.disputed.is_empty() && self.nodes.iter().all(well)
    }
}

/// A node that waits for the entry.
enum Asked {
    Here(Opened),
    There(FramedStream),
}

impl Local {
    pub async fn verify(self: &Arc<Self>, depth: Depth) -> Result<Verification, ClusterError> {
        if self.data.is_none() {
            return Err(ClusterError::Refused("a witness holds no mail: ask a data node (--socket)".into()));
        }
        let Ok(_one) = self.verifying.one.try_lock() else {
            return Err(ClusterError::Refused(
                "this node is asked to verify already: wait for that to end".into(),
            ));
        };
        let question = Question { id: self.clock.command_id(), depth };
        let roster = self.roster.load_full();
        let members: Vec<&RosterEntry> =
            roster.iter().filter(|entry| entry.member.role == Role::Data).collect();
        let begun = join_all(members.iter().map(|entry| self.begin(NodeId(entry.id), &question))).await;
        match self.commit_as(question.id, Self::barrier_command()).await {
            Ok(_) => {}
            Err(Fault::NoQuorum) => return Err(ClusterError::NoQuorum),
            Err(fault) => return Err(ClusterError::Refused(fault.to_string())),
        }
        let heard = begun.into_iter().map(|asked| async { self.hear(asked?, &question).await });
        let heard: Vec<Result<Found, String>> = join_all(heard).await;
        let found: Vec<(&RosterEntry, Result<Found, String>)> = members.into_iter().zip(heard).collect();
        Ok(self.conclude(found, question.id).await)
    }

    async fn begin(&self, node: NodeId, question: &Question) -> Result<Asked, String> {
        if node == self.id {
            return self.begin_look(question.id).map(Asked::Here);
        }
        let opening = async {
            // A node that has just started is not connected to all others yet.
            self.transport.connected(node, Lane::Bulk).await?;
            self.transport.open_stream(node, Lane::Bulk, kinds::VERIFY).await
        };
        let opened = timeout(CONNECT_MAX, opening).await.map_err(|_| "it does not answer")?;
        let mut stream = opened.map_err(|_| "it does not answer")?;
        let frame = wire::encode(question).map_err(|error| error.to_string())?;
        stream.send(frame.into()).await.map_err(|error| error.to_string())?;
        match next(&mut stream).await? {
            Said::Ready => Ok(Asked::There(stream)),
            Said::Refused(why) => Err(why),
            _ => Err("it answers what was not asked: bring all nodes to the same build".to_owned()),
        }
    }

    async fn hear(&self, asked: Asked, question: &Question) -> Result<Found, String> {
        let mut stream = match asked {
            Asked::Here(opened) => return self.look_behind(opened, question).await,
            Asked::There(stream) => stream,
        };
        let mut digests: BTreeMap<Group, Digest> = BTreeMap::new();
        loop {
            match next(&mut stream).await? {
                Said::Ready | Said::Going => {}
                Said::Digests(some) => digests.extend(some),
                Said::Report(report) => return Ok(Found { digests, report: *report }),
                Said::Refused(why) => return Err(why),
            }
        }
    }

    async fn conclude(
        self: &Arc<Self>,
        found: Vec<(&RosterEntry, Result<Found, String>)>,
        id: CommandId,
    ) -> Verification {
        let in_sync = self.data.as_ref().map(|data| data.feed.replica_set().borrow().in_sync.clone());
        let in_sync = in_sync.unwrap_or_default();
        let (mut held, mut reports) = (Vec::new(), Vec::new());
        for (entry, found) in found {
            let node = NodeId(entry.id);
            let report = found.map(|found| {
                let (groups, sound) = (found.digests.len() as u64, found.report.is_sound());
                held.push(Held { node, in_sync: in_sync.contains(&node), sound, digests: found.digests });
                (groups, found.report)
            });
            reports.push((node, entry.member.name.clone(), report));
        }
        let judgement = judge(&held);
        if !judgement.disputed.is_empty() {
            self.verifying.note_rows(Some(format!(
                "{} groups of rows differ between data nodes each of which agrees with itself: run 'pollux cluster verify'",
                judgement.disputed.len()
            )));
        }
        let name_of = |node: NodeId| {
            let named = reports.iter().find(|(id, ..)| *id == node);
            named.map_or_else(|| node.to_string(), |(_, name, _)| name.clone())
        };
        let rebuild = match judgement.rebuild {
            Some((node, from)) => {
                let untold = self.order_rebuild(node, id).await.err();
                Some(Rebuild { node: name_of(node), from: name_of(from), untold })
            }
            None => None,
        };
        let mut nodes = Vec::with_capacity(reports.len());
        for (node, name, report) in reports {
            let looked = match report {
                Ok((groups, report)) => Ok(self.named(groups, report).await),
                Err(why) => Err(why),
            };
            nodes.push(NodeVerified { node, name, looked });
        }
        let verification = Verification { nodes, disputed: self.names(judgement.disputed).await, rebuild };
        log(&verification);
        verification
    }

    async fn order_rebuild(self: &Arc<Self>, node: NodeId, id: CommandId) -> Result<(), String> {
        if node == self.id {
            self.rebuild_rows();
            return Ok(());
        }
        let order = wire::encode(&id).map_err(|error| error.to_string())?;
        let call = self.transport.call(node, Lane::Bulk, kinds::REBUILD, order.into(), ORDER_MAX);
        call.await.map(|_| ()).map_err(|error| error.to_string())
    }

    async fn named(&self, groups: u64, report: OwnReport) -> Looked {
        Looked {
            index: LogIndex(report.index),
            groups,
            rows: report.rows,
            wrong: self.names(report.wrong).await,
            damaged: report.damaged,
            bodies: report.bodies,
            mentions: report.mentions.into_iter().collect(),
            bodies_unseen: report.bodies_unseen,
        }
    }

    /// By this node's rows.
    async fn names(&self, groups: Vec<Group>) -> Vec<NamedGroup> {
        let Some(data) = self.data.as_ref().filter(|_| !groups.is_empty()) else { return Vec::new() };
        let tables = data.tables.clone();
        let named = move || groups.into_iter().map(|group| naming::name(&tables, group)).collect();
        blocking(named).await.unwrap_or_default()
    }
}

async fn next(stream: &mut FramedStream) -> Result<Said, String> {
    let frame = timeout(STALL_MAX, stream.recv()).await.map_err(|_| "it does not answer any longer")?;
    let frame = frame.map_err(|error| error.to_string())?;
    let frame = frame.ok_or("it ended the conversation: does its build know how to verify?")?;
    wire::decode(&frame).map_err(|error| error.to_string())
}

/// What is wrong stands in the log of the node that was asked, too.
fn log(verification: &Verification) {
    for NodeVerified { name, looked, .. } in &verification.nodes {
        let Ok(looked) = looked else { continue };
        looked.wrong.iter().for_each(|group| {
            tracing::error!("a verification: {group} on {name} is not what was applied there");
        });
        if let Some(why) = &looked.damaged {
            tracing::error!("a verification: the rows of {name} are damaged: {why}");
        }
        for wrong in &looked.bodies.wrong {
            tracing::error!(
                "a verification: the body {} on {name} was wrong, {}",
                wrong.id,
                if wrong.mended { "and is mended" } else { "and could not be mended" }
            );
        }
    }
    for group in &verification.disputed {
        tracing::error!("a verification: {group} differs between nodes each of which agrees with itself");
    }
}
