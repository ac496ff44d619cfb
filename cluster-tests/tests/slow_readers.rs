//! Clients that ask for a big message and read it a byte at a time: what the node holds for them is bounded, their
//! own account waits, and everyone else is served.

use std::time::Duration;

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::hostile::{Raw, forget_peak, memory};
use cluster_tests::ledger::message;
use cluster_tests::node::Node;
use cluster_tests::pop3::Pop3;
use cluster_tests::smtp::{Sent, Smtp};
use cluster_tests::wait::eventually;

const READERS: usize = 40;
const MESSAGE_BYTES: usize = 20 << 20;
/// An account's share of large messages in hand (64 MiB), and for each reader its buffers. All messages together
/// would be 800 MiB.
const HELD_BYTES_MAX: u64 = (64 << 20) + READERS as u64 * (256 << 10) + (48 << 20);

#[test]
fn slow_readers() {
    let Some(mut cluster) = Cluster::start() else { return };
    let node = &cluster.nodes[0];
    let big = message("big", MESSAGE_BYTES);
    let mut smtp = Smtp::connect(node.smtp()).expect("SMTP serves");
    let (sent, reply) = smtp.send(&["alice@example.test", "bob@example.test"], &big);
    assert_eq!(sent, Sent::Acknowledged, "{reply:?}");
    cluster.wait_until_caught_up();

    forget_peak(node.pid());
    let before = memory(node.pid());
    let mut readers: Vec<Raw> = (0..READERS).map(|at| reader(node, at % 2 == 0)).collect();
    // Each takes its first bytes: those without a place hear so once the wait is over, and not before.
    let (mut served, mut refused) = (0, 0);
    for reader in &mut readers {
        let said = reader.line();
        match said.as_str() {
            said if said.starts_with("+OK") || said.starts_with("* 1 FETCH") => served += 1,
            said if said.starts_with("-ERR [SYS/TEMP]") || said.contains("NO [UNAVAILABLE]") => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    println!("{served} readers are served at once, {refused} are asked to come again");
    assert!((1..=4).contains(&served), "3 of 20 MiB fit a share of 64 MiB: {served}");

    // Others read the same message whole meanwhile.
    let mut pop3 = Pop3::login(node.pop3(), "bob", &password("bob")).expect("POP3 serves");
    assert!(pop3.listing("RETR 1").expect("the message is there").ends_with(&big));
    for _ in 0..20 {
        for reader in readers.iter_mut().filter(|reader| is_open(reader)) {
            reader.byte();
        }
    }
    let held = memory(node.pid());
    println!("memory: PSS {} -> {}, peak {} -> {}", before.pss, held.pss, before.peak, held.peak);
    assert!(held.pss < before.pss + HELD_BYTES_MAX, "PSS {} -> {}", before.pss, held.pss);
    // Bob's message is one more, whole.
    let peak_max = before.peak + HELD_BYTES_MAX + 2 * MESSAGE_BYTES as u64;
    assert!(held.peak < peak_max, "peak {} -> {}", before.peak, held.peak);

    // With their places given back the account is served again.
    drop(readers);
    eventually("alice reads her message", || {
        let mut pop3 = Pop3::login(node.pop3(), "alice", &password("alice")).ok()?;
        pop3.listing("RETR 1").ok()?.ends_with(&big).then_some(())
    });
    assert!(cluster.nodes[0].is_running());
}

fn reader(node: &Node, by_pop3: bool) -> Raw {
    let address = if by_pop3 { node.pop3() } else { node.imap() };
    let mut client = Raw::connect(address).expect("the port is open");
    client.narrow();
    if by_pop3 {
        client.until("+OK");
        client.ask("USER alice", "+OK");
        client.ask("PASS demo-alice", "+OK");
        client.say("RETR 1\r\n").expect("the server reads");
    } else {
        client.until("* OK");
        client.ask("a LOGIN alice demo-alice", "a OK");
        client.ask("b SELECT INBOX", "b OK");
        client.say("c FETCH 1 BODY.PEEK[]\r\n").expect("the server reads");
    }
    client
}

/// There is something to read, or may be soon.
fn is_open(reader: &Raw) -> bool {
    let _ = reader.socket().set_read_timeout(Some(Duration::from_millis(20)));
    reader.socket().peek(&mut [0]).is_ok_and(|bytes| bytes > 0)
}
