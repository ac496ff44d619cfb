//! What must be true at every step, whatever fails: looked at where it happens, on the disks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::disk::{Disk, LogImage};
use super::trace::Trace;
use crate::mail::ids::{BodyId, NodeId};
use crate::state::reading;
use crate::state::rows::MemoryRows;
use crate::store::log::{LogPosition, LogVote};

#[derive(Clone)]
pub struct Check {
    trace: Trace,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    violation: Option<String>,
    disks: BTreeMap<u64, Disk>,
    /// Who leads in each term.
    leaders: BTreeMap<u64, u64>,
    /// What each node voted last; kept over crashes, for a vote is durable before it is told.
    votes: BTreeMap<u64, LogVote>,
    /// Entries by index and term: their content, and the term of the one before.
    entries: BTreeMap<(u64, u64), Seen>,
    /// The term of each committed entry.
    committed: BTreeMap<u64, u64>,
    /// A hash over the rows as they are behind each index.
    rows: BTreeMap<u64, (u64, u64)>,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    content: u32,
    before: Option<u64>,
}

/// What a schedule brought about, so that a suite that tests nothing is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub leaders: u64,
    pub entries: u64,
    pub compared: u64,
    pub truncated: u64,
    pub installed: u64,
    pub bodies: u64,
}

impl Check {
    pub fn new(trace: Trace) -> Self {
        Self { trace, state: Arc::default() }
    }

    pub fn watch(&self, node: NodeId, disk: Disk) {
        self.lock().disks.insert(node.0, disk);
    }

    pub fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// The first is the one that counts.
    pub fn violated(&self, what: String) {
        self.trace.note(|| format!("VIOLATION {what}"));
        self.lock().violation.get_or_insert(what);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn judge(&self, judged: Result<(), String>) {
        if let Err(what) = judged {
            self.violated(what);
        }
    }

    /// One vote a term, and one leader.
    pub fn vote(&self, node: NodeId, vote: LogVote) {
        self.trace.note(|| format!("{node} votes {} {} {}", vote.term, vote.voted_for, vote.committed));
        let judged = self.lock().vote(node, vote);
        self.judge(judged);
    }

    pub fn append(&self, node: NodeId, log: &LogImage, entries: &[(LogPosition, Bytes)]) {
        if let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) {
            self.trace.note(|| format!("{node} appends {}..={} term {}", first.index, last.index, last.term));
        }
        let judged = self.lock().append(node, log, entries);
        self.judge(judged);
    }

    pub fn truncate(&self, node: NodeId, log: &LogImage, last: Option<LogPosition>) {
        self.trace.note(|| format!("{node} truncates after {last:?}"));
        let judged = self.lock().truncate(node, log, last);
        self.judge(judged);
    }

    pub fn committed(&self, node: NodeId, log: &LogImage, upto: LogPosition) {
        let judged = self.lock().committed(node, log, upto);
        self.judge(judged);
    }

    /// Whether these rows are the newest that were seen.
    pub fn applied(&self, node: NodeId, index: u64, hash: u64) -> bool {
        self.trace.note(|| format!("{node} applied {index} {hash:016x}"));
        let judged = self.lock().applied(node, index, hash);
        self.judge(judged);
        self.lock().rows.last_key_value().is_some_and(|(last, _)| *last == index)
    }

    pub fn bodies(&self, rows: &MemoryRows) {
        let judged = self.lock().bodies(rows);
        self.judge(judged);
    }

    pub fn installed(&self, node: NodeId) {
        self.trace.note(|| format!("{node} installs a snapshot"));
        self.lock().counts.installed += 1;
    }

    /// A new leader has all that was committed.
    pub fn leads(&self, node: NodeId, term: u64, log: &LogImage) {
        self.trace.note(|| format!("{node} leads in term {term}"));
        let judged = self.lock().leads(node, term, log);
        self.judge(judged);
    }
}

impl State {
    fn vote(&mut self, node: NodeId, vote: LogVote) -> Result<(), String> {
        if let Some(before) = self.votes.insert(node.0, vote) {
            let unsaid = (vote.term, vote.committed) < (before.term, before.committed);
            let second = vote.term == before.term && vote.voted_for != before.voted_for;
            if unsaid || second {
                return Err(format!("node {node} voted {before:?} and then {vote:?}"));
            }
        }
        match vote.committed {
            true => self.leader(vote.term, vote.voted_for),
            false => Ok(()),
        }
    }

    fn leader(&mut self, term: u64, node: u64) -> Result<(), String> {
        if !self.leaders.contains_key(&term) {
            self.counts.leaders += 1;
        }
        match *self.leaders.entry(term).or_insert(node) {
            leader if leader == node => Ok(()),
            leader => Err(format!("election safety: nodes {leader} and {node} both lead in term {term}")),
        }
    }

