//! A filter put on one node decides of mail that comes by the other, and of mail that comes when the leader has died: into a
//! folder that it makes, on to another server, to nobody, back to the sender, with a word of who is away. `trace` tells it.

use cluster_tests::checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::node::Node;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;

const FILTER: &str = r#"require ["fileinto", "mailbox", "copy", "reject", "vacation", "imap4flags"];
if header :contains "Subject" "list" { fileinto :create :flags "\\Seen" "Lists/Far"; stop; }
if header :contains "Subject" "spam" { discard; stop; }
if header :contains "Subject" "never" { reject "Write to my office"; stop; }
if header :contains "Subject" "urgent" { redirect :copy "ann@far.test"; }
vacation :days 7 :subject "Away" "Back on Monday.";
"#;

struct Story {
    cluster: Cluster,
    sink: Sink,
}

impl Story {
    /// By a stranger, to alice.
    fn send(&self, at: usize, from: &str, subject: &str) -> String {
        let mut smtp = Smtp::connect(self.cluster.nodes[at].smtp()).expect("SMTP serves");
        smtp.command(&format!("MAIL FROM:<{from}>"), "250").expect("a sender is taken");
        smtp.command("RCPT TO:<alice@example.test>", "250").expect("alice is known");
        smtp.command("DATA", "354").expect("it may begin");
        let text = format!("From: {from}\r\nTo: alice@example.test\r\nSubject: {subject}\r\n\r\nHi.\r\n.");
        smtp.command(&text, "").expect("a reply")
    }

    /// Each subject on this node; then what is where, on the nodes that live.
    fn each_way(&self, at: usize, round: &str, living: &[usize]) {
        let from = format!("joe{round}@far.test");
        for subject in ["list", "spam", "plain", "urgent"] {
            let said = self.send(at, &from, &format!("{subject} {round}"));
            assert!(said.starts_with("250"), "{subject}: {said}");
        }
        let said = self.send(at, &from, &format!("never {round}"));
        assert!(said.starts_with("550 5.7.1 Write to my office"), "{said}");
        for node in living.iter().map(|at| &self.cluster.nodes[*at]) {
            for (mailbox, expected) in [("INBOX", vec!["plain", "urgent"]), ("Lists/Far", vec!["list"])] {
                let found = eventually("the mail is there", || {
                    let found = subjects(node, mailbox, round);
                    (found.len() == expected.len()).then_some(found)
                });
                assert_eq!(found, expected, "{mailbox} on {}", node.name);
            }
        }
        // One reply to this sender, and one mail redirected in alice's name.
        let left = eventually("both mails leave", || {
            let taken = self.sink.taken();
            let of_round = |text: &[u8]| String::from_utf8_lossy(text).contains(round);
            let left: Vec<_> = taken
                .into_iter()
                .filter(|mail| mail.to.iter().any(|to| to.contains(round)) || of_round(&mail.content))
                .collect();
            (left.len() == 2).then_some(left)
        });
        let mut ways: Vec<_> = left.iter().map(|mail| (mail.from.as_str(), mail.to[0].as_str())).collect();
        ways.sort_unstable();
        assert_eq!(ways, [("", from.as_str()), ("alice@example.test", "ann@far.test")]);
        let reply = left.iter().find(|mail| mail.from.is_empty()).expect("it is there");
        let reply = String::from_utf8_lossy(&reply.content);
        assert!(
            reply.contains("Auto-Submitted: auto-replied\r\n") && reply.contains("Back on Monday."),
            "{reply}"
        );
        let traced = self.cluster.nodes[at].must(&["trace", &from], None);
        for told in ["filed into Lists/Far", "discarded by the filter", "redirected to ann@far.test"] {
            assert!(traced.contains(told), "{told}: {traced}");
        }
    }
}

/// The first words of the subjects of this round, in order.
fn subjects(node: &Node, mailbox: &str, round: &str) -> Vec<String> {
    let contents = eventually("the node can be read", || checker::read(node).ok());
    let Some(mailbox) = contents.get(&("alice".to_owned(), mailbox.to_owned())) else { return Vec::new() };
    let subject = |body: &[u8]| {
        let text = String::from_utf8_lossy(body).into_owned();
        let line =
            text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default().to_owned();
        line.strip_suffix(round).map(|word| word.trim().to_owned())
    };
    mailbox.messages.iter().filter_map(|message| subject(&message.body)).collect()
}

#[test]
fn mail_is_filtered_on_both_nodes() {
    let Some(cluster) = Cluster::start() else { return };
    let sink = Sink::start("127.0.0.9:2525");
    cluster.nodes[1].must(&["policy", "set", "relay.host", &sink.address.to_string()], None);
    cluster.nodes[0].must(&["sieve", "put", "alice", "main", "-", "--activate"], Some(FILTER));
    cluster.wait_until_caught_up();
    let mut story = Story { cluster, sink };
    story.each_way(1, "one", &[0, 1]);
    story.each_way(0, "two", &[0, 1]);
    let leader = story.cluster.leader();
    story.cluster.nodes[leader].kill();
    let survivor = story.cluster.peer_of(leader);
    eventually("the survivor takes mail", || {
        story.send(survivor, "x@far.test", "spam first").starts_with("250").then_some(())
    });
    story.each_way(survivor, "three", &[survivor]);
}
