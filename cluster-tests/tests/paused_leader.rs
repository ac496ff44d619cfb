//! The leader is stopped (SIGSTOP) and wakes up believing that it leads: it acknowledges nothing it may not.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

#[test]
fn paused_leader() {
    let Some(cluster) = Cluster::start() else { return };
    let traffic = Traffic::start(&cluster, Ledger::default(), 16);
    traffic.wait_for(100);
    let leader = cluster.leader();
    cluster.nodes[leader].pause();
    traffic.wait_for(50);
    cluster.nodes[leader].resume();
    traffic.wait_for(50);
    let ledger = traffic.finish();
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}
