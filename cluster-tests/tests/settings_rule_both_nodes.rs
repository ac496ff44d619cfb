//! What an administrator sets on one node, both do from the next connection on, and the sessions that are open go on: ports
//! and TLS, banners, the bounds of a mail, whose domains and logins they are, who gets the postmaster's mail.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use cluster_tests::checker;
use cluster_tests::cluster::{Cluster, password};
use cluster_tests::imap::Imap;
use cluster_tests::ledger::message;
use cluster_tests::node::Node;
use cluster_tests::pop3::Pop3;
use cluster_tests::smtp::Smtp;
use cluster_tests::wait::eventually;
use cluster_tests::wire::Wire;

/// Listeners and their standard ports; those with TLS from the first octet say nothing before it.
const LISTENERS: [(&str, u16); 9] = [
    ("smtp", 25),
    ("smtps", 465),
    ("submission", 587),
    ("pop3", 110),
    ("pop3s", 995),
    ("imap", 143),
    ("imaps", 993),
    ("lmtp", 24),
    ("managesieve", 4190),
];

struct Story {
    cluster: Cluster,
}

impl Story {
    fn set(&self, at: usize, key: &str, value: &str) {
        self.cluster.nodes[at].must(&["policy", "set", key, value], None);
        self.cluster.wait_until_caught_up();
    }

    fn each(&self, mut look: impl FnMut(&Node)) {
        self.cluster.data_nodes().iter().for_each(&mut look);
    }

    fn until_open(&self, port: u16, open: bool) {
        self.each(|node| {
            eventually(&format!("{} is open: {open}", node.port(port)), || {
                (TcpStream::connect(node.port(port)).is_ok() == open).then_some(())
            });
        });
    }
}

fn greeting(address: SocketAddr) -> String {
    Wire::connect(address).and_then(|mut wire| wire.line()).expect("the port greets")
}

fn said(answer: io::Result<String>) -> String {
    answer.unwrap_or_else(|error| error.to_string())
}

/// All lines of the answer to EHLO.
fn capabilities(address: SocketAddr) -> String {
    let mut wire = Wire::connect(address).expect("SMTP serves");
    wire.line().expect("it greets");
    wire.send(b"EHLO client.example.test\r\n").expect("it listens");
    let mut lines = Vec::new();
    loop {
        let line = wire.line().expect("it answers");
        let is_last = !line.starts_with("250-");
        lines.push(line);
        if is_last {
            return lines.join("\n");
        }
    }
}

#[test]
fn settings_rule_both_nodes() {
    let Some(cluster) = Cluster::start() else { return };
    let story = Story { cluster };
    ports_open_close_and_move(&story);
    a_scanner_stands_in_front(&story);
    tls_and_logins(&story);
    banners(&story);
    bounds_of_a_mail(&story);
    domains_and_logins(&story);
    the_postmaster(&story);
}

/// Row 1.
fn ports_open_close_and_move(story: &Story) {
    story.set(0, "listener.lmtp.enabled", "true");
    story.until_open(24, true);
    let mut open: Vec<Smtp> = Vec::new();
    story.each(|node| open.push(Smtp::connect(node.smtp()).expect("SMTP serves")));
    for (at, (name, port)) in LISTENERS.into_iter().enumerate() {
        let (one, other) = (at % 2, (at + 1) % 2);
        story.set(one, &format!("listener.{name}.enabled"), "false");
        story.until_open(port, false);
        story.set(other, &format!("listener.{name}.enabled"), "true");
        story.until_open(port, true);
        story.set(one, &format!("listener.{name}.port"), &(port + 3_000).to_string());
        story.until_open(port + 3_000, true);
        story.until_open(port, false);
        story.set(other, &format!("listener.{name}.port"), &port.to_string());
        story.until_open(port, true);
        story.until_open(port + 3_000, false);
    }
    for smtp in &mut open {
        smtp.command("NOOP", "250").expect("who was there before goes on");
    }
}

