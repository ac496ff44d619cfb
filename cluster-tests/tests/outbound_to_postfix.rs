//! Postfix on the far side: mail of two users leaves through it from both nodes while one of them is killed. All of it
//! arrives, over TLS; what Postfix refuses comes back to its sender with Postfix's own words.

use std::collections::BTreeMap;

use cluster_tests::checker;
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::{message, token_of};
use cluster_tests::postfix::Postfix;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;
use rcgen::{CertifiedKey, generate_simple_self_signed};

const FAR: &str = "127.0.0.9:2525";
const BEFORE: usize = 15;
const AFTER: usize = 15;
/// What goes through a node's connections to one destination at once: more than one a connection is not under way.
const UNDER_WAY_MAX: usize = 4;

fn submit(cluster: &Cluster, at: usize, token: &str, to: &[&str]) {
    let user = ["alice", "bob"][at];
    let mut smtp = Smtp::login(cluster.nodes[at].port(587), user).expect("the user logs in");
    smtp.submit(user, to, &message(token, 3_000)).expect("it is queued");
}

/// RFC 6531: an address that needs more than ASCII.
fn submit_utf8(cluster: &Cluster) {
    let mut smtp = Smtp::login(cluster.nodes[0].port(587), "alice").expect("alice logs in");
    for (line, code) in [
        ("MAIL FROM:<alice@example.test> SMTPUTF8", "250"),
        ("RCPT TO:<m\u{fc}ller@far.test>", "250"),
        ("DATA", "354"),
        ("From: alice@example.test\r\nTo: m\u{fc}ller@far.test\r\nSubject: utf8\r\n\r\nHi.\r\n.", "250"),
    ] {
        smtp.command(line, code).expect("it is taken");
    }
}

/// How often each token was delivered to that user.
fn copies(postfix: &Postfix, user: &str) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    for mail in postfix.delivered(user) {
        *copies.entry(token_of(&mail).expect("it is one of ours")).or_default() += 1;
    }
    copies
}

#[test]
fn outbound_to_postfix() {
    let Some(mut cluster) = Cluster::start() else { return };
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["mx.far.test".to_owned()]).expect("a certificate can be made");
    let certificate = (cert.pem(), signing_key.serialize_pem());
    let users = ["ann", "ben", "m\u{fc}ller"];
    let address = FAR.parse().expect("it is an address");
    let Some(postfix) = Postfix::start(address, "far.test", &users, (&certificate.0, &certificate.1)) else {
        return;
    };
    cluster.nodes[0].must(&["policy", "set", "relay.host", FAR], None);
    cluster.wait_until_caught_up();

    for n in 0..BEFORE {
        submit(&cluster, n % 2, &format!("before-{n}"), &["ann@far.test", "ben@far.test"]);
    }
    submit_utf8(&cluster);
    submit(&cluster, 0, "unknown", &["ann@far.test", "nobody@far.test"]);
    let dying = cluster.leader();
    let living = cluster.peer_of(dying);
    cluster.nodes[dying].kill();
    for n in 0..AFTER {
        submit(&cluster, living, &format!("after-{n}"), &["ann@far.test", "ben@far.test"]);
    }
    eventually("the queue is empty", || {
        let output = cluster.nodes[living].command(&["queue", "list"]);
        (output.status.success() && output.stdout.is_empty()).then_some(())
    });

    // Everything is there; twice at the most what was under way when the node died.
    let (ann, ben) = (copies(&postfix, "ann"), copies(&postfix, "ben"));
    let sent = (0..BEFORE).map(|n| format!("before-{n}")).chain((0..AFTER).map(|n| format!("after-{n}")));
    for token in sent {
        assert!(ann.contains_key(&token) && ben.contains_key(&token), "{token} is lost: {ann:?} {ben:?}");
    }
    assert!(ann.contains_key("unknown") && copies(&postfix, "m\u{fc}ller").contains_key("utf8"));
    let twice: Vec<_> = ann.iter().filter(|(_, count)| **count > 1).collect();
    eprintln!("taken twice: {twice:?}");
    assert!(ann.values().all(|count| *count <= 2) && twice.len() <= UNDER_WAY_MAX, "{ann:?}");

    // It was encrypted, although nobody can verify that certificate.
    let one = postfix.delivered("ben").pop().expect("ben has mail");
    let text = String::from_utf8_lossy(&one).into_owned();
    assert!(text.contains("using TLSv1.3"), "{text}");

    let notice = eventually("alice is told of nobody", || {
        let contents = checker::read(&cluster.nodes[living]).ok()?;
        let inbox = contents.get(&("alice".to_owned(), "INBOX".to_owned()))?;
        let texts = inbox.messages.iter().map(|it| String::from_utf8_lossy(&it.body).into_owned());
        texts.into_iter().find(|text| text.contains("Final-Recipient: rfc822; nobody@far.test"))
    });
    assert!(notice.contains("Status: 5.1.1\r\n") && notice.contains("User unknown"), "{notice}");
    cluster.nodes[dying].start();
    cluster.wait_until_caught_up();
}
