//! What an operator is told of the cluster (design 8). Plain data; the rooms above turn it into tables and JSON.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use openraft::ServerState;
use tokio::time::Instant;

use super::bodies::journal::{JournalQuestion, JournalState};
use super::drain::{self, Draining, Sight};
use super::keeper::Scrubbed;
use super::local::Local;
use super::network::{RosterEntry, kinds};
use super::transport::Lane;
use super::types::Role;
use super::wire;
use crate::mail::ids::{LogIndex, NodeId, Timestamp};
use crate::state::reading;

/// The cluster as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The cluster's uuid, as text.
    pub cluster_id: String,
    /// The replicated version that gates commands.
    pub cluster_version: u32,
    /// The node that answers.
    pub node: NodeId,
    pub leader: Option<NodeId>,
    pub term: u64,
    pub protection: Protection,
    /// When `protection` became what it is, as far as this node knows.
    pub since: Timestamp,
    /// Why it is not protected.
    pub because: Option<String>,
    /// Ascending by id.
    pub nodes: Vec<NodeStatus>,
}

/// Whether the next failure would cost anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Any one node may fail: every body has its copies, every voter is there.
    Protected,
    /// It serves, but one more failure may stop it or cost copies.
    Degraded,
    /// No majority: reading only.
    Unavailable,
}

impl Protection {
    pub fn as_str(self) -> &'static str {
        match self {
            Protection::Protected => "protected",
            Protection::Degraded => "degraded",
            Protection::Unavailable => "unavailable",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    pub id: NodeId,
    pub name: String,
    pub role: Role,
    /// Of the control lane.
    pub address: String,
    pub state: NodeState,
    /// The build's version; empty when it did not answer.
    pub version: String,
    pub last_log: u64,
    pub applied: u64,
    /// How far `applied` (a witness: `last_log`) is behind the leader's log.
    pub lag_entries: u64,
    /// Bodies that this node should hold and does not.
    pub bodies_missing: u64,
    /// In the in-sync set (a witness: always).
    pub in_sync: bool,
    /// Bytes of log on disk.
    pub log_bytes: u64,
    /// The log has reached 80 % of what this node may keep.
    pub log_alarm: bool,
    /// What it offers to clients, `name:port`; only where they were asked for.
    pub services: Vec<String>,
    /// `None`: it serves clients.
    pub draining: Option<Draining>,
    /// Why there is no connection with it, where one of the two refuses the other.
    pub refused: Option<String>,
    /// Only where they were asked, and of a data node that said.
    pub scrubbed: Option<Scrubbed>,
    /// Of a witness that keeps bodies; only where it was asked.
    pub journal: Option<JournalState>,
    /// Of the node that answers: bodies that nobody else has taken, and why not.
    pub single_copies: Option<(u64, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    Leader,
    Follower,
    Candidate,
    /// Not a voter yet: it catches up.
    Learner,
    /// It did not answer.
    Unreachable,
}

impl NodeState {
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Leader => "leader",
            NodeState::Follower => "follower",
            NodeState::Candidate => "candidate",
            NodeState::Learner => "learner",
            NodeState::Unreachable => "unreachable",
        }
    }
}

/// What a node says of itself when a peer asks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct NodeReport {
    pub version: String,
    /// 0 follower, 1 leader, 2 candidate, 3 learner.
    pub state: u8,
    pub term: u64,
    pub last_log_term: u64,
    /// Index of the last log entry, plus one; so are the next two.
    pub last_log_next: u64,
    pub applied_next: u64,
    /// The state is durable up to here without the log.
    pub durable_next: u64,
    pub bodies_missing: u64,
    pub log_bytes: u64,
    pub log_alarm: bool,
}

impl NodeReport {
    const LEADER: u8 = 1;

    pub fn leads(&self) -> bool {
        self.state == Self::LEADER
    }
}

/// Since when the cluster is as protected as it is, as far as this node has seen.
#[derive(Default)]
pub struct Standing(Mutex<Option<(Protection, Timestamp)>>);

impl Standing {
    /// Notes what was seen at `now`; answers since when it is so.
    pub fn note(&self, protection: Protection, because: Option<&str>, now: Timestamp) -> Timestamp {
        let mut noted = self.0.lock().expect("no holder of the standing panics");
        match *noted {
            Some((before, since)) if before == protection => since,
            _ => {
                tracing::info!(
                    "the cluster is {}: {}",
                    protection.as_str(),
                    because.unwrap_or("any one node may fail")
                );
                *noted = Some((protection, now));
                now
            }
        }
    }
}

