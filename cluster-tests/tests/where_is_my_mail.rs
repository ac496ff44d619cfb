//! `pollux trace` on either node tells what became of a mail on both: what the checks found, who was refused and why, which
//! server took it. A node that is away is named, and what it wrote down is there once it is back.

use cluster_tests::cluster::Cluster;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;
use fixture_dns::Server;
use serde_json::Value;

const ZONES: &str = "
    far.test         TXT  \"v=spf1 -all\"
    evil.test        TXT  \"v=spf1 -all\"
    _dmarc.evil.test TXT  \"v=DMARC1; p=reject\"
";

struct Story {
    cluster: Cluster,
}

impl Story {
    fn told(&self, at: usize, about: &str) -> Value {
        let told = self.cluster.nodes[at].must(&["trace", about, "--json"], None);
        serde_json::from_str(&told).expect("it is JSON")
    }

    /// Node and kind of each event, with what came of it.
    fn events(&self, at: usize, about: &str) -> Vec<String> {
        let told = self.told(at, about);
        let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let line = |event: &Value| {
            let came = [word(event, "outcome"), word(event, "said")].concat();
            format!("{} {} {came}", word(event, "node"), word(event, "event"))
        };
        told["events"].as_array().expect("there is a list").iter().map(line).collect()
    }

    fn send(&self, at: usize, (sender, to): (&str, &str), id: &str) -> std::io::Result<String> {
        let mut smtp = Smtp::connect(self.cluster.nodes[at].smtp())?;
        smtp.command(&format!("MAIL FROM:<{sender}>"), "250")?;
        smtp.command(&format!("RCPT TO:<{to}>"), "250")?;
        smtp.command("DATA", "354")?;
        smtp.command(&format!("From: {sender}\r\nMessage-ID: <{id}>\r\nSubject: x\r\n\r\nHi.\r\n."), "250")
    }
}

#[test]
fn where_is_my_mail() {
    let Some(cluster) = Cluster::start() else { return };
    let (dns, sink) = (Server::start(ZONES), Sink::start("127.0.0.9:2525"));
    for (key, value) in [
        ("dns.servers", dns.address().to_string().as_str()),
        ("relay.host", &sink.address.to_string()),
        ("checks.exempt_networks", ""),
        ("sender.domain_must_exist", "false"),
    ] {
        cluster.nodes[0].must(&["policy", "set", key, value], None);
    }
    cluster.wait_until_caught_up();
    let mut story = Story { cluster };

    // A stranger's mail, by its Message-ID, from the node that did not take it.
    story.send(0, ("joe@far.test", "bob@example.test"), "one@far.test").expect("it is taken");
    assert_eq!(story.events(1, "<one@far.test>"), ["node1 received junk"]);
    let told = story.told(1, "one@far.test");
    let event = &told["events"][0];
    assert_eq!(event["decided_by"], "spf.fail");
    assert_eq!(event["recipients"][0]["to"], "bob@example.test");
    let checks = event["checks"].as_array().expect("there are checks");
    let found = |wanted: &str, result: &str| {
        let of = |check: &Value| {
            check["check"] == wanted && check["result"].as_str().is_some_and(|it| it.starts_with(result))
        };
        checks.iter().any(of)
    };
    assert!(found("spf", "fail smtp.mailfrom=joe@far.test"), "{checks:?}");
    assert!(found("dkim", "none") && found("dmarc", "none") && found("arc", "none"), "{checks:?}");

    // What was refused, before and after it was read.
    story.send(1, ("joe@evil.test", "bob@example.test"), "two@evil.test").expect_err("it is forged");
    story.send(1, ("joe@evil.test", "nobody@example.test"), "three@evil.test").expect_err("nobody is there");
    let refused = story.events(0, "joe@evil.test");
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("node2 received 550 5.7.26"), "{refused:?}");
    assert_eq!(refused[1], "node2 refused 550 5.1.1 No such user here");
    assert_eq!(story.events(0, "nobody@example.test"), refused[1..]);

    // A user's mail to elsewhere: taken by one node, sent by one of them, told as one story.
    let mut smtp = Smtp::login(story.cluster.nodes[0].port(587), "alice").expect("alice logs in");
    let text = b"From: alice@example.test\r\nMessage-ID: <four@example.test>\r\nSubject: x\r\n\r\nHi.\r\n";
    smtp.submit("alice", &["a@away.test", "no@away.test"], text).expect("it is queued");
    let whole = eventually("both recipients were tried", || {
        Some(story.events(1, "four@example.test")).filter(|events| events.len() == 3)
    });
    let holds = |end: &str| whole.iter().any(|event| event.contains(end));
    assert!(
        whole[0] == "node1 received taken" && holds(" sent sent250") && holds(" sent failed550"),
        "{whole:?}"
    );
    let received = &story.told(1, "four@example.test")["events"][0];
    assert_eq!(
        (&received["client"]["login"], &received["recipients"][0]["outcome"]),
        (&"alice".into(), &"queued".into())
    );
    let text = story.cluster.nodes[1].must(&["trace", "a@away.test"], None);
    assert!(
        text.contains("from <alice@example.test> to <a@away.test> by 127.0.0.9 (TLS: none): 250"),
        "{text}"
    );

    // Switched off on one node, nothing more is written on either; what was written is still told.
    story.cluster.nodes[1].must(&["policy", "set", "trace.days", "0"], None);
    story.cluster.wait_until_caught_up();
    story.send(0, ("joe@far.test", "bob@example.test"), "five@far.test").expect("it is taken");
    assert_eq!(story.events(1, "five@far.test"), [""; 0]);
    assert_eq!(story.events(1, "one@far.test").len(), 1);

    // A node that is away is named; its part is back with it.
    story.cluster.nodes[0].kill();
    let away = story.told(1, "one@far.test");
    assert_eq!(
        (&away["silent"], away["events"].as_array().map(Vec::len)),
        (&serde_json::json!(["node1"]), Some(0))
    );
    assert!(story.cluster.nodes[1].must(&["trace", "one@far.test"], None).contains("node1 did not answer"));
    story.cluster.nodes[0].start();
    story.cluster.wait_until_caught_up();
    eventually("it is told again", || {
        (story.events(1, "one@far.test") == ["node1 received junk"]).then_some(())
    });
}
