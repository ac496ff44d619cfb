//! Mail goes by the relay that is closest to it, whichever node the relay was named on and whichever sends: one domain to a
//! server of its own, one sender by another, the rest as before. It stays so when the leader dies.

use cluster_tests::cluster::Cluster;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;

struct Story {
    cluster: Cluster,
    usual: Sink,
    branch: Sink,
    boss: Sink,
}

impl Story {
    fn submit(&self, at: usize, user: &str, to: &[&str]) -> std::io::Result<String> {
        let text = format!("From: {user}@example.test\r\nSubject: x\r\n\r\nHi.\r\n");
        Smtp::login(self.cluster.nodes[at].port(587), user)?.submit(user, to, text.as_bytes())
    }

    /// All that each sink has taken, by its recipients.
    fn have(&self, usual: &[&str], branch: &[&str], boss: &[&str]) {
        for (sink, expected) in [(&self.usual, usual), (&self.branch, branch), (&self.boss, boss)] {
            eventually(&format!("{} has {expected:?}", sink.address), || {
                let mut taken: Vec<String> = sink.taken().into_iter().flat_map(|mail| mail.to).collect();
                taken.sort();
                (taken == expected).then_some(())
            });
        }
    }
}

#[test]
fn relays_take_what_is_theirs() {
    let Some(cluster) = Cluster::start() else { return };
    let sink = |port: u16| Sink::start(&format!("127.0.0.9:{port}"));
    let mut story = Story { cluster, usual: sink(2525), branch: sink(2526), boss: sink(2527) };
    story.cluster.tell_with(0, &["policy", "set", "relay.host", "127.0.0.9:2525"], None);
    story.cluster.tell_with(
        1,
        &["relay", "add", "branch", "--host", "127.0.0.9:2526", "--for-recipient", "@Branch.test"],
        None,
    );
    story.cluster.tell_with(
        0,
        &["relay", "add", "boss", "--host", "127.0.0.9:2527", "--for-sender", "bob@example.test"],
        None,
    );
    let listed = story.cluster.tell_with(1, &["relay", "list"], None);
    assert_eq!(listed, story.cluster.tell_with(0, &["relay", "list"], None));
    assert!(
        listed.contains("recipient @branch.test") && listed.contains("sender bob@example.test"),
        "{listed}"
    );

    story.submit(0, "alice", &["a@far.test", "a@branch.test"]).expect("it is queued");
    story.submit(1, "bob", &["b@far.test", "b@branch.test"]).expect("it is queued");
    story.have(&["a@far.test"], &["a@branch.test"], &["b@branch.test", "b@far.test"]);

    // What has a password is not sent in the clear, nor another way.
    let open =
        ["relay", "add", "open", "--host", "h.test", "--user", "u", "--password-stdin", "--tls", "off"];
    let said = pollux_refuses(&story, &open);
    assert!(said.contains("never sent in the clear"), "{said}");
    let login = [
        "relay",
        "add",
        "login",
        "--host",
        "127.0.0.9:2525",
        "--for-recipient",
        "@closed.test",
        "--user",
        "u",
        "--password-stdin",
    ];
    story.cluster.tell_with(0, &login, Some("secret\n"));
    assert!(!story.cluster.tell_with(1, &["relay", "list", "--json"], None).contains("secret"));
    story.submit(1, "alice", &["a@closed.test"]).expect("it is queued");
    let waiting = eventually("it was tried", || {
        let listed = story.cluster.nodes[0].must(&["queue", "list", "--host", "closed.test", "--json"], None);
        let mails: Vec<serde_json::Value> = serde_json::from_str(&listed).expect("a listing is JSON");
        mails.first()?["recipients"][0]["reply"].as_str().map(str::to_owned)
    });
    assert!(waiting.starts_with("451 4.7.4 STARTTLS"), "{waiting}");

    let leader = story.cluster.leader();
    let left = story.cluster.peer_of(leader);
    story.cluster.nodes[leader].kill();
    story.cluster.leader_other_than(leader);
    eventually("the node that is left takes mail", || story.submit(left, "alice", &["c@branch.test"]).ok());
    story.cluster.nodes[left].must(&["relay", "remove", "boss"], None);
    story.submit(left, "bob", &["d@far.test"]).expect("it is queued");
    story.have(
        &["a@far.test", "d@far.test"],
        &["a@branch.test", "c@branch.test"],
        &["b@branch.test", "b@far.test"],
    );
}

fn pollux_refuses(story: &Story, arguments: &[&str]) -> String {
    let node = &story.cluster.nodes[0];
    let config = node.dir.join("pollux.toml");
    let output = cluster_tests::node::pollux(arguments, Some(&config), Some("secret\n"));
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
