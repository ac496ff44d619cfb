//! Counts of TLS sessions: added up over nodes, done with in the entry that queues the mails of their report, forgotten after
//! some days.

use std::ops::ControlFlow;

use super::messages::Room;
use super::names::{domain, invalid};
use super::queue;
use super::transaction::{Stop, Transaction};
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::queue::TlsWish;
use crate::state::rows::RowsError;
use crate::state::stored::{TlsDayRow, TlsDaysRow, TlsFailureRow, TlsPolicyRow};
use crate::state::tls_reports::{
    DAYS_MAX, DOMAINS_PER_TALLY_MAX, Day, DomainTally, Extent, FAILURES_MAX, FailedSession, LINES_BYTES_MAX,
    LINES_MAX, MAILS_MAX, POLICIES_MAX, PolicyTally, REMEMBERED_DAYS, TlsReport, TlsTally, WORDS_BYTES_MAX,
};

/// Domains and days that are forgotten with each command.
pub const FORGOTTEN_PER_COMMAND: usize = 4;

pub fn tally(tx: &mut Transaction, tally: &TlsTally) -> Result<Outcome, Stop> {
    check(tally)?;
    let today = Day::of(tx.at);
    if tally.day > today.next() {
        return Err(invalid("day", &tally.day.0.to_string()).into());
    }
    let mut days = load(tx)?;
    forget_old(tx, &mut days, today)?;
    // What comes later than its report is told of nowhere.
    if !is_old(tally.day, today) {
        for one in &tally.domains {
            add(tx, tally, one, &mut days)?;
        }
    }
    tx.put(keys::tls_days(), &days)?;
    Ok(Outcome::Done)
}

fn check(tally: &TlsTally) -> Result<(), Refusal> {
    let limit = |what: String| Err(Refusal::Limit(what));
    if tally.domains.len() > DOMAINS_PER_TALLY_MAX {
        return limit(format!("{DOMAINS_PER_TALLY_MAX} domains at once"));
    }
    let policies = || tally.domains.iter().flat_map(|it| &it.policies);
    let is_wide = |it: &PolicyTally| it.failures.len() > FAILURES_MAX;
    if tally.domains.iter().any(|it| it.policies.len() > POLICIES_MAX) || policies().any(is_wide) {
        return limit(format!("{POLICIES_MAX} policies with {FAILURES_MAX} ways to fail each"));
    }
    let is_long = |it: &PolicyTally| {
        let lines = &it.policy.lines;
        lines.len() > LINES_MAX || lines.iter().map(String::len).sum::<usize>() > LINES_BYTES_MAX
    };
    if policies().any(is_long) {
        return limit(format!("{LINES_MAX} lines of {LINES_BYTES_MAX} bytes in a policy"));
    }
    let failures =
        policies().flat_map(|it| &it.failures).flat_map(|(it, _)| it.mx.iter().chain([&it.reason]));
    let mut words = policies().map(|it| &it.policy.domain).chain(failures);
    match words.all(|words| words.len() <= WORDS_BYTES_MAX) {
        true => Ok(()),
        false => limit(format!("{WORDS_BYTES_MAX} bytes of a name or a reason")),
    }
}

fn load(tx: &Transaction) -> Result<TlsDaysRow, RowsError> {
    Ok(tx.get(&keys::tls_days())?.unwrap_or_default())
}

fn is_old(day: Day, today: Day) -> bool {
    day.0.saturating_add(REMEMBERED_DAYS) < today.0
}

fn forget_old(tx: &mut Transaction, days: &mut TlsDaysRow, today: Day) -> Result<(), RowsError> {
    for (key, _) in tx.first::<TlsDayRow>(&keys::table(keys::TLS_DAY), FORGOTTEN_PER_COMMAND)? {
        let Some((day, domain)) = keys::tls_day_of(&key) else { continue };
        if !is_old(day, today) {
            break;
        }
        drop_counts(tx, day, domain)?;
        days.domains = days.domains.saturating_sub(1);
        tx.delete(key);
    }
    Ok(())
}

fn drop_counts(tx: &mut Transaction, day: Day, domain: &str) -> Result<(), RowsError> {
    for (key, _) in tx.first::<TlsPolicyRow>(&keys::tls_policies(day, domain), POLICIES_MAX)? {
        tx.delete(key);
    }
    let failures = keys::all_tls_failures(day, domain);
    for (key, _) in tx.first::<TlsFailureRow>(&failures, POLICIES_MAX * FAILURES_MAX)? {
        tx.delete(key);
    }
    Ok(())
}

