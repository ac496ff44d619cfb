//! 5,000 connections to one node, of all three protocols, a fifth of them logged in: all are served, the one beyond is
//! told so, each costs little, a normal client beside them notices nothing, and wave after wave of them leaves nothing behind.

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::hostile::{Raw, memory, set_descriptors};
use cluster_tests::imap::Imap;
use cluster_tests::lab::Lab;
use cluster_tests::ledger::message;
use cluster_tests::node::Node;
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::wait::eventually;

const CONNECTIONS: usize = 5_000;
const IDLERS: usize = 1_000;
const WAVES: usize = 6;
/// What a quiet connection without TLS may cost the node, bytes: 1,000 are to take less than 32 MiB.
const BYTES_PER_CONNECTION_MAX: u64 = 32 * 1024;

#[test]
fn five_thousand_connections() {
    // As shells and service managers leave it: the node itself must ask for more.
    set_descriptors(1_024);
    // With the two arenas of the product each keeps its own highest mark, and a wave falls to one or the other by chance:
    // memory rises in steps to twice that of one wave. In one arena what is lost is told from what is kept.
    let one_arena = |_: &Lab, node: &mut Node| node.environment.push(("MALLOC_ARENA_MAX".into(), "1".into()));
    let Some(cluster) = Cluster::start_on(|_| {}, one_arena) else { return };
    set_descriptors(CONNECTIONS as u64 + 1_000);
    let node = &cluster.nodes[0];
    // Two more for the normal clients.
    let most = (CONNECTIONS + 2).to_string();
    node.must(&["policy", "set", "session.connections_max", &most], None);
    node.must(&["policy", "set", "session.connections_per_address_max", "100000"], None);
    let mut reader = Imap::login(node.imap(), "alice", &password("alice")).expect("IMAP serves");
    let mut sender = Smtp::connect(node.smtp()).expect("SMTP serves");
    deliver_and_read(&mut sender, &mut reader, "before");

    let before = memory(node.pid()).pss;
    let (mut idlers, mut others) = all_connect(node);
    let held = memory(node.pid()).pss;
    let each = held.saturating_sub(before) / CONNECTIONS as u64;
    println!("{CONNECTIONS} connections, {IDLERS} in IDLE: {each} bytes each (PSS {before} -> {held})");
    assert!(each < BYTES_PER_CONNECTION_MAX, "{each} bytes a connection");

    for (address, word) in
        [(node.smtp(), "421 4.7.0"), (node.pop3(), "-ERR [SYS/TEMP]"), (node.imap(), "* BYE")]
    {
        let mut beyond = Raw::connect(address).expect("the port is open");
        let said = beyond.rest().expect("it is closed");
        assert!(said.starts_with(word) && said.contains("too many connections"), "{said:?}");
    }
    deliver_and_read(&mut sender, &mut reader, "beside them");
    for idler in &mut idlers {
        idler.until("* 2 EXISTS");
    }
    for (at, client) in others.iter_mut().enumerate() {
        let end = match (at + IDLERS) % 3 {
            0 => "250 ",
            1 => "-ERR log in first",
            _ => "a OK",
        };
        client.ask(if end == "a OK" { "a NOOP" } else { "NOOP" }, end);
    }
    drop((idlers, others));
    wait_for_places(node);
    deliver_and_read(&mut sender, &mut reader, "after");
    let after = memory(node.pid()).pss;
    println!("once they are gone: {} bytes more than before", after.saturating_sub(before));
    // The allocator keeps what it was given back, and serves the next waves from it.
    let mut waves = Vec::new();
    for wave in 2..=WAVES {
        let again = all_connect(node);
        waves.push(memory(node.pid()).pss);
        println!("wave {wave}: PSS {waves:?}");
        drop(again);
        wait_for_places(node);
    }
    // A tenth of a connection's memory lost with each would be seen.
    let (second, last) = (waves[0], waves[waves.len() - 1]);
    let most = second + (held - before) / 4;
    assert!(last < most, "{WAVES} waves: PSS {before} -> {held}, {waves:?}");
    deliver_and_read(&mut sender, &mut reader, "at the end");
}

/// Clients in IDLE, and clients that were greeted and say nothing.
fn all_connect(node: &Node) -> (Vec<Raw>, Vec<Raw>) {
    let idlers = (0..IDLERS).map(|_| idler(node.imap())).collect();
    let others = (IDLERS..CONNECTIONS).map(|at| {
        let (address, greeting) = match at % 3 {
            0 => (node.smtp(), "220 "),
            1 => (node.pop3(), "+OK"),
            _ => (node.imap(), "* OK"),
        };
        let mut client = Raw::connect(address).expect("the port is open");
        client.until(greeting);
        client
    });
    (idlers, others.collect())
}

/// A hangup is noticed at its own time; the node's descriptors tell when all were.
fn wait_for_places(node: &Node) {
    eventually("their places are free again", || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", node.pid())).expect("the process lives").count();
        (open < CONNECTIONS / 10).then_some(())
    });
}

fn idler(address: std::net::SocketAddr) -> Raw {
    let mut client = Raw::connect(address).expect("the port is open");
    client.until("* OK");
    client.ask("a LOGIN alice demo-alice", "a OK");
    client.ask("b SELECT INBOX", "b OK");
    client.ask("c IDLE", "+ ");
    client
}

fn deliver_and_read(sender: &mut Smtp, reader: &mut Imap, token: &str) {
    let content = message(token, 2_000);
    let (sent, reply) = sender.send(&["alice@example.test"], &content);
    assert_eq!(sent, Sent::Acknowledged, "{reply:?}");
    reader.select("INBOX").expect("INBOX is there");
    let all = reader.fetch_all().expect("the mail is there");
    assert!(all.last().expect("one at least").body.ends_with(&content), "{token}");
}
