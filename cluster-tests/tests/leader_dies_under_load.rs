//! The leader is killed at full speed: the other goes on by itself, and nothing acknowledged is missing.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

#[test]
fn leader_dies_under_load() {
    let Some(mut cluster) = Cluster::start() else { return };
    let traffic = Traffic::start(&cluster, Ledger::default(), 11);
    traffic.wait_for(100);
    let leader = cluster.leader();
    cluster.nodes[leader].kill();
    traffic.wait_for(50);
    cluster.nodes[leader].start();
    traffic.wait_for(50);
    let ledger = traffic.finish();
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}
