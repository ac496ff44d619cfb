//! What the control socket asks of the cluster, bound to this node.

use std::net::Ipv4Addr;

use tokio::net::UnixStream;

use super::backup::Backups;
use super::{Rooms, SPOOL, SharedServices, Stop, address, draining, firewall, inquiry, naming, trace};
use crate::admin::check::{self, Finding, Level};
use crate::admin::control::backup::Job;
use crate::admin::control::firewall::NodeFirewall;
use crate::admin::control::request::Failure;
use crate::admin::control::server::{Operator, fault};
use crate::admin::control::tls_reports::Sent;
use crate::admin::control::trace::Traced;
use crate::admin::status::{
    Alarm as ShownAlarm, Drain, Journal, LastBackup, Node, Protection, Report, Scrub, SingleCopies, State,
    rfc3339,
};
use crate::admin::{security, upgrade, verify};
use crate::backup::location::{Access, Location};
use crate::backup::storage::Workplace;
use crate::cluster::bodies::Depth;
use crate::cluster::handle::ClusterHandle;
use crate::cluster::membership::ClusterError;
use crate::cluster::replica::Replica;
use crate::cluster::status::{ClusterStatus, NodeState, NodeStatus, Protection as ClusterProtection};
use crate::cluster::types::Role as ClusterRole;
use crate::config::Role;
use crate::firewall::Place;
use crate::mail::ids::NodeId;
use crate::maillog::Query;
use crate::policy::rehearsal::{Rehearsal, Told};
use crate::session::smtp::checked::Checks;
use crate::session::smtp::rehearsal;
use crate::state::alarms::{Alarm, alarms};
use crate::state::backups::{NoteBackup, last_backup};
use crate::state::directory::Directory;
use crate::state::lists::Rule;

/// The operator's wishes, bound to this node.
#[derive(Clone)]
pub struct Bound {
    cluster: ClusterHandle,
    rooms: Rooms,
    backups: Backups,
    stop: Stop,
}

impl Bound {
    pub fn new(cluster: ClusterHandle, rooms: Rooms, stop: Stop) -> Self {
        let (told, asked) = (rooms.services.clone(), rooms.clone());
        cluster.tell_offers(Box::new(move || told.listening()));
        let answer = move |question| inquiry::answer(&asked, &question);
        cluster.answer_inquiries(Box::new(answer));
        let in_hand = rooms.clone();
        cluster.tell_work(Box::new(move || draining::work(&in_hand)));
        Self { cluster, rooms, backups: Backups::default(), stop }
    }

    /// What a stranger would hear who sends through this server. `None`: the mail services are not up.
    async fn is_open_relay(&self) -> Option<bool> {
        let stranger = Rehearsal {
            // An address (RFC 5737) and domains (RFC 2606) that are nobody's, and a sender that need not be looked up.
            client: Ipv4Addr::new(192, 0, 2, 1).into(),
            helo: "stranger.example".to_owned(),
            sender: String::new(),
            recipients: vec!["anybody@elsewhere.invalid".to_owned()],
            text: None,
        };
        let told = rehearse(self.cluster.clone(), self.rooms.services.checks(), stranger).await.ok()?;
        Some(told.recipients.iter().any(|said| said.reply.starts_with('2')))
    }

    /// Of a witness, which knows no rules, nothing; so of a cluster that has none.
    async fn firewalls_with_rules(&self) -> Vec<NodeFirewall> {
        let directory = self.cluster.directory();
        let wanted = !directory.firewall.is_empty() && directory.settings().firewall_apply();
        match wanted && self.role() == Role::Data {
            true => self.firewalls().await,
            false => Vec::new(),
        }
    }
}

impl Operator for Bound {
    fn role(&self) -> Role {
        role(self.cluster.role())
    }

    async fn status(&self) -> Report {
        let (status, firewalls, addresses, raised, backup) = tokio::join!(
            self.cluster.status(),
            self.firewalls_with_rules(),
            address::of_all(&self.cluster, &self.rooms.addresses),
            self.cluster.read_queue(alarms),
            self.cluster.read_queue(last_backup)
        );
        let mut report = report(status);
        report.virtual_addresses = addresses;
        report.last_backup = backup.ok().flatten().map(|NoteBackup { of, by, id }| LastBackup {
            id,
            of: rfc3339(of),
            by: name_of(by, &report.nodes),
        });
        // A witness has no rows, and so does not know.
        report.alarms = raised.ok().map(|raised| shown_alarms(raised, &report.nodes));
        for firewall in firewalls {
            let node = report.nodes.iter_mut().find(|node| node.name == firewall.node);
            node.into_iter().for_each(|node| node.firewall_in_sync = firewall.state.in_sync());
        }
        report
    }

