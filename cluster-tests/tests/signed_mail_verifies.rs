//! Mail by our authors leaves with a signature by each key of their domain, whichever node made the key and whichever sends,
//! and verifies where it arrives; so does what was signed before the keys were changed.

use cluster_tests::cluster::Cluster;
use cluster_tests::dkimpy;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::steps::session;
use cluster_tests::wait::eventually;
use fixture_dns::Server;
use serde_json::Value;

/// Fields that are signed make the signatures' lines break elsewhere.
const COPIES_MAX: usize = 20;

struct Story {
    cluster: Cluster,
    sink: Sink,
    dns: Option<Server>,
    records: Value,
}

impl Story {
    /// All keys that there are are in the DNS from now on.
    fn publish(&mut self) {
        let listed = self.cluster.tell(0, &["dkim", "list", "--json"]);
        let keys: Vec<Value> = serde_json::from_str(&listed).expect("a listing is JSON");
        let word = |key: &Value, field: &str| key[field].as_str().unwrap_or_default().to_owned();
        let line = |key| format!("{} TXT \"{}\"\n", word(key, "name"), word(key, "record"));
        let dns = Server::start(&keys.iter().map(line).collect::<String>());
        self.records = keys.iter().map(|key| (word(key, "name"), key["record"].clone())).collect();
        self.cluster.tell(1, &["policy", "set", "dns.servers", &dns.address().to_string()]);
        self.dns = Some(dns);
    }

    /// As it left. Each has a subject of its own.
    fn left(&self, subject: &str) -> String {
        eventually("the mail leaves", || {
            let all = self.sink.taken();
            let texts = all.iter().map(|mail| String::from_utf8_lossy(&mail.content).into_owned());
            texts.into_iter().find(|text| text.contains(&format!("Subject: {subject}\r\n")))
        })
    }

    fn submitted(&self, at: usize, subject: &str) -> String {
        let mut smtp = Smtp::login(self.cluster.nodes[at].port(587), "alice").expect("alice logs in");
        smtp.submit("alice", &["a@away.test"], text("alice@example.test", subject).as_bytes())
            .expect("queued");
        self.left(subject)
    }

    /// What the node finds in it when it comes from a stranger.
    fn results(&self, at: usize, mail: &str) -> String {
        let mut smtp = Smtp::connect(self.cluster.nodes[at].smtp()).expect("SMTP serves");
        let (_, said) = smtp.send(&["bob@example.test"], mail.as_bytes());
        said.expect("it is taken");
        let mut imap = session(&self.cluster, at, "bob");
        let exists = imap.select("INBOX").expect("there is one").exists;
        let (told, _) = imap
            .command(&format!("FETCH {exists} BODY.PEEK[HEADER.FIELDS (Authentication-Results)]"))
            .expect("it can be read");
        let literals = told.iter().flat_map(|untagged| &untagged.literals);
        literals.map(|literal| String::from_utf8_lossy(literal).into_owned()).collect()
    }
}

fn text(author: &str, subject: &str) -> String {
    format!("From: A <{author}>\r\nTo: a@away.test\r\nSubject: {subject}\r\n\r\nHi.\r\n.dot\r\n")
}

fn signatures(mail: &str) -> usize {
    mail.matches("DKIM-Signature:").count()
}

