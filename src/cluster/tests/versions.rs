//! Cluster versions: a cluster says its own, and goes on to no version that a node does not know.

use super::scene::Node;
use crate::clock::Clock;
use crate::cluster::config::Retention;
use crate::cluster::replica::Replica;
use crate::cluster::start::Cluster;
use crate::cluster::types::Role;
use crate::cluster::upgrade::{Next, Runs};
use crate::state::command::Command;
use crate::state::versions::NEWEST;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_says_the_newest_version_and_has_nothing_to_finalise() {
    let a = Node::founder("a", Retention::default()).await;
    let said = |node: &Node| node.handle().watch_directory();
    said(&a).wait_for(|directory| directory.cluster_version == NEWEST).await.unwrap();
    let b = Node::joined("b", Role::Data, &a).await;
    said(&b).wait_for(|directory| directory.cluster_version == NEWEST).await.unwrap();
    for node in [&a, &b] {
        let upgrade = node.handle().upgrade().await;
        assert_eq!((upgrade.cluster_version, upgrade.next), (NEWEST, Next::None));
        let newest = |runs: &Runs| u32::from(runs.versions.max);
        let known: Vec<_> = upgrade.nodes.iter().map(|node| node.runs.as_ref().map(newest)).collect();
        assert_eq!(known, [Some(NEWEST); 2]);
        assert_eq!(node.handle().finalize().await, Ok(NEWEST));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_before_a_version_that_its_build_does_not_know() {
    let mut node = Node::founder("a", Retention::default()).await;
    let newer = Command::SetClusterVersion { version: NEWEST + 1 };
    let (cluster, handle) = node.running.as_ref().unwrap();
    let asking = handle.clone();
    let proposed = tokio::spawn(async move { asking.propose(newer).await });
    let why = cluster.failed().await;
    assert!(why.contains("install the newer build again"), "{why}");
    proposed.abort();
    node.stop().await;
    // What is committed stays so: the next start comes to the same entry.
    let why = match Cluster::start(node.config.clone(), Clock::system()).await {
        Ok((cluster, _)) => cluster.failed().await,
        Err(error) => error.to_string(),
    };
    assert!(why.contains("install the newer build again"), "{why}");
}
