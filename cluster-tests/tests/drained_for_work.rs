//! A node is drained for work on its box: its clients end what they are in the middle of and go elsewhere, it goes on
//! replicating, hands over leadership, and stays drained over a restart. Never are all nodes drained.

use std::net::TcpStream;
use std::process::Output;

use cluster_tests::checker::Checker;
use cluster_tests::cluster::{Cluster, password};
use cluster_tests::ledger::{Ledger, message};
use cluster_tests::node::{Node, Role};
use cluster_tests::pop3::Pop3;
use cluster_tests::sink::{Moment, Sink};
use cluster_tests::smtp::Smtp;
use cluster_tests::steps::{leader_and_follower, run, session};
use cluster_tests::visitors::{Visitors, told, were_clean};
use cluster_tests::wait::eventually;
use serde_json::Value;

/// What `on` says of `node`'s drain; null while it serves.
fn drain_of(on: &Node, node: &Node) -> Option<Value> {
    let status = on.status()?;
    let row = status["nodes"].as_array()?.iter().find(|row| row["name"] == node.name.as_str())?.clone();
    Some(row["drain"].clone())
}

fn is_shut(node: &Node) -> bool {
    [25, 587, 143, 110].iter().all(|port| TcpStream::connect(node.port(*port)).is_err())
}

/// Exit 1, one line, which says so.
fn refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1) && said.contains(why) && said.trim().lines().count() == 1,
        "{said}"
    );
}

fn caught_up(on: &Node, node: &Node) -> Option<()> {
    let status = on.status()?;
    let row = status["nodes"].as_array()?.iter().find(|row| row["name"] == node.name.as_str())?.clone();
    let whole = row["in_sync"] == true && row["lag_entries"] == 0 && row["bodies_missing"] == 0;
    (whole && row["state"] == "follower").then_some(())
}

#[test]
fn a_drained_node_replicates_and_serves_nobody_until_it_is_undrained() {
    let Some(mut cluster) = Cluster::start() else { return };
    let (leader, follower) = leader_and_follower(&cluster);
    let ledger = Ledger::default();
    let visitors = Visitors::start(&cluster, ledger.clone(), 51);
    visitors.wait_for(80);
    let [one, other] = [leader, follower].map(|at| cluster.nodes[at].name.clone());
    let said = cluster.nodes[follower].must(&["cluster", "drain", &one, "--wait"], None);
    assert!(said.trim_end().ends_with(&format!("{one} is drained and may be switched off")), "{said}");
    assert!(is_shut(&cluster.nodes[leader]));
    assert_eq!(cluster.leader(), follower);
    for on in &cluster.nodes {
        let drain = drain_of(on, &cluster.nodes[leader]).expect("each node answers");
        assert_eq!(drain["sessions"], 0, "{}: {drain}", on.name);
        // A witness does not know who is in sync.
        assert_eq!(drain["safe_to_switch_off"], on.role == Role::Data, "{}: {drain}", on.name);
    }
    // What is acknowledged from now on has its second copy there.
    visitors.wait_for(80);
    eventually("the drained node has all", || caught_up(&cluster.nodes[follower], &cluster.nodes[leader]));
    assert!(!cluster.is_protected(), "the next failure would leave nobody who serves");

    refused(&cluster.nodes[leader].command(&["cluster", "drain", &other]), "undrain it first");
    refused(&cluster.nodes[leader].command(&["cluster", "drain", "witness"]), "is a witness");
    refused(&cluster.nodes[2].command(&["cluster", "drain", &other]), "ask a data node");
    refused(&cluster.nodes[leader].command(&["cluster", "transfer", &one]), "is drained");
    let ends = {
        cluster.nodes[leader].stop();
        visitors.wait_for(40);
        cluster.nodes[leader].start();
        eventually("it is back", || caught_up(&cluster.nodes[follower], &cluster.nodes[leader]));
        eventually("it knows that it is drained", || {
            (cluster.nodes[leader].said().matches("this node is drained: its mail ports").count() == 2)
                .then_some(())
        });
        assert!(is_shut(&cluster.nodes[leader]), "it stays drained");
        // A drained node leads only for want of another, and not when that is back.
        visitors.finish()
    };
    were_clean(&ends);
    assert_eq!(told(&ends, &cluster.nodes[leader]), 4, "each of its clients: {ends:?}");
    cluster.nodes[leader].must(&["cluster", "undrain", &one], None);
    eventually("it serves again", || Smtp::connect(cluster.nodes[leader].smtp()).ok());
    cluster.wait_until_caught_up();
    Checker::default().check(&cluster, &ledger);
}

