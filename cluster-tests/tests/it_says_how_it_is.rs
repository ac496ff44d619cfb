//! Every node tells machines how it is: figures that count what was done, health, and whether clients are served. The leader
//! dies: the survivor raises an alarm that both nodes show, the postmaster is mailed once of it and once of its end.

use std::net::SocketAddr;
use std::time::Duration;

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::http::get;
use cluster_tests::imap::Imap;
use cluster_tests::node::Node;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::{eventually, within};
use serde_json::{Value, json};

/// What is raised and cleared must last for a while before that.
const HOLD: Duration = Duration::from_secs(120);

fn watched(node: &Node) -> SocketAddr {
    (node.address, 9_154).into()
}

fn told(node: &Node, path: &str) -> Option<(u16, Value)> {
    let (code, text) = get(watched(node), path)?;
    Some((code, serde_json::from_str(&text).expect("it is JSON")))
}

/// The value of one series; 0 where there is none.
fn figure(node: &Node, series: &str) -> f64 {
    let (code, text) = eventually("metrics are told", || get(watched(node), "/metrics"));
    assert_eq!(code, 200, "{text}");
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or(0.0)
}

fn is_ready(node: &Node) -> Option<()> {
    (told(node, "/readyz")? == (200, json!({ "ready": true }))).then_some(())
}

fn alarms(node: &Node) -> Option<Vec<Value>> {
    node.status()?["alarms"].as_array().cloned()
}

/// Subjects of what the postmaster got.
fn subjects(sink: &Sink) -> Vec<String> {
    let subject = |content: &[u8]| {
        let text = String::from_utf8_lossy(content).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned));
        line.expect("each has a subject")
    };
    sink.taken().iter().map(|mail| subject(&mail.content)).collect()
}

fn start() -> Option<Cluster> {
    Cluster::start_with(|node| {
        node.configure("metrics", &format!("address = \"{}\"", watched(node)));
        node.configure("log", "format = \"json\"");
    })
}

/// What the node's log says of mails; panics at a line that is no object.
fn mails_in_the_log(node: &Node) -> Vec<Value> {
    let object = |line: &str| -> Value { serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")) };
    let (said, is_mail) = (node.said(), |line: &Value| line["target"] == "pollux::mail");
    // The last line may be half written.
    let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(object).filter(is_mail).collect()
}

#[test]
fn figures_count_what_is_done() {
    let Some(cluster) = start() else { return };
    for node in &cluster.nodes {
        eventually("the node is ready", || is_ready(node));
        assert_eq!(told(node, "/healthz"), Some((200, json!({ "healthy": true }))));
        assert_eq!(
            figure(node, &format!("pollux_node_info{{node=\"{}\",role=\"{}\"}}", node.name, role(node))),
            1.0
        );
    }
    let (one, other, witness) = (&cluster.nodes[0], &cluster.nodes[1], &cluster.nodes[2]);
    let leaders: f64 = cluster.nodes.iter().map(|node| figure(node, "pollux_raft_is_leader")).sum();
    assert_eq!(leaders, 1.0);
    assert_eq!(figure(one, "pollux_data_nodes_in_sync"), 2.0);
    assert!(figure(one, "pollux_disk_free_bytes") > 0.0 && figure(witness, "pollux_disk_free_bytes") > 0.0);
    let (_, text) = get(watched(witness), "/metrics").expect("a witness tells, too");
    assert!(!text.contains("pollux_queue_mails"), "it has no queue: {text}");

    const SERIES: [&str; 9] = [
        "pollux_mails_received_total{outcome=\"taken\"}",
        "pollux_recipients_total{place=\"mailbox\"}",
        "pollux_recipients_total{place=\"queue\"}",
        "pollux_refusals_total{cause=\"address\",class=\"5xx\"}",
        "pollux_logins_total{result=\"accepted\"}",
        "pollux_logins_total{result=\"refused\"}",
        "pollux_sessions_total{protocol=\"smtp\"}",
        "pollux_sessions_total{protocol=\"imap\"}",
        "pollux_replies_total{protocol=\"imap\",class=\"no\"}",
    ];
    let of = |node: &Node| SERIES.map(|series| figure(node, series));
    let grows = |node: &Node| {
        [
            "pollux_mails_received_bytes_total",
            "pollux_proposals_total{outcome=\"applied\"}",
            "pollux_commit_seconds_count",
            "pollux_log_sync_seconds_count",
            "pollux_body_sync_seconds_count",
            "pollux_raft_applied_index",
            "pollux_session_received_bytes_total{protocol=\"smtp\"}",
            "pollux_session_sent_bytes_total{protocol=\"imap\"}",
            "pollux_replies_total{protocol=\"smtp\",class=\"2xx\"}",
        ]
        .map(|series| figure(node, series))
    };
    let (before, before_growth, before_other) = (of(one), grows(one), of(other));

    let mut smtp = Smtp::connect(one.smtp()).expect("it listens");
    smtp.command("MAIL FROM:<joe@far.test>", "250").expect("anybody may");
    smtp.command("RCPT TO:<nobody@example.test>", "250").expect_err("nobody is there");
    smtp.command("RCPT TO:<alice@example.test>", "250").expect("alice is");
    smtp.command("RCPT TO:<bob@example.test>", "250").expect("and bob");
    smtp.command("DATA", "354").expect("go ahead");
    smtp.command("From: joe@far.test\r\nSubject: x\r\n\r\nHi.\r\n.", "250").expect("it is taken");
    Imap::login(one.imap(), "alice", &password("alice")).expect("alice logs in");
    assert!(Imap::login(one.imap(), "alice", "wrong").is_err(), "it is not her");

    let after = of(one);
    let grown: Vec<f64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(grown, [1.0, 2.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 1.0], "{SERIES:?}");
    assert_eq!(of(other), before_other, "the other node did none of it");
    for (before, after) in before_growth.iter().zip(grows(one)) {
        assert!(after > *before, "{before_growth:?} {:?}", grows(one));
    }
    let lines =
        eventually("the log tells of both", || Some(mails_in_the_log(one)).filter(|lines| lines.len() >= 2));
    let words = |line: &Value, keys: [&str; 4]| keys.map(|key| line[key].as_str().unwrap_or("-").to_owned());
    assert_eq!(
        words(&lines[0], ["node", "message", "to", "said"]),
        ["node1", "refused", "nobody@example.test", "550 5.1.1 No such user here"]
    );
    assert_eq!(
        words(&lines[1], ["message", "from", "to", "outcome"]),
        ["received", "joe@far.test", "<alice@example.test>, <bob@example.test>", "taken"]
    );
    assert!(lines[1]["mail"].is_string() && lines[1]["bytes"].as_u64() > Some(0), "{}", lines[1]);
    let (entry, applied) = (lines[1]["entry"].as_u64(), figure(one, "pollux_raft_applied_index") as u64);
    assert!(entry.is_some_and(|entry| (1..=applied).contains(&entry)), "{} of {applied}", lines[1]);
    assert_eq!(mails_in_the_log(other), [Value::Null; 0], "it saw nothing of them");

    drop(smtp);
    eventually("the session is over", || {
        (figure(one, "pollux_sessions_open{protocol=\"smtp\"}") == 0.0).then_some(())
    });
}

fn role(node: &Node) -> &'static str {
    match node.role {
        cluster_tests::node::Role::Data => "data",
        cluster_tests::node::Role::Witness => "witness",
    }
}

