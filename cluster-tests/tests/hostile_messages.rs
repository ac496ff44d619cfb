//! Messages that no mail program writes, in one mailbox: of 50 MiB, nested a thousand levels deep, of ten thousand parts,
//! with headers without end. Both nodes serve them by IMAP and POP3 over and over, and hold no more for it than one such message and
//! what is made of it.

use cluster_tests::cluster::{Cluster, password};
use cluster_tests::hostile::{forget_peak, memory};
use cluster_tests::imap::Imap;
use cluster_tests::node::Node;
use cluster_tests::pop3::Pop3;

const ROUNDS: usize = 3;
const LARGEST_BYTES: usize = (50 << 20) - 4096;
/// What stays: the caches of summaries and headers (8 MiB each), and what the allocator keeps of the work.
const KEPT_BYTES_MAX: u64 = 48 << 20;
/// At once: the message as it is read and sent, and what a search makes of it.
const PEAK_BYTES_MAX: u64 = 3 * LARGEST_BYTES as u64;

const QUESTIONS: [&str; 8] = [
    "FETCH 1:* (BODY BODYSTRUCTURE ENVELOPE RFC822.SIZE)",
    "FETCH 1:* BODY.PEEK[1.1.1.1.1.1.1.1.1.1]",
    "FETCH 1:* BODY.PEEK[9999]",
    "SEARCH TEXT needle",
    "SEARCH NOT BODY needle",
    "SORT (SUBJECT FROM DATE) UTF-8 ALL",
    "THREAD REFERENCES UTF-8 ALL",
    "FETCH 1:* BODY.PEEK[]<1000000.1000>",
];

#[test]
fn hostile_messages() {
    let Some(cluster) = Cluster::start() else { return };
    let messages = messages();
    let mut imap = Imap::login(cluster.nodes[0].imap(), "alice", &password("alice")).expect("IMAP serves");
    for message in &messages {
        imap.append("INBOX", message).expect("it is a message to us");
    }
    cluster.wait_until_caught_up();
    for node in cluster.data_nodes() {
        // Once, so that what is kept for good is there.
        round(node, &messages);
        forget_peak(node.pid());
        let before = memory(node.pid());
        for _ in 0..ROUNDS {
            round(node, &messages);
        }
        let after = memory(node.pid());
        println!("memory: PSS {} -> {}, peak {} -> {}", before.pss, after.pss, before.peak, after.peak);
        assert!(after.pss < before.pss + KEPT_BYTES_MAX, "PSS {} -> {}", before.pss, after.pss);
        assert!(after.peak < before.pss + PEAK_BYTES_MAX, "PSS {}, peak {}", before.pss, after.peak);
    }
}

/// Every question of all messages, and all of them back as they are.
fn round(node: &Node, messages: &[Vec<u8>]) {
    let mut imap = Imap::login(node.imap(), "alice", &password("alice")).expect("IMAP serves");
    let selected = imap.select("INBOX").expect("the mailbox is there");
    assert_eq!(selected.exists as usize, messages.len());
    for question in QUESTIONS {
        imap.command(question).unwrap_or_else(|error| panic!("{question}: {error}"));
    }
    for (at, message) in messages.iter().enumerate() {
        let number = at + 1;
        let (said, _) = imap.command(&format!("FETCH {number} BODY.PEEK[]")).expect("it is served");
        assert!(said.iter().any(|response| response.literals.first() == Some(message)), "message {number}");
    }
    imap.command("NOOP").expect("the session goes on");
    let mut pop3 = Pop3::login(node.pop3(), "alice", &password("alice")).expect("POP3 serves");
    for (at, message) in messages.iter().enumerate() {
        let number = at + 1;
        assert!(
            pop3.listing(&format!("RETR {number}")).expect("it is served") == *message,
            "message {number}"
        );
    }
    pop3.command("QUIT").expect("the session goes on");
}

fn messages() -> Vec<Vec<u8>> {
    let line = "All work and no play makes Jack a dull boy, and his mails longer than they need to be.\r\n";
    let huge = format!("Subject: huge\r\n\r\n{}needle\r\n", line.repeat(LARGEST_BYTES / line.len() - 1));
    let messages_in_messages = format!("{}needle\r\n", "Content-Type: message/rfc822\r\n\r\n".repeat(3_000));
    let level = |level| format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
    let multiparts = format!("{}\r\nneedle\r\n", (0..3_000).map(level).collect::<String>());
    let parts = (0..20_000).map(|at| format!("--b\r\n\r\npart {at}\r\n")).collect::<String>();
    let parts = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n");
    let fields = format!("{}\r\nneedle\r\n", "To: a@example.test\r\n".repeat(100_000));
    let subject = format!("Subject: a{}\r\n\r\nx\r\n", "\r\n needle".repeat(200_000));
    let all = [huge, messages_in_messages, multiparts, parts, fields, subject, "x\r\n".to_owned()];
    all.into_iter().map(String::into_bytes).collect()
}
