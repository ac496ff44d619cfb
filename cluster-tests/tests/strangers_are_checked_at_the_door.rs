//! Strangers are checked before their mail is read, alike on both nodes, by the settings of the moment, whichever node
//! they were changed on: by block lists, by the names that they give and have, and by how they talk. A DNS that fails
//! refuses nothing for good, and whoever is refused may write to postmaster.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use cluster_tests::cluster::Cluster;
use cluster_tests::smtp::Smtp;
use cluster_tests::steps::session;
use cluster_tests::wait::eventually;
use fixture_dns::Server;

const ZONES: &str = "
    1.2.0.192.bl.test          A     127.0.0.2
    1.2.0.192.bl.test          TXT   \"Spam seen\"
    1.2.0.192.full.test        A     127.255.255.254
    1.2.0.192.broken.test      SERVFAIL
    good.test                  MX    10 mail.good.test
    deaf.test                  MX    0 .
    unsure.test                SERVFAIL
    mail.good.test             A     198.51.100.1
    1.100.51.198.in-addr.arpa  PTR   mail.good.test
    2.100.51.198.in-addr.arpa  PTR   nowhere.good.test
    3.100.51.198.in-addr.arpa  PTR   mail.good.test
    4.100.51.198.in-addr.arpa  SERVFAIL
";
const GOOD: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const LISTED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENTS: [Ipv4Addr; 6] = [
    GOOD,
    LISTED,
    Ipv4Addr::new(198, 51, 100, 2),
    Ipv4Addr::new(198, 51, 100, 3),
    Ipv4Addr::new(198, 51, 100, 4),
    Ipv4Addr::new(198, 51, 100, 5),
];

struct Story {
    cluster: Cluster,
    _dns: Server,
}

impl Story {
    /// On one node, and waits until all have it.
    fn set(&self, at: usize, key: &str, value: &str) {
        self.cluster.nodes[at].must(&["policy", "set", key, value], None);
        self.cluster.wait_until_caught_up();
    }

    /// What is said at RCPT to a mail of `client` over a connection of its own.
    fn said(&self, at: usize, client: Ipv4Addr, (helo, sender, to): (&str, &str, &str)) -> String {
        let mut smtp = self.greeted(at, client);
        smtp.command(&format!("EHLO {helo}"), "250").expect("a hello is heard");
        smtp.command(&format!("MAIL FROM:<{sender}>"), "250").expect("recipients are judged, not senders");
        smtp.command(&format!("RCPT TO:<{to}>"), "").expect("a reply")
    }

    fn greeted(&self, at: usize, client: Ipv4Addr) -> Smtp {
        let address = self.cluster.nodes[at].smtp();
        Smtp::greeted(Some(IpAddr::V4(client)), address).expect("it is greeted")
    }

    fn to_alice(&self, at: usize, client: Ipv4Addr, helo: &str, sender: &str) -> String {
        self.said(at, client, (helo, sender, "alice@example.test"))
    }

    /// Sets the value on each node in turn, and sees on the other what it does to this client.
    fn each_way(
        &self,
        (key, value): (&str, &str),
        (client, helo, sender): (Ipv4Addr, &str, &str),
        code: &str,
    ) {
        for (setter, taker) in [(0, 1), (1, 0)] {
            self.set(setter, key, value);
            let said = self.to_alice(taker, client, helo, sender);
            assert!(said.starts_with(code), "{key}={value}, {client} {helo} {sender}: {said}");
        }
    }
}

#[test]
fn strangers_are_checked_at_the_door() {
    let Some(cluster) = Cluster::start() else { return };
    CLIENTS.iter().for_each(|client| cluster.lab.add_address(&client.to_string()));
    let dns = Server::start(ZONES);
    let address = dns.address().to_string();
    let story = Story { cluster, _dns: dns };
    story.set(1, "dns.servers", &address);

    block_lists(&story);
    names(&story);
    postmaster(&story);
    findings(&story);
    early_talk(&story);
    junk_commands(&story);
}

