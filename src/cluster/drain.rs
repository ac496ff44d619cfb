//! Planned work on a box: its node is drained, then it may be switched off. What a drained node still has in hand it says
//! itself; who is drained is replicated.

use std::sync::Arc;

use bincode::{Decode, Encode};
use bytes::Bytes;

use super::local::Local;
use super::membership::ClusterError;
use super::network::kinds;
use super::replica::Fault;
use super::status::{ASK_MAX, ClusterStatus, NodeState, NodeStatus};
use super::transport::Lane;
use super::types::Role;
use super::wire;
use crate::mail::ids::NodeId;
use crate::state::command::Command;
use crate::state::outcome::{Outcome, Refusal};

/// What a node has in hand for clients and other servers. Frozen: nodes of other builds read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct OpenWork {
    /// By its own rows.
    pub drained: bool,
    /// It is about to end: it must not become a voter.
    pub stopping: bool,
    /// It lets clients in, or takes mail to send from the queue.
    pub takes_more: bool,
    /// Connections of clients.
    pub sessions: u64,
    /// Connections to other servers.
    pub deliveries: u64,
}

/// As the rooms above know it.
pub type Working = Box<dyn Fn() -> OpenWork + Send + Sync>;

/// How far a drained node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draining {
    /// `None`: it does not say.
    pub work: Option<OpenWork>,
    /// Why it should not be switched off yet; `None`: it may be.
    pub waits_for: Option<String>,
}

impl Draining {
    pub fn unasked() -> Self {
        Self { work: None, waits_for: Some("it was not asked".to_owned()) }
    }
}

impl Local {
    /// The node serves no clients until it is undrained, also when it is started anew.
    pub async fn drain(self: &Arc<Self>, node: NodeId) -> Result<(), ClusterError> {
        self.data_alone()?;
        let status = self.status().await;
        may_drain(&status, node).map_err(ClusterError::Refused)?;
        self.tell(Command::DrainNode { node }).await
    }

    pub async fn undrain(self: &Arc<Self>, node: NodeId) -> Result<(), ClusterError> {
        self.data_alone()?;
        self.tell(Command::UndrainNode { node }).await
    }

    /// A witness has no rows, and so does not know who is in sync.
    fn data_alone(&self) -> Result<(), ClusterError> {
        match self.data {
            Some(_) => Ok(()),
            None => Err(ClusterError::Refused("a witness drains no node: ask a data node (--socket)".into())),
        }
    }

    async fn tell(self: &Arc<Self>, command: Command) -> Result<(), ClusterError> {
        match self.propose(command).await {
            Ok(Outcome::Refused(refusal @ Refusal::LastServing(_))) => Err(ClusterError::Refused(format!(
                "{refusal}: wait until another is in sync and not drained (pollux cluster status)"
            ))),
            Ok(Outcome::Refused(Refusal::NotFound(what))) => Err(ClusterError::Refused(format!(
                "{what} is not known as one that holds mail: data nodes alone are drained, once they vote"
            ))),
            Ok(Outcome::Refused(refusal)) => Err(ClusterError::Refused(refusal.to_string())),
            Ok(_) => Ok(()),
            Err(Fault::NoQuorum) => Err(ClusterError::NoQuorum),
            Err(fault) => Err(ClusterError::Refused(fault.to_string())),
        }
    }

    pub fn is_drained(&self, node: NodeId) -> bool {
        self.data.as_ref().is_some_and(|data| data.feed.drained().borrow().contains(&node))
    }

    /// Asks all at once; `None` of one that does not answer, or is too old to know.
    pub async fn work_of_all(&self) -> Vec<(NodeId, Option<OpenWork>)> {
        let roster = self.roster.load_full();
        let asked = roster.iter().map(async |entry| (NodeId(entry.id), self.work_of(NodeId(entry.id)).await));
        futures_util::future::join_all(asked).await
    }

    /// Whether it is there and means to stay.
    pub async fn stays(&self, node: NodeId) -> bool {
        let (report, work) = tokio::join!(self.report_of(node), self.work_of(node));
        report.is_some() && !work.is_some_and(|work| work.stopping)
    }

    async fn work_of(&self, node: NodeId) -> Option<OpenWork> {
        if node == self.id {
            return Some(self.work());
        }
        let answer = self.transport.call(node, Lane::Control, kinds::WORK, Bytes::new(), ASK_MAX).await;
        wire::decode(&answer.ok()?).ok()
    }