#[test]
fn it_says_how_it_is() {
    let Some(mut cluster) = start() else { return };
    for node in &cluster.nodes {
        eventually("the node is ready", || is_ready(node));
    }
    // Of this machine's disk, whatever it is, nothing is to be said here.
    for (key, value) in [("alarm.sync_ms", "10000"), ("alarm.disk_used_percent", "99")] {
        cluster.tell(0, &["policy", "set", key, value]);
    }
    for node in cluster.data_nodes() {
        within(HOLD, "what there was while it was founded is over", || alarms(node).filter(Vec::is_empty));
    }
    let sink = Sink::start("127.0.0.9:2525");
    let relay = sink.address.to_string();
    for (key, value) in [("relay.host", relay.as_str()), ("smtp.postmaster", "ops@away.test")] {
        cluster.tell(0, &["policy", "set", key, value]);
    }
    assert_eq!(
        cluster.nodes[2].status().expect("it answers")["alarms"],
        Value::Null,
        "a witness does not know"
    );

    let lost = cluster.leader();
    let left = cluster.peer_of(lost);
    cluster.nodes[lost].kill();
    assert_eq!(get(watched(&cluster.nodes[lost]), "/healthz"), None);
    eventually("the survivor serves", || is_ready(&cluster.nodes[left]));
    let raised = within(HOLD, "the alarm is raised, and mailed", || {
        alarms(&cluster.nodes[left]).filter(|alarms| alarms.len() == 1 && alarms[0]["mailed"] == true)
    });
    let (lost_name, left_name) = (cluster.nodes[lost].name.clone(), cluster.nodes[left].name.clone());
    let alarm = &raised[0];
    assert_eq!(
        (&alarm["kind"], &alarm["node"], &alarm["raised_by"]),
        (&json!("degraded"), &json!(lost_name), &json!(left_name))
    );
    let shown = cluster.nodes[left].must(&["cluster", "status"], None);
    assert!(
        shown.contains("ALARM degraded since ") && shown.contains(&format!("{lost_name} does not answer")),
        "{shown}"
    );
    assert_eq!(figure(&cluster.nodes[left], "pollux_alarms_raised{kind=\"degraded\"}"), 1.0);
    let first = format!("Alarm: degraded, {lost_name}");
    eventually("the postmaster hears of it", || (subjects(&sink) == [first.clone()]).then_some(()));

    cluster.nodes[lost].start();
    cluster.wait_until_caught_up();
    for node in cluster.data_nodes() {
        within(HOLD, "the alarm is over", || alarms(node).filter(Vec::is_empty));
        eventually("the node is ready", || is_ready(node));
        eventually("nothing waits in the queue", || {
            (figure(node, "pollux_queue_mails") == 0.0).then_some(())
        });
    }
    assert_eq!(subjects(&sink), [first, format!("Over: degraded, {lost_name}")], "of each once");

    // Without a majority a node is well, and serves nobody who wants to change anything.
    cluster.nodes[lost].kill();
    cluster.nodes[2].kill();
    let (code, unready) = eventually("it is not ready", || {
        told(&cluster.nodes[left], "/readyz").filter(|(code, _)| *code != 200)
    });
    assert_eq!((code, &unready["ready"]), (503, &json!(false)));
    let because = unready["because"].as_array().expect("it says why");
    assert!(
        because
            .iter()
            .any(|why| why.as_str().is_some_and(|why| why.contains("no majority") || why.contains("leads"))),
        "{unready}"
    );
    assert_eq!(told(&cluster.nodes[left], "/healthz"), Some((200, json!({ "healthy": true }))));
    cluster.nodes[lost].start();
    cluster.nodes[2].start();
    cluster.wait_until_caught_up();
    for node in &cluster.nodes {
        eventually("the node is ready again", || is_ready(node));
    }
}
