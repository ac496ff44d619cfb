//! The disk of the backups is full: one line says so, the backups before are whole, the mail goes on; with room again the next
//! is made.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use cluster_tests::cluster::Cluster;
use cluster_tests::imap::Imap;
use cluster_tests::ledger::message;
use cluster_tests::node::{pollux, succeeded};

#[test]
fn backup_to_a_full_disk() {
    let Some(cluster) = Cluster::start() else { return };
    let disk = cluster.home().join("disk");
    cluster.lab.mount_small_disk(&disk, 24);
    let folder = disk.join("backups").display().to_string();
    let node = &cluster.nodes[0];
    node.must(&["backup", "create", &folder], None);

    let mut imap = Imap::login(node.imap(), "carol", "demo-carol").expect("carol logs in");
    for at in 0..3 {
        imap.append("Sent", &message(&format!("large-{at}"), 3 << 20)).expect("there is room");
    }
    let filler = disk.join("filler");
    fill_but(&filler, 4 << 20);
    let refused = node.command(&["backup", "create", &folder]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("the disk is full; free space there"), "{said}");
    let one = |what: &str| succeeded(&["backup"], &pollux(&["backup", what, &folder], None, None));
    assert_eq!(one("list").lines().count(), 1, "the one before alone");
    assert!(one("verify").contains("1 backups are whole"));
    imap.append("Sent", &message("goes-on", 100)).expect("mail goes on");

    std::fs::remove_file(&filler).expect("the filler is ours");
    node.must(&["backup", "create", &folder], None);
    assert!(one("verify").contains("2 backups are whole"));
}

/// Takes all the space but so many octets.
fn fill_but(path: &Path, octets: u64) {
    let mut file = File::create(path).expect("there is room for a name");
    let block = vec![0x55; 64 * 1024];
    let mut written = 0;
    while file.write_all(&block).is_ok() {
        written += block.len() as u64;
    }
    file.set_len(written.saturating_sub(octets)).expect("a file can be made shorter");
}