/// What a node offers to clients, as the rooms above know it.
pub type Offers = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// Services of one node, and octets of each, that are told; what is beyond is left out.
const SERVICES_MAX: usize = 32;
const SERVICE_BYTES_MAX: usize = 128;

/// How long one member may take to say how it is.
pub(super) const ASK_MAX: Duration = Duration::from_millis(500);

impl Local {
    pub async fn status(&self) -> ClusterStatus {
        let roster = self.roster.load_full();
        let asked = roster.iter().map(|entry| self.report_of(NodeId(entry.id)));
        let reports = futures_util::future::join_all(asked).await;
        let (leader, term) = self.look(|metrics| (metrics.current_leader.map(NodeId), metrics.current_term));
        let led = roster.iter().zip(&reports).find(|(entry, _)| Some(NodeId(entry.id)) == leader);
        let current = self.has_applied_with(led.and_then(|(_, report)| report.as_ref())).await;
        let replicas =
            self.data.as_ref().map(|data| data.feed.replicas().borrow().clone()).unwrap_or_default();
        let end = reports.iter().flatten().map(|report| report.last_log_next).max().unwrap_or(0);
        let nodes: Vec<NodeStatus> = roster
            .iter()
            .zip(reports)
            .map(|(entry, report)| {
                let in_sync = entry.member.role == Role::Witness
                    || replicas.iter().any(|replica| replica.node.0 == entry.id && replica.in_sync);
                let draining = self.is_drained(NodeId(entry.id)).then(Draining::unasked);
                let refused = self.transport.peer_state(NodeId(entry.id)).refused_because;
                let own = self.data.as_ref().filter(|_| entry.id == self.id.0);
                let single_copies = own.and_then(|data| data.bodies.single_copies());
                NodeStatus { draining, refused, single_copies, ..node_status(entry, report, end, in_sync) }
            })
            .collect();
        let settled = self.look(|metrics| {
            let committed = metrics.committed_membership_config.membership();
            committed.get_joint_config().len() == 1 && committed == metrics.membership_config.membership()
        });
        let (protection, because) = protection(&roster, &nodes, &Standpoint { leader, settled, current });
        ClusterStatus {
            cluster_id: self.cluster.to_string(),
            cluster_version: self.cluster_version().await,
            node: self.id,
            leader: leader.filter(|_| protection != Protection::Unavailable),
            term,
            protection,
            since: self.standing.note(protection, because.as_deref(), self.clock.now()),
            because,
            nodes,
        }
    }

    /// With what each node offers, and has in hand.
    pub async fn status_with_services(&self) -> ClusterStatus {
        let roster = self.roster.load_full();
        let asked = roster.iter().map(|entry| self.services_of(NodeId(entry.id)));
        let services = futures_util::future::join_all(asked);
        let (mut status, services, works, scrubbed, journals) = tokio::join!(
            self.status(),
            services,
            self.work_of_all(),
            self.scrubbed_of_all(),
            self.journals()
        );
        for (id, scrubbed) in scrubbed {
            let node = status.nodes.iter_mut().find(|node| node.id == id);
            node.into_iter().for_each(|node| node.scrubbed.clone_from(&scrubbed));
        }
        for (id, journal) in journals {
            let node = status.nodes.iter_mut().find(|node| node.id == id);
            node.into_iter().for_each(|node| node.journal = journal);
        }
        for (entry, services) in roster.iter().zip(services) {
            let node = status.nodes.iter_mut().find(|node| node.id.0 == entry.id);
            node.into_iter().for_each(|node| node.services.clone_from(&services));
        }
        let voters: Vec<u64> = roster.iter().filter(|entry| entry.voter).map(|entry| entry.id).collect();
        let answers =
            |node: &&NodeStatus| voters.contains(&node.id.0) && node.state != NodeState::Unreachable;
        let answering = status.nodes.iter().filter(answers).count();
        let has_rows = self.data.is_some();
        drain::judge(&mut status.nodes, &Sight { works, voters: voters.len(), answering, has_rows });
        status
    }

