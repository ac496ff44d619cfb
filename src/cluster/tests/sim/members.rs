//! Who is a member when, as the log says: for the checks, and for the operator, who waits until a change is done.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::LogImage;
use crate::cluster::codec::payload_from;
use crate::cluster::types::{Membership, Payload, Role};
use crate::store::log::LogPosition;

#[derive(Default)]
pub struct Members {
    /// Each membership that any log ever had, by its entry's index and term.
    seen: BTreeMap<(u64, u64), Config>,
    /// The index of each that is committed, with its term.
    committed: BTreeMap<u64, u64>,
    /// By which entry each former member was removed.
    removed: BTreeMap<u64, LogPosition>,
    /// Ids that a box was given, the founders' among them.
    given: BTreeSet<u64>,
    /// Their disks were lost: nothing is asked of these any longer.
    lost: BTreeSet<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// A majority of each decides; two while a change is half done.
    pub quorums: Vec<BTreeSet<u64>>,
    pub roles: BTreeMap<u64, Role>,
}

impl Config {
    fn of(membership: &Membership) -> Self {
        let roles = membership.nodes().map(|(id, member)| (*id, member.role)).collect();
        Self { quorums: membership.get_joint_config().clone(), roles }
    }

    pub fn votes(&self, node: u64) -> bool {
        self.quorums.iter().any(|voters| voters.contains(&node))
    }

    fn is_decided_by(&self, so: impl Fn(u64) -> bool) -> bool {
        let majority =
            |voters: &BTreeSet<u64>| voters.iter().filter(|voter| so(**voter)).count() * 2 > voters.len();
        self.quorums.iter().all(majority)
    }
}

impl Members {
    /// An id is given once.
    pub fn gave(&mut self, id: u64) -> Result<(), String> {
        match self.given.insert(id) {
            true => Ok(()),
            false => Err(format!("the id {id} was given twice")),
        }
    }

    pub fn disk_lost(&mut self, id: u64) {
        self.lost.insert(id);
    }

    /// Whether the node is a member still whose disk is there.
    pub fn counts(&self, id: u64) -> bool {
        !self.lost.contains(&id) && !self.was_removed(id)
    }

    pub fn was_removed(&self, id: u64) -> bool {
        self.removed.contains_key(&id)
    }

    pub fn appended(&mut self, position: LogPosition, payload: &[u8]) -> Result<(), String> {
        // Proposals are many, and of no interest here.
        if payload.first() == Some(&1) {
            return Ok(());
        }
        let payload = payload_from(payload.to_vec().into()).map_err(|error| error.to_string())?;
        let Payload::Membership(membership) = payload else { return Ok(()) };
        let config = Config::of(&membership);
        let back = config.roles.keys().find_map(|id| {
            let removed = self.removed.get(id)?;
            (removed.index < position.index && removed.term <= position.term).then_some((id, removed))
        });
        if let Some((id, removed)) = back {
            return Err(format!("{position:?} makes node {id} a member again, which {removed:?} removed"));
        }
        self.seen.insert((position.index, position.term), config);
        Ok(())
    }

    /// The entry is committed, and those before it. Whether it is a membership.
    pub fn commit(&mut self, position: LogPosition) -> bool {
        let Some(now) = self.seen.get(&(position.index, position.term)) else { return false };
        let before =
            self.committed.last_key_value().and_then(|(index, term)| self.seen.get(&(*index, *term)));
        for id in before.into_iter().flat_map(|before| before.roles.keys()) {
            if !now.roles.contains_key(id) {
                self.removed.entry(*id).or_insert(position);
            }
        }
        self.committed.insert(position.index, position.term);
        true
    }

    /// The committed one, with where it stands.
    pub fn last(&self) -> Option<(u64, &Config)> {
        let (index, term) = self.committed.last_key_value()?;
        Some((*index, self.seen.get(&(*index, *term))?))
    }

    /// In force on a node with this log: the last that it has, committed or not.
    pub fn in_force(&self, log: &LogImage) -> Option<((u64, u64), &Config)> {
        self.known_to(log).next()
    }

    /// Those that the log has, the last first.
    fn known_to(&self, log: &LogImage) -> impl Iterator<Item = ((u64, u64), &Config)> {
        let purged_next = log.state.purged.map_or(0, |purged| purged.index + 1);
        let has = move |(index, term): (u64, u64)| match index < purged_next {
            true => self.committed.get(&index) == Some(&term),
            false => log.entries.get(&index).is_some_and(|(position, _)| position.term == term),
        };
        self.seen.iter().rev().filter(move |(at, _)| has(**at)).map(|(at, config)| (*at, config))
    }

    /// Nobody leads who was removed before that term, or who had no vote. Who has one by the membership before the last may
    /// stand, while that is not committed: openraft lets it end the change that takes its vote.
    pub fn may_lead(&self, node: u64, term: u64, log: &LogImage) -> Result<(), String> {
        if let Some(removed) = self.removed.get(&node).filter(|removed| removed.term < term) {
            return Err(format!("node {node} leads in term {term}, although {removed:?} removed it"));
        }
        let mut known = self.known_to(log);
        let Some(((index, of), last)) = known.next() else { return Ok(()) };
        let is_committed = self.committed.get(&index) == Some(&of);
        let votes =
            last.votes(node) || !is_committed && known.next().is_some_and(|(_, before)| before.votes(node));
        match votes {
            true => Ok(()),
            false => Err(format!(
                "node {node} leads in term {term} without a vote by the membership of entry {index}"
            )),
        }
    }

    /// Whether those who have an entry are enough to commit it: by the membership that was committed before it, or by
    /// a later one, which decides as soon as it is appended.
    pub fn is_majority(&self, at: LogPosition, has: impl Fn(u64) -> bool) -> bool {
        let has = |id: u64| self.lost.contains(&id) || has(id);
        let first = self.committed.range(..=at.index).next_back().map_or(0, |(index, _)| *index);
        self.seen.range((first, 0)..).any(|(_, config)| config.is_decided_by(has))
    }
}
