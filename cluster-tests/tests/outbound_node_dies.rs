//! A node is killed at each step of a delivery. None is lost; one is sent twice only where the far side had taken it
//! and the node did not live to commit that.

use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::message;
use cluster_tests::node::Node;
use cluster_tests::sink::{Moment, Sink};
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;

fn start() -> Option<(Cluster, Sink)> {
    let cluster = Cluster::start()?;
    let sink = Sink::start("127.0.0.9:2525");
    cluster.nodes[0].must(&["policy", "set", "relay.host", &sink.address.to_string()], None);
    for node in cluster.data_nodes() {
        eventually("both nodes know the relay", || {
            node.must(&["policy", "show", "relay.host"], None).contains("127.0.0.9:2525").then_some(())
        });
    }
    Some((cluster, sink))
}

fn submit(node: &Node, token: &str) {
    let mut smtp = Smtp::login(node.port(587), "alice").expect("alice logs in");
    smtp.submit("alice", &["somebody@far.test"], &message(token, 2_000)).expect("it is queued");
}

fn queue_is_empty(node: &Node) -> bool {
    let output = node.command(&["queue", "list"]);
    output.status.success() && output.stdout.is_empty()
}

/// Kills the node that has taken the mail when the far side stands at `moment`, and lets the far side go on by
/// `then`; the other node sends the mail. Returns how often the far side took it.
fn killed_at(
    cluster: &mut Cluster,
    sink: &Sink,
    (moment, then): (Moment, fn(&Sink)),
    at: usize,
    token: &str,
) -> usize {
    sink.stop_at(moment);
    submit(&cluster.nodes[at], token);
    eventually("the delivery has come so far", || sink.is_standing().then_some(()));
    cluster.nodes[at].kill();
    then(sink);
    let other = cluster.peer_of(at);
    eventually("the other node sends it", || sink.copies().contains_key(token).then_some(()));
    eventually("the queue is empty", || queue_is_empty(&cluster.nodes[other]).then_some(()));
    cluster.nodes[at].start();
    cluster.wait_until_caught_up();
    sink.copies()[token]
}

#[test]
fn before_the_far_side_took_it_a_mail_is_sent_once() {
    let Some((mut cluster, sink)) = start() else { return };
    for round in 0..4 {
        let moment = if round < 2 { Moment::Connected } else { Moment::Heard };
        let token = format!("round-{round}");
        let copies = killed_at(&mut cluster, &sink, (moment, Sink::break_off), round % 2, &token);
        assert_eq!(copies, 1, "{moment:?}, round {round}");
    }
}

/// The window that is left: the far side takes the mail, and nobody lives who knows.
#[test]
fn after_the_far_side_took_it_a_mail_is_sent_twice_at_the_most_and_never_lost() {
    let Some((mut cluster, sink)) = start() else { return };
    let copies = killed_at(&mut cluster, &sink, (Moment::Heard, Sink::go_on), 0, "unheard");
    assert_eq!(copies, 2, "its answer reached nobody");
    let copies = killed_at(&mut cluster, &sink, (Moment::Taken, Sink::go_on), 1, "heard");
    eprintln!("killed behind the 250: taken {copies} times");
    assert!((1..=2).contains(&copies), "{copies} copies");
}

#[test]
fn a_node_that_is_cut_off_while_it_sends_passes_the_mail_on() {
    let Some((mut cluster, sink)) = start() else { return };
    sink.stop_at(Moment::Connected);
    submit(&cluster.nodes[0], "cut");
    eventually("the delivery has begun", || sink.is_standing().then_some(()));
    cluster_tests::steps::isolate(&mut cluster, 0);
    // The other one comes to the same standing point: it has taken the work over.
    eventually("both stand there", || (sink.standing() == 2).then_some(()));
    sink.go_on();
    eventually("the other node sends it", || queue_is_empty(&cluster.nodes[1]).then_some(()));
    cluster.lab.heal();
    cluster.wait_until_caught_up();
    assert_eq!(sink.copies()["cut"], 1, "whoever lost its hold sends nothing more");
}
