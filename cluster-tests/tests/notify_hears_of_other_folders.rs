//! A client that listens (NOTIFY) on one node hears, without asking, of mail that the other node accepted into a folder
//! that it has not selected; goes on hearing when the leader is killed; and hears as well on the node that came back.

use cluster_tests::cluster::Cluster;
use cluster_tests::imap::Imap;
use cluster_tests::ledger::message;
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::steps::{leader_and_follower, run, session};

const LISTEN: &str = "NOTIFY SET STATUS (subtree lists (MessageNew MessageExpunge FlagChange MailboxName))";

#[test]
fn notify_hears_of_other_folders() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, follower) = leader_and_follower(&cluster);
    let mut other = session(&cluster, leader, "alice");
    run(&mut other, &["CREATE lists"]);
    let mut listener = session(&cluster, follower, "alice");
    run(&mut listener, &["ENABLE CONDSTORE", LISTEN]);

    deliver(&cluster, leader, "one");
    hears(&mut listener, &["STATUS \"lists\" (MESSAGES 1 UIDNEXT 2 "]);
    run(&mut other, &["CREATE lists/rust", "SELECT lists", "STORE 1 +FLAGS (\\Flagged)"]);
    hears(
        &mut listener,
        &["LIST (\\HasNoChildren) \"/\" \"lists/rust\"", "STATUS \"lists\" (UIDVALIDITY", "HIGHESTMODSEQ 3)"],
    );

    cluster.nodes[leader].kill();
    deliver(&cluster, follower, "two");
    hears(&mut listener, &["STATUS \"lists\" (MESSAGES 2 UIDNEXT 3 "]);

    cluster.nodes[leader].start();
    cluster.wait_until_caught_up();
    let mut back = session(&cluster, leader, "alice");
    let (standing, _) = back.command(LISTEN).expect("the node that is back listens, too");
    assert!(standing.iter().any(|line| line.text.contains("STATUS \"lists\" (MESSAGES 2 UIDNEXT 3 ")));
    deliver(&cluster, follower, "three");
    for listener in [&mut listener, &mut back] {
        hears(listener, &["STATUS \"lists\" (MESSAGES 3 UIDNEXT 4 "]);
    }
}

fn deliver(cluster: &Cluster, at: usize, token: &str) {
    let mut smtp = Smtp::connect(cluster.nodes[at].smtp()).expect("SMTP serves");
    let (sent, reply) = smtp.send(&["alice+lists@example.test"], &message(token, 200));
    assert_eq!(sent, Sent::Acknowledged, "{reply:?}");
}

/// Reads what comes unasked until each of `wanted` was in a line. The connection's own bound ends a wait in vain.
fn hears(listener: &mut Imap, wanted: &[&str]) {
    let mut left = wanted.to_vec();
    while !left.is_empty() {
        let line = listener.response().unwrap_or_else(|error| panic!("waited for {left:?}: {error}")).text;
        assert!(line.starts_with("* "), "nothing was asked: {line}");
        left.retain(|part| !line.contains(part));
    }
}
