//! The lists of an administrator: added on one node, obeyed on the other, still there when the leader dies. Each kind keeps
//! mail out both ways, the whitelist lets off what it is to, and clients of the local network, they alone, send on.

use std::io;

use cluster_tests::cluster::Cluster;
use cluster_tests::sink::Sink;
use cluster_tests::smtp::Smtp;
use cluster_tests::steps::session;
use cluster_tests::wait::eventually;
use fixture_dns::Server;

const ZONES: &str = "
    evil.test                TXT  \"v=spf1 -all\"
    77.2.0.192.in-addr.arpa  PTR  mx.partner.test
    mx.partner.test          A    192.0.2.77
";
const TEXT: &str = "From: a@evil.test\r\nSubject: x\r\n\r\nHi.\r\n.";

/// Kind, a pattern, and a client and a sender that it names.
const KINDS: [(&str, &str, &str, &str); 4] = [
    ("sender", "spam@far.test", "127.0.0.60", "spam@far.test"),
    ("recipient", "carol@example.test", "127.0.0.60", "a@far.test"),
    ("ip", "127.0.0.66", "127.0.0.66", "a@far.test"),
    ("mask", "127.0.1.9/255.255.0.255", "127.0.200.9", "a@far.test"),
];

struct Story {
    cluster: Cluster,
    sink: Sink,
}

impl Story {
    /// Told to one node, known by both.
    fn tell(&self, at: usize, arguments: &[&str]) {
        self.cluster.nodes[at].must(&[&["policy"], arguments].concat(), None);
        self.cluster.wait_until_caught_up();
    }