    async fn findings(&self) -> Vec<Finding> {
        let directory = match self.role() {
            Role::Data => Some(self.cluster.directory()),
            Role::Witness => None,
        };
        let status = self.status().await;
        let mut findings = findings(&status, directory.as_deref(), &self.rooms.services);
        findings.extend(address::findings(&status, self.rooms.listens_at));
        if let Some(directory) = &directory {
            let (last_backup, open_relay) =
                tokio::join!(self.cluster.read_queue(last_backup), self.is_open_relay());
            let now = self.cluster.clock().now();
            findings.extend(check::of_cluster(directory, now));
            findings.extend(last_backup.ok().map(|last| check::backup(last, directory.settings(), now)));
            findings.extend(open_relay.map(check::relay));
        }
        if let (Some(directory), Some(checks)) = (directory, self.rooms.services.checks()) {
            findings.push(naming::look_up(&checks.dns, directory.settings().hostname()).await);
        }
        if self.role() == Role::Data {
            findings.extend(of_upgrade(&self.upgrade().await));
        }
        findings
    }

    async fn join_token(&self, role: Role, ttl_ms: u64) -> Result<String, Failure> {
        self.cluster.join_token(cluster_role(role), ttl_ms).await.map_err(failure)
    }

    async fn transfer(&self, to: NodeId) -> Result<(), Failure> {
        self.cluster.transfer(to).await.map_err(failure)
    }

    async fn drain(&self, node: NodeId) -> Result<(), Failure> {
        self.cluster.drain(node).await.map_err(failure)
    }

    async fn undrain(&self, node: NodeId) -> Result<(), Failure> {
        self.cluster.undrain(node).await.map_err(failure)
    }

    async fn verify(&self, bodies: bool) -> Result<verify::Report, Failure> {
        let depth = if bodies { Depth::Read } else { Depth::Present };
        self.cluster.verify(depth).await.map(verify::Report::from).map_err(failure)
    }

    async fn remove(&self, node: NodeId, lost: bool) -> Result<(), Failure> {
        self.cluster.remove(node, lost).await.map_err(failure)
    }

    async fn security(&self) -> security::Report {
        let directory = self.cluster.directory();
        let checks = self.rooms.services.checks();
        let naming =
            async { Some(naming::look_up(&checks.as_ref()?.dns, directory.settings().hostname()).await) };
        let (status, naming, open_relay) = tokio::join!(self.status(), naming, self.is_open_relay());
        security::judge(&directory, &security::Facts { status: &status, open_relay, naming })
    }

    async fn upgrade(&self) -> upgrade::Report {
        upgrade::Report::new(self.cluster.upgrade().await, |node| role(node.role))
    }

    async fn finalize(&self) -> Result<u32, Failure> {
        self.cluster.finalize().await.map_err(failure)
    }

    async fn quarantine(&self) -> Result<(), Failure> {
        self.cluster.quarantine().await.map_err(failure)
    }

    async fn trace(&self, query: Query) -> Traced {
        trace::trace(&self.cluster, &self.rooms.log, query).await
    }

    async fn rehearse(&self, asked: Rehearsal) -> Result<Told, Failure> {
        rehearse(self.cluster.clone(), self.rooms.services.checks(), asked).await
    }

    async fn dns_check(&self, domain: String) -> Result<Vec<Finding>, Failure> {
        let checks = self.rooms.services.checks().ok_or_else(Failure::not_serving)?;
        Ok(naming::of_domain(&checks.dns, &self.cluster.directory(), &domain).await)
    }

    async fn firewalls(&self) -> Vec<NodeFirewall> {
        firewall::of_all(&self.cluster, &self.rooms.firewall).await
    }

    fn firewall_place(&self) -> Place {
        self.rooms.place.clone()
    }

    fn hits(&self, rule: &Rule) -> u64 {
        self.rooms.services.hits(rule)
    }

