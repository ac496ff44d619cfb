//! Judges a history: pure, from calls and what every node shows at the end to what is wrong.
//!
//! What is held against the cluster:
//! - every acknowledged write is there, once; an unknown one at most once; a refused one never ([`fates`]);
//! - flags, expunges and moves of each message are linearizable as the documentation promises it ([`order`]);
//! - UIDs, UIDVALIDITY, UIDNEXT and mod-sequences only ascend, and none ever means two things ([`numbers`]);
//! - nothing is refused for good that was asked for well;
//! - names that users were given are there, on every node ([`aliases`]);
//! - a setting and a quota have the value that was given last; nothing is taken over a quota, and nothing refused within it ([`limits`]);
//! - at the end all nodes show the same, and counts agree with contents ([`ends`]).

pub mod aliases;
pub mod ends;
pub mod fates;
pub mod limits;
pub mod numbers;
pub mod order;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::checker::Contents;
use crate::clients::{BEFORE_THE_TEXT, LIMITED, is_over_quota};
use crate::history::{Call, End, Op};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Acknowledged, and not there.
    Lost,
    /// There more often than asked for.
    Duplicate,
    /// There although it was refused, expunged, deleted, or never sent.
    Ghost,
    /// Other octets than were sent.
    Altered,
    /// Other flags than acknowledged, with one writer.
    Flags,
    /// A mailbox that is there and should not be, or the other way round.
    Mailbox,
    /// No order of the calls explains what was seen.
    Order,
    /// The history of a message was too long to be judged.
    Undecided,
    /// A UID named two messages.
    Uid,
    /// A number went back.
    Ascent,
    /// One mod-sequence, two states.
    ModSeq,
    /// Two nodes differ.
    Nodes,
    /// Counts and contents differ.
    Counts,
    /// Refused for good, though nothing was wrong with it: a sender would give up.
    Refused,
    /// A setting or a quota has a value that was replaced or never given.
    Setting,
    /// Taken over the quota, or refused within it.
    Quota,
    /// A node's log tells of a panic.
    Panic,
}

/// What became of what nobody knew, counted for the figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Of SMTP.
    pub delivered: Unheard,
    pub appended: Unheard,
    /// Acknowledged messages that were looked for.
    pub looked_for: usize,
    /// Messages whose order of calls was judged.
    pub orders: usize,
    /// Messages that were refused because the quota was reached.
    pub over_quota: usize,
}

/// All that is wrong, and the tally. `shown`: each data node's name and what it shows at the end.
pub fn judge(calls: &[Call], shown: &[(String, Contents)]) -> (Vec<Violation>, Tally) {
    let mut wrong = Vec::new();
    let mut tally = Tally::default();
    let Some((_, first)) = shown.first() else { return (wrong, tally) };
    calls.iter().filter_map(refused).for_each(|violation| wrong.push(violation));
    fates::judge(calls, first, &mut wrong, &mut tally);
    numbers::judge(calls, shown, &mut wrong);
    order::judge(calls, shown, &mut wrong, &mut tally);
    limits::judge_quota(calls, &mut wrong, &mut tally);
    ends::judge(shown, &mut wrong);
    (wrong, tally)
}

/// The crowd asks for nothing that may be refused for good, but for a message that another POP3 session took, and beyond a quota.
fn refused(call: &Call) -> Option<Violation> {
    let End::Refused(why) = &call.end else { return None };
    let for_good = match &call.op {
        Op::Retrieve { .. } => false,
        Op::Append { user, .. } if user == LIMITED => !is_over_quota(why),
        // The answer may also have been temporary, or none, before the message was sent.
        Op::Deliver { .. } => why.strip_prefix(BEFORE_THE_TEXT).unwrap_or(why).starts_with('5'),
        _ => true,
    };
    let Call { client, host, .. } = call;
    let what = format!("{client} at {host:?}, {} us: {}: {why}", call.began_us, call.op.kind());
    for_good.then(|| Violation::new(Rule::Refused, what))
}

/// How many of each rule, for a report of one line.
pub fn by_rule(wrong: &[Violation]) -> BTreeMap<Rule, usize> {
    let mut counts = BTreeMap::new();
    wrong.iter().for_each(|violation| *counts.entry(violation.rule).or_default() += 1);
    counts
}

/// Messages whose sender heard neither yes nor no.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unheard {
    pub all: usize,
    /// The ones that are there: a sender that tries again makes a second message.
    pub there: usize,
}

impl Unheard {
    fn and(self, other: Unheard) -> Unheard {
        Unheard { all: self.all + other.all, there: self.there + other.there }
    }
}

impl Tally {
    /// Both.
    pub fn and(self, other: Tally) -> Tally {
        Tally {
            delivered: self.delivered.and(other.delivered),
            appended: self.appended.and(other.appended),
            looked_for: self.looked_for + other.looked_for,
            orders: self.orders + other.orders,
            over_quota: self.over_quota + other.over_quota,
        }
    }
}

impl Violation {
    pub fn new(rule: Rule, what: String) -> Violation {
        Violation { rule, what }
    }
}

/// A panic that a task swallowed is still a bug.
pub fn judge_log(node: &str, said: &str, wrong: &mut Vec<Violation>) {
    let panics = said.lines().filter(|line| line.contains("panicked at"));
    wrong.extend(panics.map(|line| Violation::new(Rule::Panic, format!("{node}: {line}"))));
}
