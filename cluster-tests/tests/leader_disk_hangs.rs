//! The leader's disk hangs: it hands leadership over and stops loudly, the other serves, and nothing acknowledged is missing.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

#[test]
fn leader_disk_hangs() {
    let Some(mut cluster) = Cluster::start_with_disk_faults() else { return };
    let traffic = Traffic::start(&cluster, Ledger::default(), 31);
    traffic.wait_for(50);
    let leader = cluster.leader();

    cluster.nodes[leader].disk().hang_sync();
    let status = cluster.nodes[leader].wait_for_exit();
    assert_eq!(status.code(), Some(1), "it stops loudly");
    let said = cluster.nodes[leader].said();
    assert!(said.contains("hangs for") && said.contains("check the disk under"), "it says why: {said}");
    assert_eq!(cluster.leader_other_than(leader), cluster.peer_of(leader));
    traffic.wait_for(50);

    cluster.nodes[leader].disk().heal();
    cluster.nodes[leader].start();
    traffic.wait_for(50);
    let ledger = traffic.finish();
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}
