//! `pollux cluster verify`, as stories ask it.

use serde_json::Value;

use crate::node::Node;

/// What the nodes found; each body is read.
pub fn verify(node: &Node) -> Value {
    let output = node.command(&["cluster", "verify", "--bodies", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("cluster verify on {}: {}: {said}", node.name, output.status));
    assert_eq!(output.status.success(), report["equal"] == true, "the exit says whether they are equal");
    report
}

/// All that a report finds wrong, one line each; none, if the nodes hold the same.
pub fn findings(report: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let texts = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for node in texts(&report["nodes"]) {
        let name = &node["name"];
        for why in ["unasked", "damaged", "bodies_unseen"].iter().filter(|why| !node[**why].is_null()) {
            found.push(format!("{name}: {why}: {}", node[*why]));
        }
        found.extend(texts(&node["wrong"]).iter().map(|group| format!("{name}: {}", group["words"])));
        found.extend(texts(&node["wrong_bodies"]).iter().map(|body| format!("{name}: body {body}")));
    }
    found.extend(texts(&report["disputed"]).iter().map(|group| format!("disputed: {}", group["words"])));
    if found.is_empty() && report["equal"] != true {
        found.push(format!("not equal, and nothing is named: {report}"));
    }
    found
}
