//! The follower is killed at full speed: service goes on, and when it is back it has everything.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

#[test]
fn follower_dies_under_load() {
    let Some(mut cluster) = Cluster::start() else { return };
    let traffic = Traffic::start(&cluster, Ledger::default(), 12);
    traffic.wait_for(100);
    let follower = cluster.peer_of(cluster.leader());
    cluster.nodes[follower].kill();
    traffic.wait_for(50);
    cluster.nodes[follower].start();
    traffic.wait_for(50);
    let ledger = traffic.finish();
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}
