//! Hears of members that are newer than this node's log. One that was away while another was replaced would otherwise
//! refuse the very node that leads and has what it lacks, as a stranger, for ever.
//!
//! Asked are only those whom the log, or a member, names, over links that certificates vouch for. What they say adds
//! peers to talk to, and where to find them, until the log itself says so; it removes none, and never brings a removed
//! one back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;

use super::ticking;
use crate::cluster::blocking::blocking;
use crate::cluster::codec::MEMBERS_MAX;
use crate::cluster::local::{Local, ServerMetrics, peer_address};
use crate::cluster::membership::Files;
use crate::cluster::network::{kinds, roster_of};
use crate::cluster::token::Role;
use crate::cluster::transport::{CallError, Lane, PeerAddress};
use crate::cluster::types::Member;
use crate::cluster::wire;
use crate::mail::ids::NodeId;

/// Between two times of asking, and how long an answer may take.
const ASK_EACH: Duration = Duration::from_secs(1);

/// Who the members are, as of the entry `index` of the log, which is committed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Heard {
    pub index: u64,
    /// At most [`MEMBERS_MAX`].
    pub members: Vec<HeardMember>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HeardMember {
    pub node: NodeId,
    pub role: Role,
    pub address: PeerAddress,
}

/// What is said and written down. New meanings are new variants at the end.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum Word {
    V1(Heard),
}

impl Heard {
    fn of(metrics: &ServerMetrics) -> Heard {
        let stored = &metrics.committed_membership_config;
        let members = roster_of(stored).into_iter().map(|entry| HeardMember {
            node: NodeId(entry.id),
            role: entry.member.role,
            address: peer_address(&entry),
        });
        Heard { index: committed_index(metrics), members: members.collect() }
    }

    pub fn encode(&self) -> Result<Vec<u8>, wire::WireError> {
        wire::encode(&Word::V1(self.clone()))
    }

    /// `None`: more than a membership can be, or of a build that says it otherwise.
    pub fn decode(bytes: &[u8]) -> Option<Heard> {
        let Word::V1(heard) = wire::decode(bytes).ok()?;
        let fits = |member: &HeardMember| {
            member.address.control.len() <= Member::TEXT_BYTES_MAX
                && member.address.bulk.len() <= Member::TEXT_BYTES_MAX
        };
        (heard.members.len() <= MEMBERS_MAX && heard.members.iter().all(fits)).then_some(heard)
    }

    /// Adds those whom a log does not name yet, and where others are now, if this is newer than the log's memberships:
    /// the last one that is committed, and the last one.
    pub fn add_to(
        &self,
        peers: &mut BTreeMap<NodeId, PeerAddress>,
        logged: Memberships,
        was_removed: impl Fn(NodeId) -> bool,
    ) {
        if self.index <= logged.committed {
            return;
        }
        for member in self.members.iter().filter(|member| !was_removed(member.node)) {
            let address = peers.entry(member.node).or_insert_with(|| member.address.clone());
            if self.index > logged.last {
                address.clone_from(&member.address);
            }
        }
    }
}

/// Where in the log its memberships are.
#[derive(Debug, Clone, Copy)]
pub struct Memberships {
    /// The last one that is known to be committed.
    pub committed: u64,
    /// The last one.
    pub last: u64,
}

impl Memberships {
    pub fn of(metrics: &ServerMetrics) -> Self {
        let last = metrics.membership_config.log_id().as_ref().map_or(0, |id| id.index);
        Self { committed: committed_index(metrics), last }
    }
}

/// Where in the log the membership is that is known to be committed.
fn committed_index(metrics: &ServerMetrics) -> u64 {
    metrics.committed_membership_config.log_id().as_ref().map_or(0, |id| id.index)
}

impl Local {
    /// A peer asks who the members are.
    pub fn tell_members(&self) -> Result<Bytes, CallError> {
        let heard = self.look_at_server(Heard::of);
        heard.encode().map(Bytes::from).map_err(|error| CallError::Protocol(error.to_string()))
    }
}

