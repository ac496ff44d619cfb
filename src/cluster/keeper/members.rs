//! Follows the membership: whom this node talks to, who was removed, and whether it was itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::roster::Memberships;
use super::{LOOK_AGAIN, ticking};
use crate::cluster::local::{Local, ServerMetrics, peer_address};
use crate::cluster::membership::Files;
use crate::cluster::network::roster_of;
use crate::cluster::transport::hello::not_a_member;
use crate::cluster::transport::{Lane, PeerAddress};
use crate::cluster::types::StoredMembership;
use crate::mail::ids::NodeId;

/// For how long all that can be reached must call this node a stranger, while none of them knows for certain.
const STRANGER_FOR: Duration = Duration::from_secs(5);

type Peers = BTreeMap<NodeId, PeerAddress>;

/// Keeps the roster, the transport's peers and their file in step with the membership.
pub async fn follow_membership(local: Arc<Local>) {
    let mut metrics = local.raft.server_metrics();
    let files = Files::new(&local.config.dir);
    let mut heard = local.heard.subscribe();
    let told = files.read_peers();
    let mut known = None;
    let mut committed = BTreeSet::new();
    loop {
        let newer = heard.borrow_and_update().clone();
        let (roster, mut peers, now, upto) = {
            let metrics = metrics.borrow_and_update();
            let roster = roster_of(&metrics.membership_config);
            let now = members(&metrics.committed_membership_config);
            (roster, logged(local.id, memberships(&metrics), &told), now, Memberships::of(&metrics))
        };
        if !roster.is_empty() && *local.roster.load_full() != roster {
            local.roster.store(Arc::new(roster));
        }
        if !now.is_empty() {
            let gone: BTreeSet<NodeId> = committed.difference(&now).copied().collect();
            committed = now;
            revoke(&local, &files, gone).await;
        }
        newer.add_to(&mut peers, upto, |node| local.transport.was_removed(node));
        if known.as_ref() != Some(&peers) {
            local.transport.set_peers(peers.clone());
            known = Some(peers.clone());
            let files = files.clone();
            write(move || files.write_peers(&peers)).await;
        }
        let changed = tokio::select! {
            biased;
            changed = metrics.changed() => changed.is_ok(),
            changed = heard.changed() => changed.is_ok(),
        };
        if !changed {
            return;
        }
    }
}

/// Whom this node talks to as it starts; `told`: as its file says. From then on [`follow_membership`] keeps that true.
pub fn peers(local: &Local, told: &Peers) -> Peers {
    let (mut peers, upto) = local
        .look_at_server(|metrics| (logged(local.id, memberships(metrics), told), Memberships::of(metrics)));
    local.heard.borrow().add_to(&mut peers, upto, |node| local.transport.was_removed(node));
    peers
}

/// Those the log names: the members, and those that are still to be voted out. One that has just joined reads old
/// memberships first: until it finds itself in one, those it was told of when it joined are its peers as well, or it
/// would refuse the very leader that brings it the rest.
fn logged(
    own: NodeId,
    (effective, committed): (&StoredMembership, &StoredMembership),
    told: &Peers,
) -> Peers {
    let mut peers: Peers = match members(effective).contains(&own) {
        true => Peers::new(),
        false => told.clone(),
    };
    for entry in roster_of(committed).iter().chain(&roster_of(effective)) {
        peers.insert(NodeId(entry.id), peer_address(entry));
    }
    peers
}

/// The one in force, and the one that is committed.
fn memberships(metrics: &ServerMetrics) -> (&StoredMembership, &StoredMembership) {
    (&metrics.membership_config, &metrics.committed_membership_config)
}

fn members(stored: &StoredMembership) -> BTreeSet<NodeId> {
    stored.membership().nodes().map(|(id, _)| NodeId(*id)).collect()
}