    async fn report_tls(&self) -> Option<Vec<Sent>> {
        report_tls(&self.rooms).await
    }

    fn is_serving(&self) -> bool {
        self.rooms.services.checks().is_some()
    }

    fn imap(&self, stream: UnixStream) {
        self.rooms.services.attend(stream);
    }

    fn back_up(&self, to: Location, access: Option<Box<Access>>) -> Result<u64, Failure> {
        let (spool, clock) = (self.rooms.dir.join(SPOOL), self.cluster.clock().clone());
        let workplace = Workplace { access: access.map(|access| *access), spool, clock };
        self.backups.begin(self.cluster.clone(), to, workplace)
    }

    fn backup(&self) -> (u64, Job) {
        self.backups.job()
    }

    fn shutdown(&self) {
        self.stop.send_replace(true);
    }
}

pub async fn report_tls(rooms: &Rooms) -> Option<Vec<Sent>> {
    let sent = rooms.reports.asker()?.send_now().await?;
    Some(sent.into_iter().map(|it| Sent { domain: it.domain, day: it.day, to: it.to }).collect())
}

/// What the checks of this node would make of a mail.
pub async fn rehearse<R: Replica>(
    replica: R,
    checks: Option<Checks>,
    asked: Rehearsal,
) -> Result<Told, Failure> {
    let checks = checks.ok_or_else(Failure::not_serving)?;
    rehearsal::rehearse(replica, checks, asked).await.map_err(Failure::refused)?.map_err(fault)
}

fn failure(error: ClusterError) -> Failure {
    match error {
        ClusterError::Refused(_) => Failure::refused(error.to_string()),
        ClusterError::NoQuorum => Failure::unavailable(error.to_string()),
    }
}

/// The cluster's word in the operator's form.
fn report(status: ClusterStatus) -> Report {
    let own = status.node;
    let name_of_own = status.nodes.iter().find(|node| node.id == own).map(|node| node.name.clone());
    Report {
        cluster_id: status.cluster_id,
        cluster_version: status.cluster_version,
        answered_by: name_of_own.unwrap_or_else(|| own.to_string()),
        leader: status.leader.map(|leader| leader.0),
        term: status.term,
        protection: match status.protection {
            ClusterProtection::Protected => Protection::Protected,
            ClusterProtection::Degraded => Protection::Degraded,
            ClusterProtection::Unavailable => Protection::Unavailable,
        },
        since: rfc3339(status.since),
        because: status.because,
        alarms: None,
        last_backup: None,
        virtual_addresses: Vec::new(),
        nodes: status.nodes.into_iter().map(shown).collect(),
    }
}

/// Also of one that was removed.
fn name_of(id: NodeId, nodes: &[Node]) -> String {
    let node = nodes.iter().find(|node| node.id == id.0);
    node.map_or_else(|| format!("node {id}"), |node| node.name.clone())
}

fn shown_alarms(raised: Vec<Alarm>, nodes: &[Node]) -> Vec<ShownAlarm> {
    let name = |id| name_of(id, nodes);
    let shown = |alarm: Alarm| ShownAlarm {
        kind: alarm.id.kind.word().to_owned(),
        node: alarm.id.about.map(name),
        since: rfc3339(alarm.since),
        raised_by: name(alarm.by),
        note: alarm.note,
        mailed: alarm.mailed,
    };
    raised.into_iter().map(shown).collect()
}

fn shown(node: NodeStatus) -> Node {
    Node {
        id: node.id.0,
        name: node.name,
        role: role(node.role),
        address: node.address,
        state: match node.state {
            NodeState::Leader => State::Leader,
            NodeState::Follower => State::Follower,
            NodeState::Candidate => State::Candidate,
            NodeState::Learner => State::Learner,
            NodeState::Unreachable => State::Down,
        },
        version: node.version,
        last_log: node.last_log,
        applied: node.applied,
        lag_entries: node.lag_entries,
        bodies_missing: node.bodies_missing,
        in_sync: node.in_sync,
        log_bytes: node.log_bytes,
        log_alarm: node.log_alarm,
        firewall_in_sync: None,
        services: node.services,
        scrub: node.scrubbed.map(|scrubbed| Scrub {
            began: scrubbed.began.map(rfc3339),
            done: scrubbed.done,
            found: scrubbed.found,
            mended: scrubbed.mended,
            trouble: scrubbed.trouble,
        }),
        journal: node.journal.map(|it| Journal { bytes: it.bytes, bytes_max: it.bytes_max }),
        single_copies: node.single_copies.map(|(messages, why)| SingleCopies { messages, why }),
        drain: node.draining.map(|draining| Drain {
            sessions: draining.work.map(|work| work.sessions),
            deliveries: draining.work.map(|work| work.deliveries),
            safe_to_switch_off: draining.waits_for.is_none(),
            waits_for: draining.waits_for,
        }),
        refused: node.refused,
    }
}

