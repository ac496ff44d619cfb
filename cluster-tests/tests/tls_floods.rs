//! Handshakes by the hundred, garbage for handshakes, and a client that wants to negotiate anew: bounded, and normal
//! mail flows beside them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use cluster_tests::cluster::Cluster;
use cluster_tests::hostile::{PATIENCE, Raw, memory};
use cluster_tests::ledger::message;
use cluster_tests::node::Node;
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::tls::handshake;

const THREADS: usize = 8;
const HANDSHAKES_EACH: usize = 50;
const GARBAGE_EACH: usize = 50;
const GARBAGE_BYTES: usize = 10_000;

#[test]
fn tls_floods() {
    let Some(mut cluster) = Cluster::start() else { return };
    let node = &cluster.nodes[0];
    let before = memory(node.pid()).pss;
    let greeted = AtomicUsize::new(0);
    let running = AtomicUsize::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (greeted, running) = (&greeted, &running);
            scope.spawn(move || {
                flood(node.port([465, 993, 995][thread % 3]), thread as u64, greeted);
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let mut sent = 0;
        while running.load(Ordering::Relaxed) > 0 {
            serve_a_normal_client(node, sent);
            sent += 1;
        }
        println!("beside the flood {sent} mails were taken");
        assert!(sent > 0);
    });
    assert_eq!(greeted.load(Ordering::Relaxed), THREADS * HANDSHAKES_EACH);
    let after = memory(node.pid()).pss;
    println!("memory: PSS {before} -> {after}");
    assert!(after < before + (32 << 20), "memory: PSS {before} -> {after}");

    node.must(&["policy", "set", "session.login_seconds_max", "5"], None);
    negotiate_anew(node);
    serve_a_normal_client(node, 1_000);
    assert!(cluster.nodes[0].is_running());
}

fn flood(address: SocketAddr, seed: u64, greeted: &AtomicUsize) {
    let mut dice = fastrand::Rng::with_seed(seed);
    for _ in 0..GARBAGE_EACH {
        let mut client = Raw::connect(address).expect("the port is open");
        let garbage: Vec<u8> = std::iter::repeat_with(|| dice.u8(..)).take(GARBAGE_BYTES).collect();
        let _ = client.say([0x16, 0x03, 0x01]).and_then(|()| client.say(&garbage));
        let _ = client.socket().shutdown(std::net::Shutdown::Write);
        client.rest().expect("the server closes");
    }
    for _ in 0..HANDSHAKES_EACH {
        let socket = TcpStream::connect(address).expect("the port is open");
        socket.set_read_timeout(Some(PATIENCE)).expect("the socket lives");
        let mut tls = handshake(socket).expect("the handshake ends");
        assert!(tls.read(&mut [0; 512]).expect("the server greets") > 0);
        greeted.fetch_add(1, Ordering::Relaxed);
    }
}

/// TLS 1.2 allows it, and it was a cheap way to keep a server busy. Ours never does it: one handshake a connection.
fn negotiate_anew(node: &Node) {
    let address = node.port(993).to_string();
    let client = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut client) = client else {
        eprintln!("skipped in part: there is no openssl to negotiate anew with");
        return;
    };
    let mut input = client.stdin.take().expect("it is piped");
    let mut output = client.stdout.take().expect("it is piped");
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(b"* OK [CAPABILITY") && output.read(&mut byte).is_ok_and(|read| read == 1) {
        heard.push(byte[0]);
    }
    assert!(heard.ends_with(b"* OK [CAPABILITY"), "{}", String::from_utf8_lossy(&heard));
    // A line of `R` alone makes s_client ask, and wait for the handshake that never comes. To the server that is
    // silence like any other.
    let _ = input.write_all(b"R\n");
    cluster_tests::wait::eventually("the connection is over", || {
        client.try_wait().expect("the process is ours")
    });
    let mut complained = String::new();
    let _ = client.stderr.take().expect("it is piped").read_to_string(&mut complained);
    assert!(complained.contains("RENEGOTIATING"), "{complained}");
    assert!(complained.contains("no renegotiation"), "it was refused: {complained}");
}

fn serve_a_normal_client(node: &Node, at: usize) {
    let mut smtp = Smtp::connect(node.smtp()).expect("SMTP serves");
    let (sent, reply) = smtp.send(&["alice@example.test"], &message(&format!("t{at}"), 100));
    assert_eq!(sent, Sent::Acknowledged, "{reply:?}");
}
