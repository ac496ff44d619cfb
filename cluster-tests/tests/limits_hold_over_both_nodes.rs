//! What one host may do, on both nodes together: so many connections at once, so many connections and so many messages in a
//! minute; and what a user may send in a day. With half on each node exactly n pass, and the next is refused on either. The
//! leader dies half way: the count goes on, and only its connections count no longer.

use std::time::{SystemTime, UNIX_EPOCH};

use cluster_tests::cluster::Cluster;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;

const CONNECTIONS: usize = 20;
const MESSAGES: usize = 6;
const AT_ONCE: usize = 10;
const SENT: usize = 4;

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

/// `None`: it is told that its host has opened too many, at once or in this minute.
fn open(cluster: &Cluster, at: usize, client: &str) -> Result<Smtp, String> {
    let client = client.parse().expect("an address");
    Smtp::connect_from(client, cluster.nodes[at].smtp()).map_err(|error| error.to_string())
}

fn connect(cluster: &Cluster, at: usize, client: &str) -> Option<Smtp> {
    open(cluster, at, client)
        .map_err(|said| assert!(said.starts_with("421 4.7.1 too many connections"), "{said}"))
        .ok()
}

/// And takes its leave: it is not to count among those that are open.
fn connects(cluster: &Cluster, at: usize, client: &str) -> bool {
    connect(cluster, at, client).is_some_and(|mut smtp| smtp.command("QUIT", "221").is_ok())
}

fn has_too_many(cluster: &Cluster, at: usize, client: &str) -> bool {
    open(cluster, at, client).is_err_and(|said| said.starts_with("421 4.7.0 too many connections"))
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

    so_many_at_once(&story);
    so_many_of_a_user(&story);
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

fn so_many_at_once(story: &Story) {
    let (cluster, client) = (&story.cluster, "127.0.9.1");
    story.set(1, "limits.connections_at_once", &AT_ONCE.to_string());
    let mut connections: Vec<Smtp> =
        (0..AT_ONCE).map(|number| open(cluster, number % 2, client).expect("there is room")).collect();
    assert!(has_too_many(cluster, 0, client) && has_too_many(cluster, 1, client));
    open(cluster, 0, "127.0.9.2").expect("another host");
    connections.pop();
    connections.push(eventually("one has gone", || open(cluster, 0, client).ok()));
    assert!(has_too_many(cluster, 0, client) && has_too_many(cluster, 1, client));
    drop(connections);
    // What one node had the other gets.
    let mut connections: Vec<Smtp> = Vec::new();
    while connections.len() < AT_ONCE {
        connections.push(eventually("they have gone", || open(cluster, 1, client).ok()));
    }
    assert!(has_too_many(cluster, 0, client) && has_too_many(cluster, 1, client));
}

/// One mail of alice, by a session of her own.
fn hands_in(cluster: &Cluster, at: usize) -> Result<(), String> {
    let mut smtp = Smtp::login(cluster.nodes[at].smtp(), "alice").expect("she is let in");
    let sent = smtp.submit("alice", &["bob@example.test"], b"Subject: x\r\n\r\nHi.\r\n");
    sent.map(drop).map_err(|error| error.to_string())
}

fn so_many_of_a_user(story: &Story) {
    story.set(0, "send.messages_per_day", &SENT.to_string());
    for number in 0..SENT / 2 {
        hands_in(&story.cluster, number % 2).expect("she may");
        let shown = story.cluster.nodes[number % 2].must(&["user", "show", "alice"], None);
        assert!(shown.contains(&format!("has sent {} of {SENT} messages today", number + 1)), "{shown}");
    }
}

/// What it held in advance is lost to this minute, and nothing else: a quarter of what was free at the most.
fn the_leader_dies_half_way(story: &mut Story) {
    let crowd = "127.0.9.3";
    let mut connections = Vec::new();
    let (before, after, survivor) = story.within_a_minute(|cluster, client| {
        for node in cluster.nodes.iter_mut() {
            if !node.is_running() {
                node.start();
            }
        }
        cluster.wait_until_protected();
        connections.clear();
        while connections.len() < AT_ONCE {
            let at = connections.len() % 2;
            connections.push(eventually("there is room", || open(cluster, at, crowd).ok()));
        }
        let before = (0..CONNECTIONS / 2).filter(|number| connects(cluster, number % 2, client)).count();
        let leader = cluster.leader();
        cluster.nodes[leader].kill();
        let survivor = cluster.leader_other_than(leader);
        let after = (0..CONNECTIONS).filter(|_| connects(cluster, survivor, client)).count();
        (before, after, survivor)
    });
    eprintln!("{before} before the leader died, {after} of {CONNECTIONS} after it");
    assert_eq!(before, CONNECTIONS / 2);
    assert!(before + after <= CONNECTIONS, "{before} and {after} passed");
    assert!(after >= CONNECTIONS / 4, "{after} after it");
    let cluster = &story.cluster;
    for _ in SENT / 2..SENT {
        hands_in(cluster, survivor).expect("she may");
    }
    let said = hands_in(cluster, survivor).expect_err("she has sent enough");
    assert!(said.starts_with("452 4.7.1"), "{said}");

    cluster.nodes[survivor].must(&["policy", "set", "limits.connections_per_minute", "0"], None);
    for number in 0..AT_ONCE / 2 {
        connections.push(open(cluster, survivor, crowd).unwrap_or_else(|said| panic!("{number}: {said}")));
    }
    assert!(has_too_many(cluster, survivor, crowd), "the dead one's count no longer, and its own do");
}
