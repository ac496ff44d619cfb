//! A domain asks how TLS with its servers goes. Each node counts its own sessions, and when the day is over one report comes for
//! both, by mail and to a web server: also though one node is dead by then, and the domain's server no longer speaks TLS.

use std::time::{Duration, SystemTime};

use cluster_tests::certificates::Ca;
use cluster_tests::clock::{give_clock, set_clock};
use cluster_tests::cluster::Cluster;
use cluster_tests::ledger::message;
use cluster_tests::node::Node;
use cluster_tests::sink::{Sink, Taken};
use cluster_tests::smtp::{Smtp, base64};
use cluster_tests::wait::{eventually, within};
use cluster_tests::web::Web;
use serde_json::Value;

const ZONES: &str = "
far.test             MX 10 mx.far.test
mx.far.test          A 127.0.0.9
_mta-sts.far.test    TXT \"v=STSv1; id=1;\"
mta-sts.far.test     A 127.0.0.9
_smtp._tls.far.test  TXT \"v=TLSRPTv1; rua=mailto:tls@far.test,https://reports.far.test/take?it\"
reports.far.test     A 127.0.0.10
mute.test            MX 10 mx.far.test
";
const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mx.far.test\nmax_age: 604800\n";
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// Much longer than a node lets its counts lie.
const PATIENCE: Duration = Duration::from_secs(120);

fn submit(node: &Node, to: &str) {
    let mut smtp = Smtp::login(node.port(587), "alice").expect("alice logs in");
    smtp.submit("alice", &[to], &message(to, 100)).expect("it is queued");
}

/// Each mail has a session of its own: the one before is over.
fn arrives(node: &Node, to: &str) {
    submit(node, to);
    eventually("it is sent", || {
        let told = node.must(&["trace", to], None);
        told.lines().any(|line| line.contains(" sent ")).then_some(())
    });
}

/// By the time of a mail that it takes.
fn comes_to(node: &Node, hour: i64) {
    let to = format!("later-{}@mute.test", node.name);
    eventually("the clock is moved", || {
        submit(node, &to);
        let listed = node.must(&["queue", "list", "--recipient", &to, "--json"], None);
        let mails: Vec<Value> = serde_json::from_str(&listed).expect("a listing is JSON");
        let came =
            |mail: &Value| mail["queued_at"].as_str().is_some_and(|at| at.contains(&format!("T{hour}:")));
        mails.iter().any(came).then_some(())
    });
}

fn counted(node: &Node) -> Value {
    let listed = node.must(&["queue", "tls-reports", "--json"], None);
    serde_json::from_str(&listed).expect("a listing is JSON")
}

fn is_counted(node: &Node, successful: u64, failed: u64) {
    within(PATIENCE, "both nodes have told what they counted", || {
        let all = counted(node);
        let [only] = all.as_array()?.as_slice() else { return None };
        let of = (&only["domain"], &only["successful"], &only["failed"]);
        (of == (&Value::from("far.test"), &Value::from(successful), &Value::from(failed))).then_some(())
    });
}

fn reports(sink: &Sink) -> Vec<Taken> {
    sink.taken().into_iter().filter(|mail| mail.to == ["tls@far.test"]).collect()
}

/// RFC 1952.
fn unpacked(packed: &[u8]) -> Value {
    let text = miniz_oxide::inflate::decompress_to_vec(&packed[10..packed.len() - 8]).expect("it is packed");
    serde_json::from_slice(&text).expect("a report is JSON")
}

