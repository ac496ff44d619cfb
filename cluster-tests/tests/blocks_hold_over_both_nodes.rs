//! Hosts that try passwords or names too often are shut out of every port of both nodes, by what they did on both together.
//! The leader dies half way: the count goes on. An operator sees the blocks, makes them and takes them away.

use std::net::SocketAddr;

use cluster_tests::cluster::Cluster;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;
use cluster_tests::wire::Wire;

const TOLERATED: usize = 4;
const GUESSES: usize = 6;
/// Of `nobody` and a wrong password.
const PLAIN: &str = "AG5vYm9keQB3cm9uZw==";

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Smtp,
    Imap,
    Pop3,
}

impl Protocol {
    const ALL: [Protocol; 3] = [Self::Smtp, Self::Imap, Self::Pop3];

    fn port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Imap => 143,
            Self::Pop3 => 110,
        }
    }

    /// What a blocked client hears first.
    fn farewell(self) -> &'static str {
        match self {
            Self::Smtp => "421 4.7.1 your address is blocked",
            Self::Imap => "* BYE your address is blocked",
            Self::Pop3 => "-ERR [SYS/TEMP] your address is blocked",
        }
    }

    /// Commands up to a login that fails, and how each answer begins.
    fn failing(self) -> Vec<(String, &'static str)> {
        match self {
            Self::Smtp => vec![("EHLO c".into(), "250"), (format!("AUTH PLAIN {PLAIN}"), "535")],
            Self::Imap => vec![("a LOGIN nobody wrong".into(), "a NO [AUTHENTICATIONFAILED]")],
            Self::Pop3 => vec![("USER nobody".into(), "+OK"), ("PASS wrong".into(), "-ERR [AUTH]")],
        }
    }
}

struct Story {
    cluster: Cluster,
}

impl Story {
    fn place(&self, at: usize, protocol: Protocol) -> SocketAddr {
        self.cluster.nodes[at].port(protocol.port())
    }

    fn set(&self, at: usize, key: &str, value: &str) {
        self.cluster.nodes[at].must(&["policy", "set", key, value], None);
        self.cluster.wait_until_caught_up();
    }

    fn block(&self, at: usize, arguments: &[&str]) -> String {
        let said = self.cluster.nodes[at].must(&[&["block"], arguments].concat(), None);
        self.cluster.wait_until_caught_up();
        said
    }

    fn greeting(&self, at: usize, protocol: Protocol, client: &str) -> (Wire, String) {
        let client = client.parse().expect("an address");
        let mut wire = Wire::connect_from(client, self.place(at, protocol)).expect("the port is open");
        let line = wire.line().expect("a greeting or a farewell");
        (wire, line)
    }

    fn is_blocked(&self, at: usize, protocol: Protocol, client: &str) -> bool {
        let (_, line) = self.greeting(at, protocol, client);
        line.starts_with(protocol.farewell())
    }

    /// One login that fails.
    fn fails(&self, at: usize, protocol: Protocol, client: &str) {
        let (mut wire, line) = self.greeting(at, protocol, client);
        assert!(!line.starts_with(protocol.farewell()), "{line}");
        for (command, answer) in protocol.failing() {
            wire.send(format!("{command}\r\n").as_bytes()).expect("it is read");
            let mut line = wire.line().expect("an answer");
            while line.as_bytes().get(3) == Some(&b'-') && line.starts_with("250") {
                line = wire.line().expect("the rest of the answer");
            }
            assert!(line.starts_with(answer), "{protocol:?}: {line}");
        }
    }

    fn listed(&self, at: usize) -> Vec<(String, String)> {
        let listed = self.cluster.nodes[at].must(&["block", "list", "--json"], None);
        let blocks: Vec<serde_json::Value> = serde_json::from_str(&listed).expect("a listing is JSON");
        let text = |block: &serde_json::Value, key: &str| block[key].as_str().expect(key).to_owned();
        assert!(blocks.iter().all(|block| text(block, "since") < text(block, "until")), "{listed}");
        blocks.iter().map(|block| (text(block, "address"), text(block, "reason"))).collect()
    }