/// Row 2: what listens on 25 then is somebody else's, and hands on what it is given.
fn a_scanner_stands_in_front(story: &Story) {
    story.set(1, "listener.smtp.port", "10025");
    story.until_open(10_025, true);
    story.until_open(25, false);
    let node = &story.cluster.nodes[0];
    let (scanner, behind) = (TcpListener::bind(node.port(25)).expect("25 is free now"), node.port(10_025));
    let before = inbox(node, "bob");
    let sent = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, _) = scanner.accept().expect("a client comes");
            let mut server = TcpStream::connect(behind).expect("the node serves");
            let (mut to, mut from) =
                (server.try_clone().expect("a copy"), client.try_clone().expect("a copy"));
            let back = std::thread::spawn(move || io::copy(&mut server, &mut client));
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
            back.join().expect("the copy ends")
        });
        let mut smtp = Smtp::connect(node.port(25)).expect("the scanner serves");
        let sent = smtp.send(&["bob@example.test"], &message("scanned", 100)).1;
        said(smtp.command("QUIT", "221"));
        sent
    });
    assert!(said(sent).starts_with("250"));
    drop(scanner);
    assert_eq!(inbox(node, "bob"), before + 1);
    story.set(0, "listener.smtp.port", "25");
    story.until_open(25, true);
}

/// Rows 3, 10, 14.
fn tls_and_logins(story: &Story) {
    let starttls = |port: u16| {
        let mut offered = Vec::new();
        story.each(|node| offered.push(capabilities(node.port(port)).contains("STARTTLS")));
        offered
    };
    assert_eq!(starttls(25), [true, true]);
    story.set(1, "listener.smtp.tls", "off");
    assert_eq!(starttls(25), [false, false]);
    story.set(0, "listener.smtp.tls", "opportunistic");
    assert_eq!(starttls(25), [true, true]);
    let forced = ["policy", "set", "listener.smtp.tls", "forced"];
    assert!(!story.cluster.nodes[0].command(&forced).status.success(), "RFC 3207 4: never on port 25");

    let mail = |node: &Node, port: u16| {
        let mut smtp = Smtp::connect(node.port(port)).expect("SMTP serves");
        said(smtp.command("MAIL FROM:<alice@example.test>", "250"))
    };
    story.set(0, "listener.submission.tls", "forced");
    story.each(|node| {
        assert!(mail(node, 587).starts_with("530 5.7.0 Must issue a STARTTLS"), "{}", mail(node, 587))
    });
    story.set(1, "listener.submission.tls", "on");
    story
        .each(|node| assert!(mail(node, 587).starts_with("530 5.7.0 Authentication"), "{}", mail(node, 587)));
    story.set(0, "listener.submission.auth_required", "false");
    story.each(|node| {
        let mut smtp = Smtp::connect(node.port(587)).expect("SMTP serves");
        smtp.command("MAIL FROM:<alice@example.test>", "250").expect("no login is asked for");
        smtp.command("RCPT TO:<bob@example.test>", "250").expect("he is here");
        let relay = said(smtp.command("RCPT TO:<a@away.test>", "250"));
        assert!(relay.starts_with("554 5.7.1"), "never an open relay: {relay}");
    });
    story.set(1, "listener.submission.auth_required", "true");

    story.set(1, "auth.plaintext_without_tls", "false");
    story.each(|node| {
        for port in [25, 587] {
            assert!(!capabilities(node.port(port)).contains("AUTH"), "{}", capabilities(node.port(port)));
        }
        assert!(greeting(node.imap()).contains("LOGINDISABLED"));
        assert!(Imap::login(node.imap(), "alice", &password("alice")).is_err());
        assert!(Pop3::login(node.pop3(), "alice", &password("alice")).is_err());
    });
    story.set(0, "auth.plaintext_without_tls", "true");
    story.each(|node| assert!(capabilities(node.port(587)).contains(" PLAIN")));
}

/// Rows 15, 16.
fn banners(story: &Story) {
    story.set(0, "hostname", "mx.other.test");
    story.set(1, "smtp.banner", "$hostname ESMTP at your service");
    story.set(0, "imap.banner", "$hostname greets");
    story.set(1, "pop3.banner", "Here is $hostname");
    story.each(|node| {
        assert_eq!(greeting(node.smtp()), "220 mx.other.test ESMTP at your service");
        assert!(greeting(node.imap()).ends_with("mx.other.test greets"), "{}", greeting(node.imap()));
        assert!(greeting(node.pop3()).starts_with("+OK Here is mx.other.test"), "{}", greeting(node.pop3()));
        assert!(
            capabilities(node.smtp()).starts_with("250")
                && capabilities(node.smtp()).contains("mx.other.test")
        );
    });
}

