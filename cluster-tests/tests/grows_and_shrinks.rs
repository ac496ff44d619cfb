//! One node becomes a pair, a pair with a witness, three data nodes, and the same back, with clients at work all the while:
//! they are told to leave a node that goes, refused nothing, and lose nothing.

use cluster_tests::checker::Checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::Ledger;
use cluster_tests::node::Role;
use cluster_tests::visitors::{Visitors, told, were_clean};
use cluster_tests::wait::eventually;
use serde_json::Value;

/// Waits until that many nodes are members, all of them up and voting, with no change half done and no body missing.
fn settled(cluster: &Cluster) -> Value {
    eventually(&format!("{} nodes are the cluster", cluster.nodes.len()), || {
        let status = cluster.nodes[0].status()?;
        let rows = status["nodes"].as_array()?;
        let whole = |row: &Value| {
            let votes = row["state"] == "leader" || row["state"] == "follower";
            votes && row["in_sync"] == true && row["bodies_missing"] == 0 && row["lag_entries"] == 0
        };
        let because = status["because"].as_str().unwrap_or_default();
        let by_size = ["one data node only", "no third voter"].iter().any(|why| because.contains(why));
        let settled = rows.len() == cluster.nodes.len() && rows.iter().all(whole);
        (settled && (by_size || status["protection"] == "protected")).then_some(status)
    })
}

/// Clients at work on the data nodes there are, while `change` is made and until the cluster is settled after it.
fn under_load(cluster: &mut Cluster, (ledger, seed): (&Ledger, u64), change: impl FnOnce(&mut Cluster)) {
    let visitors = Visitors::start(cluster, ledger.clone(), seed);
    visitors.wait_for(40);
    change(cluster);
    visitors.wait_for(40);
    settled(cluster);
    let ends = visitors.finish();
    were_clean(&ends);
    assert!(
        ends.is_empty() || told(&ends, &cluster.nodes[0]) == 0,
        "nobody leaves the node that stays: {ends:?}"
    );
}

/// As operations.md says: drained, removed, switched off.
fn shrink(cluster: &mut Cluster, name: &str) {
    let at = cluster.nodes.iter().position(|node| node.name == name).expect("it is there");
    if cluster.nodes[at].role == Role::Data {
        cluster.nodes[0].must(&["cluster", "drain", name, "--wait"], None);
    }
    cluster.nodes[0].must(&["cluster", "remove", name], None);
    let mut gone = cluster.nodes.remove(at);
    gone.wait_for_exit();
    assert!(gone.said().contains("removed from the cluster"), "it says why it ended");
}

#[test]
fn from_one_to_three_data_nodes_and_back_under_load() {
    let Some(mut cluster) = Cluster::start_alone() else { return };
    let ledger = Ledger::default();
    let mut checker = Checker::default();
    let steps: [fn(&mut Cluster); 8] = [
        |cluster| cluster.grow("node2", Role::Data, 2),
        |cluster| cluster.grow("witness", Role::Witness, 3),
        |cluster| cluster.grow("node3", Role::Data, 4),
        |cluster| shrink(cluster, "witness"),
        |cluster| cluster.grow("witness2", Role::Witness, 5),
        |cluster| shrink(cluster, "node3"),
        |cluster| shrink(cluster, "witness2"),
        |cluster| shrink(cluster, "node2"),
    ];
    for (step, change) in steps.into_iter().enumerate() {
        under_load(&mut cluster, (&ledger, 61 + step as u64), change);
        checker.check(&cluster, &ledger);
    }
    assert_eq!(settled(&cluster)["nodes"].as_array().map(Vec::len), Some(1));
}