    /// Of each witness; `None` of one that keeps none or does not answer.
    async fn journals(&self) -> Vec<(NodeId, Option<JournalState>)> {
        let asked = self.witnesses().into_iter().map(async |witness| {
            let state = match (&self.data, &self.journal) {
                (Some(data), _) => data.bodies.journal_state(witness, None).await.ok().flatten(),
                (None, Some(own)) if witness == self.id => own.answer(JournalQuestion::default()).await.ok(),
                _ => None,
            };
            (witness, state)
        });
        futures_util::future::join_all(asked).await
    }

    /// Nothing of one that does not answer.
    async fn services_of(&self, node: NodeId) -> Vec<String> {
        if node == self.id {
            return self.services();
        }
        let answer = self.transport.call(node, Lane::Control, kinds::SERVICES, Bytes::new(), ASK_MAX).await;
        bounded(answer.ok().and_then(|answer| wire::decode(&answer).ok()).unwrap_or_default())
    }

    pub fn services(&self) -> Vec<String> {
        bounded(self.offers.get().map(|offers| offers()).unwrap_or_default())
    }

    /// Whether this node's rows say what the leader's said when it was asked. A node that was away reads in its own
    /// that it is in sync: that it is not was committed without it.
    async fn has_applied_with(&self, leader: Option<&NodeReport>) -> bool {
        let Some(last) = leader.and_then(|report| report.applied_next.checked_sub(1)) else { return false };
        self.data.is_none() || self.applied(LogIndex(last), Instant::now() + ASK_MAX).await.is_ok()
    }

    /// `None`: it did not answer in time.
    pub async fn report_of(&self, node: NodeId) -> Option<NodeReport> {
        if node == self.id {
            return Some(self.report());
        }
        let answer = self.transport.call(node, Lane::Control, kinds::STATUS, Bytes::new(), ASK_MAX).await;
        wire::decode(&answer.ok()?).ok()
    }

    pub fn report(&self) -> NodeReport {
        let (state, term) = self.look(|metrics| (metrics.state, metrics.current_term));
        let log = self.log.state();
        let bytes = self.log.bytes_on_disk();
        NodeReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: match state {
                ServerState::Leader => NodeReport::LEADER,
                ServerState::Candidate => 2,
                ServerState::Learner => 3,
                _ => 0,
            },
            term,
            last_log_term: log.last.map_or(0, |last| last.term),
            last_log_next: log.last.map_or(0, |last| last.index + 1),
            applied_next: *self.watched.applied_next.borrow(),
            durable_next: self.watched.durable_next.load(Ordering::Acquire),
            bodies_missing: self.data.as_ref().map_or(0, |data| data.bodies.counts().missing),
            log_bytes: bytes,
            log_alarm: log_alarm(self.config.role, bytes, self.config.log_bytes_max()),
        }
    }

    /// As the rows say it; 0 of a cluster that has yet to say it, and on a witness, which has no rows.
    pub(super) async fn cluster_version(&self) -> u32 {
        let Some(tables) = self.data.as_ref().map(|data| data.tables.clone()) else { return 0 };
        let read = super::blocking::blocking(move || reading::cluster_version(&tables)).await;
        read.ok().and_then(Result::ok).unwrap_or(0)
    }
}

fn bounded(mut services: Vec<String>) -> Vec<String> {
    services.retain(|service| service.len() <= SERVICE_BYTES_MAX);
    services.truncate(SERVICES_MAX);
    services
}

/// Whether a log of which `bytes_max` are kept has grown so far that somebody should know.
pub fn log_alarm(role: Role, bytes: u64, bytes_max: u64) -> bool {
    match role {
        // It grows while a data node is away, and at its bound that one can no longer be rescued.
        Role::Witness => bytes >= bytes_max - bytes_max / 5,
        // To be near the bound is usual; to be far beyond it means that nothing goes.
        Role::Data => bytes >= bytes_max.saturating_mul(2) - bytes_max.saturating_mul(2) / 5,
    }
}

