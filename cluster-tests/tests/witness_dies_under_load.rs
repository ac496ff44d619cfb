//! The witness is killed: nobody notices, and when it is back all three agree.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

#[test]
fn witness_dies_under_load() {
    let Some(mut cluster) = Cluster::start() else { return };
    let traffic = Traffic::start(&cluster, Ledger::default(), 13);
    traffic.wait_for(50);
    cluster.nodes[2].kill();
    traffic.wait_for(100);
    cluster.nodes[2].start();
    traffic.wait_for(50);
    let ledger = traffic.finish();
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}
