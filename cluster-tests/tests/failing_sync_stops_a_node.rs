//! A sync fails on one node, in its log, its bodies or its rows: the node acknowledges nothing more and stops loudly,
//! the others go on, and nothing acknowledged is missing.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::disk::{Calls, DiskFault, EIO, Effect};
use cluster_tests::ledger::Ledger;
use cluster_tests::node::Node;
use cluster_tests::traffic::Traffic;

/// A part of the disk, and what the node says when it stops.
const PARTS: [(&str, &str); 3] = [
    ("raft/", "replication has stopped"),
    ("bodies/", "the bodies cannot be written any longer"),
    ("tables/", "replication has stopped"),
];

#[test]
fn failing_sync_stops_a_node() {
    let Some(mut cluster) = Cluster::start_on(often_durable, |_, node| node.enable_disk_faults()) else {
        return;
    };
    let mut checker = Checker::default();
    let ledger = Ledger::default();
    for (round, (part, says)) in PARTS.iter().flat_map(|part| [part, part]).enumerate() {
        let traffic = Traffic::start(&cluster, ledger.clone(), 3200 + round as u64 * 10);
        traffic.wait_for(30);
        let leader = cluster.leader();
        let failing = if round % 2 == 0 { leader } else { cluster.peer_of(leader) };
        let node = &mut cluster.nodes[failing];
        node.disk().inflict(DiskFault::within(Calls::SYNC, Effect::Fail(EIO), part));
        let status = node.wait_for_exit();
        assert_eq!(status.code(), Some(1), "round {round}: it stops loudly");
        let said = node.said();
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("pollux: ") && last.contains(says), "round {round}: it says why: {last}");
        traffic.wait_for(30);
        cluster.nodes[failing].disk().heal();
        cluster.nodes[failing].start();
        traffic.finish();
        cluster.wait_until_caught_up();
        checker.check(&cluster, &ledger);
    }
}

/// The rows are made durable each hundred entries.
fn often_durable(node: &Node) {
    node.configure("raft", "log_entries_kept = 100");
}
