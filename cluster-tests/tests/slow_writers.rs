//! Clients that say nothing, or a byte at a time: in commands, in text, in literals, in handshakes. Each hears its
//! farewell in bounded time, and normal mail flows beside them.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster_tests::cluster::Cluster;
use cluster_tests::hostile::{Raw, memory};
use cluster_tests::ledger::message;
use cluster_tests::node::Node;
use cluster_tests::smtp::{Sent, Smtp};

/// Of each kind.
const CLIENTS: usize = 10;
/// A byte's pause: no time-out for silence would ever end these.
const PAUSE: Duration = Duration::from_millis(100);
/// More than any of the bounds set below (10 s), and than the handshake's (15 s).
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// What a client says at once, what it then trickles for ever, and the last that it hears.
struct Trickle {
    port: u16,
    first: &'static str,
    forever: &'static [u8],
    farewell: &'static str,
}

static TRICKLES: [Trickle; 8] = [
    Trickle { port: 25, first: "", forever: b"x", farewell: "421 " },
    Trickle { port: 25, first: TO_DATA, forever: b"x", farewell: "421 " },
    Trickle { port: 25, first: TO_DATA, forever: b"a: b\r\n", farewell: "421 " },
    Trickle { port: 25, first: TO_BDAT, forever: b"BDAT 1\r\nx", farewell: "421 " },
    Trickle { port: 110, first: "", forever: b"x", farewell: "-ERR " },
    Trickle { port: 143, first: "", forever: b"x", farewell: "* BYE " },
    Trickle { port: 143, first: "a LOGIN {60000+}\r\n", forever: b"x", farewell: "* BYE " },
    Trickle { port: 143, first: "a NOOP {100000000+}\r\n", forever: b"x", farewell: "* BYE " },
];
const TO_DATA: &str = "EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n";
const TO_BDAT: &str = "EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.test>\r\nBDAT 1\r\nx";

#[test]
fn slow_writers() {
    let Some(mut cluster) = Cluster::start() else { return };
    cluster.nodes[0].must(&["policy", "set", "smtp.idle_seconds_max", "10"], None);
    cluster.nodes[0].must(&["policy", "set", "session.login_seconds_max", "10"], None);
    let node = &cluster.nodes[0];
    let before = memory(node.pid()).pss;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let normal = scope.spawn(|| send_until(node, &over));
        let mut hostile = Vec::new();
        for _ in 0..CLIENTS {
            for trickle in &TRICKLES {
                hostile.push(scope.spawn(|| trickle_until_closed(node.port(trickle.port), trickle)));
            }
            for port in [25, 110, 143, 465, 993, 995] {
                hostile.push(scope.spawn(move || silent_until_closed(node.port(port))));
            }
            for port in [465, 993, 995] {
                hostile.push(scope.spawn(move || stall_a_handshake(node.port(port), "", "")));
            }
            hostile.push(scope.spawn(|| stall_a_handshake(node.port(110), "STLS\r\n", "+OK Begin")));
            hostile.push(scope.spawn(|| stall_a_handshake(node.port(143), "a STARTTLS\r\n", "a OK")));
            hostile.push(
                scope.spawn(|| stall_a_handshake(node.port(587), "EHLO c\r\nSTARTTLS\r\n", "220 2.0.0")),
            );
        }
        for client in hostile {
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        over.store(true, Ordering::Relaxed);
        let sent = normal.join().expect("the normal client is served");
        println!("beside them {sent} mails were taken");
        assert!(sent > 0);
    });
    let after = memory(node.pid()).pss;
    println!("memory: PSS {before} -> {after}");
    assert!(after < before + (48 << 20), "memory: PSS {before} -> {after}");
    assert!(cluster.nodes[0].is_running());
}

fn trickle_until_closed(address: SocketAddr, trickle: &'static Trickle) {
    let begun = Instant::now();
    let mut client = Raw::connect(address).expect("the port is open");
    client.say(trickle.first).expect("the server reads");
    let mut writer = client.socket().try_clone().expect("a descriptor is free");
    let writing = std::thread::spawn(move || {
        for byte in trickle.forever.iter().cycle() {
            if writer.write_all(&[*byte]).is_err() || begun.elapsed() > ENDED_WITHIN {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    });
    let said = client.rest().expect("the server closes");
    let took = begun.elapsed();
    assert!(took < ENDED_WITHIN, "{:?} held its session for {took:?}", trickle.first);
    // Our next byte may have met the closed socket, and its reset overtaken the farewell.
    let last = said.lines().last().unwrap_or(trickle.farewell).to_owned();
    assert!(last.starts_with(trickle.farewell) || took.as_secs() >= 10, "{:?}: {last}", trickle.first);
    writing.join().expect("it only writes");
}

fn silent_until_closed(address: SocketAddr) {
    let begun = Instant::now();
    let mut client = Raw::connect(address).expect("the port is open");
    client.rest().expect("the server closes");
    assert!(begun.elapsed() < ENDED_WITHIN);
}

/// The start of a ClientHello, and no more.
fn stall_a_handshake(address: SocketAddr, say: &str, hear: &str) {
    let begun = Instant::now();
    let mut client = Raw::connect(address).expect("the port is open");
    if !say.is_empty() {
        client.say(say).expect("the server reads");
        client.until(hear);
    }
    client.say([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).expect("the server reads");
    client.rest().expect("the server closes");
    assert!(begun.elapsed() < ENDED_WITHIN);
}

/// How many mails were acknowledged; panics if one was not.
fn send_until(node: &Node, over: &AtomicBool) -> usize {
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        let mut smtp = Smtp::connect(node.smtp()).expect("SMTP serves");
        let (fate, reply) = smtp.send(&["alice@example.test"], &message(&format!("n{sent}"), 1_000));
        assert_eq!(fate, Sent::Acknowledged, "{reply:?}");
        sent += 1;
        std::thread::sleep(PAUSE);
    }
    sent
}