/// Row 42.
fn block_lists(story: &Story) {
    let listed = (LISTED, "mail.good.test", "joe@good.test");
    for (zones, code) in [
        ("bl.test", "554 5.7.1"),
        ("broken.test\nbl.test", "554 5.7.1"),
        ("broken.test", "250"),
        ("full.test", "250"),
        ("", "250"),
    ] {
        story.each_way(("dnsbl.zones", zones), listed, code);
    }
    story.set(0, "dnsbl.zones", "bl.test");
    let said = story.to_alice(1, LISTED, "mail.good.test", "joe@good.test");
    assert!(said.contains("bl.test") && said.contains("Spam seen"), "{said}");
    assert!(story.to_alice(1, GOOD, "mail.good.test", "joe@good.test").starts_with("250"));
}

/// Rows 43, 44, 45, 50 and 51.
fn names(story: &Story) {
    for (key, value, client, helo, sender, code) in [
        ("sender.domain_must_be_full", "true", GOOD, "mail.good.test", "joe@localhost", "504 5.5.2"),
        ("sender.domain_must_be_full", "false", GOOD, "mail.good.test", "joe@localhost", "250"),
        ("sender.domain_must_exist", "true", GOOD, "mail.good.test", "joe@nowhere.test", "550 5.1.8"),
        ("sender.domain_must_exist", "true", GOOD, "mail.good.test", "joe@deaf.test", "550 5.7.27"),
        ("sender.domain_must_exist", "true", GOOD, "mail.good.test", "joe@unsure.test", "451 4.4.3"),
        ("sender.domain_must_exist", "false", GOOD, "mail.good.test", "joe@nowhere.test", "250"),
        ("helo.must_be_full", "true", GOOD, "localhost", "joe@good.test", "504 5.5.2"),
        ("helo.must_be_full", "true", GOOD, "[198.51.100.1]", "joe@good.test", "250"),
        ("helo.must_be_full", "false", GOOD, "localhost", "joe@good.test", "250"),
        ("helo.must_exist", "true", GOOD, "nowhere.test", "joe@good.test", "450 4.7.1"),
        ("helo.must_exist", "true", GOOD, "unsure.test", "joe@good.test", "250"),
        ("helo.must_exist", "true", GOOD, "mail.good.test", "joe@good.test", "250"),
        ("helo.must_exist", "false", GOOD, "nowhere.test", "joe@good.test", "250"),
    ] {
        story.each_way((key, value), (client, helo, sender), code);
    }
    let [_, _, no_address, of_another, broken, no_name] = CLIENTS;
    for (action, refused, unknown) in [
        ("reject", "550 5.7.25", "450 4.7.25"),
        ("defer", "450 4.7.25", "450 4.7.25"),
        ("accept", "250", "250"),
    ] {
        let name = ("client.hostname", action);
        for client in [no_address, of_another, no_name] {
            story.each_way(name, (client, "mail.good.test", "joe@good.test"), refused);
        }
        story.each_way(name, (broken, "mail.good.test", "joe@good.test"), unknown);
        story.each_way(name, (GOOD, "mail.good.test", "joe@good.test"), "250");
    }
}

fn postmaster(story: &Story) {
    for at in [0, 1] {
        for (to, code) in
            [("postmaster", "250"), ("postmaster@example.test", "250"), ("nobody@example.test", "554 5.7.1")]
        {
            let said = story.said(at, LISTED, ("mail.good.test", "joe@good.test", to));
            assert!(said.starts_with(code), "{to}: {said}");
        }
    }
    // What our own hosts send is not checked, from the next connection on.
    story.set(0, "checks.exempt_networks", "127.0.0.0/8,192.0.2.0/24");
    assert!(story.to_alice(1, LISTED, "localhost", "joe@localhost").starts_with("250"));
    story.set(1, "checks.exempt_networks", "127.0.0.0/8");
    assert!(story.to_alice(0, LISTED, "mail.good.test", "joe@good.test").starts_with("554"));
}

