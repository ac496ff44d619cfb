//! What must be true at every step, whatever fails: looked at where it happens, on the disks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::time::Instant;

use super::disk::{Disk, LogImage, Look};
use super::gate::{self, Peer};
use super::members::Members;
use super::net::Net;
use super::trace::Trace;
use crate::cluster::types::Role;
use crate::mail::ids::NodeId;
use crate::state::reading;
use crate::state::rows::MemoryRows;
use crate::store::log::{LogPosition, LogVote};

#[derive(Clone)]
pub struct Check {
    trace: Trace,
    net: Net,
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
    /// How far each node said that all is committed; what is, stays so.
    committed_next: BTreeMap<u64, u64>,
    /// When each entry came into its first log, by term and index.
    appended: BTreeMap<(u64, u64), Instant>,
    /// When an entry was last on each node's disk that a gate may have waited for in vain before.
    late: BTreeMap<u64, Instant>,
    members: Members,
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
    /// Memberships that were committed.
    pub memberships: u64,
    /// Entries that came to a witness while a data node that answers had to have them.
    pub gated: u64,
}

impl Check {
    pub fn new(trace: Trace, net: Net) -> Self {
        Self { trace, net, state: Arc::default() }
    }

    /// A box was given this id.
    pub fn gave(&self, id: u64) {
        let judged = self.lock().members.gave(id);
        self.judge(judged);
    }

    /// A box burnt down.
    pub fn disk_lost(&self, id: u64) {
        self.lock().members.disk_lost(id);
    }

    pub fn was_removed(&self, id: u64) -> bool {
        self.lock().members.was_removed(id)
    }

    /// Whether these boxes and no others are the members, all vote, and each data node has all: by what is known best.
    pub fn is_whole(&self, boxes: &BTreeMap<u64, Role>) -> bool {
        self.lock().is_whole(boxes)
    }

    /// Whether nothing is under way: no log has more than what is applied somewhere.
    pub fn is_quiet(&self) -> bool {
        let state = self.lock();
        let applied_next = state.rows.last_key_value().map_or(0, |(index, _)| index + 1);
        let ends = state.disks.values().map(|disk| disk.look(|disk| disk.log_next()));
        ends.max().is_some_and(|end| end <= applied_next)
    }

    pub fn watch(&self, node: NodeId, disk: Disk) {
        self.lock().disks.insert(node.0, disk);
    }

    /// Disks tell their check what becomes of them, and are looked at by it: one must let go, or neither ever ends.
    pub fn let_go(&self) {
        let disks = std::mem::take(&mut self.lock().disks);
        drop(disks);
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
        let mut state = self.lock();
        let judged = state.append(node, log, entries);
        let judged = match (judged, entries.last()) {
            (Ok(()), Some((last, _))) => state.gate(&self.net, node, *last),
            (judged, _) => judged,
        };
        drop(state);
        self.judge(judged);
    }

    pub fn synced(&self, node: NodeId, entries: &[(LogPosition, Bytes)]) {
        self.lock().synced(node, entries);
    }

    /// A crash may leave what was not synced, and what a gate has waited for in vain.
    pub fn crashed(&self, node: NodeId) {
        self.lock().late.insert(node.0, Instant::now());
    }

    pub fn truncate(&self, node: NodeId, log: &LogImage, last: Option<LogPosition>) {
        self.trace.note(|| format!("{node} truncates after {last:?}"));
        let judged = self.lock().truncate(node, log, last);
        self.judge(judged);
    }