fn node_status(entry: &RosterEntry, report: Option<NodeReport>, end: u64, in_sync: bool) -> NodeStatus {
    let answered = report.is_some();
    let report = report.unwrap_or_default();
    let has_next = match entry.member.role {
        Role::Data => report.applied_next,
        Role::Witness => report.last_log_next,
    };
    NodeStatus {
        id: NodeId(entry.id),
        name: entry.member.name.clone(),
        role: entry.member.role,
        address: entry.member.control.clone(),
        state: match (answered, report.state) {
            (false, _) => NodeState::Unreachable,
            (true, 1) => NodeState::Leader,
            (true, 2) => NodeState::Candidate,
            (true, 3) => NodeState::Learner,
            (true, _) => NodeState::Follower,
        },
        version: report.version,
        last_log: report.last_log_next.saturating_sub(1),
        applied: report.applied_next.saturating_sub(1),
        lag_entries: end.saturating_sub(has_next),
        bodies_missing: report.bodies_missing,
        in_sync,
        log_bytes: report.log_bytes,
        log_alarm: report.log_alarm,
        services: Vec::new(),
        draining: None,
        refused: None,
        scrubbed: None,
        journal: None,
        single_copies: None,
    }
}

/// What the judgement rests on, beside the nodes' own words.
struct Standpoint {
    leader: Option<NodeId>,
    /// No change of the membership is under way: while one is, a majority of the old voters is needed as well.
    settled: bool,
    /// The rows that this node judges by are as the leader's.
    current: bool,
}

/// Protected: any one node may go. Unavailable: the voters that answer are no majority, or none of them leads.
/// With the reason, where it is not protected.
fn protection(
    roster: &[RosterEntry],
    nodes: &[NodeStatus],
    standpoint: &Standpoint,
) -> (Protection, Option<String>) {
    let answers = |id: u64| nodes.iter().any(|node| node.id.0 == id && node.state != NodeState::Unreachable);
    let voters = roster.iter().filter(|entry| entry.voter).count();
    let answering = roster.iter().filter(|entry| entry.voter && answers(entry.id)).count();
    if answering * 2 <= voters {
        return (
            Protection::Unavailable,
            Some(format!("{answering} of {voters} voters answer: no majority")),
        );
    }
    if !standpoint.leader.is_some_and(|leader| answers(leader.0)) {
        return (Protection::Unavailable, Some("no node leads".to_owned()));
    }
    match weakness(roster, nodes, standpoint, voters) {
        Some(why) => (Protection::Degraded, Some(why)),
        None => (Protection::Protected, None),
    }
}

