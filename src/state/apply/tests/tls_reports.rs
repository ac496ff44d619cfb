//! Counts of TLS sessions with other domains, and their reports.

use std::collections::BTreeSet;

use super::properties::all;
use super::*;
use crate::mail::ids::QueueId;
use crate::state::apply::tls_reports::FORGOTTEN_PER_COMMAND;
use crate::state::queue::{NewQueued, NewRecipient, ParcelId, Submit, TlsWish, parcels, reading as queue};
use crate::state::stored::{TlsDayRow, TlsDaysRow, TlsFailureRow, TlsPolicyRow};
use crate::state::tls_reports::*;
use crate::state::{codec, keys};

fn policy(kind: TlsPolicyKind, line: &str) -> TlsPolicy {
    TlsPolicy { kind, domain: "x.test".to_owned(), lines: vec![line.to_owned()] }
}

fn failure(reason: &str) -> FailedSession {
    let result = TlsResult::CertificateExpired;
    let mx = Some("mx.x.test".to_owned());
    FailedSession { result, sending_ip: None, mx, receiving_ip: None, reason: reason.to_owned() }
}

fn sessions(policy: TlsPolicy, successful: u64, failures: Vec<(FailedSession, u64)>) -> PolicyTally {
    let failed = failures.iter().map(|(_, count)| count).sum();
    PolicyTally { policy, successful, failed, failures }
}

fn counted(node: u64, day: Day, domains: Vec<DomainTally>) -> Command {
    Command::TallyTls(Box::new(TlsTally { node: NodeId(node), day, domains }))
}

/// One session that went well, and one that failed, `ways` says how.
pub fn tally(day: Day, domain: &str, ways: u8) -> Command {
    let sts = policy(TlsPolicyKind::Sts, &format!("mx: {}", ways % 3));
    let policies = vec![sessions(sts, 1, vec![(failure(&ways.to_string()), 1)])];
    counted(1, day, vec![DomainTally { domain: domain.to_owned(), policies }])
}

/// What is over has no counts, and what has counts is counted.
pub fn check(rows: &MemoryRows) {
    let days = all::<TlsDayRow>(rows, keys::TLS_DAY);
    let total = reading::get::<TlsDaysRow>(rows, &keys::tls_days()).unwrap().unwrap_or_default();
    assert_eq!(total.domains as usize, days.len());
    let open: BTreeSet<Vec<u8>> =
        days.iter().filter(|(_, row)| !row.over).map(|(key, _)| key[1..].to_vec()).collect();
    let policies: BTreeSet<Vec<u8>> =
        all::<TlsPolicyRow>(rows, keys::TLS_POLICY).into_iter().map(|(key, _)| key[1..].to_vec()).collect();
    assert!(policies.iter().all(|key| open.contains(&key[..key.len() - 3])));
    let failures = all::<TlsFailureRow>(rows, keys::TLS_FAILURE);
    assert!(failures.iter().all(|(key, _)| policies.contains(&key[1..key.len() - 2])));
}

fn read(world: &World, day: Day, domain: &str) -> Option<(TlsDayRow, Vec<PolicyTally>)> {
    counts(&world.rows, day, domain).unwrap()
}

fn report(day: Day, changes: u64, extent: Extent) -> Command {
    let to = NewRecipient { address: "tls@x.test".into(), orcpt: None, notify: None };
    let queue = NewQueued {
        sender: "postmaster@example.test".into(),
        account: None,
        near: NodeId(1),
        envid: None,
        ret: None,
        smtputf8: false,
        parcels: parcels([("x.test".to_owned(), to)]),
    };
    let mails = vec![Submit { body: body(1, 10), to: vec![], queue: Some(queue) }];
    Command::ReportTls(Box::new(TlsReport { day, domain: "x.test".into(), changes, extent, mails }))
}

