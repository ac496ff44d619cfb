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
        tear_newest(&cluster.nodes[torn].dir, &[".log"]);
        if torn < 2 {
            tear_newest(&cluster.nodes[torn].dir, &[".seg", ".segment", ".bodies"]);
        }
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.wait_until_caught_up();
        checker.check(&cluster, &ledger);
    }
}

/// Appends the first half of the file's own last bytes: as good a beginning of a record as any.
fn tear_newest(dir: &Path, endings: &[&str]) {
    let mut found = Vec::new();
    collect(dir, &mut found);
    let is_wanted =
        |path: &&PathBuf| endings.iter().any(|ending| path.display().to_string().ends_with(ending));
    let newest = found.iter().filter(is_wanted).max().expect("the node has such a file");
    let content = fs::read(newest).expect("the file is readable");
    let half = &content[content.len().saturating_sub(37)..];
    File::options()
        .append(true)
        .open(newest)
        .and_then(|mut file| file.write_all(half))
        .expect("the file is ours");
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() { collect(&path, found) } else { found.push(path) }
    }
}
