//! The leader dies between the commit and its answer. The node that was asked asks again, of the next leader, and the
//! mail is there once; a client that lost its own server and sends again gets what it sent, twice at most. (Elsewhere
//! either of them delivered a mail for each try.)

use std::collections::BTreeMap;

use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::message;
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::steps::{agreed, leader_and_follower, tokens};
use cluster_tests::wait::eventually;

/// Mails under way at the moment of each death.
const AT_ONCE: usize = 12;

#[test]
fn the_server_asks_again() {
    let Some(mut cluster) = Cluster::start() else { return };
    let mut acknowledged = Vec::new();
    let mut unknown = Vec::new();
    for round in 0..4 {
        let (leader, follower) = leader_and_follower(&cluster);
        let mut connections: Vec<(String, Smtp)> = (0..AT_ONCE)
            .map(|at| {
                let smtp = Smtp::connect(cluster.nodes[follower].smtp()).expect("SMTP serves");
                (format!("round-{round}-{at}"), smtp)
            })
            .collect();
        for (token, smtp) in &mut connections {
            let sent = smtp.send_without_waiting(&["alice@example.test"], &message(token, 500));
            sent.expect("the node takes the text");
        }
        if round % 2 == 0 {
            // What the leader commits now, it can tell nobody: its words no longer arrive.
            let addresses = [leader, follower].map(|at| cluster.nodes[at].address.to_string());
            cluster.lab.cut_one_way(&addresses[0], &addresses[1]);
        }
        cluster.nodes[leader].kill();
        cluster.lab.heal();
        for (token, mut smtp) in connections {
            match smtp.reply("250") {
                Ok(_) => acknowledged.push(token),
                Err(_) => unknown.push(token),
            }
        }
        cluster.nodes[leader].start();
        cluster.wait_until_caught_up();
    }
    let copies = count(&cluster);
    let of = |token: &String| copies.get(token).copied().unwrap_or(0);
    assert!(!acknowledged.is_empty(), "some were acknowledged, by the next leader");
    for token in &acknowledged {
        assert_eq!(of(token), 1, "{token} was acknowledged once");
    }
    for token in &unknown {
        assert!(of(token) <= 1, "{token} was sent once and is there {} times", of(token));
    }
}

#[test]
fn the_client_sends_again() {
    let Some(mut cluster) = Cluster::start() else { return };
    for round in 0..3 {
        let (leader, survivor) = leader_and_follower(&cluster);
        let token = format!("again-{round}");
        let content = message(&token, 500);
        let mut smtp = Smtp::connect(cluster.nodes[leader].smtp()).expect("SMTP serves");
        smtp.send_without_waiting(&["alice@example.test"], &content).expect("the node takes the text");
        cluster.nodes[leader].kill();
        eventually("the survivor takes it", || {
            let mut smtp = Smtp::connect(cluster.nodes[survivor].smtp()).ok()?;
            (smtp.send(&["alice@example.test"], &content).0 == Sent::Acknowledged).then_some(())
        });
        cluster.nodes[leader].start();
        let copies = count(&cluster).get(&token).copied().unwrap_or(0);
        assert!((1..=2).contains(&copies), "{token}: sent twice, acknowledged once, there {copies} times");
    }
}

/// How often each token is in alice's INBOX, on both nodes alike.
fn count(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    for token in tokens(&agreed(cluster), "alice", "INBOX").expect("INBOX is there") {
        *copies.entry(token).or_default() += 1;
    }
    copies
}
