//! What a run amounts to, in figures.

use std::collections::BTreeMap;
use std::fmt;

use super::Fault;
use crate::history::{Call, End};
use crate::verdict::Tally;

#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub histories: usize,
    pub faults: BTreeMap<&'static str, usize>,
    pub calls: usize,
    pub calls_acked: usize,
    pub calls_refused: usize,
    pub calls_unknown: usize,
    pub seconds: u64,
    pub tally: Tally,
    /// From the loss of the leader to the acknowledgement of a write that another node was asked for after it.
    pub fail_over_ms: Vec<u64>,
    losses: Vec<Loss>,
}

/// The leader was lost, between these two times.
#[derive(Debug, Clone)]
struct Loss {
    leader: String,
    span_us: (u64, u64),
}

impl Figures {
    pub fn struck(&mut self, fault: Fault) {
        *self.faults.entry(fault.kind()).or_default() += 1;
    }

    pub fn lost_leader(&mut self, leader: String, span_us: (u64, u64)) {
        self.losses.push(Loss { leader, span_us });
    }

    /// Takes in a whole history.
    pub fn take(&mut self, calls: &[Call], tally: Tally) {
        self.histories += 1;
        self.calls += calls.len();
        for call in calls {
            match &call.end {
                End::Ok(_) => self.calls_acked += 1,
                End::Refused(_) => self.calls_refused += 1,
                End::Unknown(_) => self.calls_unknown += 1,
            }
        }
        self.seconds += calls.iter().map(|call| call.ended_us).max().unwrap_or(0) / 1_000_000;
        self.tally = self.tally.and(tally);
        for loss in std::mem::take(&mut self.losses) {
            self.fail_over_ms.extend(fail_over(calls, &loss));
        }
    }

    pub fn add(&mut self, other: Figures) {
        self.histories += other.histories;
        other.faults.into_iter().for_each(|(kind, count)| *self.faults.entry(kind).or_default() += count);
        self.calls += other.calls;
        self.calls_acked += other.calls_acked;
        self.calls_refused += other.calls_refused;
        self.calls_unknown += other.calls_unknown;
        self.seconds += other.seconds;
        self.tally = self.tally.and(other.tally);
        self.fail_over_ms.extend(other.fail_over_ms);
    }

    fn percentile(&self, hundredths: usize) -> String {
        let mut sorted = self.fail_over_ms.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * hundredths).div_ceil(100).max(1) - 1;
        sorted.get(rank).map_or("-".into(), |milliseconds| format!("{milliseconds} ms"))
    }
}

/// What the old leader could still have acknowledged does not count.
fn fail_over(calls: &[Call], loss: &Loss) -> Option<u64> {
    let (before, after) = loss.span_us;
    let elsewhere =
        |call: &&Call| call.committed() && call.host.node != loss.leader && call.began_us >= after;
    let first = calls.iter().filter(elsewhere).map(|call| call.ended_us).min()?;
    Some((first - before) / 1_000)
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let faults: usize = self.faults.values().sum();
        let kinds: Vec<String> = self.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        writeln!(f, "histories            {} in {} s", self.histories, self.seconds)?;
        writeln!(f, "faults               {faults}: {}", kinds.join(", "))?;
        writeln!(
            f,
            "calls                {}: {} acknowledged, {} refused, {} unknown",
            self.calls, self.calls_acked, self.calls_refused, self.calls_unknown
        )?;
        writeln!(f, "messages looked for  {}, orders judged {}", self.tally.looked_for, self.tally.orders)?;
        writeln!(f, "refused over quota   {}", self.tally.over_quota)?;
        writeln!(f, "lost                 0, duplicates of what was acknowledged 0")?;
        let Tally { delivered, appended, .. } = self.tally;
        writeln!(
            f,
            "unknown to senders   SMTP {}, of which there {}; APPEND {}, of which there {} (who tries again makes a second message)",
            delivered.all, delivered.there, appended.all, appended.there
        )?;
        write!(
            f,
            "fail-over            p50 {}, p99 {}, max {} of {}",
            self.percentile(50),
            self.percentile(99),
            self.percentile(100),
            self.fail_over_ms.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let figures = Figures { fail_over_ms: (1..=100).rev().collect(), ..Figures::default() };
        assert_eq!([50, 99, 100].map(|p| figures.percentile(p)), ["50 ms", "99 ms", "100 ms"]);
        assert_eq!(Figures::default().percentile(99), "-");
    }
}
