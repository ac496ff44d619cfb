//! From the last release to this build under load, one node at a time, the witness first and the leader last; back again; and
//! for good. No client meets anything but a clean end of its connection, and nothing acknowledged is missing. Until the
//! upgrade is finalised nothing is taken that the last release does not know; from then on the last release is turned away.

use std::path::Path;

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::node::{Node, binary};
use cluster_tests::released;
use cluster_tests::visitors::{Visitors, were_clean};
use cluster_tests::wait::eventually;
use serde_json::Value;

const WITNESS: usize = 2;
/// The release before this build does not know it.
const NEW_SETTING: [&str; 4] = ["policy", "set", "alarm.backup_days", "7"];

#[test]
fn rolling_upgrade() {
    let Some(released) = released::binary() else { return };
    let founded = Cluster::start_on(|_| {}, |_, node| node.build = released.clone());
    let Some(mut cluster) = founded else { return };
    let ledger = Ledger::default();
    let visitors = Visitors::start(&cluster, ledger.clone(), 53).with_pop3(&cluster);
    visitors.wait_for(40);

    roll(&mut cluster, &binary(), &visitors);
    let status = upgrade(&cluster.nodes[0]);
    assert_eq!((&status["cluster_version"], &status["finalize_to"]), (&1.into(), &2.into()), "{status}");
    refused(&cluster, "needs cluster version 2");
    assert_eq!(backed_up(&cluster), [Value::Null, Value::Null], "the last release cannot know of it");

    // One node goes back: the others wait for it.
    exchange(&mut cluster, 0, &released, &visitors);
    let status = upgrade(&cluster.nodes[1]);
    assert!(
        status["waits_for"].as_str().is_some_and(|why| why.contains("node1 still runs build 0.1.0")),
        "{status}"
    );
    let early = cluster.nodes[1].command(&["cluster", "upgrade", "finalize"]);
    assert_eq!(early.status.code(), Some(1));

    // All go back, and on again.
    roll(&mut cluster, &released, &visitors);
    roll(&mut cluster, &binary(), &visitors);
    cluster.nodes[WITNESS].kill();
    eventually("nobody knows what the witness runs", || {
        upgrade(&cluster.nodes[0])["waits_for"].as_str()?.contains("witness does not answer").then_some(())
    });
    cluster.nodes[WITNESS].start();
    cluster.wait_until_protected();
    cluster.nodes[0].must(&["cluster", "upgrade", "finalize"], None);
    for at in [0, 1] {
        eventually("it has gone on", || (upgrade(&cluster.nodes[at])["cluster_version"] == 2).then_some(()));
    }
    cluster.nodes[1].must(&NEW_SETTING, None);
    assert!(backed_up(&cluster).iter().all(|last| last["by"] == "node1"), "both know of it");
    visitors.wait_for(40);
    were_clean(&visitors.finish());

    turned_away(&mut cluster, &released);
    cluster.wait_until_protected();
    Checker::default().check(&cluster, &ledger);
}

/// Every node runs `build` from then on.
fn roll(cluster: &mut Cluster, build: &Path, visitors: &Visitors) {
    let leader = cluster.leader();
    for at in [WITNESS, cluster.peer_of(leader), leader] {
        exchange(cluster, at, build, visitors);
    }
}

fn exchange(cluster: &mut Cluster, at: usize, build: &Path, visitors: &Visitors) {
    cluster.nodes[at].stop();
    cluster.nodes[at].build = build.to_owned();
    visitors.wait_for(20);
    cluster.nodes[at].start();
    cluster.wait_until_protected();
    visitors.wait_for(20);
}

fn upgrade(node: &Node) -> Value {
    let said = node.must(&["cluster", "upgrade", "status", "--json"], None);
    serde_json::from_str(&said).expect("it is JSON")
}

/// Makes a backup, on the first node; what each data node tells of the last one then.
fn backed_up(cluster: &Cluster) -> [Value; 2] {
    let folder = cluster.home().join("backups");
    cluster.nodes[0].must(&["backup", "create", &folder.display().to_string()], None);
    cluster.wait_until_caught_up();
    [0, 1].map(|at| cluster.nodes[at].status().expect("it answers")["last_backup"].clone())
}

fn refused(cluster: &Cluster, why: &str) {
    let output = cluster.nodes[0].command(&NEW_SETTING);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains(why), "{}: {said}", output.status);
}

/// A data node does not start on its own disk; a witness, which has no rows, is refused by the others.
fn turned_away(cluster: &mut Cluster, released: &Path) {
    for (at, why) in [(0, "an upgrade was finalised since"), (WITNESS, "upgrade the older node")] {
        let new = cluster.nodes[at].build.clone();
        cluster.nodes[at].stop();
        let said_before = cluster.nodes[at].said().len();
        cluster.nodes[at].build = released.to_owned();
        cluster.nodes[at].start();
        eventually(why, || cluster.nodes[at].said()[said_before..].contains(why).then_some(()));
        cluster.nodes[at].kill();
        cluster.nodes[at].build = new;
        cluster.nodes[at].start();
        cluster.wait_until_protected();
    }
}
