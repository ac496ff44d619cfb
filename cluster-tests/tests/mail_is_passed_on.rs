//! A stranger's mail to an address that leads elsewhere: kept here and passed on as one, under an address of ours, with what
//! its author signed unhurt and our seal above it. Notices find their way back by either node, and after the leader has
//! died; what is forged, stale or goes round is refused at the door.

use std::io;

use cluster_tests::cluster::Cluster;
use cluster_tests::dkimpy;
use cluster_tests::sink::{Sink, Taken};
use cluster_tests::smtp::Smtp;
use cluster_tests::steps::session;
use cluster_tests::wait::eventually;
use fixture_dns::Server;
use serde_json::{Value, json};

const SIGNED: &str = include_str!("../../src/policy/gather/tests/rfc8463.eml");
const ED25519: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const RSA: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";
const JOE: &str = "joe@football.example.com";
/// Of the mail in `SIGNED`.
const REPORT: &str = "From: MAILER-DAEMON@away.test\r\nSubject: no\r\n\
    Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
    --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.away.test\r\n\r\n\
    Final-Recipient: rfc822; far@away.test\r\nAction: failed\r\nStatus: 5.2.2\r\nDiagnostic-Code: smtp; 552 full\r\n\r\n\
    --b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\
    --b--\r\n";

struct Story {
    cluster: Cluster,
    sink: Sink,
    dns: Option<Server>,
    records: Value,
}

impl Story {
    /// The DNS has the author's keys, and all of ours.
    fn publish(&mut self) {
        let listed = self.cluster.tell(0, &["dkim", "list", "--json"]);
        let ours: Vec<Value> = serde_json::from_str(&listed).expect("a listing is JSON");
        let mut records = json!({
            "brisbane._domainkey.football.example.com": ED25519,
            "test._domainkey.football.example.com": RSA,
            "_dmarc.football.example.com": "v=DMARC1; p=reject",
            "evil.example.com": "v=spf1 -all",
        });
        for key in ours {
            records[key["name"].as_str().expect("a key has a name")] = key["record"].clone();
        }
        let line = |(name, text): (&String, &Value)| format!("{name} TXT {text}\n");
        let zones: String = records.as_object().expect("it is one").iter().map(line).collect();
        let dns = Server::start(&zones);
        self.cluster.tell(1, &["policy", "set", "dns.servers", &dns.address().to_string()]);
        (self.dns, self.records) = (Some(dns), records);
    }

    /// One mail over a connection of its own; the last that is said to it.
    fn send(&self, at: usize, sender: &str, to: &str, content: &str) -> io::Result<String> {
        let mut smtp = Smtp::connect(self.cluster.nodes[at].smtp())?;
        smtp.command(&format!("MAIL FROM:<{sender}>"), "250")?;
        smtp.command(&format!("RCPT TO:<{to}>"), "250")?;
        smtp.command("DATA", "354")?;
        let separator = if content.ends_with('\n') { "" } else { "\r\n" };
        smtp.command(&format!("{content}{separator}."), "250")
    }

    fn refused(&self, at: usize, sender: &str, to: &str, content: &str) -> String {
        self.send(at, sender, to, content).expect_err("it is refused").to_string()
    }

    /// The next one that the other server takes for `to`.
    fn left(&self, to: &str, before: usize) -> Taken {
        eventually("the mail leaves", || {
            self.sink.taken().into_iter().filter(|mail| mail.to == [to]).nth(before)
        })
    }

    /// What another implementation says of the seal and the author's signatures.
    fn verified(&self, mail: &[u8]) -> String {
        dkimpy::verified(&self.records, mail)
    }

    /// What a node finds in it.
    fn results(&self, at: usize, user: &str) -> String {
        let mut imap = session(&self.cluster, at, user);
        let exists = imap.select("INBOX").expect("there is one").exists;
        let fields = format!("FETCH {exists} BODY.PEEK[HEADER.FIELDS (Authentication-Results)]");
        let (told, _) = imap.command(&fields).expect("it can be read");
        let literals = told.iter().flat_map(|untagged| &untagged.literals);
        literals.map(|literal| String::from_utf8_lossy(literal).into_owned()).collect()
    }
}

