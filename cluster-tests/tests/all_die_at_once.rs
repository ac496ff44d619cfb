//! All three are killed at the same moment and started again: everything acknowledged is there.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

#[test]
fn all_die_at_once() {
    let Some(mut cluster) = Cluster::start() else { return };
    let mut checker = Checker::default();
    let ledger = Ledger::default();
    for round in 0..3 {
        let traffic = Traffic::start(&cluster, ledger.clone(), 1700 + round * 10);
        traffic.wait_for(60);
        cluster.nodes.iter_mut().for_each(cluster_tests::node::Node::kill);
        traffic.finish();
        cluster.nodes.iter_mut().for_each(cluster_tests::node::Node::start);
        cluster.wait_until_caught_up();
        checker.check(&cluster, &ledger);
    }
}