/// Row 17, each at its edge.
fn bounds_of_a_mail(story: &Story) {
    story.set(1, "smtp.recipients_max", "2");
    story.set(0, "smtp.hops_max", "3");
    story.set(1, "smtp.message_bytes_max", "65536");
    let mail = |node: &Node, hops: usize, bytes: usize| {
        let mut text = "Received: from a by b; Sat, 21 Nov 2026 12:00:00 +0000\r\n".repeat(hops).into_bytes();
        text.extend_from_slice(b"Subject: x\r\n\r\n");
        text.resize(bytes.max(text.len() + 2) - 2, b'x');
        text.extend_from_slice(b"\r\n");
        // RFC 5321 4.5.3.1.6: lines have a bound of their own.
        let start = text.len().min(600);
        for at in (start..text.len() - 2).step_by(500) {
            text[at..at + 2].copy_from_slice(b"\r\n");
        }
        let mut smtp = Smtp::connect(node.smtp()).expect("SMTP serves");
        said(smtp.send(&["alice@example.test"], &text).1)
    };
    story.each(|node| {
        let mut smtp = Smtp::connect(node.smtp()).expect("SMTP serves");
        smtp.command("MAIL FROM:<x@far.test>", "250").expect("a sender is taken");
        for (to, code) in [("alice", "250"), ("bob", "250"), ("carol", "452 4.5.3")] {
            let answer = said(smtp.command(&format!("RCPT TO:<{to}@example.test>"), "250"));
            assert!(answer.starts_with(code), "{to}: {answer}");
        }
        assert!(capabilities(node.smtp()).contains("SIZE 65536"));
        for (hops, bytes, code) in
            [(3, 1_000, "250"), (4, 1_000, "554 5.4.6"), (0, 65_536, "250"), (0, 65_537, "552 5.3.4")]
        {
            let answer = mail(node, hops, bytes);
            assert!(answer.starts_with(code), "{hops} hops, {bytes} octets: {answer}");
        }
    });
    for key in ["smtp.recipients_max", "smtp.hops_max", "smtp.message_bytes_max"] {
        story.cluster.nodes[0].must(&["policy", "unset", key], None);
    }
    story.cluster.wait_until_caught_up();
}

/// Rows 5, 6, 7, 21.
fn domains_and_logins(story: &Story) {
    story.cluster.nodes[1].must(&["domain", "add", ".Second.Test"], None);
    story.cluster.nodes[0].must(&["domain", "add", "bücher.test"], None);
    story.cluster.wait_until_caught_up();
    let before = inbox(&story.cluster.nodes[0], "carol");
    story.each(|node| {
        for (to, taken) in [
            ("carol@second.test", true),
            ("Carol@SECOND.TEST", true),
            ("carol@xn--bcher-kva.test", true),
            ("carol@third.test", false),
        ] {
            let mut smtp = Smtp::connect(node.smtp()).expect("SMTP serves");
            let answer = said(smtp.send(&[to], &message("domains", 10)).1);
            assert!(answer.starts_with(if taken { "250" } else { "554 5.7.1" }), "{to}: {answer}");
        }
        for login in ["carol", "carol@example.test", "Carol@second.test"] {
            Imap::login(node.imap(), login, &password("carol")).expect("IMAP lets her in");
            Pop3::login(node.pop3(), login, &password("carol")).expect("POP3 lets her in");
        }
    });
    assert_eq!(inbox(&story.cluster.nodes[1], "carol"), before + 6);
}

/// Row 18.
fn the_postmaster(story: &Story) {
    story.set(0, "smtp.postmaster", "bob,carol@example.test");
    let counts = || ["alice", "bob", "carol"].map(|user| inbox(&story.cluster.nodes[0], user));
    let before = counts();
    story.each(|node| {
        for to in ["postmaster@example.test", "mailer-daemon@example.test", "postmaster"] {
            let mut smtp = Smtp::connect(node.smtp()).expect("SMTP serves");
            assert!(said(smtp.send(&[to], &message("help", 10)).1).starts_with("250"), "{to}");
        }
    });
    assert_eq!(counts(), [before[0], before[1] + 6, before[2] + 6]);
}

fn inbox(node: &Node, user: &str) -> usize {
    let contents = eventually("the node can be read", || checker::read(node).ok());
    contents.get(&(user.to_owned(), "INBOX".to_owned())).map_or(0, |inbox| inbox.messages.len())
}