/// The first reason why one more failure could cost service or copies.
fn weakness(
    roster: &[RosterEntry],
    nodes: &[NodeStatus],
    standpoint: &Standpoint,
    voters: usize,
) -> Option<String> {
    if !standpoint.current {
        return Some(
            "this node has yet to apply what was committed: ask again, or ask another node".to_owned(),
        );
    }
    for node in nodes {
        let votes = roster.iter().any(|entry| entry.id == node.id.0 && entry.voter);
        let name = &node.name;
        if node.state == NodeState::Unreachable {
            return Some(match &node.refused {
                Some(why) => format!("no connection with {name}: {why}"),
                None => format!("{name} does not answer"),
            });
        }
        if !votes || node.state == NodeState::Learner {
            return Some(format!("{name} does not vote yet"));
        }
        if !node.in_sync {
            return Some(format!("{name} is behind on message bodies"));
        }
        if node.bodies_missing > 0 {
            return Some(format!("{name} lacks {} message bodies", node.bodies_missing));
        }
    }
    if nodes.iter().filter(|node| node.role == Role::Data).count() < 2 {
        return Some("there is one data node only".to_owned());
    }
    let drained = |node: &&NodeStatus| node.draining.is_some();
    let serving = nodes.iter().filter(|node| node.role == Role::Data && node.draining.is_none()).count();
    if let (Some(node), 0..2) = (nodes.iter().find(drained), serving) {
        return Some(format!("{} is drained: if another data node fails, nobody serves", node.name));
    }
    if voters < 3 {
        return Some("there is no third voter: add a witness".to_owned());
    }
    (!standpoint.settled).then(|| "a change of the membership is under way".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::types::Member;

    fn entry(id: u64, role: Role) -> RosterEntry {
        RosterEntry { id, member: Member { role, ..Member::default() }, voter: true }
    }

    fn pair_and_witness() -> (Vec<RosterEntry>, Vec<NodeStatus>) {
        let roster = vec![entry(1, Role::Data), entry(2, Role::Data), entry(3, Role::Witness)];
        let nodes = roster
            .iter()
            .map(|entry| node_status(entry, Some(NodeReport { state: 0, ..NodeReport::default() }), 0, true))
            .collect();
        (roster, nodes)
    }

    fn judged(roster: &[RosterEntry], nodes: &[NodeStatus], leader: Option<u64>) -> Protection {
        let standpoint = Standpoint { leader: leader.map(NodeId), settled: true, current: true };
        let (protection, because) = protection(roster, nodes, &standpoint);
        assert_eq!(because.is_none(), protection == Protection::Protected);
        protection
    }

    #[test]
    fn protected_only_while_any_one_node_may_go() {
        let (roster, nodes) = pair_and_witness();
        assert_eq!(judged(&roster, &nodes, Some(1)), Protection::Protected);
        for lost in 0..3 {
            let mut nodes = nodes.clone();
            nodes[lost].state = NodeState::Unreachable;
            let leader = Some(if lost == 0 { 2 } else { 1 });
            assert_eq!(judged(&roster, &nodes, leader), Protection::Degraded, "{lost}");
            nodes[(lost + 1) % 3].state = NodeState::Unreachable;
            assert_eq!(judged(&roster, &nodes, leader), Protection::Unavailable);
        }
        assert_eq!(judged(&roster, &nodes, None), Protection::Unavailable);
        assert_eq!(judged(&roster[..2], &nodes[..2], Some(1)), Protection::Degraded, "no witness");
        assert_eq!(judged(&roster[..1], &nodes[..1], Some(1)), Protection::Degraded, "alone");
        type Weaken = fn(&mut NodeStatus);
        let weaken: [(Weaken, &str); 4] = [
            (|node| node.in_sync = false, "behind"),
            (|node| node.bodies_missing = 2, "lacks 2"),
            (|node| node.state = NodeState::Learner, "not vote"),
            (|node| node.draining = Some(Draining::unasked()), "is drained"),
        ];
        for (weaken, why) in weaken {
            let mut nodes = nodes.clone();
            weaken(&mut nodes[1]);
            let standpoint = Standpoint { leader: Some(NodeId(1)), settled: true, current: true };
            let (protection, because) = protection(&roster, &nodes, &standpoint);
            assert_eq!(protection, Protection::Degraded);
            assert!(because.is_some_and(|because| because.contains(why)), "{why}");
        }
    }

    #[test]
    fn what_a_node_says_that_it_offers_is_bounded() {
        let service = |octets: usize| "x".repeat(octets);
        let all = [vec![service(SERVICE_BYTES_MAX + 1)], vec![service(SERVICE_BYTES_MAX); SERVICES_MAX + 1]];
        assert_eq!(bounded(all.concat()), vec![service(SERVICE_BYTES_MAX); SERVICES_MAX]);
    }

    #[test]
    fn not_protected_while_the_old_voters_are_needed_as_well() {
        let (mut roster, nodes) = pair_and_witness();
        let standpoint = Standpoint { leader: Some(NodeId(1)), settled: false, current: true };
        let (standing, because) = protection(&roster, &nodes, &standpoint);
        assert_eq!(standing, Protection::Degraded);
        assert!(because.is_some_and(|because| because.contains("membership")));
        roster[1].voter = false;
        assert_eq!(judged(&roster, &nodes, Some(1)), Protection::Degraded, "a learner is no voter");
    }

    #[test]
    fn the_alarm_comes_at_four_fifths_of_what_may_be_kept() {
        let full = 8 << 30;
        assert!(!log_alarm(Role::Witness, full / 10 * 8 - 1, full / 10 * 10));
        assert!(log_alarm(Role::Witness, full / 10 * 8, full / 10 * 10));
        assert!(!log_alarm(Role::Data, 1_599, 1_000) && log_alarm(Role::Data, 1_600, 1_000));
        assert!(!log_alarm(Role::Data, u64::MAX / 2, u64::MAX));
    }

    #[test]
    fn not_protected_by_rows_that_are_behind() {
        let (roster, nodes) = pair_and_witness();
        let standpoint = Standpoint { leader: Some(NodeId(1)), settled: true, current: false };
        let (standing, because) = protection(&roster, &nodes, &standpoint);
        assert_eq!(standing, Protection::Degraded);
        assert!(because.is_some_and(|because| because.contains("yet to apply")));
    }

    #[test]
    fn a_standing_keeps_its_beginning() {
        let standing = Standing::default();
        assert_eq!(standing.note(Protection::Protected, None, Timestamp(1)), Timestamp(1));
        assert_eq!(standing.note(Protection::Protected, None, Timestamp(5)), Timestamp(1));
        assert_eq!(standing.note(Protection::Degraded, Some("x"), Timestamp(7)), Timestamp(7));
    }
}