    pub fn work(&self) -> OpenWork {
        let work = self.working.get().map(|working| working()).unwrap_or_default();
        OpenWork { drained: self.is_drained(self.id), stopping: self.is_stopping(), ..work }
    }
}

/// Whether somebody else would serve. By what is seen now: apply decides.
fn may_drain(status: &ClusterStatus, node: NodeId) -> Result<(), String> {
    let found = status.nodes.iter().find(|it| it.id == node).ok_or(format!("there is no node {node}"))?;
    let name = &found.name;
    if found.role == Role::Witness {
        return Err(format!("{name} is a witness and serves no clients: just stop it, one node at a time"));
    }
    if found.draining.is_some() {
        return Ok(());
    }
    let others: Vec<_> = status.nodes.iter().filter(|it| it.id != node && it.role == Role::Data).collect();
    if others.is_empty() {
        return Err(format!(
            "{name} is the only data node, so nobody would serve: add another ('pollux join-token'), or stop it"
        ));
    }
    let why: Vec<String> =
        others.iter().filter_map(|it| Some(format!("{} {}", it.name, unfit(it)?))).collect();
    match why.len() < others.len() {
        true => Ok(()),
        false => Err(format!("nobody would serve without {name}: {}", why.join("; "))),
    }
}

/// Why this data node would not serve in another's place, and what to do about it.
fn unfit(node: &NodeStatus) -> Option<&'static str> {
    let answers = node.state != NodeState::Unreachable;
    match node {
        _ if !answers => Some("does not answer: start it first"),
        NodeStatus { draining: Some(_), .. } => Some("is drained: undrain it first"),
        NodeStatus { state: NodeState::Learner, .. } => {
            Some("does not vote yet: wait until it has caught up")
        }
        NodeStatus { in_sync: false, .. } => {
            Some("is behind on message bodies: wait until it has caught up (pollux cluster status)")
        }
        _ => None,
    }
}

/// What the judgement rests on, beside what each node says of itself.
pub(super) struct Sight {
    pub works: Vec<(NodeId, Option<OpenWork>)>,
    pub voters: usize,
    pub answering: usize,
    /// A witness has no rows that would tell who is in sync.
    pub has_rows: bool,
}

/// Fills in how far those are that are drained.
pub(super) fn judge(nodes: &mut [NodeStatus], sight: &Sight) {
    let all = nodes.to_vec();
    for node in nodes {
        let work = sight.works.iter().find(|(id, _)| *id == node.id).and_then(|(_, work)| *work);
        // Who has no rows believes the node.
        if node.draining.is_some() || work.is_some_and(|work| work.drained) {
            let waits_for = waits_for(node, work, &all, sight);
            node.draining = Some(Draining { work, waits_for });
        }
    }
}