#[test]
fn mail_is_passed_on() {
    let Some(cluster) = Cluster::start() else { return };
    let sink = Sink::start("127.0.0.9:2525");
    let mut story = Story { cluster, sink, dns: None, records: Value::Null };
    for (key, value) in [
        ("relay.host", "127.0.0.9:2525"),
        ("checks.exempt_networks", ""),
        ("sender.domain_must_exist", "false"),
    ] {
        story.cluster.tell(0, &["policy", "set", key, value]);
    }
    story.cluster.tell(0, &["dkim", "generate", "example.test", "--selector", "s1"]);
    story.cluster.tell(1, &["alias", "add", "team@example.test", "alice", "far@away.test"]);
    story.cluster.tell(0, &["alias", "add", "away@example.test", "no-one@away.test"]);
    story.publish();
    let signed = SIGNED.replace('\n', "\r\n");

    // Kept and passed on, by either node.
    for at in [0, 1] {
        story.send(at, JOE, "team@example.test", &signed).expect("it is taken");
    }
    let passed: Vec<Taken> = [0, 1].map(|before| story.left("far@away.test", before)).into();
    for mail in &passed {
        let from = &mail.from;
        assert!(
            from.starts_with("SRS0=") && from.ends_with("=football.example.com=joe@example.test"),
            "{from}"
        );
        assert_eq!(story.verified(&mail.content), "arc=pass dkim=pass,pass");
        let spoilt = String::from_utf8_lossy(&mail.content).replace("We lost", "We won");
        assert_eq!(story.verified(spoilt.as_bytes()), "arc=fail dkim=fail,fail");
    }
    story.cluster.wait_until_caught_up();
    for at in [0, 1] {
        let mut imap = session(&story.cluster, at, "alice");
        assert_eq!(imap.select("INBOX").expect("there is one").exists, 2);
    }

    // Another of us takes it for what it is; here it goes round.
    let whole = String::from_utf8_lossy(&passed[0].content).into_owned();
    story.send(1, &passed[0].from, "bob@example.test", &whole).expect("it is taken");
    let results = story.results(1, "bob");
    assert_eq!(results.matches("dkim=pass header.d=football.example.com").count(), 2, "{results}");
    assert!(results.contains("arc=pass (sealed by example.test)"), "{results}");
    let said = story.refused(0, JOE, "team@example.test", &whole);
    assert!(said.starts_with("554 5.4.6"), "{said}");

    // Notices come back, from others and from ourselves; nothing else does.
    let notice = "From: MAILER-DAEMON@away.test\r\nSubject: no\r\n\r\nNo.\r\n";
    let back = &passed[0].from;
    for (before, at) in [0, 1].into_iter().enumerate() {
        story.send(at, "", back, notice).expect("a notice is taken");
        assert_eq!(story.left(JOE, before).from, "");
        let said = story.refused(at, "x@evil.example.com", back, notice);
        assert!(said.starts_with("550 5.7.1"), "{said}");
        let said = story.refused(at, "", &back.replace("=joe@", "=jim@"), notice);
        assert!(said.starts_with("550 5.1.1"), "{said}");
    }
    story.send(1, JOE, "away@example.test", &signed).expect("it is taken");
    let failed = String::from_utf8_lossy(&story.left(JOE, 2).content).into_owned();
    for line in ["Final-Recipient: rfc822; no-one@away.test", "Original-Recipient: rfc822; away@example.test"]
    {
        assert!(failed.contains(line), "{line}: {failed}");
    }

    // Spam is nobody's to pass on.
    let spam = "From: a@evil.example.com\r\n\r\nBuy.\r\n";
    let said = story.refused(0, "a@evil.example.com", "away@example.test", spam);
    assert!(said.starts_with("550 5.7.1"), "{said}");
    story.send(1, "a@evil.example.com", "team@example.test", spam).expect("alice has a folder for it");
    story.cluster.wait_until_caught_up();
    let mut imap = session(&story.cluster, 0, "alice");
    assert_eq!(imap.select("Junk").expect("there is one").exists, 1);
    let far = story.sink.taken().iter().filter(|mail| mail.to == ["far@away.test"]).count();
    assert_eq!(far, 2);

    // The leader dies: whoever is left knows the secret, and the next one.
    story.cluster.tell(1, &["srs", "rotate"]);
    let leader = story.cluster.leader();
    let left = story.cluster.peer_of(leader);
    story.cluster.nodes[leader].kill();
    story.cluster.leader_other_than(leader);
    eventually("the node that is left takes mail", || {
        story.send(left, JOE, "team@example.test", &signed).ok()
    });
    let next = story.left("far@away.test", 2);
    assert_ne!(&next.from, back, "it is made with the next secret");
    assert_eq!(story.verified(&next.content), "arc=pass dkim=pass,pass");
    for (before, to) in [(3, back), (4, &next.from)] {
        story.send(left, "", to, notice).expect("both are good");
        assert_eq!(story.left(JOE, before).from, "");
    }
    // What a notice on its way back says is told of with the mail that it is about.
    story.send(left, "", &next.from, REPORT).expect("it is good too");
    assert_eq!(story.left(JOE, 5).from, "");
    let told =
        story.cluster.nodes[left].must(&["trace", "20030712040037.46341.5F8J@football.example.com"], None);
    assert!(told.contains("\n    <far@away.test> bounced by mx.away.test: 5.2.2 552 full\n"), "{told}");

    let shown = story.cluster.nodes[left].must(&["srs", "show"], None);
    assert!(shown.contains("in use since") && shown.contains("still good"), "{shown}");
}