#[test]
fn one_report_of_a_day_comes_for_both_nodes() {
    let Some(mut cluster) = Cluster::start_on(|_| {}, |_, node| give_clock(node)) else { return };
    let own = Ca::new("Public");
    let dns = fixture_dns::Server::start(ZONES);
    let policy = Web::start("127.0.0.9:443", &own.leaf("mta-sts.far.test", 2100));
    policy.says(200, POLICY);
    let web = Web::start("127.0.0.10:443", &own.leaf("reports.far.test", 2100));
    web.says(201, "");
    let sink = Sink::start("127.0.0.9:25");
    sink.show(Some(&own.leaf("mx.far.test", 2100)));
    cluster.tell(0, &["policy", "set", "dns.servers", &dns.address().to_string()]);
    cluster.tell_with(0, &["ca", "add", "public", "-"], Some(&own.pem()));
    cluster.tell(0, &["dkim", "generate", "example.test", "--selector", "s1"]);

    // In the middle of a day, which lasts as long as is told of it; at an hour that it is not already.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later").as_secs() as i64;
    let hour = if now % DAY / HOUR == 12 { 15 } else { 12 };
    let at_noon = (hour * HOUR - now).rem_euclid(DAY);
    cluster.nodes.iter().for_each(|node| set_clock(&node.dir, at_noon));
    cluster.nodes[..2].iter().for_each(|node| comes_to(node, hour));
    arrives(&cluster.nodes[0], "one@far.test");
    arrives(&cluster.nodes[1], "two@far.test");
    arrives(&cluster.nodes[0], "a@mute.test");
    sink.show(None);
    submit(&cluster.nodes[1], "later-three@far.test");
    eventually("it waits", || {
        let listed = cluster.nodes[1].must(&["queue", "list", "--host", "far.test"], None);
        listed.contains("waiting: 451 4.7.4 STARTTLS is demanded").then_some(())
    });
    is_counted(&cluster.nodes[0], 2, 1);
    assert!(reports(&sink).is_empty() && web.posted().is_empty(), "the day is not over");

    // At six in the morning every report is due.
    cluster.nodes[1].kill();
    let morning = at_noon + DAY + (6 - hour) * HOUR;
    cluster.nodes.iter().for_each(|node| set_clock(&node.dir, morning));
    let mail = within(PATIENCE, "the report comes", || reports(&sink).pop());
    let posted = within(PATIENCE, "the web server has it too", || web.posted().pop());
    assert!(!mail.over_tls, "it tells that there is none");
    let text = String::from_utf8(mail.content).expect("a report's mail is ASCII");
    assert!(text.replace("\r\n", "").contains(&base64(&posted.body)), "both tell the same: {text}");
    for line in ["TLS-Report-Domain: far.test", "TLS-Report-Submitter: example.test", "TLS-Required: No"] {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
    }
    assert!(text.contains("DKIM-Signature: ") && text.contains("d=example.test"), "{text}");
    assert!(
        posted.head.starts_with("POST /take?it HTTP/1.1\r\nHost: reports.far.test\r\n"),
        "{}",
        posted.head
    );
    let told = unpacked(&posted.body);
    assert_eq!(told["contact-info"], "postmaster@example.test");
    let [of_sts] = told["policies"].as_array().expect("there are policies").as_slice() else {
        panic!("{told:#}");
    };
    assert_eq!(of_sts["policy"]["policy-type"], "sts");
    assert_eq!(of_sts["policy"]["mx-host"][0], "mx.far.test");
    let summary = &of_sts["summary"];
    assert_eq!(summary["total-successful-session-count"], 2, "{told:#}");
    assert_eq!(summary["total-failure-session-count"], 1, "{told:#}");
    let failure = &of_sts["failure-details"][0];
    assert_eq!(failure["result-type"], "starttls-not-supported", "{told:#}");
    assert_eq!(failure["receiving-ip"], "127.0.0.9");
    assert_eq!(failure["receiving-mx-hostname"], "mx.far.test");

    // Who comes back has nothing to add. What was not sent yesterday belongs to the new day.
    cluster.nodes[1].start();
    cluster.wait_until_caught_up();
    sink.show(Some(&own.leaf("mx.far.test", 2100)));
    sink.relent();
    arrives(&cluster.nodes[1], "four@far.test");
    within(PATIENCE, "it is counted", || {
        let all = counted(&cluster.nodes[0]);
        (all[0]["successful"].as_u64()? > 0).then_some(())
    });
    let sent = cluster.nodes[0].must(&["queue", "tls-reports", "--send"], None);
    assert!(sent.contains("far.test  reported to tls@far.test, https://reports.far.test/take?it"), "{sent}");
    let again = cluster.nodes[1].must(&["queue", "tls-reports", "--send"], None);
    assert_eq!(again, "there is nothing to report\n");
    within(PATIENCE, "the second one comes", || {
        (web.posted().len() == 2 && reports(&sink).len() == 2).then_some(())
    });
    let ids = web.posted().iter().map(|it| unpacked(&it.body)["report-id"].to_string()).collect::<Vec<_>>();
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.contains(".1.far.test@")), "{ids:?}");
}