/// Why a drained node should not be switched off yet.
fn waits_for(node: &NodeStatus, work: Option<OpenWork>, all: &[NodeStatus], sight: &Sight) -> Option<String> {
    let Some(work) = work else { return Some("it does not answer".to_owned()) };
    if work.takes_more {
        return Some("it has yet to shut its ports".to_owned());
    }
    let count = |count: u64, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let open = [
        count(work.sessions, "client's connection", "clients' connections"),
        count(work.deliveries, "delivery", "deliveries"),
    ];
    let open: Vec<String> = open.into_iter().flatten().collect();
    if !open.is_empty() {
        return Some(format!("still open: {}", open.join(", ")));
    }
    if node.state == NodeState::Leader {
        return Some("it has yet to hand over leadership".to_owned());
    }
    if !sight.has_rows {
        return Some("a witness does not know who has all message bodies: ask a data node".to_owned());
    }
    let serves = |it: &&NodeStatus| it.id != node.id && it.role == Role::Data && unfit(it).is_none();
    if !all.iter().filter(serves).any(|it| it.bodies_missing == 0) {
        return Some("no other data node that serves has all message bodies".to_owned());
    }
    // Two data nodes alone: an orderly stop leaves the other in charge, a power cut does not.
    if sight.voters > 2 && sight.answering.saturating_sub(1) * 2 <= sight.voters {
        return Some("without it no majority would answer: start the nodes that are down".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::status::Protection;
    use crate::mail::ids::Timestamp;

    fn node(id: u64, role: Role) -> NodeStatus {
        NodeStatus {
            id: NodeId(id),
            name: format!("n{id}"),
            role,
            address: String::new(),
            state: NodeState::Follower,
            version: String::new(),
            last_log: 0,
            applied: 0,
            lag_entries: 0,
            bodies_missing: 0,
            in_sync: true,
            log_bytes: 0,
            log_alarm: false,
            services: Vec::new(),
            draining: None,
            refused: None,
            scrubbed: None,
            journal: None,
            single_copies: None,
        }
    }

    fn status(nodes: Vec<NodeStatus>) -> ClusterStatus {
        ClusterStatus {
            cluster_id: String::new(),
            cluster_version: 1,
            node: NodeId(1),
            leader: Some(NodeId(1)),
            term: 1,
            protection: Protection::Protected,
            since: Timestamp(0),
            because: None,
            nodes,
        }
    }

    fn trio() -> Vec<NodeStatus> {
        vec![node(1, Role::Data), node(2, Role::Data), node(3, Role::Witness)]
    }

    #[test]
    fn a_node_is_drained_only_while_another_would_serve() {
        assert_eq!(may_drain(&status(trio()), NodeId(1)), Ok(()));
        type Spoil = fn(&mut NodeStatus);
        let spoilt: [(Spoil, &str); 4] = [
            (|it| it.state = NodeState::Unreachable, "n2 does not answer: start it"),
            (|it| it.state = NodeState::Learner, "n2 does not vote yet"),
            (|it| it.in_sync = false, "n2 is behind"),
            (|it| it.draining = Some(Draining::unasked()), "undrain it first"),
        ];
        for (spoil, said) in spoilt {
            let mut nodes = trio();
            spoil(&mut nodes[1]);
            let why = may_drain(&status(nodes.clone()), NodeId(1)).unwrap_err();
            assert!(why.contains(said) && !why.contains('\n'), "{why}");
            nodes.push(node(4, Role::Data));
            assert_eq!(may_drain(&status(nodes), NodeId(1)), Ok(()), "the fourth serves");
        }
        let why = may_drain(&status(trio()), NodeId(3)).unwrap_err();
        assert!(why.contains("is a witness"), "{why}");
        let why = may_drain(&status(trio()[..1].to_vec()), NodeId(1)).unwrap_err();
        assert!(why.contains("the only data node"), "{why}");
        assert!(may_drain(&status(trio()), NodeId(9)).is_err());
    }

    #[test]
    fn a_drained_node_says_what_it_waits_for_until_it_may_be_switched_off() {
        let idle = OpenWork::default();
        let seen = |(voters, answering)| Sight { works: Vec::new(), voters, answering, has_rows: true };
        let judged =
            |work, nodes: &[NodeStatus], votes| waits_for(&nodes[0], Some(work), nodes, &seen(votes));
        let all = trio();
        assert_eq!(judged(idle, &all, (3, 3)), None);
        let said = judged(OpenWork { takes_more: true, ..idle }, &all, (3, 3)).unwrap();
        assert!(said.contains("shut its ports"), "{said}");
        let said = judged(OpenWork { sessions: 1, deliveries: 2, ..idle }, &all, (3, 3)).unwrap();
        assert_eq!(said, "still open: 1 client's connection, 2 deliveries");
        assert!(judged(idle, &all, (3, 2)).unwrap().contains("majority"), "the witness is away");
        assert_eq!(judged(idle, &all[..2], (2, 2)), None, "its stop leaves the other in charge");
        let mut leads = trio();
        leads[0].state = NodeState::Leader;
        assert!(judged(idle, &leads, (3, 3)).unwrap().contains("leadership"));
        let mut lacks = trio();
        lacks[1].bodies_missing = 1;
        assert!(judged(idle, &lacks, (3, 3)).unwrap().contains("all message bodies"));
        assert!(waits_for(&all[0], None, &all, &seen((3, 3))).unwrap().contains("does not answer"));
        let of_a_witness = Sight { has_rows: false, ..seen((3, 3)) };
        assert!(waits_for(&all[0], Some(idle), &all, &of_a_witness).unwrap().contains("ask a data node"));
    }
}