/// Row 37: of a mail that is taken all that was found is told, in its header and by `trace`, also what did not count.
fn findings(story: &Story) {
    for (key, value) in
        [("helo.must_exist", "true"), ("client.hostname", "defer"), ("dnsbl.zones", "bl.test")]
    {
        story.set(0, key, value);
    }
    let listed = LISTED.to_string();
    story.cluster.nodes[1].must(&["policy", "rule", "add", "partner", "ip", &listed, "allow"], None);
    story.set(1, "sender.domain_must_exist", "true");
    let mut smtp = story.greeted(0, GOOD);
    deliver(&mut smtp, "mail.good.test", "good");
    story.set(0, "client.hostname", "accept");
    let mut smtp = story.greeted(1, LISTED);
    deliver(&mut smtp, "mail.good.test", "partner");
    story.cluster.wait_until_caught_up();
    let good = [
        "iprev=pass policy.iprev=198.51.100.1",
        "x-dnsbl=pass",
        "x-helo=pass smtp.helo=mail.good.test",
        "x-sender-domain=pass smtp.mailfrom=good@good.test",
    ];
    let partner = ["x-dnsbl=fail policy.zone=bl.test", "x-helo=pass smtp.helo=mail.good.test"];
    for (at, sender, expected) in [(1, "good@good.test", good.as_slice()), (0, "partner@good.test", &partner)]
    {
        let traced = story.cluster.nodes[at].must(&["trace", sender], None);
        let header =
            eventually("the mail is there", || header_of(&story.cluster, at, &format!("Subject: {sender}")));
        for found in expected {
            assert!(header.contains(found), "{found}: {header}");
            let (method, result) = found.split_once('=').expect("a method and its result");
            assert!(traced.contains(method) && traced.contains(result), "{found}: {traced}");
        }
    }
    story.set(1, "helo.must_exist", "false");
}

fn deliver(smtp: &mut Smtp, helo: &str, local: &str) {
    let sender = format!("{local}@good.test");
    smtp.command(&format!("EHLO {helo}"), "250").expect("a hello is heard");
    smtp.command(&format!("MAIL FROM:<{sender}>"), "250").expect("it is let in");
    smtp.command("RCPT TO:<alice@example.test>", "250").expect("it is let in");
    smtp.command("DATA", "354").expect("it is let in");
    smtp.command(&format!("From: {sender}\r\nSubject: {sender}\r\n\r\nHi.\r\n."), "250")
        .expect("it is taken");
}

/// The header in alice's INBOX that has this line.
fn header_of(cluster: &Cluster, at: usize, line: &str) -> Option<String> {
    let mut imap = session(cluster, at, "alice");
    imap.select("INBOX").expect("there is one");
    let (told, _) = imap.command("FETCH 1:* BODY.PEEK[HEADER]").expect("headers can be read");
    let literals = told.iter().flat_map(|untagged| &untagged.literals);
    let mut headers = literals.map(|literal| String::from_utf8_lossy(literal).into_owned());
    headers.find(|header| header.contains(line))
}

/// Row 49.
fn early_talk(story: &Story) {
    let group = "HELO mail.good.test\r\nMAIL FROM:<joe@good.test>";
    for (setter, taker) in [(0, 1), (1, 0)] {
        for (value, code) in [("true", "503 5.5.0"), ("false", "250")] {
            story.set(setter, "smtp.refuse_early_talk", value);
            let mut smtp = story.greeted(taker, GOOD);
            let said = smtp.command(group, "").expect("a reply");
            assert!(said.starts_with(code), "{value}: {said}");
        }
        story.set(setter, "smtp.refuse_early_talk", "true");
        let address = story.cluster.nodes[taker].smtp();
        // A busy box may be so late with the word that it is none before the greeting any more.
        let mut refused = eventually("a word before the greeting is refused", || {
            let mut early = Smtp::ungreeted(Some(IpAddr::V4(GOOD)), address).expect("it is let in");
            early.command("EHLO mail.good.test", "503 5.5.0").is_ok().then_some(early)
        });
        let end = refused.reply("").expect_err("nothing more is said");
        assert_eq!(end.kind(), std::io::ErrorKind::UnexpectedEof);
    }
}

/// Row 53. That a reply takes no longer than it should is tried elsewhere, by a clock that can be set.
fn junk_commands(story: &Story) {
    for (setter, taker) in [(0, 1), (1, 0)] {
        story.set(setter, "smtp.junk_commands_max", "3");
        let mut smtp = story.greeted(taker, GOOD);
        smtp.command("EHLO mail.good.test", "250").expect("a hello is heard");
        for _ in 0..3 {
            smtp.command("NOOP", "250").expect("it is heard");
        }
        let began = Instant::now();
        smtp.command("MAIL FROM:<joe@good.test>", "250").expect("it goes on");
        smtp.command("RCPT TO:<alice@example.test>", "250").expect("it goes on");
        smtp.command("DATA", "354").expect("it goes on");
        assert!(began.elapsed() >= Duration::from_secs(3), "each of three replies waits for a second");
        smtp.command("Subject: x\r\n\r\nHi.\r\n.", "250").expect("it is taken in the end");
    }
}