fn add(tx: &mut Transaction, tally: &TlsTally, one: &DomainTally, days: &mut TlsDaysRow) -> Result<(), Stop> {
    let name = domain(&one.domain)?;
    let key = keys::tls_day(tally.day, &name);
    let mut row = match tx.get::<TlsDayRow>(&key)? {
        Some(row) if row.over => return Ok(()),
        Some(row) => row,
        None if days.domains >= DAYS_MAX => return Ok(()),
        None => {
            days.domains += 1;
            let since = tally.day.begins();
            TlsDayRow { since, near: tally.node, changes: 0, reports: 0, over: false }
        }
    };
    for policy in &one.policies {
        add_policy(tx, (tally.day, &name), policy)?;
    }
    (row.near, row.changes) = (tally.node, row.changes.saturating_add(1));
    tx.put(key, &row)?;
    Ok(())
}

fn add_policy(tx: &mut Transaction, (day, name): (Day, &str), new: &PolicyTally) -> Result<(), RowsError> {
    let (mut known, mut count) = (None, 0);
    tx.visit::<TlsPolicyRow>(&keys::tls_policies(day, name), |_, row| {
        if row.policy == new.policy {
            known = Some((count, row));
            return ControlFlow::Break(());
        }
        count += 1;
        ControlFlow::Continue(())
    })?;
    let (number, mut row) = match known {
        Some(known) => known,
        None if usize::from(count) >= POLICIES_MAX => return Ok(()),
        None => (count, TlsPolicyRow { policy: new.policy.clone(), successful: 0, failed: 0 }),
    };
    row.successful = row.successful.saturating_add(new.successful);
    row.failed = row.failed.saturating_add(new.failed);
    tx.put(keys::tls_policy(day, name, number), &row)?;
    for (failure, times) in &new.failures {
        add_failure(tx, (day, name, number), failure, *times)?;
    }
    Ok(())
}

fn add_failure(
    tx: &mut Transaction,
    (day, name, policy): (Day, &str, u16),
    failure: &FailedSession,
    times: u64,
) -> Result<(), RowsError> {
    let (mut known, mut count) = (None, 0);
    tx.visit::<TlsFailureRow>(&keys::tls_failures(day, name, policy), |_, row| {
        if row.failure == *failure {
            known = Some((count, row.count));
            return ControlFlow::Break(());
        }
        count += 1;
        ControlFlow::Continue(())
    })?;
    let (number, before) = match known {
        Some(known) => known,
        None if usize::from(count) >= FAILURES_MAX => return Ok(()),
        None => (count, 0),
    };
    let row = TlsFailureRow { failure: failure.clone(), count: before.saturating_add(times) };
    tx.put(keys::tls_failure(day, name, policy, number), &row)
}

/// Refused ([`Refusal::Changed`]) if the counts are not those that were read: another node has reported them, or has counted on.
pub fn report(tx: &mut Transaction, report: &TlsReport) -> Result<Outcome, Stop> {
    let name = domain(&report.domain)?;
    if report.mails.len() > MAILS_MAX {
        return Err(Refusal::Limit(format!("{MAILS_MAX} mails of one report")).into());
    }
    let key = keys::tls_day(report.day, &name);
    let known = tx.get::<TlsDayRow>(&key)?.filter(|row| !row.over && row.changes == report.changes);
    let Some(mut row) = known else { return Err(Refusal::Changed.into()) };
    for mail in &report.mails {
        // RFC 8460 5.3: it tells of TLS that fails, and must not fail for that.
        queue::take_in(tx, mail, (Room::Exempt, TlsWish::Waived))?;
    }
    drop_counts(tx, report.day, &name)?;
    row.changes = row.changes.saturating_add(1);
    row.reports = row.reports.saturating_add(1);
    match report.extent {
        Extent::SoFar => row.since = tx.at,
        Extent::Whole => row.over = true,
    }
    tx.put(key, &row)?;
    let mut days = load(tx)?;
    let today = Day::of(tx.at);
    forget_old(tx, &mut days, today)?;
    tx.put(keys::tls_days(), &days)?;
    Ok(Outcome::Done)
}
