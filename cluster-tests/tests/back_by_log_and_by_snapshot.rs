//! A node that was away is back: by the log after a little, by a snapshot after more than the log keeps.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

#[test]
fn back_by_log_and_by_snapshot() {
    let Some(mut cluster) = Cluster::start_with(|node| keep_a_short_log(&node.dir)) else { return };
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
fn keep_a_short_log(dir: &std::path::Path) {
    let path = dir.join("pollux.toml");
    let text = std::fs::read_to_string(&path).expect("the configuration was written");
    let text = match text.split_once("[raft]\n") {
        Some((before, after)) => format!("{before}[raft]\nlog_entries_kept = 500\n{after}"),
        None => format!("{text}\n[raft]\nlog_entries_kept = 500\n"),
    };
    std::fs::write(&path, text).expect("the configuration can be written");
}
