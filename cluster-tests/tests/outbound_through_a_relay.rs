//! A user hands in a mail for here and elsewhere. It leaves through the relay, what was refused comes back to the user
//! on either node, what cannot be taken yet waits where the operator sees it.

use cluster_tests::checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::{message, token_of};
use cluster_tests::node::Node;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;

#[test]
fn what_is_taken_leaves_what_is_refused_comes_back_and_what_waits_is_seen() {
    let Some(cluster) = Cluster::start() else { return };
    let sink = Sink::start("127.0.0.9:2525");
    cluster.nodes[1].must(&["policy", "set", "relay.host", &sink.address.to_string()], None);
    eventually("the first node knows the relay", || {
        let shown = cluster.nodes[0].must(&["policy", "show", "relay.host"], None);
        shown.contains("127.0.0.9:2525").then_some(())
    });
    let mut stranger = Smtp::connect(cluster.nodes[0].smtp()).expect("SMTP serves");
    stranger.command("MAIL FROM:<x@far.test>", "250").expect("a sender is taken");
    let relay = stranger.command("RCPT TO:<a@far.test>", "250").expect_err("an open relay");
    assert!(relay.to_string().starts_with("554 5.7.1"), "{relay}");

    let mut smtp = Smtp::login(cluster.nodes[0].port(587), "alice").expect("alice logs in");
    let to = ["a@far.test", "no@far.test", "later@far.test", "b@near.test", "bob@example.test"];
    let said = smtp.submit("alice", &to, &message("mixed", 20_000)).expect("it is queued");
    assert!(said.starts_with("250 2.0.0 Queued"), "{said}");
    eventually("both parcels leave", || (sink.taken().len() == 2).then_some(()));
    for mail in sink.taken() {
        assert_eq!(
            (mail.from.as_str(), token_of(&mail.content).as_deref()),
            ("alice@example.test", Some("mixed"))
        );
        assert!(!mail.content.starts_with(b"Return-Path"), "what is for mailboxes here stays here");
    }
    for node in cluster.data_nodes() {
        let notice = eventually("alice is told", || inbox(node, "alice").into_iter().next());
        for part in ["Final-Recipient: rfc822; no@far.test", "Status: 5.1.1", "Action: failed"] {
            assert!(notice.contains(part), "{part}: {notice}");
        }
        assert_eq!(inbox(node, "bob").len(), 1);
        let waiting = waiting(node);
        assert_eq!(waiting.len(), 1, "{waiting:?}");
        assert_eq!(waiting[0]["recipients"][0]["address"], "later@far.test");
        assert_eq!(waiting[0]["recipients"][0]["reply"], "450 4.2.0 later");
    }

    sink.relent();
    let id = waiting(&cluster.nodes[1])[0]["id"].to_string();
    cluster.nodes[1].must(&["queue", "hold", &id], None);
    cluster.nodes[1].must(&["queue", "retry", &id], None);
    assert!(cluster.nodes[1].must(&["queue", "show", &id], None).contains("held, tried once"));
    assert_eq!(sink.taken().len(), 2);
    cluster.nodes[1].must(&["queue", "release", "--host", "far.test"], None);
    eventually("the queue is empty", || waiting(&cluster.nodes[0]).is_empty().then_some(()));
    assert_eq!(sink.taken()[2].to, ["later@far.test"]);
    assert_eq!(inbox(&cluster.nodes[0], "alice").len(), 1, "nothing more to tell");
}

fn inbox(node: &Node, user: &str) -> Vec<String> {
    let contents = eventually("the node can be read", || checker::read(node).ok());
    let inbox = contents.get(&(user.to_owned(), "INBOX".to_owned()));
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    inbox.map(|inbox| inbox.messages.iter().map(|it| text(&it.body)).collect()).unwrap_or_default()
}

fn waiting(node: &Node) -> Vec<serde_json::Value> {
    let listed = node.must(&["queue", "list", "--json"], None);
    serde_json::from_str(&listed).expect("a listing is JSON")
}