/// They were members by one commit and are none by a later one: that is for ever, since ids are never given twice.
async fn revoke(local: &Arc<Local>, files: &Files, gone: BTreeSet<NodeId>) {
    if gone.is_empty() {
        return;
    }
    if gone.contains(&local.id) {
        local.fail(removed(local, "the membership"));
    }
    local.transport.revoke(gone.iter().copied().filter(|node| *node != local.id));
    let files = files.clone();
    write(move || files.add_removed(gone)).await;
}

async fn write(write: impl FnOnce() -> std::io::Result<()> + Send + 'static) {
    if let Ok(Err(error)) = crate::cluster::blocking::blocking(write).await {
        tracing::warn!("the members could not be written down: {error}");
    }
}

/// A node that was removed hears it from the others, for the log no longer comes to it: it stops, and says why.
pub async fn notice_removal(local: Arc<Local>) {
    let mut told = local.transport.told_removed();
    let mut ticks = ticking(LOOK_AGAIN);
    let mut since = None;
    loop {
        let certain = tokio::select! {
            biased;
            who = told.wait_for(Option::is_some) => who.ok().and_then(|who| *who),
            _ = ticks.tick() => None,
        };
        if let Some(who) = certain {
            return local.fail(removed(&local, &format!("node {who}")));
        }
        let Some(who) = calls_a_stranger(&local) else {
            since = None;
            continue;
        };
        // One that has just joined is not known everywhere yet.
        if since.get_or_insert_with(Instant::now).elapsed() >= STRANGER_FOR {
            return local.fail(removed(&local, &format!("node {who}")));
        }
    }
}

fn removed(local: &Local, who: &str) -> String {
    format!(
        "{who} says that this node was removed from the cluster: empty {} and join anew, or leave it off",
        local.config.dir.display()
    )
}

/// A peer that refuses this node for being no member, while no other takes it for one.
fn calls_a_stranger(local: &Local) -> Option<NodeId> {
    let roster = local.roster.load();
    let others = roster.iter().map(|entry| NodeId(entry.id)).filter(|id| *id != local.id);
    let words = not_a_member(local.id);
    let mut says = None;
    for other in others {
        let state = local.transport.peer_state(other);
        if state.connected[Lane::Control as usize] {
            return None;
        }
        if state.refused_because.is_some_and(|why| why.contains(&words)) {
            says = Some(other);
        }
    }
    says
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::types::{Member, Membership, log_id};

    fn stored(nodes: &[u64]) -> StoredMembership {
        let member = |id: &u64| {
            let control = format!("now-{id}");
            (*id, Member { control, ..Member::default() })
        };
        let voters = nodes.iter().copied().collect();
        let membership = Membership::new(vec![voters], nodes.iter().map(member).collect::<BTreeMap<_, _>>());
        StoredMembership::new(Some(log_id(1, 1)), membership.unwrap())
    }

    fn ids(own: u64, effective: &[u64], committed: &[u64], told: &[u64]) -> Vec<u64> {
        let told = told
            .iter()
            .map(|id| {
                let address = || format!("then-{id}");
                (NodeId(*id), PeerAddress { control: address(), bulk: address() })
            })
            .collect();
        let peers = logged(NodeId(own), (&stored(effective), &stored(committed)), &told);
        for id in effective {
            assert_eq!(peers[&NodeId(*id)].control, format!("now-{id}"), "what is replicated counts");
        }
        peers.keys().map(|id| id.0).collect()
    }

    #[test]
    fn a_member_talks_to_members_and_to_those_whose_removal_is_not_committed() {
        assert_eq!(ids(1, &[1, 2], &[1, 2], &[1, 2, 9]), [1, 2]);
        assert_eq!(ids(1, &[1, 2], &[1, 2, 3], &[]), [1, 2, 3]);
    }

    #[test]
    fn one_that_has_just_joined_keeps_those_it_was_told_of_while_it_reads_old_memberships() {
        assert_eq!(ids(4, &[1], &[1], &[1, 2, 3, 4]), [1, 2, 3, 4]);
        assert_eq!(ids(4, &[1, 2, 4], &[1, 2], &[1, 2, 3, 4]), [1, 2, 4], "3 was removed meanwhile");
    }
}
