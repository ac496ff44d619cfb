//! A node that was away is back: by the log after a little, by a snapshot after more than the log keeps.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::node::Node;
use cluster_tests::traffic::Traffic;

#[test]
fn back_by_log_and_by_snapshot() {
    let Some(mut cluster) = Cluster::start_with(keep_a_short_log) else { return };
    let mut checker = Checker::default();
    let ledger = Ledger::default();
    for (round, count) in [(0, 30), (1, 1500)] {
        let follower = cluster.peer_of(cluster.leader());
        cluster.nodes[follower].kill();
        let traffic = Traffic::start(&cluster, ledger.clone(), 1800 + round * 10);
        traffic.wait_for(count);
        traffic.finish();
        cluster.nodes[follower].start();
        cluster.wait_until_caught_up();
        checker.check(&cluster, &ledger);
    }
}

/// So that 1,500 messages are more than the log keeps.
fn keep_a_short_log(node: &Node) {
    node.configure("raft", "log_entries_kept = 500");
}