#[test]
fn signed_mail_verifies() {
    let Some(cluster) = Cluster::start() else { return };
    let mut story = Story { cluster, sink: Sink::start("127.0.0.9:2525"), dns: None, records: Value::Null };
    for (key, value) in [
        ("relay.host", "127.0.0.9:2525"),
        ("checks.exempt_networks", ""),
        ("sender.domain_must_exist", "false"),
        ("spf.verify", "false"),
        ("dmarc.verify", "false"),
    ] {
        story.cluster.tell(0, &["policy", "set", key, value]);
    }
    assert_eq!(signatures(&story.submitted(0, "no-key")), 0);

    // Made on either node, in force on both.
    let record = story.cluster.tell(0, &["dkim", "generate", "example.test", "--selector", "s1"]);
    assert!(record.starts_with("s1._domainkey.example.test. TXT \"v=DKIM1; k=rsa; p="), "{record}");
    let small = ["dkim", "generate", "example.test", "--selector", "e1", "--algorithm", "ed25519-sha256"];
    story.cluster.tell(1, &small);
    assert_eq!(story.cluster.tell(0, &["dkim", "list"]), story.cluster.tell(1, &["dkim", "list"]));
    story.publish();
    let first = story.submitted(0, "first");
    assert_eq!(signatures(&first), 2, "{first}");
    for at in [0, 1] {
        let results = story.results(at, &first);
        for selector in ["s1", "e1"] {
            assert!(
                results.contains(&format!("dkim=pass header.d=example.test header.s={selector}")),
                "{results}"
            );
        }
    }
    let forged = story.results(0, &first.replace("Hi.", "Pay."));
    assert!(forged.contains("dkim=fail") && !forged.contains("dkim=pass"), "{forged}");
    let added = first.replacen("Subject:", "Subject: another\r\nSubject:", 1);
    assert!(!story.results(1, &added).contains("dkim=pass"), "no second subject can be put in");

    // As another implementation sees it, wherever the lines of the signatures break.
    for more in 0..COPIES_MAX {
        let mut smtp = Smtp::login(story.cluster.nodes[more % 2].port(587), "alice").expect("alice logs in");
        let subject = format!("copies-{more}");
        let copies = "Cc: b@away.test\r\n".repeat(more);
        let text = format!("{copies}{}", text("alice@example.test", &subject));
        smtp.submit("alice", &["a@away.test"], text.as_bytes()).expect("queued");
        let left = story.left(&subject);
        assert_eq!(dkimpy::verified(&story.records, left.as_bytes()), "arc=none dkim=pass,pass", "{left}");
    }

    // A client that sends without a login; an author whose domain has no key.
    story.cluster.tell(1, &["policy", "rule", "add", "copier", "client", "127.0.0.50", "relay"]);
    for (author, subject, signed) in [("copier@example.test", "copier", 2), ("x@far.test", "far", 0)] {
        let from = "127.0.0.50".parse().expect("an address");
        let mut smtp = Smtp::connect_from(from, story.cluster.nodes[1].smtp()).expect("SMTP serves");
        let (_, said) = smtp.send(&["a@away.test"], text(author, subject).as_bytes());
        said.expect("it is queued");
        assert_eq!(signatures(&story.left(subject)), signed, "{author}");
    }

    // The next key is published before it signs; what the last one signed verifies as long as its record is there.
    story.cluster.tell(1, &["dkim", "generate", "example.test", "--selector", "s2", "--hold"]);
    story.publish();
    assert_eq!(signatures(&story.submitted(1, "held")), 2);
    story.cluster.tell(0, &["dkim", "activate", "example.test", "s2"]);
    story.cluster.tell(1, &["dkim", "retire", "example.test", "s1"]);
    story.cluster.tell(1, &["dkim", "retire", "example.test", "e1"]);
    let second = story.submitted(0, "second");
    assert_eq!(signatures(&second), 1, "{second}");
    assert!(story.results(1, &second).contains("header.s=s2"), "{}", story.results(1, &second));
    assert!(story.results(0, &first).contains("dkim=pass header.d=example.test header.s=s1"));

    // Keys go out and in; what is none is refused.
    let bad = story.cluster.nodes[0].command(&["dkim", "import", "example.test", "bad", "/dev/null"]);
    assert!(!bad.status.success() && String::from_utf8_lossy(&bad.stderr).contains("PEM"), "{bad:?}");
    let private = story.cluster.tell(1, &["dkim", "export", "example.test", "s2", "--private"]);
    story.cluster.tell(0, &["domain", "add", "second.test"]);
    let taken = story.cluster.nodes[0].must(&["dkim", "import", "second.test", "s2", "-"], Some(&private));
    story.cluster.wait_until_caught_up();
    assert!(taken.starts_with("s2._domainkey.second.test. TXT"), "{taken}");
    let public = |domain: &str| story.cluster.nodes[1].must(&["dkim", "export", domain, "s2"], None);
    assert_eq!(public("second.test"), public("example.test"));
    assert!(public("example.test").starts_with("-----BEGIN PUBLIC KEY-----"));

    let leader = story.cluster.leader();
    let left = story.cluster.peer_of(leader);
    story.cluster.nodes[leader].kill();
    story.cluster.leader_other_than(leader);
    eventually("the node that is left takes mail", || {
        let mut smtp = Smtp::login(story.cluster.nodes[left].port(587), "alice").ok()?;
        smtp.submit("alice", &["a@away.test"], text("alice@example.test", "last").as_bytes()).ok()
    });
    assert_eq!(signatures(&story.left("last")), 1);
}
