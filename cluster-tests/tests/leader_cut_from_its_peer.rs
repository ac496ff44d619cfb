//! The data nodes do not hear each other, the witness hears both: one of them goes on, nothing is lost.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

#[test]
fn leader_cut_from_its_peer() {
    let Some(mut cluster) = Cluster::start() else { return };
    let traffic = Traffic::start(&cluster, Ledger::default(), 15);
    traffic.wait_for(100);
    let (one, other) = (cluster.nodes[0].address.to_string(), cluster.nodes[1].address.to_string());
    cluster.lab.cut(&one, &other);
    traffic.wait_for(50);
    cluster.lab.heal();
    traffic.wait_for(50);
    let ledger = traffic.finish();
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}