#[test]
fn what_is_begun_may_be_ended_but_not_for_ever() {
    let Some(cluster) = Cluster::start() else { return };
    let (leader, node) = leader_and_follower(&cluster);
    let name = cluster.nodes[node].name.clone();
    run(&mut session(&cluster, node, "carol"), &["CREATE Work"]);
    let mut imap = session(&cluster, node, "carol");
    imap.append("INBOX", &message("kept", 100)).expect("it is taken");
    run(&mut imap, &["SELECT INBOX"]);
    imap.begin("IDLE").expect("the connection lives");
    assert!(imap.response().expect("IDLE is accepted").text.starts_with('+'));
    let mut pop3 = Pop3::login(cluster.nodes[node].pop3(), "carol", &password("carol")).expect("POP3 serves");
    pop3.command("DELE 1").expect("it is marked");
    let mut sending = Smtp::connect(cluster.nodes[node].smtp()).expect("SMTP serves");
    sending.command("MAIL FROM:<a@b.test>", "250").expect("it is taken");
    let mut stuck = Smtp::connect(cluster.nodes[node].smtp()).expect("SMTP serves");
    stuck.command("MAIL FROM:<a@b.test>", "250").expect("it is taken");

    cluster.nodes[leader].must(&["cluster", "drain", &name], None);
    let mut said = imap.response().expect("it is told").text;
    while said.contains("EXISTS") || said.contains("RECENT") {
        said = imap.response().expect("it is told").text;
    }
    assert!(said.starts_with("* BYE"), "IDLE is the middle of nothing: {said}");
    for line in ["RCPT TO:<alice@example.test>", "RCPT TO:<bob@example.test>"] {
        sending.command(line, "250").expect("a transaction goes on");
    }
    sending.command("DATA", "354").expect("a transaction goes on");
    sending.command("Subject: x\r\n\r\ny\r\n.", "250").expect("and comes to its end");
    let farewell = sending.reply("421").expect("then it is told");
    assert!(farewell.starts_with("421 4.3.2"), "{farewell}");
    pop3.command("QUIT").expect("what was marked is deleted");
    let left = eventually("one is left", || {
        let drain = drain_of(&cluster.nodes[leader], &cluster.nodes[node])?;
        (drain["sessions"] == 1).then_some(drain)
    });
    assert_eq!(left["safe_to_switch_off"], false);
    assert!(left["waits_for"].as_str().is_some_and(|why| why.contains("1 client's connection")), "{left}");
    let output = cluster.nodes[leader].command(&["cluster", "drain", &name, "--wait=1s"]);
    refused(&output, "may not be switched off yet");

    // A shorter bound counts from the next drain on.
    cluster.nodes[leader].must(&["policy", "set", "cluster.drain_seconds_max", "1"], None);
    cluster.nodes[leader].must(&["cluster", "undrain", &name], None);
    eventually("it serves again", || Smtp::connect(cluster.nodes[node].smtp()).ok());
    stuck.command("RCPT TO:<alice@example.test>", "250").expect("nobody told it to leave");
    cluster.nodes[leader].must(&["cluster", "drain", &name, "--wait"], None);
    let farewell = stuck.reply("421").expect("it was told in the middle");
    assert!(farewell.starts_with("421 4.3.2"), "{farewell}");
    cluster.nodes[leader].must(&["cluster", "undrain", &name], None);
    cluster.wait_until_caught_up();
    let inbox = session(&cluster, node, "carol").select("INBOX").expect("INBOX is there");
    assert_eq!(inbox.exists, 0, "POP3's QUIT deleted it");
}

#[test]
fn a_delivery_under_way_ends_and_the_other_node_sends_what_comes_next() {
    let Some(cluster) = Cluster::start() else { return };
    let sink = Sink::start("127.0.0.9:2525");
    cluster.tell(0, &["policy", "set", "relay.host", &sink.address.to_string()]);
    let (leader, node) = leader_and_follower(&cluster);
    let name = cluster.nodes[node].name.clone();
    let submit = |at: usize, token: &str| {
        let mut smtp = Smtp::login(cluster.nodes[at].port(587), "alice").expect("alice logs in");
        smtp.submit("alice", &["somebody@far.test"], &message(token, 2_000)).expect("it is queued");
    };
    sink.stop_at(Moment::Heard);
    submit(node, "first");
    eventually("the delivery is under way", || sink.is_standing().then_some(()));
    cluster.nodes[leader].must(&["cluster", "drain", &name], None);
    eventually("all else is closed", || {
        let drain = drain_of(&cluster.nodes[leader], &cluster.nodes[node])?;
        (drain["waits_for"] == "still open: 1 delivery").then_some(())
    });
    sink.go_on();
    cluster.nodes[leader].must(&["cluster", "drain", &name, "--wait"], None);
    submit(leader, "second");
    eventually("both have come", || (sink.copies().len() == 2).then_some(()));
    assert!(sink.copies().values().all(|copies| *copies == 1), "{:?}", sink.copies());
    cluster.nodes[node].must(&["cluster", "undrain", &name], None);
    cluster.wait_until_caught_up();
    submit(node, "third");
    eventually("it sends again", || sink.copies().contains_key("third").then_some(()));
}
