//! One node's disk does not give the bodies any more: its readers get them from the peer, and they are healed on the way.

use cluster_tests::checker::{Checker, compare, read};
use cluster_tests::cluster::Cluster;
use cluster_tests::disk::{Calls, DiskFault, EIO, Effect};
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

#[test]
fn unreadable_bodies() {
    let Some(mut cluster) = Cluster::start_with_disk_faults() else { return };
    let traffic = Traffic::start(&cluster, Ledger::default(), 33);
    traffic.wait_for(80);
    let ledger = traffic.finish();
    cluster.wait_until_caught_up();

    let blind = 0;
    let disk = cluster.nodes[blind].disk();
    let cannot_read = |within| DiskFault::within(Calls::READ, Effect::Fail(EIO), within);
    disk.inflict(cannot_read(".seg"));
    let shown = read(&cluster.nodes[blind]).expect("every message is shown");
    assert!(disk.hits() > 0, "the disk was asked");
    let mut wrong = Vec::new();
    compare(&shown, &read(&cluster.nodes[1]).expect("the peer is well"), &mut wrong);
    assert!(wrong.is_empty(), "{wrong:?}");

    // Healed means written again: with the peer gone, the disk that reads again has everything.
    disk.heal();
    let said = cluster.nodes[blind].said();
    assert!(said.contains("replaced by a peer's copy"), "it says so");
    cluster.nodes[1].kill();
    let alone = read(&cluster.nodes[blind]).expect("every message is shown");
    assert_eq!(alone, shown);
    cluster.nodes[1].start();
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}