    fn names(&self, at: usize, client: &str) -> Result<Smtp, String> {
        let client = client.parse().expect("an address");
        let mut smtp =
            Smtp::connect_from(client, self.place(at, Protocol::Smtp)).map_err(|it| it.to_string())?;
        smtp.command("MAIL FROM:<a@far.test>", "250").expect("a sender is taken");
        Ok(smtp)
    }
}

#[test]
fn blocks_hold_over_both_nodes() {
    let Some(cluster) = Cluster::start() else { return };
    let mut story = Story { cluster };
    // The story's own clients come from loopback.
    story.set(0, "block.exempt_networks", "127.0.0.1/32");
    story.set(1, "block.failed_logins_max", &TOLERATED.to_string());
    story.set(0, "block.unknown_recipients_max", &GUESSES.to_string());
    story.set(0, "sender.domain_must_exist", "false");

    guesses_of_recipients(&story);
    an_operator_blocks_and_clears(&story);
    the_leader_dies_half_way(&mut story);
}

/// Half of them on each node; the one beyond is still told the truth, and the next is not.
fn guesses_of_recipients(story: &Story) {
    let client = "127.0.8.20";
    let mut sessions = [0, 1].map(|at| story.names(at, client).expect("it is let in"));
    for guess in 0..=GUESSES {
        assert!(!story.is_blocked(guess % 2, Protocol::Smtp, client), "guess {guess}");
        sessions[guess % 2]
            .command(&format!("RCPT TO:<guess{guess}@example.test>"), "550")
            .expect("no such user");
    }
    story.cluster.wait_until_caught_up();
    for (at, session) in sessions.iter_mut().enumerate() {
        session
            .command("RCPT TO:<alice@example.test>", "450 4.7.1")
            .expect("it is blocked within its session");
        assert!(story.is_blocked(at, Protocol::Smtp, client));
    }
    assert_eq!(story.listed(1), [(client.to_owned(), "unknown recipients".to_owned())]);
    let mut other = story.names(0, "127.0.8.21").expect("another host is let in");
    other.command("RCPT TO:<alice@example.test>", "250").expect("alice is known");
    story.block(0, &["clear", client]);
    assert!(!story.is_blocked(1, Protocol::Smtp, client));
}

fn an_operator_blocks_and_clears(story: &Story) {
    let client = "127.0.8.30";
    story.block(0, &["add", client, "--for", "1h", "--reason", "scans us"]);
    for at in [0, 1] {
        assert!(Protocol::ALL.iter().all(|protocol| story.is_blocked(at, *protocol, client)));
        assert_eq!(story.listed(at), [(client.to_owned(), "scans us".to_owned())]);
    }
    assert!(
        story.cluster.nodes[1].must(&["block", "list"], None).starts_with(&format!("{client}  since 20"))
    );
    story.block(1, &["clear", "--all"]);
    assert_eq!(story.listed(0), []);
    assert!(!story.is_blocked(0, Protocol::Imap, client));
    let refused = story.cluster.nodes[0].command(&["block", "add", "127.0.0.1"]);
    assert!(!refused.status.success(), "a host that is exempt cannot be blocked");
}

/// Logins that fail by all protocols, before and after, are one count.
fn the_leader_dies_half_way(story: &mut Story) {
    let client = "127.0.8.10";
    for time in 0..2 {
        story.fails(time % 2, Protocol::ALL[time], client);
    }
    let leader = story.cluster.leader();
    story.cluster.nodes[leader].kill();
    let left = story.cluster.leader_other_than(leader);
    for time in 2..=TOLERATED {
        assert!(!story.is_blocked(left, Protocol::Imap, client), "time {time}");
        story.fails(left, Protocol::ALL[time % 3], client);
    }
    for protocol in Protocol::ALL {
        assert!(story.is_blocked(left, protocol, client), "{protocol:?}");
    }
    story.cluster.nodes[leader].start();
    story.cluster.wait_until_caught_up();
    eventually("the one that was away has heard of it", || {
        story.is_blocked(leader, Protocol::Pop3, client).then_some(())
    });
    assert_eq!(story.listed(leader), [(client.to_owned(), "failed logins".to_owned())]);
    assert!(!story.is_blocked(leader, Protocol::Pop3, "127.0.8.11"), "another host is let in");
}
