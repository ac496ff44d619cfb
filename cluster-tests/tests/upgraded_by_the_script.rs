//! `deploy/upgrade.sh` takes a cluster from the last release to this build under load: the witness first, who leads last, and nobody
//! while the cluster is not protected.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::node::binary;
use cluster_tests::released;
use cluster_tests::visitors::{Visitors, were_clean};

/// What stands for ssh: the command runs here, with the node's configuration and the build that it runs.
const REMOTE: &str = r#"#!/bin/sh
export NODE=$1 POLLUX_CONFIG=$PLACES/$1/pollux.toml PATH=$PLACES/bin/$1:$PATH
exec sh -c "$2"
"#;
/// What stands for a package that restarts the node: the story does it.
const INSTALL: &str = r#"install -m 755 "$package" "$PLACES/bin/$NODE/new" && mv "$PLACES/bin/$NODE/new" "$PLACES/bin/$NODE/wanted"
while [ -e "$PLACES/bin/$NODE/wanted" ]; do sleep 0.1; done"#;

#[test]
fn upgraded_by_the_script() {
    let Some(released) = released::binary() else { return };
    let Some(mut cluster) = Cluster::start_on(|_| {}, |_, node| node.build = released.clone()) else {
        return;
    };
    for node in &cluster.nodes {
        let bin = bin(&cluster, &node.name);
        fs::create_dir_all(&bin).expect("a folder can be made");
        symlink(&released, bin.join("pollux")).expect("a link can be made");
    }
    let remote = cluster.home().join("remote");
    fs::write(&remote, REMOTE).expect("a file can be written");
    fs::set_permissions(&remote, fs::Permissions::from_mode(0o755)).expect("it is ours");

    says(&script(&cluster, &["node1", "witness"]), "no host was named for node2");
    says(&script(&cluster, &["node1", "node1", "node2", "witness"]), "are both node1");
    cluster.nodes[2].kill();
    says(&script(&cluster, &["node1", "node2", "witness"]), "witness does not say which node it is");
    cluster.nodes[2].start();
    cluster.wait_until_protected();
    cluster.nodes[0].must(&["cluster", "drain", "node2", "--wait"], None);
    says(&script(&cluster, &["node1", "node2", "witness"]), "not PROTECTED");
    cluster.nodes[0].must(&["cluster", "undrain", "node2"], None);
    cluster.wait_until_protected();

    let ledger = Ledger::default();
    let visitors = Visitors::start(&cluster, ledger.clone(), 59).with_pop3(&cluster);
    visitors.wait_for(40);
    let leader = cluster.leader();
    let expected = [2, cluster.peer_of(leader), leader].map(|at| cluster.nodes[at].name.clone());
    let mut running = start(&cluster, &["node2", "witness", "node1"]);
    let mut order = Vec::new();
    while running.try_wait().expect("it is ours").is_none() {
        order.extend(restart_who_waits(&mut cluster));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let output = running.wait_with_output().expect("it is ours");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(order, expected);
    assert!(said.contains("All nodes know version 2"), "{said}");
    visitors.wait_for(40);
    were_clean(&visitors.finish());
    Checker::default().check(&cluster, &ledger);
}

fn bin(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.home().join("bin").join(name)
}

fn start(cluster: &Cluster, hosts: &[&str]) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/upgrade.sh");
    Command::new("sh")
        .arg(script)
        .args(["--package".as_ref(), binary().as_os_str()])
        .args(hosts)
        .env("PLACES", cluster.home())
        .env("REMOTE", cluster.home().join("remote"))
        .env("INSTALL", INSTALL)
        .env("TIMEOUT", "60")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a shell")
}

fn script(cluster: &Cluster, hosts: &[&str]) -> Output {
    start(cluster, hosts).wait_with_output().expect("it is ours")
}

fn says(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains(why), "{}: {said}", output.status);
}

/// The node whose new build was put in place, if there is one: it runs that from now on.
fn restart_who_waits(cluster: &mut Cluster) -> Option<String> {
    let waits = |name: &str| bin(cluster, name).join("wanted").exists();
    let at = cluster.nodes.iter().position(|node| waits(&node.name))?;
    let bin = bin(cluster, &cluster.nodes[at].name);
    let node = &mut cluster.nodes[at];
    node.stop();
    fs::copy(bin.join("wanted"), bin.join("upgraded")).expect("there is room");
    fs::remove_file(bin.join("pollux")).expect("it is ours");
    symlink(bin.join("upgraded"), bin.join("pollux")).expect("a link can be made");
    node.build = bin.join("upgraded");
    node.start();
    fs::remove_file(bin.join("wanted")).expect("it is ours");
    Some(node.name.clone())
}