/// Asks while no leader can be reached, or when a node that the cluster has certified came and is not known here.
pub async fn hear_of_members(local: Arc<Local>) {
    let mut ticks = ticking(ASK_EACH);
    loop {
        ticks.tick().await;
        // Taken in any case, or an old knock would count later.
        let knocked = local.transport.stranger_knocked();
        if knocked || !is_led(&local) {
            ask(&local).await;
        }
    }
}

/// A leader of the past is remembered for as long as no other is heard of.
pub(super) fn is_led(local: &Local) -> bool {
    local.leader().is_some_and(|leader| local.reaches(leader))
}

async fn ask(local: &Local) {
    let linked = local.transport.peers().into_iter().filter(|node| local.reaches(*node));
    let calls = linked.map(async |node| {
        // A build that does not know the question refuses it: it says nothing, then.
        let answer = local.transport.call(node, Lane::Control, kinds::ROSTER, Bytes::new(), ASK_EACH).await;
        Some((Heard::decode(&answer.ok()?)?, node))
    });
    let answers = futures_util::future::join_all(calls).await;
    let newest = answers.into_iter().flatten().max_by_key(|(heard, _)| heard.index);
    let known = local.heard.borrow().index.max(local.look_at_server(committed_index));
    if let Some((heard, from)) = newest.filter(|(heard, _)| heard.index > known) {
        tracing::info!("node {from} knows of newer members, as of entry {}", heard.index);
        let (files, heard) = (Files::new(&local.config.dir), Arc::new(heard));
        let writing = heard.clone();
        let written = blocking(move || files.write_heard(&writing)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!("what was heard of the members could not be written down: {error}");
        }
        local.heard.send_replace(heard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u64, address_bytes: usize) -> HeardMember {
        let address = || "a".repeat(address_bytes);
        HeardMember {
            node: NodeId(node),
            role: Role::Witness,
            address: PeerAddress { control: address(), bulk: address() },
        }
    }

    fn heard(members: impl IntoIterator<Item = HeardMember>) -> Heard {
        Heard { index: 7, members: members.into_iter().collect() }
    }

    #[test]
    fn its_bytes_do_not_change() {
        // Variant, index, how many; node, role, the two addresses.
        let bytes = heard([member(4, 1)]).encode().unwrap();
        assert_eq!(bytes, [0, 7, 1, 4, 1, 1, b'a', 1, b'a']);
        assert_eq!(Heard::decode(&bytes), Some(heard([member(4, 1)])));
        for length in 0..bytes.len() {
            assert_eq!(Heard::decode(&bytes[..length]), None, "{length}");
        }
        assert_eq!(Heard::decode(&[1, 7, 0]), None, "a variant of a later build");
    }

    #[test]
    fn more_than_a_membership_can_be_is_not_taken() {
        let of = |count: usize, address_bytes: usize| {
            let said = heard((0..count as u64).map(|node| member(node, address_bytes)));
            Heard::decode(&said.encode().unwrap()) == Some(said)
        };
        assert!(of(MEMBERS_MAX, Member::TEXT_BYTES_MAX));
        assert!(!of(MEMBERS_MAX + 1, 1));
        assert!(!of(1, Member::TEXT_BYTES_MAX + 1));
    }

    #[test]
    fn it_adds_peers_until_the_log_is_there_and_brings_no_removed_one_back() {
        let said = heard([member(1, 1), member(3, 1), member(4, 1)]);
        let peers = |committed: u64, last: u64| {
            let logged = PeerAddress { control: "logged".into(), bulk: "logged".into() };
            let mut peers = BTreeMap::from([(NodeId(1), logged.clone()), (NodeId(2), logged.clone())]);
            said.add_to(&mut peers, Memberships { committed, last }, |node| node == NodeId(3));
            let moved = peers[&NodeId(1)] != logged;
            assert_eq!(peers[&NodeId(2)], logged, "nothing was said of it");
            (peers.into_keys().map(|id| id.0).collect::<Vec<_>>(), moved)
        };
        assert_eq!(peers(6, 6), (vec![1, 2, 4], true));
        assert_eq!(peers(6, 7), (vec![1, 2, 4], false), "what the log says itself is as new");
        assert_eq!(peers(7, 7), (vec![1, 2], false));
    }
}