#[test]
fn what_two_nodes_count_is_added_up_and_reported_once() {
    let (mut world, _) = World::with_alice();
    let today = Day::of(world.at);
    let of = |node, successful, failed| {
        let sts = sessions(policy(TlsPolicyKind::Sts, "a"), successful, vec![(failure("late"), failed)]);
        let none = sessions(policy(TlsPolicyKind::None, "b"), 1, vec![(failure("other"), 1)]);
        let domain = "X.Test".to_owned();
        counted(node, today, vec![DomainTally { domain, policies: vec![sts, none] }])
    };
    world.done(of(1, 5, 2));
    world.done(of(2, 6, 1));
    let (row, policies) = read(&world, today, "x.test").unwrap();
    assert_eq!((row.near, row.changes, row.since), (NodeId(2), 2, today.begins()));
    let told: Vec<_> = policies.iter().map(|it| (it.successful, it.failed, it.failures[0].1)).collect();
    assert_eq!(told, [(11, 3, 3), (2, 2, 2)]);
    check(&world.rows);

    // Counts that were not read are never lost with those that were.
    assert_eq!(world.refusal(report(today, 1, Extent::Whole)), Refusal::Changed);
    world.done(report(today, 2, Extent::SoFar));
    let wish = queue::parcel(&world.rows, ParcelId { message: QueueId(1), number: 0 }).unwrap().unwrap().tls;
    assert_eq!(wish, TlsWish::Waived, "it is sent whatever its TLS comes to");
    let (row, policies) = read(&world, today, "x.test").unwrap();
    assert_eq!((row.since, row.changes, row.reports, policies.len()), (world.at, 3, 1, 0));
    assert_eq!(world.refusal(report(today, 2, Extent::Whole)), Refusal::Changed, "two nodes are at it");
    world.done(of(1, 1, 1));
    world.done(report(today, 4, Extent::Whole));
    world.done(of(2, 1, 1));
    let (row, policies) = read(&world, today, "x.test").unwrap();
    assert_eq!(
        (row.over, row.reports, policies.len()),
        (true, 2, 0),
        "what comes too late is told of nowhere"
    );
    assert_eq!(world.refusal(report(today, row.changes, Extent::Whole)), Refusal::Changed);
    assert_eq!(open(&world.rows, today.next(), None, 9).unwrap(), []);
    check(&world.rows);
}

#[test]
fn old_days_are_forgotten_a_few_with_each_command() {
    let (mut world, _) = World::with_alice();
    let first = Day::of(world.at);
    let old = FORGOTTEN_PER_COMMAND + 1;
    (0..old).for_each(|n| world.done(tally(first, &format!("{n}.test"), 0)));
    let left = |world: &World| {
        let of = open(&world.rows, Day(u32::MAX), None, 99).unwrap();
        of.into_iter().filter(|it| it.day == first).count()
    };
    world.at = Day(first.0 + REMEMBERED_DAYS).begins();
    world.done(tally(Day::of(world.at), "new.test", 0));
    assert_eq!(left(&world), old, "not yet");
    world.at = Day(first.0 + REMEMBERED_DAYS + 1).begins();
    world.done(tally(first, "late.test", 0));
    assert_eq!((left(&world), read(&world, first, "late.test")), (1, None));
    check(&world.rows);
    world.done(tally(Day::of(world.at), "new.test", 0));
    assert_eq!(left(&world), 0);
    assert!(matches!(world.refusal(tally(Day(first.0 + 99), "a.test", 0)), Refusal::Invalid(_)));
    let page = open(&world.rows, Day(u32::MAX), None, 1).unwrap();
    let next = open(&world.rows, Day(u32::MAX), page.first(), 9).unwrap();
    assert_eq!((page.len(), next.len()), (1, 1), "new.test, on two days");
}

