//! Mail programs ask either node how to set themselves up, do as they are told, and are in; what an administrator
//! changes on one node is told by both.

use std::process::Command;

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::node::Node;
use cluster_tests::wait::eventually;

const FILE: &str = "mail/config-v1.1.xml?emailaddress=alice%40example.test";

fn curl(words: &[&str]) -> Option<String> {
    let output = Command::new("curl")
        .args(["--silent", "--fail", "--insecure", "--max-time", "20"])
        .args(words)
        .output();
    let output = output.expect("cluster-tests/setup.sh installs curl");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn fetched(node: &Node, scheme: &str, port: u16) -> Option<String> {
    curl(&[&format!("{scheme}://{}/{FILE}", node.port(port))])
}

/// The port of the server that is told first.
fn first_port(file: &str) -> Option<u16> {
    let (_, rest) = file.split_once("<incomingServer type=\"imap\">")?;
    let (_, rest) = rest.split_once("<port>")?;
    rest.split_once("</port>")?.0.parse().ok()
}

#[test]
fn mail_programs_set_themselves_up() {
    let Some(cluster) = Cluster::start() else { return };
    for node in cluster.data_nodes() {
        assert_eq!(fetched(node, "http", 80), None, "nobody asked for it");
    }
    cluster.nodes[0].must(&["policy", "set", "listener.http.enabled", "true"], None);
    cluster.nodes[0].must(&["policy", "set", "listener.https.enabled", "true"], None);
    for node in cluster.data_nodes() {
        let file = eventually("the file over TLS", || fetched(node, "https", 443));
        assert_eq!(eventually("the file in the clear", || fetched(node, "http", 80)), file);
        let port = first_port(&file).expect("IMAP is told");
        let (url, login) =
            (format!("imaps://{}:{port}/", node.address), format!("alice:{}", password("alice")));
        let listed = curl(&["--user", &login, &url]).expect("as told, and in");
        assert!(listed.contains("INBOX"), "{listed}");
    }

    let before = first_port(&eventually("the file", || fetched(&cluster.nodes[0], "https", 443)));
    cluster.nodes[1].must(&["policy", "set", "listener.imaps.port", "1993"], None);
    for node in cluster.data_nodes() {
        eventually("the new port", || {
            let now = first_port(&fetched(node, "https", 443)?);
            (now != before && now == Some(node.port(1993).port())).then_some(())
        });
    }
    cluster.nodes[1].must(&["policy", "set", "listener.https.enabled", "false"], None);
    for node in cluster.data_nodes() {
        eventually("the port is shut", || fetched(node, "https", 443).is_none().then_some(()));
    }
}