    fn rules(&self, at: usize) -> Vec<String> {
        let listed = self.cluster.nodes[at].must(&["policy", "rule", "list", "--json"], None);
        let rules: Vec<serde_json::Value> = serde_json::from_str(&listed).expect("a listing is JSON");
        rules.iter().map(|rule| rule["name"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// One mail from that address of the client's.
    fn send(&self, (at, port): (usize, u16), client: &str, sender: &str, to: &str) -> io::Result<String> {
        let node = self.cluster.nodes[at].port(port);
        let mut smtp = Smtp::connect_from(client.parse().expect("an address"), node)?;
        smtp.command(&format!("MAIL FROM:<{sender}>"), "250")?;
        smtp.command(&format!("RCPT TO:<{to}>"), "250")?;
        smtp.command("DATA", "354")?;
        smtp.command(TEXT, "250")
    }

    fn kept(&self, at: usize, user: &str, mailbox: &str) -> u32 {
        session(&self.cluster, at, user).select(mailbox).expect("the mailbox is there").exists
    }
}

fn sink_has_only(sink: &Sink, to: &str) -> bool {
    sink.taken().iter().all(|mail| mail.to == [to])
}

fn refused(answer: io::Result<String>) -> String {
    answer.expect_err("it is refused").to_string()
}

#[test]
fn lists_hold_on_both_nodes() {
    let Some(cluster) = Cluster::start() else { return };
    ["192.0.2.77", "192.0.2.78"].iter().for_each(|address| cluster.lab.add_address(address));
    let (dns, sink) = (Server::start(ZONES), Sink::start("127.0.0.9:2525"));
    let mut story = Story { cluster, sink };
    story.tell(0, &["set", "dns.servers", &dns.address().to_string()]);
    story.tell(0, &["set", "relay.host", &story.sink.address.to_string()]);
    story.tell(0, &["set", "checks.exempt_networks", ""]);
    // The senders' domains are made up.
    story.tell(0, &["set", "sender.domain_must_exist", "false"]);

    each_kind_keeps_out_both_ways(&story);
    the_order_and_the_manual_list(&story);
    the_whitelist_lets_off(&story);
    the_local_network_sends_on(&story);

    // The leader dies; what was listed holds.
    story.tell(1, &["rule", "add", "last", "sender", "spam@far.test", "reject"]);
    let before = story.rules(0);
    assert_eq!(before, story.rules(1), "one order on both");
    let leader = story.cluster.leader();
    let left = story.cluster.peer_of(leader);
    story.cluster.nodes[leader].kill();
    story.cluster.leader_other_than(leader);
    let answer = eventually("the node that is left judges", || {
        let answer = refused(story.send((left, 25), "127.0.0.60", "spam@far.test", "alice@example.test"));
        (!answer.starts_with("451")).then_some(answer)
    });
    assert!(answer.starts_with("554 5.7.1"), "{answer}");
    assert_eq!(story.rules(left), before);
    story.cluster.nodes[leader].start();
    story.cluster.wait_until_caught_up();
    assert_eq!(story.rules(leader), before);
    let answer = refused(story.send((leader, 25), "127.0.0.60", "spam@far.test", "alice@example.test"));
    assert!(answer.starts_with("554 5.7.1"), "{answer}");
    let said =
        story.send((leader, 25), "127.0.0.50", "a@far.test", "late@away.test").expect("the LAN sends on");
    assert!(said.starts_with("250 2.0.0 Queued"), "{said}");
}

fn each_kind_keeps_out_both_ways(story: &Story) {
    for (kind, pattern, client, sender) in KINDS {
        for (at, action) in [(0, "reject"), (1, "discard")] {
            story.tell(at, &["rule", "add", "r", kind, pattern, action]);
            let other = story.cluster.peer_of(at);
            let answer = story.send((other, 25), client, sender, "carol@example.test");
            match action {
                "reject" => assert!(refused(answer).starts_with("554 5.7.1"), "{kind}"),
                _ => assert!(answer.expect("250, and dropped").starts_with("250"), "{kind}"),
            }
            let listed = story.cluster.nodes[other].must(&["policy", "rule", "list"], None);
            assert!(listed.contains("met 1 times"), "{kind} {action}: {listed}");
            story.tell(other, &["rule", "remove", "r"]);
        }
    }
    story.cluster.wait_until_caught_up();
    assert_eq!([0, 1].map(|at| story.kept(at, "carol", "INBOX")), [0, 0], "nobody got any of them");
    story.send((0, 25), "127.0.0.66", "spam@far.test", "carol@example.test").expect("nothing is listed now");
    story.cluster.wait_until_caught_up();
    assert_eq!(story.kept(1, "carol", "INBOX"), 1);
}

fn the_order_and_the_manual_list(story: &Story) {
    story.tell(0, &["rule", "add", "net", "mask", "127.0.0.64/26", "reject"]);
    story.tell(1, &["rule", "add", "good", "ip", "127.0.0.66", "allow"]);
    let mail = |at| story.send((at, 25), "127.0.0.66", "a@far.test", "carol@example.test");
    refused(mail(1));
    story.tell(1, &["rule", "move", "good", "--before", "net"]);
    mail(0).expect("the first rule decides");
    refused(story.send((0, 25), "127.0.0.67", "a@far.test", "carol@example.test"));
    story.tell(0, &["rule", "add", "manual", "sender", "@far.test", "refuse"]);
    let answer = refused(mail(1));
    assert!(answer.starts_with("554 5.7.1"), "no whitelist helps: {answer}");
    story.send((1, 25), "127.0.0.66", "", "carol@example.test").expect("the empty sender is nobody's");
    for name in ["net", "good", "manual"] {
        story.tell(1, &["rule", "remove", name]);
    }
}

/// SPF of evil.test fails, which is Junk by default.
fn the_whitelist_lets_off(story: &Story) {
    let mail =
        |at| story.send((at, 25), "127.0.0.60", "a@evil.test", "bob@example.test").expect("it is taken");
    mail(0);
    story.tell(0, &["rule", "add", "w", "domain", "evil.test", "allow"]);
    mail(1);
    story.tell(1, &["set", "whitelist.domain.skips", "dnsbl"]);
    mail(0);
    story.cluster.wait_until_caught_up();
    assert_eq!([0, 1].map(|at| (story.kept(at, "bob", "INBOX"), story.kept(at, "bob", "Junk"))), [(1, 2); 2]);
    story.tell(0, &["rule", "remove", "w"]);
}

fn the_local_network_sends_on(story: &Story) {
    for (at, port) in [(0, 25), (1, 587)] {
        let answer = refused(story.send((at, port), "127.0.0.50", "a@far.test", "x@away.test"));
        let code = if port == 25 { "554 5.7.1" } else { "530 5.7.0" };
        assert!(answer.starts_with(code), "an empty list lets nobody: {answer}");
    }
    for everybody in ["0.0.0.0/0", "::/0"] {
        let setting = ["policy", "set", "relay.open_networks", everybody];
        let rule = ["policy", "rule", "add", "all", "client", everybody, "relay"];
        for arguments in [&setting[..], &rule[..]] {
            let output = story.cluster.nodes[0].command(arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains("everybody could send"), "{said}");
        }
    }
    story.tell(0, &["set", "relay.open_networks", "127.0.0.48/29"]);
    story.tell(1, &["rule", "add", "copiers", "client", "127.0.0.21-24", "relay"]);
    story.tell(0, &["rule", "add", "partner", "client", "partner.test", "relay"]);
    let clients = [
        ("127.0.0.47", false),
        ("127.0.0.48", true),
        ("127.0.0.55", true),
        ("127.0.0.56", false),
        ("127.0.0.20", false),
        ("127.0.0.21", true),
        ("127.0.0.24", true),
        ("127.0.0.25", false),
        ("192.0.2.77", true),
        ("192.0.2.78", false),
    ];
    let mut sent = 0;
    for (client, may) in clients {
        for (at, port) in [(0, 25), (1, 25), (0, 587), (1, 587)] {
            let answer = story.send((at, port), client, "a@far.test", "x@away.test");
            match (may, port) {
                (true, _) => assert!(answer.expect(client).starts_with("250 2.0.0 Queued"), "{client}"),
                (false, 25) => assert!(refused(answer).starts_with("554 5.7.1"), "{client}"),
                (false, _) => assert!(refused(answer).starts_with("530 5.7.0"), "{client}"),
            }
            sent += usize::from(may);
        }
    }
    eventually("all of it leaves", || (story.sink.taken().len() == sent).then_some(()));
    assert!(sink_has_only(&story.sink, "x@away.test"));
}