    pub fn committed(&self, node: NodeId, disk: Look<'_>, upto: LogPosition) {
        let judged = self.lock().committed(node, disk, upto);
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
            // A candidate that lost follows the winner, whom a majority has elected.
            let second = vote.term == before.term && vote.voted_for != before.voted_for && !vote.committed;
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
            self.appended.entry((position.term, position.index)).or_insert_with(Instant::now);
            self.members.appended(*position, payload)?;
            self.counts.entries += 1;
            before = Some(*position);
        }
        Ok(())
    }

    /// See [`gate`].
    fn gate(&mut self, net: &Net, witness: NodeId, last: LogPosition) -> Result<(), String> {
        let Some(leader) = self.leaders.get(&last.term).copied().filter(|leader| *leader != witness.0) else {
            return Ok(());
        };
        // A later leader brings it, whose gate goes by whom that one hears; its own entries follow.
        if self.votes.get(&witness.0).is_some_and(|vote| vote.term > last.term) {
            return Ok(());
        }
        let Some(disk) = self.disks.get(&leader) else { return Ok(()) };
        let in_force = disk.look(|disk| {
            self.members.in_force(disk.log).map(|((index, term), config)| ((term, index), config.clone()))
        });
        let Some((at, config)) = in_force else { return Ok(()) };
        if config.roles.get(&witness.0) != Some(&Role::Witness) {
            return Ok(());
        }
        let now = Instant::now();
        let when = |at: (u64, u64)| self.appended.get(&at).copied().unwrap_or(now);
        let (votes_since, appended) = (when(at), when((last.term, last.index)));
        let data = |(id, role): &(&u64, &Role)| {
            **role == Role::Data && **id != leader && config.votes(**id) && self.members.counts(**id)
        };
        for (id, _) in config.roles.iter().filter(data) {
            let Some(disk) = self.disks.get(id) else { continue };
            let has_next = disk.look(|disk| disk.synced_next(last.term));
            // Those of earlier terms came by the gates of whoever led then.
            let lacks = match has_next <= last.index {
                true => self.appended.range((last.term, has_next)..=(last.term, last.index)).next(),
                false => None,
            };
            let peer = Peer {
                heard_since: net.heard_since(leader, *id),
                lacks_since: lacks.map(|(_, when)| *when),
                late: self.late.get(id).copied(),
                votes_since,
            };
            self.counts.gated += u64::from(lacks.is_none());
            if gate::holds_back(peer, appended, now) {
                return Err(format!(
                    "witness gate: {last:?} came to the witness {witness} while node {id} answers node {leader} and has \
                     nothing of that term from {has_next} on"
                ));
            }
        }
        Ok(())
    }

    fn synced(&mut self, node: NodeId, entries: &[(LogPosition, Bytes)]) {
        let when = |(position, _): &(LogPosition, Bytes)| self.appended.get(&(position.term, position.index));
        if entries.iter().filter_map(when).any(|when| gate::may_be_in_vain(when.elapsed())) {
            self.late.insert(node.0, Instant::now());
        }
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

    fn committed(&mut self, node: NodeId, own: Look<'_>, upto: LogPosition) -> Result<(), String> {
        let next = self.committed_next.insert(node.0, upto.index + 1).unwrap_or(0);
        for (index, (position, _)) in own.log.entries.range(next.min(upto.index)..=upto.index) {
            if !self.committed.contains_key(index) {
                self.commit(node, own, *position)?;
            }
            let term = *self.committed.entry(*index).or_insert(position.term);
            if term != position.term {
                return Err(format!(
                    "node {node} takes {position:?} for committed; it was committed in term {term}"
                ));
            }
        }
        Ok(())
    }

    /// For the first time: a majority has it durably.
    fn commit(&mut self, node: NodeId, own: Look<'_>, position: LogPosition) -> Result<(), String> {
        let has = |id: u64| match self.disks.get(&id) {
            _ if id == node.0 => own.has_synced(position),
            disk => disk.is_some_and(|disk| disk.look(|disk| disk.has_synced(position))),
        };
        if !self.members.is_majority(position, has) {
            return Err(format!("node {node} takes {position:?} for committed, which no majority has"));
        }
        self.counts.memberships += u64::from(self.members.commit(position));
        Ok(())
    }

    fn is_whole(&self, boxes: &BTreeMap<u64, Role>) -> bool {
        let Some((_, config)) = self.members.last() else { return false };
        let voters: BTreeSet<u64> = boxes.keys().copied().collect();
        if config.roles != *boxes || config.quorums != [voters] {
            return false;
        }
        let Some((newest, _)) = self.rows.last_key_value() else { return false };
        let newest = self
            .disks
            .values()
            .find_map(|disk| disk.look(|disk| disk.replicas().filter(|_| disk.applied() == Some(*newest))));
        let Some(replicas) = newest else { return false };
        let in_sync = |id: &u64| replicas.iter().any(|replica| replica.node.0 == *id && replica.in_sync);
        boxes.iter().filter(|(_, role)| **role == Role::Data).all(|(id, _)| in_sync(id))
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
        let counts = |node: NodeId| self.members.counts(node.0);
        for replica in replicas.iter().filter(|replica| replica.in_sync && counts(replica.node)) {
            let Some(disk) = self.disks.get(&replica.node.0) else { continue };
            if let Some(body) = named.iter().find(|body| !disk.has_body(body)) {
                return Err(format!("node {} is in sync and lacks the body {body}", replica.node));
            }
        }
        Ok(())
    }

    fn leads(&mut self, node: NodeId, term: u64, log: &LogImage) -> Result<(), String> {
        self.leader(term, node.0)?;
        self.members.may_lead(node.0, term, log)?;
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
