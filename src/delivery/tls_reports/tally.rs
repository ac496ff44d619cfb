//! What this node has counted of TLS sessions and not yet told the others: bounded, in memory. A node that dies loses it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::mail::lines::beginning;
use crate::state::tls_reports::{
    Day, DomainTally, FAILURES_MAX, FailedSession, LINES_BYTES_MAX, LINES_MAX, POLICIES_MAX, PolicyTally,
    TlsPolicy, WORDS_BYTES_MAX,
};

/// Domains times days; sessions with others are not counted until these are told.
pub const DOMAINS_MAX: usize = 5_000;
/// Octets of policies and of ways to fail; beyond, what is new is not counted until these are told.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a count takes beside its words.
const COUNT_BYTES: usize = 256;

#[derive(Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    of: BTreeMap<(Day, String), BTreeMap<TlsPolicy, OfPolicy>>,
    bytes: usize,
}

#[derive(Default)]
struct OfPolicy {
    successful: u64,
    failed: u64,
    failures: BTreeMap<FailedSession, u64>,
}

impl Tally {
    /// One session. `None`: it went well.
    pub fn note(&self, day: Day, domain: &str, policy: TlsPolicy, failed: Option<FailedSession>) {
        let counted = match failed {
            None => PolicyTally { policy: cut(policy), successful: 1, failed: 0, failures: Vec::new() },
            Some(failed) => {
                let failures = vec![(shortened(failed), 1)];
                PolicyTally { policy: cut(policy), successful: 0, failed: 1, failures }
            }
        };
        self.add(day, DomainTally { domain: domain.to_owned(), policies: vec![counted] });
    }

    /// Also what was taken, and could not be told.
    pub fn add(&self, day: Day, tally: DomainTally) {
        let mut counts = self.lock();
        let Counts { of, bytes } = &mut *counts;
        let key = (day, tally.domain);
        if of.len() >= DOMAINS_MAX && !of.contains_key(&key) {
            return;
        }
        let policies = of.entry(key).or_default();
        for PolicyTally { policy, successful, failed, failures } in tally.policies {
            if !policies.contains_key(&policy) {
                let more: usize = policy.lines.iter().map(String::len).sum();
                if policies.len() >= POLICIES_MAX || *bytes >= BYTES_MAX {
                    continue;
                }
                *bytes += COUNT_BYTES + more;
            }
            let of = policies.entry(policy).or_default();
            of.successful = of.successful.saturating_add(successful);
            of.failed = of.failed.saturating_add(failed);
            for (failure, times) in failures {
                if !of.failures.contains_key(&failure) {
                    if of.failures.len() >= FAILURES_MAX || *bytes >= BYTES_MAX {
                        continue;
                    }
                    *bytes += COUNT_BYTES + failure.reason.len();
                }
                let count = of.failures.entry(failure).or_default();
                *count = count.saturating_add(times);
            }
        }
    }

