//! Who may connect where is decided once, on whichever node, and holds on every one: real connections from an address that
//! is let in and one that is not. A rule follows its service, and comes to a node that joins; what somebody changes by hand
//! is seen and put right; what would lock out everybody is refused; a node without the right to do it says so and serves.

use std::net::SocketAddr;

use cluster_tests::cluster::Cluster;
use cluster_tests::imap::Imap;
use cluster_tests::node::Node;
use cluster_tests::office::{DESK, Knock, Office, STREET, knock};
use cluster_tests::wait::eventually;
use cluster_tests::wire::Wire;

struct Story {
    office: Office,
    cluster: Cluster,
}

impl Story {
    fn refuses(&self, arguments: &[&str], why: &str) {
        let output = self.cluster.nodes[0].command(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(why), "{arguments:?}: {said}");
    }

    /// Waits until every data node's rules are in force, by its own word as the first one hears it.
    fn in_step(&self, count: usize) {
        eventually("the rules are in force on every node", || {
            let standing = firewalls(&self.cluster.nodes[0]);
            (standing.len() == count && standing.iter().all(|it| it["state"] == "in-step")).then_some(())
        });
    }

    /// What each data node does with somebody at the desk and somebody in the street.
    fn both(&self, standard: u16, desk: Knock, street: Knock) {
        for node in self.cluster.data_nodes() {
            let at = node.port(standard);
            assert_eq!((knock(DESK, at), knock(STREET, at)), (desk, street), "{} {at}", node.name);
        }
    }

    fn in_sync(&self, name: &str) -> serde_json::Value {
        let status = self.cluster.nodes[0].status().expect("the node answers");
        let nodes = status["nodes"].as_array().expect("there are nodes").clone();
        nodes.into_iter().find(|node| node["name"] == name).expect("it is a member")["firewall_in_sync"]
            .clone()
    }
}

fn firewalls(node: &Node) -> Vec<serde_json::Value> {
    serde_json::from_str(&node.must(&["firewall", "status", "--json"], None)).expect("it is JSON")
}

/// The node's table, by the name that its script gives it.
fn table(node: &Node) -> String {
    let script = node.must(&["firewall", "render"], None);
    script.split_whitespace().nth(2).expect("a script begins with its table").to_owned()
}

/// What somebody with a shell on the box does.
fn by_hand(node: &Node, arguments: &[&str]) {
    let status = node.program("nft".as_ref()).args(arguments).status().expect("nft runs");
    assert!(status.success(), "nft {arguments:?}");
}

#[test]
fn firewall_on_both_nodes() {
    let office = Office::default();
    let Some(cluster) = office.start_cluster() else { return };
    let mut story = Story { office, cluster };
    story.both(143, Knock::In, Knock::In);
    let from_street = |at: SocketAddr| Wire::connect_from(STREET.into(), at).expect("it is let in");
    let mut older = from_street(story.cluster.nodes[1].imap());
    older.line().expect("it is greeted");

    // One rule, told to one node, shuts the street out on both; who is in already stays.
    story
        .cluster
        .tell(0, &["firewall", "add", "office", "imap", "--action", "allow", "--from", "10.77.0.100"]);
    story.in_step(2);
    story.both(143, Knock::In, Knock::Silence);
    story.both(25, Knock::In, Knock::In);
    older.send(b"a noop\r\n").expect("the connection is there");
    assert!(older.line().expect("it is answered").starts_with("a OK"));
    assert_eq!(story.in_sync("node2"), true);
    assert_eq!(story.in_sync("witness"), serde_json::Value::Null);

    // The rule follows its service; another one refuses aloud.
    story.cluster.tell(1, &["policy", "set", "listener.imap.port", "1143"]);
    story
        .cluster
        .tell(1, &["firewall", "add", "nopop", "pop3", "--action", "reject", "--from", "10.77.0.101"]);
    eventually("the rule has moved with its port", || {
        let moved = |node: &Node| {
            knock(DESK, node.port(1143)) == Knock::In && knock(STREET, node.port(1143)) == Knock::Silence
        };
        story.cluster.data_nodes().iter().all(moved).then_some(())
    });
    eventually("pop3 is refused to the street", || {
        let refused = |node: &Node| knock(STREET, node.pop3()) == Knock::Refused;
        story.cluster.data_nodes().iter().all(refused).then_some(())
    });
    story.both(110, Knock::In, Knock::Refused);
    story.both(143, Knock::Refused, Knock::Refused);

    put_right_and_told(&story);
    after_a_reboot(&mut story);
    nobody_is_locked_out(&story);
    come_to_a_node_that_joins(&mut story);
    a_box_without_the_right(&mut story);

    // Without rules there is no table, and everybody is let in.
    story.cluster.tell(1, &["firewall", "remove", "office"]);
    story.cluster.tell(1, &["firewall", "remove", "nopop"]);
    eventually("everybody is let in", || {
        let open = |node: &Node| knock(STREET, node.port(1143)) == Knock::In;
        story.cluster.data_nodes().iter().all(open).then_some(())
    });
    assert_eq!(story.in_sync("node1"), serde_json::Value::Null);
    Imap::login(story.cluster.nodes[0].port(1143), "alice", "demo-alice").expect("mail is read as ever");
}

