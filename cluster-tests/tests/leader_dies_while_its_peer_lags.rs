//! The follower's disk is slow, the witness's is not, and the leader dies under load: the follower has all that was
//! acknowledged, because the witness was given no entry before it, and leads at once. (Without that care the commits land
//! on the leader and the witness, and nobody who may lead has them.)

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::disk::{Calls, DiskFault, Effect};
use cluster_tests::ledger::Ledger;
use cluster_tests::steps::leader_and_follower;
use cluster_tests::traffic::Traffic;

/// Far more than the witness needs, and less than makes the follower count as silent.
const SYNC_SLOWER_MS: u32 = 100;

#[test]
fn leader_dies_while_its_peer_lags() {
    let Some(mut cluster) = Cluster::start_with_disk_faults() else { return };
    let (ledger, mut checker) = (Ledger::default(), Checker::default());
    for round in 0..2 {
        let (leader, follower) = leader_and_follower(&cluster);
        let slow = DiskFault::within(Calls::SYNC, Effect::SlowMs(SYNC_SLOWER_MS), "raft/");
        cluster.nodes[follower].disk().inflict(slow);
        let traffic = Traffic::start(&cluster, ledger.clone(), 4_200 + round * 10);
        traffic.wait_for(20);
        cluster.nodes[leader].kill();
        traffic.wait_for(10);
        cluster.nodes[follower].disk().heal();
        cluster.nodes[leader].start();
        traffic.finish();
        cluster.wait_until_caught_up();
        checker.check(&cluster, &ledger);
    }
}
