//! Two data nodes and a witness.

use std::os::unix::fs::PermissionsExt;

use openraft::ChangeMembers;

use super::scene::{Node, PATIENCE, Pace};
use crate::clock::Clock;
use crate::cluster::config::{Retention, Timing};
use crate::cluster::local::Metrics;
use crate::cluster::membership::Files;
use crate::cluster::pki::{NodeIdentity, NodeKey};
use crate::cluster::types::Role;
use crate::mail::ids::{NodeId, Timestamp};

/// Node a (the founder), node b, and the witness; all in sync.
pub async fn pair_and_witness(retention: Retention) -> [Node; 3] {
    pair_and_witness_with(Pace { retention, ..Pace::default() }).await
}

pub async fn pair_and_witness_with(pace: Pace) -> [Node; 3] {
    let a = Node::founder_with("a", pace).await;
    a.add_domain("first.test").await;
    let b = Node::joined("b", Role::Data, &a).await;
    let w = Node::joined("w", Role::Witness, &a).await;
    a.until_in_sync(b.handle().node()).await;
    for node in [&a, &b, &w] {
        // While the change is half done (a joint configuration), both old voters are needed still.
        node.until("all three vote, as committed", |metrics| {
            let committed = metrics.committed_membership_config.membership();
            committed.get_joint_config().len() == 1 && committed.voter_ids().count() == 3
        })
        .await;
    }
    [a, b, w]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_data_node_proposes_and_the_others_hear_of_it() {
    let [a, b, _w] = pair_and_witness(Retention::default()).await;
    assert!(b.has_domain("first.test"), "what was there before it joined");
    a.add_domain("by-a.test").await;
    b.until_domain("by-a.test").await;
    b.add_domain("by-b.test").await;
    assert!(b.has_domain("by-b.test"), "the proposer reads its own write, wherever the leader is");
    a.until_domain("by-b.test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_stops_and_the_others_go_on_and_it_catches_up_by_log() {
    let [mut a, b, w] = pair_and_witness(Retention::default()).await;
    a.stop().await;
    b.add_domain("while-away.test").await;
    assert!(!w.leads(), "a witness leads only in need");
    a.start().await;
    a.until_domain("while-away.test").await;
    a.add_domain("back.test").await;
    b.until_domain("back.test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_too_long_catches_up_by_snapshot() {
    let retention = Retention { snapshot_entries: 20, keep_entries: 5, ..Retention::default() };
    let [a, mut b, _w] = pair_and_witness(retention).await;
    b.stop().await;
    for at in 0..60 {
        a.add_domain(&format!("d{at}.test")).await;
    }
    let behind = b_applied(&b);
    a.until("its log is purged beyond what b has", |metrics| {
        metrics.purged.is_some_and(|purged| purged.index > behind)
    })
    .await;
    b.start().await;
    b.until_domain("d59.test").await;
    assert!(b.has_domain("d0.test") && b.has_domain("first.test"));
    b.add_domain("and-on.test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_keeps_its_log_for_an_absent_node_up_to_its_bound_and_says_so_before() {
    const KEPT_BYTES: u64 = 48 << 10;
    let retention = Retention { witness_bytes_max: KEPT_BYTES, ..Retention::default() };
    let [a, mut b, w] = pair_and_witness(retention).await;
    b.stop().await;
    let alarms = async || {
        let status = a.handle().status().await;
        status.nodes.iter().map(|node| node.log_alarm).collect::<Vec<_>>()
    };
    assert_eq!(alarms().await, [false, false, false]);
    let mut added = 0;
    while alarms().await != [false, false, true] {
        a.add_domains(added, 40).await;
        added += 40;
    }
    let purged = || w.handle().local.log.state().purged.map(|purged| purged.index);
    let before = purged();
    assert!(w.log_bytes() * 5 >= KEPT_BYTES * 4);
    // Below the bound nothing goes that b lacks; beyond it the oldest do, and the log stays at the bound.
    while purged() == before {
        a.add_domains(added, 40).await;
        added += 40;
    }
    assert!(purged() > Some(b_applied(&b)), "what b lacks went");
    w.until_log_bytes(KEPT_BYTES).await;
    b.start().await;
    b.until_domain(&format!("d{}.test", added - 1)).await;
    assert!(b.has_domain("d0.test"), "a has it all");
    assert!(a.handle().local.log.state().purged.is_none(), "a data node's own bounds are others");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_node_keeps_its_log_to_its_bound_in_bytes() {
    const KEPT_BYTES: u64 = 48 << 10;
    let retention = Retention { keep_bytes_max: KEPT_BYTES, ..Retention::default() };
    let a = Node::founder("a", retention).await;
    let mut added = 0;
    while a.log_bytes() <= KEPT_BYTES * 2 && a.handle().local.log.state().purged.is_none() {
        a.add_domains(added, 40).await;
        added += 40;
    }
    a.until_log_bytes(KEPT_BYTES).await;
    assert!(a.handle().local.log.state().purged.is_some());
    a.add_domains(added, 1).await;
    assert!(a.has_domain("d0.test"));
}

/// What a stopped node had applied at most: it saw fewer than twenty entries before the loop.
fn b_applied(b: &Node) -> u64 {
    assert!(b.running.is_none());
    30
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_survivor_serves_no_write_until_the_witness_has_brought_it_up_to_date() {
    let [mut a, mut b, w] = pair_and_witness(Retention::default()).await;
    b.stop().await;
    for at in 0..20 {
        a.add_domain(&format!("d{at}.test")).await;
    }
    a.stop().await;
    b.start().await;
    // The first write that b takes comes after everything that a and the witness committed without it.
    b.add_domain("rescued.test").await;
    for at in 0..20 {
        assert!(b.has_domain(&format!("d{at}.test")), "d{at} was acknowledged and is lost");
    }
    let b_id = b.handle().node().0;
    w.until("b leads", |metrics| metrics.current_leader == Some(b_id)).await;
    a.start().await;
    a.until_domain("rescued.test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_and_a_node_is_removed() {
    let [a, b, mut w] = pair_and_witness(Retention::default()).await;
    a.hand_over_to(b.handle().node()).await;
    assert!(b.leads());
    let refused = a.handle().transfer(w.handle().node()).await.unwrap_err().to_string();
    assert!(refused.contains("not a data node"), "{refused}");
    let status = a.handle().status().await;
    assert_eq!(status.leader, Some(b.handle().node()));
    assert_eq!(status.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["a", "b", "w"]);
    b.handle().tell_offers(Box::new(|| vec!["imap:143".into()]));
    for node in [&a, &b, &w] {
        let offered: Vec<_> =
            node.handle().status().await.nodes.into_iter().map(|node| node.services).collect();
        assert_eq!(offered, [vec![], vec!["imap:143".to_owned()], vec![]], "as {} says", node.config.name);
    }
    w.stop().await;
    a.handle().remove(NodeId(3), false).await.unwrap();
    a.until("the witness is gone", |metrics| metrics.membership_config.membership().nodes().count() == 2)
        .await;
    let again = Node::joined("w2", Role::Witness, &a).await;
    assert_eq!(again.handle().node().0, 4, "an id is never used again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_gives_no_id_of_a_node_that_came_and_went_meanwhile() {
    // So short a log that it hears of the meanwhile by snapshot: the memberships between are nowhere any longer.
    let retention = Retention { snapshot_entries: 20, keep_entries: 5, ..Retention::default() };
    let [a, mut b, mut w] = pair_and_witness(retention).await;
    b.stop().await;
    let guest = Node::joined("guest", Role::Data, &a).await;
    assert_eq!(guest.handle().node(), NodeId(4));
    a.handle().remove(NodeId(4), false).await.unwrap();
    for at in 0..60 {
        a.add_domain(&format!("d{at}.test")).await;
    }
    a.until("its log is purged", |metrics| metrics.purged.is_some_and(|purged| purged.index > 40)).await;
    b.start().await;
    b.until_domain("d59.test").await;
    a.hand_over_to(b.handle().node()).await;
    w.stop().await;
    b.handle().remove(NodeId(3), false).await.unwrap();
    let witness = Node::joined("w2", Role::Witness, &b).await;
    assert_eq!(witness.handle().node(), NodeId(5), "4 was given while b was away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_membership_that_was_left_half_done_is_ended() {
    let [a, b, mut w] = pair_and_witness(Retention::default()).await;
    w.stop().await;
    let voters = |metrics: &Metrics| {
        let membership = metrics.committed_membership_config.membership().clone();
        (membership.get_joint_config().len(), membership.voter_ids().count())
    };
    // The first of its two steps: whoever asks for it does not live to make the second.
    let raft = a.handle().local.raft.clone();
    let mut change = Box::pin(raft.change_membership(ChangeMembers::RemoveVoters([3].into()), false));
    assert!(futures_util::poll!(&mut change).is_pending());
    let half = |metrics: &Metrics| metrics.membership_config.membership().get_joint_config().len() == 2;
    a.until("the change is half done", half).await;
    drop(change);
    for node in [&a, &b] {
        node.until("it is done", |metrics| voters(metrics) == (1, 2)).await;
    }
    let gone = |metrics: &Metrics| metrics.membership_config.membership().get_node(&3).is_none();
    a.until("whoever was to go is gone", gone).await;
    a.add_domain("after.test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_in_one_node() {
    let a = Node::founder("a", Retention::default()).await;
    let token = a.handle().join_token(Role::Witness, 60_000).await.unwrap();
    let _w = Node::joined_with("w", Role::Witness, &a, &token).await.unwrap();
    let error = Node::joined_with("x", Role::Witness, &a, &token).await.err().unwrap();
    assert!(error.contains("has been used"), "{error}");
    let token = a.handle().join_token(Role::Witness, 60_000).await.unwrap();
    let error = Node::joined_with("w", Role::Witness, &a, &token).await.err().unwrap();
    assert!(error.contains("named w already"), "{error}");
    let _x = Node::joined_with("x", Role::Witness, &a, &token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_has_no_ca_key_and_lets_nobody_in_and_keys_are_their_owners_alone() {
    let [a, b, w] = pair_and_witness(Retention::default()).await;
    let refused = w.handle().join_token(Role::Data, 60_000).await.unwrap_err().to_string();
    assert!(refused.contains("on a data node"), "{refused}");
    let keys = |node: &Node| {
        let files = std::fs::read_dir(node.config.dir.join("cluster")).unwrap().map(|entry| entry.unwrap());
        let secret = |path: &std::path::Path| {
            std::fs::read(path).unwrap().windows(11).any(|octets| octets == b"PRIVATE KEY")
        };
        let mut names: Vec<String> = Vec::new();
        for file in files.filter(|file| secret(&file.path())) {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
            names.push(file.file_name().into_string().unwrap());
        }
        names.sort();
        names
    };
    for data in [&a, &b] {
        assert_eq!(keys(data), ["ca.key", "identity.pem"]);
    }
    assert_eq!(keys(&w), ["identity.pem"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_lost_and_the_survivors_go_on() {
    let [mut a, b, w] = pair_and_witness(Retention::default()).await;
    a.lose();
    b.add_domain("after.test").await;
    assert!(b.leads() && !w.leads());
    assert!(b.has_domain("first.test"));
}

/// The time is for whoever reads; how long it may take on a machine of its own, the bench says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_timing_of_service_the_survivor_takes_writes_too() {
    let [a, b, _w] = pair_and_witness_with(Pace { timing: Timing::normal(), ..Pace::default() }).await;
    // On a busy machine such haste may have moved leadership already.
    let (mut leader, survivor) = if b.leads() { (b, a) } else { (a, b) };
    leader.lose();
    let lost = tokio::time::Instant::now();
    survivor.add_domain("after.test").await;
    println!("{} ms from the loss of the leader to the first write", lost.elapsed().as_millis());
    assert!(survivor.has_domain("first.test") && survivor.has_domain("after.test"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_rows_are_built_anew_from_the_peer() {
    let retention = Retention { snapshot_entries: 20, keep_entries: 5, ..Retention::default() };
    let [a, mut b, _w] = pair_and_witness(retention).await;
    for at in 0..60 {
        b.add_domain(&format!("d{at}.test")).await;
    }
    b.until("its log is purged", |metrics| metrics.purged.is_some()).await;
    b.stop().await;
    std::fs::remove_dir_all(b.config.dir.join("tables")).unwrap();
    a.add_domain("meanwhile.test").await;
    b.start().await;
    b.until_domain("meanwhile.test").await;
    assert!(b.has_domain("d0.test") && b.has_domain("d59.test"));
    b.add_domain("and-on.test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_removed_stops_and_says_so() {
    let [a, b, w] = pair_and_witness(Retention::default()).await;
    a.handle().remove(b.handle().node(), false).await.unwrap();
    let why = tokio::time::timeout(PATIENCE, b.running.as_ref().unwrap().0.failed()).await.unwrap();
    assert!(why.contains("removed from the cluster") && why.contains("join anew"), "{why}");
    assert_eq!(why.lines().count(), 1);
    a.add_domain("and-on.test").await;
    let failed = w.running.as_ref().unwrap().0.failed();
    assert!(tokio::time::timeout(std::time::Duration::ZERO, failed).await.is_err(), "the others go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_removed_while_it_was_away_is_told_so_also_by_one_that_was_started_since() {
    let [mut a, mut b, mut w] = pair_and_witness(Retention::default()).await;
    let id = b.handle().node();
    b.stop().await;
    a.handle().remove(id, false).await.unwrap();
    w.until("it has heard of it", |metrics| metrics.committed_membership_config.nodes().count() == 2).await;
    for node in [&mut a, &mut w] {
        let removed = || Files::new(&node.config.dir).read_removed();
        let until = tokio::time::Instant::now() + PATIENCE;
        while removed() != [id].into() {
            assert!(tokio::time::Instant::now() < until, "{} never notes the removal", node.config.name);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        node.stop().await;
        node.start().await;
    }
    b.start().await;
    let why = tokio::time::timeout(PATIENCE, b.running.as_ref().unwrap().0.failed()).await.unwrap();
    assert!(why.contains("removed from the cluster"), "{why}");
    let told = *b.handle().local.transport.told_removed().borrow();
    assert!(told.is_some(), "it was told for certain, it did not only guess");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_at_half_their_life_and_the_nodes_find_each_other_with_them() {
    let [mut a, b, mut w] = pair_and_witness(Retention::default()).await;
    let read = |node: &Node| Files::new(&node.config.dir).read_identity().unwrap();
    assert_eq!(a.handle().local.renew_identity_if_due().await, Ok(false), "it is new");
    let ca = Files::new(&a.config.dir).read_ca().unwrap();
    let more_than_a_year_ago = Timestamp(Clock::system().now().0 - 380 * 86_400_000);
    for node in [&mut a, &mut w] {
        let (id, fresh) = (node.handle().node(), read(node));
        node.stop().await;
        let public = NodeKey::from_pem(&fresh.key_pem).unwrap().public().to_vec();
        let old = NodeIdentity { chain_pem: ca.certify(id, &public, more_than_a_year_ago).unwrap(), ..fresh };
        Files::new(&node.config.dir).write_identity(&old).unwrap();
        node.start().await;
        let until = tokio::time::Instant::now() + PATIENCE;
        while read(node) == old {
            assert!(tokio::time::Instant::now() < until, "{} keeps its old certificate", node.config.name);
            // The witness needs a data node, which may not be linked at its first look.
            let _ = node.handle().local.renew_identity_if_due().await;
        }
        let renewed = read(node);
        assert_eq!((renewed.name(), &renewed.key_pem), (old.name(), &old.key_pem));
        assert!(renewed.renew_after().unwrap() > Clock::system().now() && renewed.ca_pem == old.ca_pem);
        node.stop().await;
        node.start().await;
    }
    b.add_domain("after.test").await;
    a.until_domain("after.test").await;
}
