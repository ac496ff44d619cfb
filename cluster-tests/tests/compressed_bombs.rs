//! Clients whose few compressed bytes stand for very many (RFC 4978): lines, literals and commands without end, blocks
//! that hold nothing. What a node keeps for them is bounded, each ends as it would uncompressed, and others go on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use cluster_tests::cluster::Cluster;
use cluster_tests::hostile::{Raw, memory, set_descriptors};
use cluster_tests::ledger::message;
use cluster_tests::node::Node;
use cluster_tests::smtp::{Sent, Smtp};
use pollux::session::compressed::IDLE_BYTES_MAX;
use pollux::session::deflate::{Inflater, deflate};

/// Of each kind.
const CLIENTS: usize = 4;
/// What one segment of a bomb comes to. Segments can follow each other without end.
const SEGMENT_BYTES: usize = 1 << 20;
/// A normal client's mail takes this long at the most beside them, on two busy cores.
const MAIL_WITHIN: Duration = Duration::from_secs(10);
const IDLERS: usize = 1_000;
/// What a quiet connection may cost the node, bytes (see `five_thousand_connections`).
const BYTES_PER_CONNECTION_MAX: usize = 32 * 1024;

/// What a client says compressed, at first and then again and again, `times` times; the last that it hears.
struct Bomb {
    first: &'static [u8],
    again: &'static [u8],
    segments: usize,
    farewell: &'static str,
}

static BOMBS: [Bomb; 4] = [
    // A line of 4 GiB.
    Bomb { first: b"a ", again: b"x", segments: 4_096, farewell: "* BYE The command is too long" },
    // A literal of 200 MB that is refused and thrown away.
    Bomb {
        first: b"a NOOP {209715200+}\r\n",
        again: b"x",
        segments: 201,
        farewell: "* BYE The command is too long",
    },
    // 500,000 commands that mean nothing.
    Bomb { first: b"", again: b"a\r\n", segments: 1, farewell: "* BYE Too many commands" },
    // 524,288 commands that do; their answers are not read until all are said.
    Bomb { first: b"", again: b"a NOOP\r\n", segments: 4, farewell: "a OK" },
];

#[test]
fn compressed_bombs() {
    set_descriptors(IDLERS as u64 + 1_000);
    let Some(mut cluster) = Cluster::start() else { return };
    let node = &cluster.nodes[0];
    node.must(&["policy", "set", "session.connections_max", "3000"], None);
    node.must(&["policy", "set", "session.connections_per_address_max", "3000"], None);
    idle_sessions_are_small(node);

    let before = memory(node.pid()).pss;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let normal = scope.spawn(|| send_until(node, &over));
        let mut hostile = Vec::new();
        for _ in 0..CLIENTS {
            hostile.extend(BOMBS.iter().map(|bomb| scope.spawn(|| explode(node.imap(), bomb))));
            hostile.push(scope.spawn(|| pour_empty_blocks(node.imap())));
        }
        let most = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = memory(node.pid()).pss.max(most);
                std::thread::sleep(Duration::from_millis(50));
            }
            most
        });
        for client in hostile {
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        over.store(true, Ordering::Relaxed);
        let (sent, slowest) = normal.join().expect("the normal client is served");
        let most = most.join().expect("it only looks");
        println!("beside them {sent} mails were taken, the slowest in {slowest:?}; PSS {before} -> {most}");
        assert!(slowest < MAIL_WITHIN, "a mail took {slowest:?}");
        assert!(most < before + (48 << 20), "memory: PSS {before} -> {most}");
    });
    assert!(cluster.nodes[0].is_running());
}

fn compressing(address: SocketAddr) -> Raw {
    let mut client = Raw::connect(address).expect("the port is open");
    client.until("* OK");
    client.ask("a LOGIN alice demo-alice", "a OK");
    client.ask("b COMPRESS DEFLATE", "b OK");
    client
}

fn deflated(plain: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    deflate(plain, &mut out).expect("deflate takes anything");
    out
}

fn inflated(compressed: &[u8]) -> String {
    let (mut inflater, mut all, mut out) = (Inflater::default(), Vec::new(), vec![0; 4_096]);
    let mut rest = compressed;
    loop {
        let moved = inflater.inflate(rest, &mut out).expect("the server compresses");
        all.extend_from_slice(&out[..moved.given]);
        rest = &rest[moved.taken..];
        if moved.given < out.len() {
            return String::from_utf8_lossy(&all).into_owned();
        }
    }
}

/// Each has said and heard a little, as one that waits for its next look at the mailbox.
fn idle_sessions_are_small(node: &Node) {
    let before = memory(node.pid()).pss;
    let idlers: Vec<Raw> = (0..IDLERS)
        .map(|_| {
            let mut client = compressing(node.imap());
            client.say(deflated(b"c SELECT INBOX\r\nd IDLE\r\n")).expect("the server reads");
            // What comes is compressed: its first byte says that it came.
            client.byte().expect("the server answers");
            client
        })
        .collect();
    let each = (memory(node.pid()).pss.saturating_sub(before)) as usize / IDLERS;
    println!("{IDLERS} idle sessions that compress: {each} bytes each");
    assert!(each < BYTES_PER_CONNECTION_MAX + IDLE_BYTES_MAX, "{each} bytes each");
    drop(idlers);
}

fn explode(address: SocketAddr, bomb: &Bomb) {
    let mut client = compressing(address);
    let segment = deflated(&bomb.again.repeat(SEGMENT_BYTES / bomb.again.len()));
    assert!(segment.len() < SEGMENT_BYTES / 100, "{}", segment.len());
    let mut poured = client.say(deflated(bomb.first));
    for _ in 0..bomb.segments {
        poured = poured.and_then(|()| client.say(&segment));
    }
    // No more is coming: a session that goes on ends by that.
    let _ = client.socket().shutdown(std::net::Shutdown::Write);
    let heard = client.rest_bytes().expect("the server closes");
    let said = inflated(&heard);
    let last = said.lines().last().unwrap_or_default();
    // What we poured last may meet a closed socket, and its reset overtake the farewell.
    let overtaken = poured.is_err() || said.is_empty();
    assert!(last.starts_with(bomb.farewell) || overtaken, "{:?}: {last:?}", bomb.first);
}

/// 4 MB of stored blocks of no bytes, then a command: it is answered.
fn pour_empty_blocks(address: SocketAddr) {
    let mut client = compressing(address);
    client.pour(&[0x00, 0x00, 0x00, 0xff, 0xff].repeat(10_000), 4_000_000).expect("the server reads");
    client.say(deflated(b"e LOGOUT\r\n")).expect("the server reads");
    let heard = inflated(&client.rest_bytes().expect("the server closes"));
    assert!(heard.contains("e OK"), "{heard:?}");
}

/// How many mails were acknowledged, and how long the slowest took; panics if one was not.
fn send_until(node: &Node, over: &AtomicBool) -> (usize, Duration) {
    let (mut sent, mut slowest) = (0, Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let mut smtp = Smtp::connect(node.smtp()).expect("SMTP serves");
        let (fate, reply) = smtp.send(&["bob@example.test"], &message(&format!("n{sent}"), 1_000));
        assert_eq!(fate, Sent::Acknowledged, "{reply:?}");
        slowest = slowest.max(begun.elapsed());
        sent += 1;
    }
    (sent, slowest)
}
