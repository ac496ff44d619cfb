//! What is wrong now, by what a node sees. Pure.
//!
//! What is about one data node's own box (its disk, its certificate) that node alone judges; the rest is the leader's, and so are witnesses. An alarm
//! that is raised is judged by an eased bound, so that what hovers at the bound does not come and go.

use std::collections::{BTreeMap, BTreeSet};

use crate::admin::metrics::QueueFigures;
use crate::admin::status::rfc3339;
use crate::certificate::read::Validity;
use crate::config::Role;
use crate::mail::ids::{NodeId, Timestamp};
use crate::state::alarms::{AlarmId, AlarmKind};
use crate::state::settings::Settings;
use crate::store::files::Space;

/// Clocks may differ so much; eased, half of it.
pub const CLOCK_SKEW_MS_MAX: u64 = 1_000;
/// A disk is nearly full no longer when so many per cent are free beyond the bound.
const DISK_EASED_PERCENT: u64 = 2;
/// Of a full queue: less than so many per cent of the bound.
const QUEUE_EASED_PERCENT: u64 = 80;
const DAY_MS: u64 = 86_400_000;

/// From when on what is seen is wrong.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub disk_used_percent: u64,
    pub sync_ms: u64,
    pub certificate_ms: u64,
    pub queue_mails: u64,
    pub queue_age_ms: u64,
    /// `None`: backups are nobody's affair here.
    pub backup_age_ms: Option<u64>,
}

