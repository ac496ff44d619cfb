//! A and the witness go on without B, A dies, B returns: B serves no write until the witness has brought it up to date, and nothing acknowledged is missing.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

#[test]
fn stale_survivor() {
    let Some(mut cluster) = Cluster::start() else { return };
    let ledger = Ledger::default();
    let survivor = cluster.leader();
    let stale = cluster.peer_of(survivor);
    cluster.nodes[stale].kill();
    let traffic = Traffic::start(&cluster, ledger.clone(), 19);
    traffic.wait_for(100);
    cluster.nodes[survivor].kill();
    traffic.finish();
    let acknowledged = ledger.surely_there();

    cluster.nodes[stale].start();
    let leader = cluster.leader_other_than(survivor);
    assert_eq!(leader, stale, "the witness hands over");
    let seen = cluster_tests::checker::listed(&cluster.nodes[stale]);
    assert!(seen >= acknowledged, "{seen} messages are listed, {acknowledged} were acknowledged");

    cluster.nodes[survivor].start();
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}
