//! What one host may do, on both nodes together: so many connections and so many messages in a minute. With half on each
//! node exactly n pass, and the next is refused on either. The leader dies half way: the count goes on.

use std::time::{SystemTime, UNIX_EPOCH};

use cluster_tests::cluster::Cluster;
use cluster_tests::smtp::Smtp;

const CONNECTIONS: usize = 20;
const MESSAGES: usize = 6;

struct Story {
    cluster: Cluster,
    clients: u8,
}

impl Story {
    fn set(&self, at: usize, key: &str, value: &str) {
        self.cluster.nodes[at].must(&["policy", "set", key, value], None);
        self.cluster.wait_until_caught_up();
    }

    /// What `round` finds, of a client that nobody has seen before, if it began and ended in one minute; else it is played
    /// again.
    fn within_a_minute<T>(&mut self, mut round: impl FnMut(&mut Cluster, &str) -> T) -> T {
        loop {
            let began = minute();
            self.clients += 1;
            let found = round(&mut self.cluster, &format!("127.0.7.{}", self.clients));
            if minute() == began {
                return found;
            }
            eprintln!("the minute was over: once more");
        }
    }
}

fn minute() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_secs() / 60
}

/// `None`: it is told that its host has opened too many in this minute.
fn connect(cluster: &Cluster, at: usize, client: &str) -> Option<Smtp> {
    match Smtp::connect_from(client.parse().expect("an address"), cluster.nodes[at].smtp()) {
        Ok(smtp) => Some(smtp),
        Err(error) => {
            assert!(error.to_string().starts_with("421 4.7.1"), "{error}");
            None
        }
    }
}

fn connects(cluster: &Cluster, at: usize, client: &str) -> bool {
    connect(cluster, at, client).is_some()
}

/// The same of a message.
fn sends(smtp: &mut Smtp) -> bool {
    smtp.command("MAIL FROM:<sender@elsewhere.test>", "250").expect("a sender is taken");
    smtp.command("RCPT TO:<alice@example.test>", "250").expect("alice is known");
    match smtp.command("DATA", "354") {
        Ok(_) => {
            smtp.command("Subject: x\r\n\r\nHi.\r\n.", "250").expect("it is kept");
            true
        }
        Err(error) => {
            assert!(error.to_string().starts_with("450 4.7.1"), "{error}");
            smtp.command("RSET", "250").expect("the session goes on");
            false
        }
    }
}

/// n pass, and two more do not.
fn exactly(n: usize) -> Vec<bool> {
    (0..n + 2).map(|number| number < n).collect()
}

#[test]
fn limits_hold_over_both_nodes() {
    let Some(cluster) = Cluster::start() else { return };
    let mut story = Story { cluster, clients: 0 };
    // The story's own clients come from loopback.
    story.set(0, "limits.exempt_networks", "127.0.0.1/32");
    story.set(1, "limits.messages_per_minute", &MESSAGES.to_string());

    let passed = story.within_a_minute(|cluster, client| {
        let mut sessions =
            [0, 1].map(|at| connect(cluster, at, client).expect("connections are not limited"));
        (0..MESSAGES + 2).map(|number| sends(&mut sessions[number % 2])).collect::<Vec<_>>()
    });
    assert_eq!(passed, exactly(MESSAGES), "half on each node");

    story.set(0, "limits.connections_per_minute", &CONNECTIONS.to_string());
    let passed = story.within_a_minute(|cluster, client| {
        (0..CONNECTIONS + 2).map(|number| connects(cluster, number % 2, client)).collect::<Vec<_>>()
    });
    assert_eq!(passed, exactly(CONNECTIONS), "half on each node");
    assert!((0..CONNECTIONS + 2).all(|_| connects(&story.cluster, 0, "127.0.0.1")), "it is exempt");

    // What one node took in advance the other has, if it needs it.
    let (one, other) = story.within_a_minute(|cluster, client| {
        let one = connects(cluster, 0, client);
        (one, (0..CONNECTIONS + 1).filter(|_| connects(cluster, 1, client)).count())
    });
    assert_eq!((one, other), (true, CONNECTIONS - 1));

    the_leader_dies_half_way(&mut story);
}

/// What it held in advance is lost to this minute, and nothing else: a quarter of what was free at the most.
fn the_leader_dies_half_way(story: &mut Story) {
    let (before, after) = story.within_a_minute(|cluster, client| {
        for node in cluster.nodes.iter_mut() {
            if !node.is_running() {
                node.start();
            }
        }
        cluster.wait_until_protected();
        let before = (0..CONNECTIONS / 2).filter(|number| connects(cluster, number % 2, client)).count();
        let leader = cluster.leader();
        cluster.nodes[leader].kill();
        let survivor = cluster.leader_other_than(leader);
        let after = (0..CONNECTIONS).filter(|_| connects(cluster, survivor, client)).count();
        (before, after)
    });
    eprintln!("{before} before the leader died, {after} of {CONNECTIONS} after it");
    assert_eq!(before, CONNECTIONS / 2);
    assert!(before + after <= CONNECTIONS, "{before} and {after} passed");
    assert!(after >= CONNECTIONS / 4, "{after} after it");
}