    fn append(
        &mut self,
        node: NodeId,
        log: &LogImage,
        entries: &[(LogPosition, Bytes)],
    ) -> Result<(), String> {
        let mut before = log.state.last;
        for (position, payload) in entries {
            if before.is_some_and(|before| before.index + 1 != position.index) {
                return Err(format!("node {node} appends {position:?} behind {before:?}"));
            }
            let content = crc32fast::hash(payload);
            // The one before may be purged, and then its term is that of the purge, which is the same.
            let seen = Seen { content, before: before.map(|before| before.term) };
            let known = *self.entries.entry((position.index, position.term)).or_insert(seen);
            if known.content != seen.content {
                return Err(format!("log matching: node {node} has another entry {position:?}"));
            }
            if known.before != seen.before {
                return Err(format!(
                    "log matching: before {position:?} node {node} has term {:?}, another has {:?}",
                    seen.before, known.before
                ));
            }
            self.counts.entries += 1;
            before = Some(*position);
        }
        Ok(())
    }

    fn truncate(&mut self, node: NodeId, log: &LogImage, last: Option<LogPosition>) -> Result<(), String> {
        self.counts.truncated += 1;
        let from = last.map_or(0, |last| last.index + 1);
        for (index, (position, _)) in log.entries.range(from..) {
            if self.committed.get(index) == Some(&position.term) {
                return Err(format!("node {node} cuts off {position:?}, which is committed"));
            }
        }
        Ok(())
    }

    fn committed(&mut self, node: NodeId, log: &LogImage, upto: LogPosition) -> Result<(), String> {
        for (index, (position, _)) in log.entries.range(..=upto.index) {
            let term = *self.committed.entry(*index).or_insert(position.term);
            if term != position.term {
                return Err(format!(
                    "node {node} takes {position:?} for committed; it was committed in term {term}"
                ));
            }
        }
        Ok(())
    }

    fn applied(&mut self, node: NodeId, index: u64, hash: u64) -> Result<(), String> {
        match self.rows.get(&index) {
            Some((known, by)) if *known != hash => {
                return Err(format!(
                    "state equality: behind entry {index} the rows of nodes {by} and {node} differ"
                ));
            }
            Some((_, by)) if *by != node.0 => self.counts.compared += 1,
            Some(_) => {}
            None => {
                self.rows.insert(index, (hash, node.0));
            }
        }
        Ok(())
    }

    /// Whoever is in sync has each body that a message names.
    fn bodies(&mut self, rows: &MemoryRows) -> Result<(), String> {
        let replicas = reading::replicas(rows).map_err(|error| error.to_string())?;
        let named = reading::bodies(rows, None, usize::MAX).map_err(|error| error.to_string())?;
        self.counts.bodies = self.counts.bodies.max(named.len() as u64);
        for replica in replicas.iter().filter(|replica| replica.in_sync) {
            let Some(disk) = self.disks.get(&replica.node.0) else { continue };
            if let Some(body) = named.iter().find(|body| !disk.has_body(body)) {
                return Err(format!("node {} is in sync and lacks the body {body}", replica.node));
            }
        }
        Ok(())
    }

    fn leads(&mut self, node: NodeId, term: u64, log: &LogImage) -> Result<(), String> {
        self.leader(term, node.0)?;
        let has_next = log.state.last.map_or(0, |last| last.index + 1);
        let purged_next = log.state.purged.map_or(0, |purged| purged.index + 1);
        for (index, committed) in self.committed.range(purged_next..) {
            // Committed by a later leader, while this one did not know yet that it was deposed.
            if *committed > term {
                continue;
            }
            let here = log.entries.get(index).map(|(position, _)| position.term);
            if here != Some(*committed) {
                return Err(format!(
                    "leader completeness: node {node} leads in term {term} without entry {index} of term {committed} \
                     (it has {here:?}, its log ends before {has_next})"
                ));
            }
        }
        Ok(())
    }
}

/// Mails that clients sent, and what they heard.
#[derive(Default)]
pub struct Ledger {
    pub acked: BTreeSet<BodyId>,
    /// All that were sent, acknowledged or not.
    pub sent: BTreeSet<BodyId>,
    pub refused: u64,
}

impl Ledger {
    /// Each mail of `acked` once, each other at most once, nothing that nobody sent.
    pub fn judge(&self, node: u64, acked: &BTreeSet<BodyId>, held: &[BodyId]) -> Result<(), String> {
        let mut times: BTreeMap<BodyId, u32> = BTreeMap::new();
        held.iter().for_each(|body| *times.entry(*body).or_default() += 1);
        if let Some(lost) = acked.iter().find(|body| !times.contains_key(body)) {
            return Err(format!("node {node} has lost the acknowledged mail {lost}"));
        }
        if let Some((body, times)) = times.iter().find(|(_, times)| **times > 1) {
            return Err(format!("node {node} has the mail {body} {times} times"));
        }
        match times.keys().find(|body| !self.sent.contains(body)) {
            Some(body) => Err(format!("node {node} has the mail {body} that nobody sent")),
            None => Ok(()),
        }
    }
}
