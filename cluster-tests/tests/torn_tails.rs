//! A crash in the middle of a write: half a record at the end of the log and of a body segment. Both are cut, nothing else.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::node::Node;
use cluster_tests::traffic::Traffic;

#[test]
fn torn_tails() {
    let Some(mut cluster) = Cluster::start() else { return };
    let ledger = Ledger::default();
    let mut checker = Checker::default();
    for (round, torn) in [0, 1, 2].into_iter().enumerate() {
        let traffic = Traffic::start(&cluster, ledger.clone(), 2100 + round as u64 * 10);
        traffic.wait_for(40);
        cluster.nodes.iter_mut().for_each(Node::kill);
        traffic.finish();
        // A crash leaves blocks that were allotted and never written; a body's record may also end in any bytes.
        tear(&newest(&cluster.nodes[torn].dir.join("raft"), ".log"), &[0; 600]);
        if torn < 2 {
            tear(&newest(&cluster.nodes[torn].dir, ".seg"), b"half a record");
        }
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.wait_until_caught_up();
        checker.check(&cluster, &ledger);
    }
}

fn newest(dir: &Path, ending: &str) -> PathBuf {
    let mut found = Vec::new();
    collect(dir, &mut found);
    let wanted = found.into_iter().filter(|path| path.display().to_string().ends_with(ending));
    wanted.max().unwrap_or_else(|| panic!("{} has no file that ends in {ending}", dir.display()))
}

fn tear(path: &Path, torn: &[u8]) {
    File::options()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(torn))
        .expect("the file is ours");
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() { collect(&path, found) } else { found.push(path) }
    }
}