pub fn role(role: ClusterRole) -> Role {
    match role {
        ClusterRole::Data => Role::Data,
        ClusterRole::Witness => Role::Witness,
    }
}

fn cluster_role(role: Role) -> ClusterRole {
    match role {
        Role::Data => ClusterRole::Data,
        Role::Witness => ClusterRole::Witness,
    }
}

/// The node's look at itself.
pub fn findings(report: &Report, directory: Option<&Directory>, services: &SharedServices) -> Vec<Finding> {
    let mut findings = vec![of_cluster(report)];
    for node in report.nodes.iter().filter(|node| node.state == State::Down) {
        let text = match &node.refused {
            Some(why) => format!("no connection with {}: {why}", node.name),
            None => {
                format!("{} does not answer at {}; start it, or remove it for good", node.name, node.address)
            }
        };
        findings.push(Finding::new(Level::Warn, "nodes", text));
    }
    if let Some(directory) = directory {
        findings.extend(of_directory(directory));
    }
    let alarms = report.alarms.iter().flatten();
    findings.extend(alarms.map(|alarm| Finding::new(Level::Warn, "alarms", alarm.note.clone())));
    findings.extend(of_firewalls(report));
    let failing = services.failing();
    if failing.is_empty() && directory.is_some() {
        findings.push(Finding::new(Level::Ok, "ports", services.listening().join(", ")));
    }
    findings.extend(failing.into_iter().map(|text| Finding::new(Level::Fail, "ports", text)));
    findings
}

/// Nothing where none is under way.
fn of_upgrade(report: &upgrade::Report) -> Option<Finding> {
    let under_way = report.finalize_to.is_some() || report.waits_for.is_some();
    under_way.then(|| Finding::new(Level::Warn, "upgrade", report.advice()))
}

/// Nothing where there are no rules.
fn of_firewalls(report: &Report) -> Vec<Finding> {
    let with_rules: Vec<_> = report.nodes.iter().filter(|node| node.firewall_in_sync.is_some()).collect();
    let apart: Vec<_> = with_rules.iter().filter(|node| node.firewall_in_sync == Some(false)).collect();
    if !with_rules.is_empty() && apart.is_empty() {
        return vec![Finding::new(Level::Ok, "firewall", "the rules are in force on every node")];
    }
    let found = apart.iter().map(|node| {
        let text = format!("the rules are not in force on {}; see 'pollux firewall status'", node.name);
        Finding::new(Level::Fail, "firewall", text)
    });
    found.collect()
}

fn of_cluster(report: &Report) -> Finding {
    let since = &report.since;
    match report.protection {
        Protection::Protected => Finding::new(Level::Ok, "cluster", format!("protected since {since}")),
        Protection::Degraded => {
            let text =
                format!("degraded since {since}: the next failure may stop it; see 'pollux cluster status'");
            Finding::new(Level::Warn, "cluster", text)
        }
        Protection::Unavailable => {
            let text =
                format!("no majority since {since}: nothing can be changed; start the nodes that are down");
            Finding::new(Level::Fail, "cluster", text)
        }
    }
}

fn of_directory(directory: &Directory) -> Vec<Finding> {
    let settings = directory.settings();
    let mut findings = Vec::new();
    if directory.domains.is_empty() {
        let text = "there is no mail domain; add one with 'pollux domain add'";
        findings.push(Finding::new(Level::Warn, "domains", text));
    }
    if directory.users.is_empty() {
        findings.push(Finding::new(Level::Warn, "users", "there is no user; add one with 'pollux user add'"));
    }
    if settings.auth_plaintext_without_tls() {
        let text =
            "passwords may cross the net in the clear; 'pollux policy set auth.plaintext_without_tls no'";
        findings.push(Finding::new(Level::Warn, "logins", text));
    }
    findings
}