    /// All of it: from here on it is the caller's to tell.
    pub fn take(&self) -> Vec<(Day, DomainTally)> {
        let counts = std::mem::take(&mut *self.lock()).of;
        let of_policy = |(policy, OfPolicy { successful, failed, failures })| PolicyTally {
            policy,
            successful,
            failed,
            failures: failures.into_iter().collect(),
        };
        let of_domain = |((day, domain), policies): ((Day, String), BTreeMap<TlsPolicy, OfPolicy>)| {
            (day, DomainTally { domain, policies: policies.into_iter().map(of_policy).collect() })
        };
        let counted = counts.into_iter().filter(|(_, policies)| !policies.is_empty());
        counted.map(of_domain).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As much of a policy as is kept; of a longer one whole lines.
fn cut(mut policy: TlsPolicy) -> TlsPolicy {
    let mut bytes = 0;
    let fits = |line: &String| {
        bytes += line.len();
        bytes <= LINES_BYTES_MAX
    };
    policy.lines = policy.lines.into_iter().take(LINES_MAX).take_while(fits).collect();
    policy.domain = beginning(&policy.domain, WORDS_BYTES_MAX).to_owned();
    policy
}

fn shortened(mut failed: FailedSession) -> FailedSession {
    failed.reason = beginning(&failed.reason, WORDS_BYTES_MAX).to_owned();
    failed.mx = failed.mx.map(|mx| beginning(&mx, WORDS_BYTES_MAX).to_owned());
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tls_reports::{TlsPolicyKind, TlsResult};

    fn policy(line: &str) -> TlsPolicy {
        TlsPolicy { kind: TlsPolicyKind::Sts, domain: "x.test".to_owned(), lines: vec![line.to_owned()] }
    }

    fn failed(reason: &str) -> Option<FailedSession> {
        let result = TlsResult::ValidationFailure;
        let reason = reason.to_owned();
        Some(FailedSession { result, sending_ip: None, mx: None, receiving_ip: None, reason })
    }

    fn told(tally: &Tally) -> Vec<(u64, u64, usize)> {
        let all = tally.take().into_iter().flat_map(|(_, of)| of.policies);
        all.map(|of| (of.successful, of.failed, of.failures.len())).collect()
    }

    #[test]
    fn sessions_are_counted_by_day_domain_policy_and_way_to_fail() {
        let tally = Tally::default();
        for (day, domain, line, why) in [
            (1, "x.test", "a", None),
            (1, "x.test", "a", failed("late")),
            (1, "x.test", "a", failed("late")),
            (1, "x.test", "a", failed("other")),
            (1, "x.test", "b", None),
            (2, "x.test", "a", None),
            (1, "y.test", "a", None),
        ] {
            tally.note(Day(day), domain, policy(line), why);
        }
        let taken = tally.take();
        assert!(tally.take().is_empty());
        let of: Vec<_> =
            taken.iter().map(|(day, of)| (day.0, of.domain.as_str(), of.policies.len())).collect();
        assert_eq!(of, [(1, "x.test", 2), (1, "y.test", 1), (2, "x.test", 1)]);
        // What could not be told is counted on.
        taken.into_iter().for_each(|(day, of)| tally.add(day, of));
        tally.note(Day(1), "x.test", policy("a"), failed("late"));
        assert_eq!(told(&tally), [(1, 4, 2), (1, 0, 0), (1, 0, 0), (1, 0, 0)]);
    }

    #[test]
    fn nothing_grows_beyond_its_bound() {
        let tally = Tally::default();
        (0..=DOMAINS_MAX).for_each(|n| tally.note(Day(1), &format!("{n}.test"), policy("a"), None));
        tally.note(Day(1), "0.test", policy("a"), None);
        let taken = tally.take();
        assert_eq!((taken.len(), taken[0].1.policies[0].successful), (DOMAINS_MAX, 2));
        let line = "l".repeat(LINES_BYTES_MAX);
        let noted = BYTES_MAX / LINES_BYTES_MAX + 1;
        (0..noted).for_each(|n| tally.note(Day(1), &format!("{n}.test"), policy(&line), None));
        let counted = tally.take().len();
        assert_eq!(counted, BYTES_MAX.div_ceil(COUNT_BYTES + LINES_BYTES_MAX));
        assert!(counted < noted);
        (0..=POLICIES_MAX).for_each(|n| tally.note(Day(1), "x.test", policy(&n.to_string()), None));
        assert_eq!(told(&tally).len(), POLICIES_MAX);
        (0..=FAILURES_MAX).for_each(|n| tally.note(Day(1), "x.test", policy("a"), failed(&n.to_string())));
        assert_eq!(told(&tally), [(0, FAILURES_MAX as u64 + 1, FAILURES_MAX)]);
        let long = TlsPolicy { lines: vec!["l".repeat(LINES_BYTES_MAX / 2); 3], ..policy("") };
        tally.note(Day(1), "x.test", long, failed(&"r".repeat(WORDS_BYTES_MAX + 1)));
        let many = TlsPolicy { lines: vec![String::new(); LINES_MAX + 1], ..policy("") };
        tally.note(Day(1), "x.test", many, None);
        let taken = tally.take().remove(0).1.policies;
        let lines: Vec<usize> = taken.iter().map(|of| of.policy.lines.len()).collect();
        assert_eq!(lines, [LINES_MAX, 2]);
        assert_eq!(taken[1].failures[0].0.reason.len(), WORDS_BYTES_MAX);
    }
}
