//! The leader's disk hangs, all of it or only under the bodies: it hands leadership over and stops loudly, the other serves,
//! and nothing acknowledged is missing.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::disk::{Calls, DiskFault, Effect};
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

#[test]
fn leader_disk_hangs() {
    let Some(mut cluster) = Cluster::start_with_disk_faults() else { return };
    let mut checker = Checker::default();
    let ledger = Ledger::default();
    for (round, (part, says)) in
        [("", "a sync of the log hangs"), ("bodies/", "a sync of the bodies hangs")].into_iter().enumerate()
    {
        let traffic = Traffic::start(&cluster, ledger.clone(), 3100 + round as u64 * 10);
        traffic.wait_for(50);
        let leader = cluster.leader();
        cluster.nodes[leader].disk().inflict(DiskFault::within(Calls::SYNC, Effect::Hang, part));
        let status = cluster.nodes[leader].wait_for_exit();
        assert_eq!(status.code(), Some(1), "it stops loudly");
        let said = cluster.nodes[leader].said();
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("pollux: ") && last.contains(says), "it says why: {last}");
        assert_eq!(cluster.leader_other_than(leader), cluster.peer_of(leader));
        traffic.wait_for(50);

        cluster.nodes[leader].disk().heal();
        cluster.nodes[leader].start();
        traffic.wait_for(50);
        traffic.finish();
        cluster.wait_until_caught_up();
        checker.check(&cluster, &ledger);
    }
}
