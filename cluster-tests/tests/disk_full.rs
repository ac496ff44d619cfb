//! One node's disk fills up: service goes on, nothing acknowledged is missing, and with room again the node catches up.

use std::fs::File;
use std::io::Write;

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::traffic::Traffic;

const DISK_MEBIBYTES: u32 = 192;

#[test]
fn disk_full() {
    let small_disk_for_node2 = |lab: &cluster_tests::lab::Lab, node: &mut cluster_tests::node::Node| {
        if node.name == "node2" {
            lab.mount_small_disk(&node.dir, DISK_MEBIBYTES);
        }
    };
    let Some(mut cluster) = Cluster::start_on(|_| {}, small_disk_for_node2) else { return };
    let traffic = Traffic::start(&cluster, Ledger::default(), 20);
    traffic.wait_for(50);

    let filler = cluster.nodes[1].dir.join("filler");
    fill(&filler);
    traffic.wait_for(100);

    std::fs::remove_file(&filler).expect("the filler is ours");
    if !cluster.nodes[1].is_running() {
        cluster.nodes[1].kill();
        cluster.nodes[1].start();
    }
    traffic.wait_for(50);
    let ledger = traffic.finish();
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}

/// Writes until the disk refuses.
fn fill(path: &std::path::Path) {
    let mut file = File::create(path).expect("there is room for a name");
    let block = vec![0x55; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&block[..512]).is_ok() {}
}
