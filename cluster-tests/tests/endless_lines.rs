//! 100 MiB without a line end, in every place of every protocol, before and after login: swallowed or cut off, never
//! held; the session is in step or closed, and others are served.

use cluster_tests::cluster::Cluster;
use cluster_tests::hostile::{Raw, forget_peak, memory};
use cluster_tests::ledger::message;
use cluster_tests::node::Node;
use cluster_tests::smtp::{Sent, Smtp};

const LINE_BYTES: usize = 100 << 20;
/// How much the node's peak may grow by any of them.
const PEAK_BYTES_MAX: u64 = 32 << 20;

struct Case {
    what: &'static str,
    port: u16,
    /// Said first, each with the start of the line that answers it.
    first: &'static [(&'static str, &'static str)],
    /// Then this, 100 MiB of `x`, and this.
    around: (&'static str, &'static str),
    /// What is heard behind it, where the server does not hang up in the middle.
    then: &'static str,
}

const MAIL: &[(&str, &str)] = &[
    ("", "220 "),
    ("EHLO c", "250 "),
    ("MAIL FROM:<a@b.example>", "250 "),
    ("RCPT TO:<bob@example.test>", "250 "),
    ("DATA", "354 "),
];
const POP3_IN: &[(&str, &str)] = &[("", "+OK"), ("USER bob", "+OK"), ("PASS demo-bob", "+OK")];
const IMAP_IN: &[(&str, &str)] = &[("", "* OK"), ("a LOGIN bob demo-bob", "a OK")];

const CASES: &[Case] = &[
    Case { what: "SMTP command", port: 25, first: &[("", "220 ")], around: ("", "\r\n"), then: "500 5.5.6" },
    Case {
        what: "SMTP parameter",
        port: 25,
        first: &[("", "220 "), ("EHLO c", "250 ")],
        around: ("MAIL FROM:<a@b.example> ENVID=", "\r\n"),
        then: "500 5.5.6",
    },
    Case {
        what: "SMTP header line",
        port: 25,
        first: MAIL,
        around: ("Subject: ", "\r\n\r\n.\r\n"),
        then: "55",
    },
    Case { what: "SMTP text line", port: 25, first: MAIL, around: ("a: b\r\n\r\n", "\r\n.\r\n"), then: "55" },
    Case { what: "POP3 before login", port: 110, first: &[("", "+OK")], around: ("", "\r\n"), then: "-ERR" },
    Case {
        what: "POP3 password",
        port: 110,
        first: &[("", "+OK"), ("USER bob", "+OK")],
        around: ("PASS ", "\r\n"),
        then: "-ERR",
    },
    Case { what: "POP3 after login", port: 110, first: POP3_IN, around: ("RETR ", "\r\n"), then: "-ERR" },
    Case {
        what: "IMAP before login",
        port: 143,
        first: &[("", "* OK")],
        around: ("a NOOP ", "\r\n"),
        then: "* BYE",
    },
    Case { what: "IMAP tag", port: 143, first: &[("", "* OK")], around: ("", "\r\n"), then: "* BYE" },
    Case {
        what: "IMAP after login",
        port: 143,
        first: IMAP_IN,
        around: ("b SELECT ", "\r\n"),
        then: "* BYE",
    },
    Case {
        what: "IMAP literal before login",
        port: 143,
        first: &[("", "* OK")],
        around: ("b LOGIN {104857600+}\r\n", " p\r\n"),
        then: "b BAD",
    },
    Case {
        what: "IMAP literal after login",
        port: 143,
        first: IMAP_IN,
        around: ("b SELECT {104857600+}\r\n", "\r\n"),
        then: "b BAD",
    },
    Case {
        what: "IMAP APPEND without login",
        port: 143,
        first: &[("", "* OK")],
        around: ("b APPEND INBOX {104857600+}\r\n", "\r\n"),
        then: "b BAD",
    },
    Case {
        what: "IMAP APPEND beyond the largest message",
        port: 143,
        first: IMAP_IN,
        around: ("b APPEND INBOX {104857600+}\r\n", "\r\n"),
        then: "b NO [TOOBIG]",
    },
];

#[test]
fn endless_lines() {
    let Some(mut cluster) = Cluster::start() else { return };
    let node = &cluster.nodes[0];
    // So that what the first of all uses counts for none of them.
    serve_a_normal_client(node, 0);
    for (at, case) in CASES.iter().enumerate() {
        forget_peak(node.pid());
        let before = memory(node.pid());
        endure(node, case);
        let grown = memory(node.pid()).peak.saturating_sub(before.pss.max(before.peak));
        println!("{}: the peak grew by {grown} bytes", case.what);
        assert!(grown < PEAK_BYTES_MAX, "{}: the peak grew by {grown} bytes", case.what);
        serve_a_normal_client(node, at + 1);
    }
    assert!(cluster.nodes[0].is_running());
    cluster.wait_until_protected();
}

fn endure(node: &Node, case: &Case) {
    let mut client = Raw::connect(node.port(case.port)).expect("the port is open");
    for (say, hear) in case.first {
        if !say.is_empty() {
            client.say(format!("{say}\r\n")).expect("the server reads");
        }
        client.until(hear);
    }
    let piece = vec![b'x'; 1 << 20];
    // It may hang up in the middle, and then what it said may be lost to us.
    let told = client
        .say(case.around.0)
        .and_then(|()| client.pour(&piece, LINE_BYTES))
        .and_then(|()| client.say(case.around.1))
        .is_ok();
    let mut said = client.line();
    while told && !said.is_empty() && !said.starts_with(case.then) {
        said = client.line();
    }
    assert!(said.starts_with(case.then) || !told, "{}: {said:?}", case.what);
}

fn serve_a_normal_client(node: &Node, at: usize) {
    let mut smtp = Smtp::connect(node.smtp()).expect("SMTP serves");
    let (sent, reply) = smtp.send(&["alice@example.test"], &message(&format!("n{at}"), 100));
    assert_eq!(sent, Sent::Acknowledged, "{reply:?}");
}
