//! Two data nodes, and no witness.

use super::scene::Node;
use crate::cluster::config::Retention;
use crate::cluster::replica::{Fault, Replica};
use crate::cluster::types::Role;
use crate::mail::ids::NodeId;
use crate::state::command::Command;

async fn until_voters(node: &Node, voters: &[NodeId]) {
    let ids: Vec<u64> = voters.iter().map(|voter| voter.0).collect();
    node.until(&format!("{ids:?} vote, as committed"), |metrics| {
        let committed = metrics.committed_membership_config.membership();
        committed.get_joint_config().len() == 1 && committed.voter_ids().eq(ids.iter().copied())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stops_by_plan_and_the_other_goes_on_alone_until_it_is_back() {
    let a = Node::founder("a", Retention::default()).await;
    let b = Node::joined("b", Role::Data, &a).await;
    let both = [&a, &b].map(|node| node.handle().node());
    let mut pair = [a, b];
    until_voters(&pair[0], &both).await;
    // The leader and a follower, each of them once the first and once the second.
    for (round, stops) in [0, 0, 1, 1].into_iter().enumerate() {
        let stays = 1 - stops;
        if round % 2 == 0 && !pair[stops].leads() {
            pair[stays].hand_over_to(both[stops]).await;
        }
        pair[stops].stop().await;
        until_voters(&pair[stays], &both[stays..=stays]).await;
        let alone = format!("alone{round}.test");
        pair[stays].add_domain(&alone).await;
        if round == 3 {
            pair[stays].stop().await;
            pair[stays].start().await;
            pair[stays].add_domain("by-itself.test").await;
        }
        pair[stops].start().await;
        pair[stops].until_domain(&alone).await;
        for node in &pair {
            until_voters(node, &both).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_dies_and_the_other_only_reads_until_it_is_back() {
    let a = Node::founder("a", Retention::default()).await;
    let mut b = Node::joined("b", Role::Data, &a).await;
    until_voters(&a, &[a.handle().node(), b.handle().node()]).await;
    a.add_domain("before.test").await;
    b.lose();
    let refused = a.handle().propose(Command::AddDomain { name: "meanwhile.test".into() }).await;
    assert!(matches!(refused, Err(Fault::NoQuorum)), "{refused:?}");
    assert!(a.has_domain("before.test"));
    b.start().await;
    a.add_domain("after.test").await;
    b.until_domain("after.test").await;
}
