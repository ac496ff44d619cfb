//! No data node has room for a message. APPEND is refused, at no time is half of it there, and with room again the next
//! one is taken, once. (Elsewhere a partial file stayed, was listed, and was replicated.)

use std::fs::File;
use std::io::Write;
use std::path::Path;

use cluster_tests::cluster::Cluster;
use cluster_tests::imap::Imap;
use cluster_tests::lab::Lab;
use cluster_tests::ledger::message;
use cluster_tests::node::{Node, Role};
use cluster_tests::steps::{agreed, append_all, session, tokens};
use cluster_tests::wait::eventually;

const DISK_MEBIBYTES: u32 = 160;
/// Left free for what a node writes beside mail.
const LEFT_FREE_BYTES: u64 = 1 << 20;
const BIG_BYTES: usize = 4 << 20;

#[test]
fn append_at_disk_full() {
    let small_disks = |lab: &Lab, node: &mut Node| {
        if node.role == Role::Data {
            lab.mount_small_disk(&node.dir, DISK_MEBIBYTES);
        }
    };
    let Some(mut cluster) = Cluster::start_on(|_| {}, small_disks) else { return };
    let mut alice = session(&cluster, 0, "alice");
    append_all(&mut alice, "Archive", &["before"]);
    for node in cluster.data_nodes() {
        fill(&node.dir.join("filler"));
    }
    for attempt in 0..2 {
        let refused = alice.append("Archive", &message(&format!("too-big-{attempt}"), BIG_BYTES));
        let error = refused.expect_err("there is no room for it");
        assert!(error.to_string().starts_with("NO "), "an answer, not a broken connection: {error}");
        let shown = alice.select("Archive").map(|selected| selected.exists);
        assert_eq!(shown.expect("it can be read"), 1, "nothing half is there");
    }
    for node in cluster.data_nodes() {
        std::fs::remove_file(node.dir.join("filler")).expect("the filler is ours");
    }
    for node in &mut cluster.nodes {
        if !node.is_running() {
            node.kill();
            node.start();
        }
    }
    append_once(&cluster, "after");
    assert_eq!(tokens(&agreed(&cluster), "alice", "Archive").expect("it is there"), ["before", "after"]);
}

/// Again and again until it is taken; each try before was refused as a whole.
fn append_once(cluster: &Cluster, token: &str) {
    let content = message(token, BIG_BYTES);
    eventually("with room again it is taken", || {
        let mut alice: Imap = session(cluster, 0, "alice");
        alice.append("Archive", &content).ok()
    });
}

/// Until there is room for a node's own small files, and for no big message.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("there is room for a name");
    let block = vec![0x55; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    let written = file.metadata().expect("it is there").len();
    file.set_len(written - LEFT_FREE_BYTES).expect("a file can be cut");
}