#[test]
fn each_bound_holds_at_its_last() {
    let (mut world, _) = World::with_alice();
    let today = Day::of(world.at);
    let with = |policies: Vec<PolicyTally>| {
        counted(1, today, vec![DomainTally { domain: "x.test".into(), policies }])
    };
    let sts = |number: usize| policy(TlsPolicyKind::Sts, &number.to_string());
    let ways = |count: usize| (0..count).map(|n| (failure(&n.to_string()), 1)).collect::<Vec<_>>();
    let wide = |count| with((0..count).map(|n| sessions(sts(n), 1, vec![])).collect());
    assert!(matches!(world.refusal(wide(POLICIES_MAX + 1)), Refusal::Limit(_)));
    world.done(wide(POLICIES_MAX));
    world.done(with(vec![sessions(sts(99), 1, vec![])]));
    assert_eq!(read(&world, today, "x.test").unwrap().1.len(), POLICIES_MAX);
    assert!(matches!(
        world.refusal(with(vec![sessions(sts(0), 0, ways(FAILURES_MAX + 1))])),
        Refusal::Limit(_)
    ));
    world.done(with(vec![sessions(sts(0), 0, ways(FAILURES_MAX))]));
    world.done(with(vec![sessions(sts(0), 0, vec![(failure("new"), 3)])]));
    let (_, policies) = read(&world, today, "x.test").unwrap();
    let of_first = &policies[0];
    assert_eq!((of_first.failed, of_first.failures.len()), (FAILURES_MAX as u64 + 3, FAILURES_MAX));

    let domains = |count: usize| {
        let of = |n: usize| DomainTally { domain: format!("{n}.test"), policies: vec![] };
        counted(1, today, (0..count).map(of).collect())
    };
    assert!(matches!(world.refusal(domains(DOMAINS_PER_TALLY_MAX + 1)), Refusal::Limit(_)));
    world.done(domains(DOMAINS_PER_TALLY_MAX));
    let long = |lines: Vec<String>, reason: &str| {
        let policy = TlsPolicy { kind: TlsPolicyKind::Tlsa, domain: "d".repeat(WORDS_BYTES_MAX), lines };
        let domain = "long.test".to_owned();
        let policies = vec![sessions(policy, 1, vec![(failure(reason), 1)])];
        counted(1, today, vec![DomainTally { domain, policies }])
    };
    let lines = |count: usize, bytes: usize| vec!["l".repeat(bytes / count); count];
    let reason = "r".repeat(WORDS_BYTES_MAX);
    for (lines, reason, taken) in [
        (lines(1, LINES_BYTES_MAX), reason.clone(), true),
        (lines(1, LINES_BYTES_MAX + 1), String::new(), false),
        (lines(LINES_MAX, LINES_BYTES_MAX), String::new(), true),
        (lines(LINES_MAX + 1, LINES_MAX + 1), String::new(), false),
        (vec![], reason + "r", false),
    ] {
        assert_eq!(world.outcome(long(lines, &reason)) == Outcome::Done, taken);
    }
    let mut report = match report(today, 3, Extent::Whole) {
        Command::ReportTls(report) => report,
        other => panic!("{other:?}"),
    };
    let mail = report.mails[0].clone();
    report.mails = vec![mail; MAILS_MAX + 1];
    assert!(matches!(world.refusal(Command::ReportTls(report.clone())), Refusal::Limit(_)));
    report.mails.truncate(MAILS_MAX);
    report.changes = read(&world, today, "x.test").unwrap().0.changes;
    world.done(Command::ReportTls(report));
    check(&world.rows);
}

#[test]
fn no_more_domains_are_counted_than_are_kept() {
    let (mut world, _) = World::with_alice();
    let today = Day::of(world.at);
    let full = TlsDaysRow { domains: DAYS_MAX - 1 };
    world.rows.0.insert(keys::tls_days(), codec::encode(&full).unwrap());
    world.done(tally(today, "last.test", 0));
    world.done(tally(today, "more.test", 0));
    world.done(tally(today, "last.test", 0));
    assert_eq!(read(&world, today, "last.test").unwrap().0.changes, 2);
    assert_eq!(read(&world, today, "more.test"), None);
}
