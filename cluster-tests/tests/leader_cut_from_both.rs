//! The leader is cut from both others: they go on, it acknowledges nothing, and comes back in step.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

#[test]
fn leader_cut_from_both() {
    let Some(mut cluster) = Cluster::start() else { return };
    let traffic = Traffic::start(&cluster, Ledger::default(), 14);
    traffic.wait_for(100);
    let leader = cluster.leader();
    let addresses: Vec<String> = cluster.nodes.iter().map(|node| node.address.to_string()).collect();
    for other in (0..addresses.len()).filter(|at| *at != leader) {
        cluster.lab.cut(&addresses[leader], &addresses[other]);
    }
    traffic.wait_for(50);
    cluster.lab.heal();
    traffic.wait_for(50);
    let ledger = traffic.finish();
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}
