//! A collector of OpenTelemetry hears of each mail from the node where something happened to it, under one trace on both nodes, and
//! how the nodes are. While it is displeased, or away, the mail goes on, and what waited is told afterwards.

use cluster_tests::cluster::Cluster;
use cluster_tests::collector::{Collector, Told};
use cluster_tests::ledger::message;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::wait::eventually;

#[test]
fn a_collector_is_told() {
    let configure = |node: &cluster_tests::node::Node| {
        node.configure("telemetry", "endpoint = \"http://127.0.0.7:4318/\"");
    };
    let Some(cluster) = Cluster::start_with(configure) else { return };
    // The nodes were there first.
    let collector = Collector::start("127.0.0.7:4318");
    let sink = Sink::start("127.0.0.9:2525");
    cluster.nodes[0].must(&["policy", "set", "relay.host", "127.0.0.9:2525"], None);
    cluster.wait_until_caught_up();

    let told = |name: &str, key: &str, value: &str| -> Told {
        eventually(&format!("{name} with {key} {value} is told"), || {
            let events = collector.events().into_iter().filter(|event| event.name == name);
            events.into_iter().find(|event| event.attribute(key).is_some_and(|it| it == value))
        })
    };
    send(&cluster, 0, "local");
    let received = told("pollux.mail.received", "message_id", &id_of("local"));
    assert_eq!((received.node.as_str(), received.attribute("outcome")), ("node1", Some(&"taken".into())));
    assert!(received.trace.is_some() && received.attribute("entry").is_some(), "{received:?}");
    let refused = Smtp::connect(cluster.nodes[1].smtp())
        .expect("SMTP serves")
        .send(&["nobody@example.test"], &message("no", 10));
    assert_ne!(refused.0, Sent::Acknowledged);
    let refused = told("pollux.mail.refused", "recipient", "nobody@example.test");
    assert_eq!((refused.node.as_str(), refused.trace), ("node2", None));

    let mut smtp = Smtp::login(cluster.nodes[1].port(587), "alice").expect("alice logs in");
    smtp.submit("alice", &["joe@far.test"], &message("outbound", 100)).expect("it is queued");
    let received = told("pollux.mail.received", "message_id", &id_of("outbound"));
    let sent = told("pollux.mail.sent", "to", "joe@far.test");
    assert_eq!(sent.attribute("outcome"), Some(&"sent".into()));
    assert!(received.trace.is_some() && sent.trace == received.trace, "{received:?} and {sent:?}");
    assert_eq!(sink.taken().len(), 1);

    // Neither is what it cannot take now lost, nor does a mail wait for it.
    collector.answers(503);
    for at in 0..20 {
        send(&cluster, 0, &format!("meanwhile-{at}"));
    }
    eventually("it is asked in vain", || (collector.turned_away() > 0).then_some(()));
    collector.answers(200);
    for at in 0..20 {
        told("pollux.mail.received", "message_id", &id_of(&format!("meanwhile-{at}")));
    }
    let events = collector.events();
    let times =
        |id: &str| events.iter().filter(|it| it.attribute("message_id").is_some_and(|it| it == id)).count();
    assert!((0..20).all(|at| times(&id_of(&format!("meanwhile-{at}"))) == 1), "each once");
    for node in ["node1", "node2", "witness"] {
        let info =
            eventually(&format!("{node} tells how it is"), || collector.metric(node, "pollux_node_info"));
        assert_eq!(info["gauge"]["dataPoints"][0]["asInt"], "1", "{info}");
    }
}

fn send(cluster: &Cluster, at: usize, token: &str) {
    let mut smtp = Smtp::connect(cluster.nodes[at].smtp()).expect("SMTP serves");
    assert_eq!(smtp.send(&["alice@example.test"], &message(token, 100)).0, Sent::Acknowledged);
}

/// Of the message that has the token.
fn id_of(token: &str) -> String {
    let text = String::from_utf8(message(token, 1)).expect("it is ASCII");
    let field = text.lines().find_map(|line| line.strip_prefix("Message-ID: ")).expect("it has one");
    field.trim_matches(['<', '>']).to_owned()
}