fn put_right_and_told(story: &Story) {
    let (first, second) = (&story.cluster.nodes[0], &story.cluster.nodes[1]);
    by_hand(second, &["delete", "table", "inet", &table(second)]);
    eventually("the table is put right", || {
        let standing = firewalls(first);
        let healed = standing.iter().find(|it| it["node"] == "node2")?["healed"].as_u64()?;
        (healed == 1 && knock(STREET, second.port(1143)) == Knock::Silence).then_some(())
    });

    // Left so, it is told, from the other node too.
    story.cluster.tell(0, &["policy", "set", "firewall.heal", "false"]);
    by_hand(second, &["add", "rule", "inet", &table(second), "input", "tcp", "dport", "99", "drop"]);
    eventually("node2 is told apart", || (story.in_sync("node2") == false).then_some(()));
    assert_eq!(story.in_sync("node1"), true);
    let said = first.must(&["cluster", "status"], None);
    assert!(said.contains("The firewall of node2 is not as the rules say"), "{said}");
    let check = String::from_utf8_lossy(&first.command(&["check"]).stdout).into_owned();
    assert!(check.contains("not in force on node2"), "{check}");
    story.cluster.tell(1, &["policy", "set", "firewall.heal", "true"]);
    story.in_step(2);
    assert_eq!(story.in_sync("node2"), true);
}

/// The box comes back without its tables. No port of the node is open before they are there again.
fn after_a_reboot(story: &mut Story) {
    story.cluster.nodes[1].kill();
    by_hand(&story.cluster.nodes[1], &["flush", "ruleset"]);
    story.cluster.nodes[1].start();
    let at = story.cluster.nodes[1].port(1143);
    eventually("the node serves again", || (knock(DESK, at) == Knock::In).then_some(()));
    assert_eq!(knock(STREET, at), Knock::Silence);
    story.cluster.wait_until_caught_up();
}

fn nobody_is_locked_out(story: &Story) {
    let before = story.cluster.tell(0, &["firewall", "list"]);
    story.refuses(
        &["firewall", "add", "shut", "tcp/1-65535", "--action", "drop"],
        "nobody could log in by SSH",
    );
    story.refuses(
        &["firewall", "add", "cut", "udp/1-65535", "--action", "drop"],
        "the nodes speak to each other",
    );
    story.refuses(
        &["firewall", "add", "x", "imap", "--action", "drop", "--before", "y"],
        "there is no rule y",
    );
    let dry = story.cluster.tell(0, &["firewall", "add", "try", "tcp/8080", "--action", "drop", "--dry-run"]);
    assert!(dry.contains("tcp dport { 8080 } drop comment \"try\""), "{dry}");
    assert_eq!(story.cluster.tell(1, &["firewall", "list"]), before);
}

fn come_to_a_node_that_joins(story: &mut Story) {
    let node = story.office.further_node(&story.cluster, "node4", 4);
    story.cluster.nodes.push(node);
    story.cluster.join(3, &|_| {});
    let at = story.cluster.nodes[3].port(1143);
    eventually("the new node serves", || (knock(DESK, at) == Knock::In).then_some(()));
    assert_eq!(knock(STREET, at), Knock::Silence);
    story.in_step(3);
    story.cluster.wait_until_caught_up();
    story.cluster.nodes[0].must(&["cluster", "remove", "node4"], None);
    story.cluster.nodes[3].kill();
    story.cluster.nodes.truncate(3);
    story.cluster.wait_until_caught_up();
}

/// It serves all the same, says what it lacks, and what it would have done.
fn a_box_without_the_right(story: &mut Story) {
    let before = story.cluster.nodes[1].inside.clone();
    story.cluster.nodes[1].stop();
    story.cluster.nodes[1].inside.extend(["setpriv", "--bounding-set", "-net_admin"].map(str::to_owned));
    story.cluster.nodes[1].start();
    story.cluster.wait_until_caught_up();
    let told = eventually("node2 says what it lacks", || {
        let mut standing = firewalls(&story.cluster.nodes[0]).into_iter();
        standing.find(|it| it["node"] == "node2" && it["state"] == "unable")
    });
    assert!(told["why"].as_str().is_some_and(|why| why.contains("CAP_NET_ADMIN")), "{told}");
    assert_eq!(story.in_sync("node2"), false);
    assert!(story.cluster.nodes[1].must(&["firewall", "render"], None).contains("11143"));
    assert_eq!(knock(DESK, story.cluster.nodes[1].port(1143)), Knock::In);
    story.cluster.nodes[1].stop();
    story.cluster.nodes[1].inside = before;
    story.cluster.nodes[1].start();
    story.cluster.wait_until_caught_up();
    story.in_step(2);
}
