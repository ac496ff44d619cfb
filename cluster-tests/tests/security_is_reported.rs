//! `pollux security report`: what is weak is named with the command that mends it, which does; an open relay is found by trying.

use cluster_tests::cluster::Cluster;
use cluster_tests::node::Node;
use cluster_tests::steps::session;
use serde_json::Value;

fn report(node: &Node) -> Value {
    serde_json::from_str(&node.must(&["security", "report", "--json"], None)).expect("it is JSON")
}

/// The command that mends what is said of `what`, if anything is.
fn mend(report: &Value, what: &str) -> Option<String> {
    let weaknesses = report["weaknesses"].as_array().expect("a list");
    let found = weaknesses.iter().find(|it| it["reason"].as_str().is_some_and(|why| why.contains(what)))?;
    found["mend"].as_str().map(str::to_owned)
}

#[test]
fn security_is_reported() {
    let Some(cluster) = Cluster::start_alone() else { return };
    // What a stranger would hear is not known before the node serves.
    drop(session(&cluster, 0, "alice"));
    let node = &cluster.nodes[0];
    let first = report(node);
    assert_eq!(first["level"], "weak", "{first}");
    assert!(mend(&first, "there is one box with mail").is_some(), "{first}");

    // The stories' own users log in without TLS.
    let command = mend(&first, "in the clear").expect("it is told");
    let words: Vec<&str> = command.split(' ').collect();
    node.must(&words[1..], None);
    let second = report(node);
    assert_eq!(mend(&second, "in the clear"), None, "{second}");
    assert!(second["points"].as_u64() > first["points"].as_u64(), "{first} {second}");
    assert_eq!(mend(&second, "anybody can send"), None, "{second}");

    node.must(&["policy", "set", "relay.open_networks", "192.0.2.0/24"], None);
    let open = report(node);
    assert!(mend(&open, "anybody can send").is_some(), "{open}");
    assert_eq!(mend(&open, "without a login").as_deref(), Some("pollux policy unset relay.open_networks"));
    let text = node.must(&["security", "report"], None);
    assert!(
        text.starts_with("Security: weak, ") && text.contains("HIGH    relay: anybody can send"),
        "{text}"
    );
}