impl Terms {
    pub fn of(settings: Settings<'_>) -> Self {
        Self {
            disk_used_percent: settings.alarm_disk_used_percent(),
            sync_ms: settings.alarm_sync_ms(),
            certificate_ms: settings.alarm_certificate_days() * DAY_MS,
            queue_mails: settings.alarm_queue_mails(),
            queue_age_ms: settings.alarm_queue_age_seconds() * 1_000,
            backup_age_ms: Some(settings.alarm_backup_days())
                .filter(|days| *days > 0)
                .map(|days| days * DAY_MS),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Seen {
    pub now: Timestamp,
    pub own: NodeId,
    pub own_name: String,
    /// `None`: it does not say.
    pub disk: Option<Space>,
    /// What a sync took of late, in the mean; `None`: there was none.
    pub sync_ms: Option<u64>,
    /// That of the mail services.
    pub certificate: Option<Validity>,
    /// What is wrong on its disk, and could not be mended.
    pub damaged: Option<String>,
    /// `None`: another node leads, and looks after the rest.
    pub whole: Option<Whole>,
}

/// What the leader sees.
#[derive(Debug, Clone, Default)]
pub struct Whole {
    pub nodes: Vec<NodeSeen>,
    /// `None`: the rows cannot be read now.
    pub queue: Option<QueueFigures>,
    /// The latest moment that a backup holds; `None`: none is known.
    pub backup_of: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct NodeSeen {
    pub id: NodeId,
    pub name: String,
    pub role: Role,
    pub answers: bool,
    pub in_sync: bool,
    pub bodies_missing: u64,
    /// By how much its clock certainly differs from ours; `None`: it did not say.
    pub clock_off_ms: Option<u64>,
    /// Of a witness, as [`Seen::disk`] and [`Seen::sync_ms`].
    pub disk: Option<Space>,
    pub sync_ms: Option<u64>,
}

impl Seen {
    /// Whether this node is to raise and to clear it.
    pub fn is_mine(&self, alarm: AlarmId) -> bool {
        let Some(whole) = &self.whole else {
            return is_of_own_box(alarm.kind) && alarm.about == Some(self.own);
        };
        // Of a witness, and of a node that is removed, nobody else would.
        let looks_after_itself =
            |node: NodeId| whole.nodes.iter().any(|it| it.id == node && it.role == Role::Data);
        match alarm.about {
            Some(node) if is_of_own_box(alarm.kind) => node == self.own || !looks_after_itself(node),
            _ => true,
        }
    }
}

fn is_of_own_box(kind: AlarmKind) -> bool {
    match kind {
        AlarmKind::DiskNearlyFull | AlarmKind::SyncSlow | AlarmKind::CertificateEnds | AlarmKind::Damaged => {
            true
        }
        AlarmKind::Degraded
        | AlarmKind::WitnessAway
        | AlarmKind::ClockSkew
        | AlarmKind::QueueLarge
        | AlarmKind::QueueOld
        | AlarmKind::BackupOld => false,
    }
}

/// What is wrong, each with a note for people. `raised`: what is an alarm already.
pub fn judge(seen: &Seen, terms: &Terms, raised: &BTreeSet<AlarmId>) -> BTreeMap<AlarmId, String> {
    let mut wrong = BTreeMap::new();
    let mut note = |kind, about, found: Option<String>| {
        if let Some(found) = found {
            wrong.insert(AlarmId { kind, about }, found);
        }
    };
    let is_raised = |kind, about| raised.contains(&AlarmId { kind, about });
    let of_disk = |about, disk: &Disk<'_>| {
        let is_raised = |kind| is_raised(kind, about);
        [
            (AlarmKind::DiskNearlyFull, disk.full(terms, is_raised(AlarmKind::DiskNearlyFull))),
            (AlarmKind::SyncSlow, disk.slow(terms, is_raised(AlarmKind::SyncSlow))),
        ]
    };
    let own = Some(seen.own);
    let disk = Disk {
        name: &seen.own_name,
        space: seen.disk,
        sync_ms: seen.sync_ms,
        full_costs: "mail is refused for now",
        slow_costs: "every mail waits for it",
    };
    of_disk(own, &disk).into_iter().for_each(|(kind, found)| note(kind, own, found));
    note(AlarmKind::CertificateEnds, own, certificate(seen, terms));
    note(AlarmKind::Damaged, own, seen.damaged.clone());
    let Some(whole) = &seen.whole else { return wrong };
    for node in &whole.nodes {
        let about = Some(node.id);
        match node.role {
            Role::Data => note(AlarmKind::Degraded, about, degraded(node)),
            Role::Witness => {
                note(AlarmKind::WitnessAway, about, away(node));
                let disk = Disk {
                    name: &node.name,
                    space: node.disk,
                    sync_ms: node.sync_ms,
                    full_costs: "it votes no longer",
                    slow_costs: "while a data node is away every mail waits for it",
                };
                of_disk(about, &disk).into_iter().for_each(|(kind, found)| note(kind, about, found));
            }
        }
        note(AlarmKind::ClockSkew, about, skew(node, &seen.own_name, is_raised(AlarmKind::ClockSkew, about)));
    }
    let large = queue_large(whole, terms, is_raised(AlarmKind::QueueLarge, None));
    note(AlarmKind::QueueLarge, None, large);
    note(AlarmKind::QueueOld, None, queue_old(whole, terms, seen.now));
    note(AlarmKind::BackupOld, None, backup_old(whole, terms, seen.now));
    wrong
}

/// A node's disk, and what it costs when it is full or slow.
struct Disk<'a> {
    name: &'a str,
    space: Option<Space>,
    sync_ms: Option<u64>,
    full_costs: &'a str,
    slow_costs: &'a str,
}

impl Disk<'_> {
    /// One that does not answer is as it was.
    fn full(&self, terms: &Terms, raised: bool) -> Option<String> {
        let Self { name, full_costs, .. } = self;
        let Some(space) = self.space.filter(|space| space.total > 0) else {
            return raised.then(|| format!("the disk of {name} does not say how full it is"));
        };
        let used = 100 - (u128::from(space.free) * 100 / u128::from(space.total)).min(100) as u64;
        let bound = terms.disk_used_percent - if raised { DISK_EASED_PERCENT } else { 0 };
        (used >= bound).then(|| {
            let mib = space.free / (1024 * 1024);
            format!("the disk of {name} is {used} % full, {mib} MiB are left: make room, or {full_costs}")
        })
    }

    fn slow(&self, terms: &Terms, raised: bool) -> Option<String> {
        let Self { name, slow_costs, .. } = self;
        let bound = if raised { terms.sync_ms / 2 } else { terms.sync_ms };
        let took = self.sync_ms.filter(|took| *took >= bound)?;
        Some(format!(
            "the disk of {name} takes {took} ms for a sync, in the mean of the last minute: {slow_costs}"
        ))
    }
}

fn certificate(seen: &Seen, terms: &Terms) -> Option<String> {
    let validity = seen.certificate?;
    if !validity.ends_within(terms.certificate_ms, seen.now) {
        return None;
    }
    let (name, at) = (&seen.own_name, rfc3339(validity.ends));
    let verb = if validity.ends <= seen.now { "has ended" } else { "ends" };
    Some(format!(
        "the certificate of the mail services on {name} {verb} at {at}: see 'pollux certificate show'"
    ))
}

fn degraded(node: &NodeSeen) -> Option<String> {
    let name = &node.name;
    match node {
        NodeSeen { answers: false, .. } => {
            Some(format!("{name} does not answer: mail is acknowledged without its copy"))
        }
        NodeSeen { in_sync: false, .. } => {
            Some(format!("{name} is behind: mail is acknowledged without its copy until it has caught up"))
        }
        NodeSeen { bodies_missing: 1.., .. } => {
            Some(format!("{name} lacks message bodies, of which there is one copy less"))
        }
        _ => None,
    }
}

fn away(node: &NodeSeen) -> Option<String> {
    let name = &node.name;
    (!node.answers)
        .then(|| format!("the witness {name} does not answer: if a data node fails, the other cannot go on"))
}

fn skew(node: &NodeSeen, own_name: &str, raised: bool) -> Option<String> {
    let bound = if raised { CLOCK_SKEW_MS_MAX / 2 } else { CLOCK_SKEW_MS_MAX };
    let off = node.clock_off_ms.filter(|off| *off > bound)?;
    let name = &node.name;
    Some(format!("the clock of {name} is {off} ms off that of {own_name}: keep both by NTP"))
}

fn queue_large(whole: &Whole, terms: &Terms, raised: bool) -> Option<String> {
    let mails = whole.queue?.mails;
    let bound = if raised { terms.queue_mails * QUEUE_EASED_PERCENT / 100 } else { terms.queue_mails };
    (mails >= bound.max(1))
        .then(|| format!("{mails} mails wait in the outbound queue: see 'pollux queue list'"))
}

fn queue_old(whole: &Whole, terms: &Terms, now: Timestamp) -> Option<String> {
    let age = now.0.saturating_sub(whole.queue?.oldest?.0);
    let hours = age / 3_600_000;
    (age >= terms.queue_age_ms).then(|| {
        format!("the oldest mail in the outbound queue waits for {hours} h: see 'pollux queue list'")
    })
}

fn backup_old(whole: &Whole, terms: &Terms, now: Timestamp) -> Option<String> {
    let age_max = terms.backup_age_ms?;
    let Some(of) = whole.backup_of else {
        return Some("no backup was made yet: see 'pollux backup create'".to_owned());
    };
    (now.0.saturating_sub(of.0) >= age_max)
        .then(|| format!("the last backup is of {}: see 'pollux backup create'", rfc3339(of)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const TERMS: Terms = Terms {
        disk_used_percent: 90,
        sync_ms: 500,
        certificate_ms: 14 * DAY_MS,
        queue_mails: 100,
        queue_age_ms: 7_200_000,
        backup_age_ms: Some(DAY_MS),
    };

    fn node(id: u64, role: Role) -> NodeSeen {
        NodeSeen {
            id: NodeId(id),
            name: format!("node{id}"),
            role,
            answers: true,
            in_sync: true,
            bodies_missing: 0,
            clock_off_ms: Some(3),
            disk: Some(Space { total: 1_000, free: 500 }).filter(|_| role == Role::Witness),
            sync_ms: None,
        }
    }

    const HOUR_MS: u64 = 3_600_000;

    /// So many days, until then.
    fn lasting(days: u64, ends: Timestamp) -> Validity {
        Validity { begins: Timestamp(ends.0 - days * DAY_MS), ends }
    }

    fn seen() -> Seen {
        let nodes = vec![node(1, Role::Data), node(2, Role::Data), node(3, Role::Witness)];
        let queue = Some(QueueFigures { mails: 3, leases: 0, oldest: Some(NOW) });
        Seen {
            now: NOW,
            own: NodeId(1),
            own_name: "node1".into(),
            disk: Some(Space { total: 1_000, free: 500 }),
            sync_ms: Some(3),
            certificate: Some(lasting(90, Timestamp(NOW.0 + 90 * DAY_MS))),
            damaged: None,
            whole: Some(Whole { nodes, queue, backup_of: Some(NOW) }),
        }
    }

    /// What is wrong when nothing is raised, and when everything is.
    fn kinds(seen: &Seen) -> [Vec<(AlarmKind, u64)>; 2] {
        let of = |raised: &BTreeSet<AlarmId>| {
            let wrong = judge(seen, &TERMS, raised);
            wrong.keys().map(|id| (id.kind, id.about.map_or(0, |node| node.0))).collect()
        };
        let ids = AlarmKind::ALL.into_iter().flat_map(|kind| {
            [0, 1, 2, 3].map(|id| AlarmId { kind, about: Some(NodeId(id)).filter(|_| id > 0) })
        });
        [of(&BTreeSet::new()), of(&ids.collect())]
    }

    fn both(kind: AlarmKind, about: u64) -> [Vec<(AlarmKind, u64)>; 2] {
        [vec![(kind, about)], vec![(kind, about)]]
    }

    fn eased(kind: AlarmKind, about: u64) -> [Vec<(AlarmKind, u64)>; 2] {
        [vec![], vec![(kind, about)]]
    }

    const NOTHING: [Vec<(AlarmKind, u64)>; 2] = [vec![], vec![]];

    #[test]
    fn all_is_well() {
        assert_eq!(kinds(&seen()), NOTHING);
        let alone = Seen { whole: None, certificate: None, sync_ms: None, ..seen() };
        assert_eq!(kinds(&alone), NOTHING);
    }

    #[test]
    fn a_disk_at_its_bound() {
        let with = |free| kinds(&Seen { disk: Some(Space { total: 1_000, free }), ..seen() });
        assert_eq!(with(100), both(AlarmKind::DiskNearlyFull, 1));
        assert_eq!(with(110), eased(AlarmKind::DiskNearlyFull, 1), "89 %");
        assert_eq!(with(121), eased(AlarmKind::DiskNearlyFull, 1), "88 %");
        assert_eq!(with(130), NOTHING);
        assert_eq!(kinds(&Seen { disk: None, ..seen() }), eased(AlarmKind::DiskNearlyFull, 1), "as it was");
        assert_eq!(with(0), both(AlarmKind::DiskNearlyFull, 1));
    }

    #[test]
    fn damage_that_nobody_could_mend() {
        let damaged = Seen { damaged: Some("2 bodies".into()), ..seen() };
        assert_eq!(kinds(&damaged), both(AlarmKind::Damaged, 1));
        let follows = Seen { whole: None, ..damaged };
        assert_eq!(kinds(&follows), both(AlarmKind::Damaged, 1), "each node tells of its own disk");
    }

    #[test]
    fn a_slow_disk_and_a_certificate() {
        let slow = |ms| kinds(&Seen { sync_ms: Some(ms), ..seen() });
        assert_eq!(slow(500), both(AlarmKind::SyncSlow, 1));
        assert_eq!(slow(499), eased(AlarmKind::SyncSlow, 1));
        assert_eq!(slow(249), NOTHING);
        let ends = |days, ms| Seen { certificate: Some(lasting(days, Timestamp(ms))), ..seen() };
        assert_eq!(kinds(&ends(90, NOW.0 + 14 * DAY_MS)), both(AlarmKind::CertificateEnds, 1));
        assert_eq!(kinds(&ends(90, NOW.0 + 14 * DAY_MS + 1)), NOTHING);
        // That of six days, renewed two days before, is late when a day and a half is left.
        assert_eq!(kinds(&ends(6, NOW.0 + 36 * HOUR_MS)), both(AlarmKind::CertificateEnds, 1));
        assert_eq!(kinds(&ends(6, NOW.0 + 36 * HOUR_MS + 1)), NOTHING);
        let notes = judge(&ends(90, NOW.0 - 1), &TERMS, &BTreeSet::new());
        assert!(notes.values().next().unwrap().contains("has ended at 2023-11-14T22:13:19Z"), "{notes:?}");
    }

    #[test]
    fn nodes_that_are_away_behind_or_off() {
        let with = |at: usize, change: &dyn Fn(&mut NodeSeen)| {
            let mut seen = seen();
            change(&mut seen.whole.as_mut().unwrap().nodes[at]);
            kinds(&seen)
        };
        assert_eq!(with(1, &|node| node.answers = false), both(AlarmKind::Degraded, 2));
        assert_eq!(with(1, &|node| node.in_sync = false), both(AlarmKind::Degraded, 2));
        assert_eq!(with(1, &|node| node.bodies_missing = 1), both(AlarmKind::Degraded, 2));
        assert_eq!(with(2, &|node| node.answers = false), both(AlarmKind::WitnessAway, 3));
        assert_eq!(with(1, &|node| node.clock_off_ms = Some(1_001)), both(AlarmKind::ClockSkew, 2));
        assert_eq!(with(1, &|node| node.clock_off_ms = Some(1_000)), eased(AlarmKind::ClockSkew, 2));
        assert_eq!(with(1, &|node| node.clock_off_ms = Some(500)), NOTHING);
        assert_eq!(with(1, &|node| node.clock_off_ms = None), NOTHING);
    }

    #[test]
    fn a_witness_whose_disk_is_full_or_slow_is_the_leaders_affair() {
        let with = |change: &dyn Fn(&mut NodeSeen)| {
            let mut seen = seen();
            change(&mut seen.whole.as_mut().unwrap().nodes[2]);
            seen
        };
        let full = with(&|node| node.disk = Some(Space { total: 1_000, free: 100 }));
        assert_eq!(kinds(&full), both(AlarmKind::DiskNearlyFull, 3));
        let notes = judge(&full, &TERMS, &BTreeSet::new());
        assert!(notes.values().next().unwrap().starts_with("the disk of node3 is 90 % full"), "{notes:?}");
        assert_eq!(kinds(&with(&|node| node.disk = None)), eased(AlarmKind::DiskNearlyFull, 3), "as it was");
        assert_eq!(kinds(&with(&|node| node.sync_ms = Some(500))), both(AlarmKind::SyncSlow, 3));
        assert_eq!(kinds(&with(&|node| node.sync_ms = Some(249))), NOTHING);
        // What a data node says of its own disk is not judged twice.
        let mut other = seen();
        other.whole.as_mut().unwrap().nodes[1].disk = Some(Space { total: 1_000, free: 0 });
        assert_eq!(kinds(&other), NOTHING);
    }

    #[test]
    fn a_queue_that_grows_or_ages() {
        let with = |mails, age| {
            let queue = Some(QueueFigures { mails, leases: 0, oldest: Some(Timestamp(NOW.0 - age)) });
            kinds(&Seen { whole: Some(Whole { nodes: vec![], queue, backup_of: Some(NOW) }), ..seen() })
        };
        assert_eq!(with(100, 0), both(AlarmKind::QueueLarge, 0));
        assert_eq!(with(80, 0), eased(AlarmKind::QueueLarge, 0));
        assert_eq!(with(79, 7_199_999), NOTHING);
        assert_eq!(with(1, 7_200_000), both(AlarmKind::QueueOld, 0));
    }

    #[test]
    fn a_backup_that_is_old_or_was_never_made() {
        let with = |backup_of| {
            let mut seen = seen();
            seen.whole.as_mut().unwrap().backup_of = backup_of;
            seen
        };
        assert_eq!(kinds(&with(Some(Timestamp(NOW.0 - DAY_MS)))), both(AlarmKind::BackupOld, 0));
        assert_eq!(kinds(&with(Some(Timestamp(NOW.0 - DAY_MS + 1)))), NOTHING);
        assert_eq!(kinds(&with(None)), both(AlarmKind::BackupOld, 0));
        let unasked = Terms { backup_age_ms: None, ..TERMS };
        assert!(judge(&with(None), &unasked, &BTreeSet::new()).is_empty(), "nobody wants to hear of it");
    }

    #[test]
    fn each_alarm_is_one_nodes_affair() {
        let id = |kind, about: u64| AlarmId { kind, about: Some(NodeId(about)).filter(|node| node.0 > 0) };
        let follower = Seen { own: NodeId(2), whole: None, ..seen() };
        let leader = seen();
        for (alarm, of_follower, of_leader) in [
            (id(AlarmKind::DiskNearlyFull, 2), true, false),
            (id(AlarmKind::DiskNearlyFull, 1), false, true),
            (id(AlarmKind::CertificateEnds, 9), false, true),
            (id(AlarmKind::DiskNearlyFull, 3), false, true),
            (id(AlarmKind::Degraded, 2), false, true),
            (id(AlarmKind::WitnessAway, 3), false, true),
            (id(AlarmKind::ClockSkew, 9), false, true),
            (id(AlarmKind::QueueOld, 0), false, true),
        ] {
            assert_eq!(
                (follower.is_mine(alarm), leader.is_mine(alarm)),
                (of_follower, of_leader),
                "{alarm:?}"
            );
        }
    }
}
