//! A user sends under his own addresses alone, on both nodes, also one that became his on the other node; from trusted
//! networks under any. It stays so when the leader dies.

use cluster_tests::cluster::Cluster;
use cluster_tests::smtp::Smtp;
use cluster_tests::steps::session;
use cluster_tests::wait::eventually;

struct Story {
    cluster: Cluster,
}

impl Story {
    /// Alice's mail to bob: the first word against it, or of its being taken.
    fn said(&self, at: usize, sender: &str, author: &str) -> String {
        let send = || {
            let mut smtp = Smtp::login(self.cluster.nodes[at].port(587), "alice")?;
            smtp.command(&format!("MAIL FROM:<{sender}>"), "250")?;
            smtp.command("RCPT TO:<bob@example.test>", "250")?;
            smtp.command("DATA", "354")?;
            smtp.command(&format!("From: A <{author}>\r\nSubject: x\r\n\r\nHi.\r\n."), "250")
        };
        send().unwrap_or_else(|refused: std::io::Error| refused.to_string())
    }

    /// By MAIL FROM, and by From.
    fn takes(&self, at: usize, address: &str) -> bool {
        const OWN: &str = "alice@example.test";
        let (envelope, header) = (self.said(at, address, OWN), self.said(at, OWN, address));
        let (mail, from) = (envelope.starts_with("250"), header.starts_with("250"));
        assert!(mail || envelope.starts_with("553 5.7.1 The sender"), "{address}: {envelope}");
        assert!(from || header.starts_with("553 5.7.1 From"), "{address}: {header}");
        assert_eq!(mail, from, "{address}");
        mail
    }
}

#[test]
fn users_send_as_themselves() {
    let Some(cluster) = Cluster::start() else { return };
    let mut story = Story { cluster };
    let mut taken = 0;
    for at in [0, 1] {
        for address in ["alice@example.test", "Alice+x@example.test"] {
            assert!(story.takes(at, address), "{address}");
            taken += 2;
        }
        for address in ["bob@example.test", "sales@example.test", "alice@elsewhere.test"] {
            assert!(!story.takes(at, address), "{address}");
        }
    }
    story.cluster.tell(1, &["alias", "add", "sales@example.test", "alice", "bob"]);
    assert!(story.takes(0, "sales@example.test"));
    story.cluster.tell(0, &["policy", "set", "sender.any_networks", "127.0.0.0/8"]);
    assert!(story.takes(1, "alice@elsewhere.test"));
    story.cluster.tell(1, &["policy", "set", "sender.any_networks", "10.0.0.0/8"]);
    taken += 4;

    let leader = story.cluster.leader();
    let left = story.cluster.peer_of(leader);
    story.cluster.nodes[leader].kill();
    story.cluster.leader_other_than(leader);
    eventually("the node that is left takes mail", || {
        story.said(left, "sales@example.test", "alice@example.test").starts_with("250").then_some(())
    });
    taken += 1;
    assert!(!story.takes(left, "bob@example.test"));
    let kept = session(&story.cluster, left, "bob").select("INBOX").expect("there is one").exists;
    assert!(kept >= taken, "{kept} of {taken}");
    assert_eq!(session(&story.cluster, left, "alice").select("INBOX").expect("there is one").exists, 0);
}
