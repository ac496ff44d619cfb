//! Messages that no mail program writes: huge, nested without end, of thousands of parts, or no messages at all. Each is
//! served by every command that opens it, in bounded pieces, and the session goes on.

use super::harness::{Driven, House};
use crate::mail::mime::{DEPTH_MAX, PARTS_MAX};
use crate::session::imap::limits::{OUTPUT_CHUNK_BYTES, PART_LEVELS_MAX};

/// What a client asks of a message; the answer must be a good one.
const QUESTIONS: [&str; 12] = [
    "FETCH 1 (BODY BODYSTRUCTURE ENVELOPE)",
    "FETCH 1 BODY[1.MIME]",
    "FETCH 1 BODY[1.1.1.1.1.1.1.1]",
    "FETCH 1 BODY.PEEK[9999]<0.10>",
    "FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT TO)]",
    "FETCH 1 BODY[TEXT]<0.100>",
    "SEARCH TEXT needle",
    "SEARCH BODY needle",
    "SEARCH SUBJECT needle",
    "SORT (SUBJECT FROM DATE DISPLAYTO) UTF-8 ALL",
    "THREAD REFERENCES UTF-8 ALL",
    "UID FETCH 1 RFC822.SIZE",
];

async fn selected(raw: &[u8]) -> (House, Driven) {
    let house = House::new();
    house.deliver_bytes("INBOX", raw);
    let mut session = house.session(true);
    session.send(b"l LOGIN alice demo-alice\r\ns SELECT INBOX\r\n").await;
    session.take_sent();
    (house, session)
}

/// Asks everything of the message, and gets it back whole; says what the questions were answered with.
async fn is_served(what: &str, raw: &[u8]) -> Vec<String> {
    let (_house, mut session) = selected(raw).await;
    let mut answers = Vec::new();
    for question in QUESTIONS {
        session.send(format!("q {question}\r\n").as_bytes()).await;
        let sent = session.take_sent();
        let end = sent.trim_end().rsplit('\n').next().unwrap_or_default().to_owned();
        assert!(end.starts_with("q OK"), "{what}: {question}: {end}");
        answers.push(sent);
    }
    session.send(b"w FETCH 1 BODY.PEEK[]\r\n").await;
    let head = format!("* 1 FETCH (BODY[] {{{}}}\r\n", raw.len());
    assert!(session.sent.starts_with(head.as_bytes()), "{what}");
    assert!(&session.sent[head.len()..][..raw.len()] == raw, "{what}: it comes back as it is");
    session.take_sent();
    session.send(b"n NOOP\r\n").await;
    assert_eq!(session.take_sent(), "n OK Nothing done\r\n", "{what}");
    assert!(session.out_bytes_max < 2 * OUTPUT_CHUNK_BYTES, "{what}: {}", session.out_bytes_max);
    answers
}

fn parentheses_match(text: &str) -> bool {
    let count = |wanted: char| text.chars().filter(|c| *c == wanted).count();
    count('(') == count(')')
}

#[tokio::test]
async fn no_message_at_all() {
    let odd: [(&str, &[u8]); 9] = [
        ("a byte", b"x"),
        ("a line end", b"\r\n"),
        ("NUL", b"Subject: a\0b\r\n\r\n\0\0\r\n"),
        ("bare line feeds", b"Subject: a\n\nneedle\n"),
        ("bare carriage returns", b"Subject: a\r\rneedle\r"),
        ("8-bit in the header", b"Subject: \xff\xfe\r\nTo: \xc3\x28 <\x80@\x80>\r\n\r\n\xff\r\n"),
        ("no boundary", b"Content-Type: multipart/mixed\r\n\r\nneedle\r\n"),
        ("a boundary that never comes", b"Content-Type: multipart/mixed; boundary=b\r\n\r\nneedle\r\n"),
        ("base64 of rubbish", b"Content-Transfer-Encoding: base64\r\n\r\n=!?=\x00\xffneedle\r\n"),
    ];
    for (what, raw) in odd {
        is_served(what, raw).await;
    }
}

#[tokio::test]
async fn headers_without_end() {
    let many = format!("{}\r\nneedle\r\n", "To: a@example.test\r\n".repeat(50_000));
    is_served("50,000 fields", many.as_bytes()).await;
    let long = format!("Subject: {}\r\n\r\nx\r\n", "needle ".repeat(300_000));
    is_served("a subject of 2 MB", long.as_bytes()).await;
    let folded = format!("Subject: a{}\r\n\r\nx\r\n", "\r\n needle".repeat(200_000));
    is_served("a subject of 200,000 lines", folded.as_bytes()).await;
    let addresses = format!("To: {}\r\n\r\nneedle\r\n", "\"a\" <a@example.test>, ".repeat(100_000));
    is_served("100,000 addresses", addresses.as_bytes()).await;
    let groups = format!("To: {}\r\n\r\nneedle\r\n", "g:".repeat(100_000));
    is_served("groups in groups", groups.as_bytes()).await;
    let comments = format!("To: {}\r\nDate: {}\r\n\r\nneedle\r\n", "(".repeat(500_000), "(".repeat(500_000));
    is_served("comments in comments", comments.as_bytes()).await;
    let references = format!("References: {}\r\n\r\nneedle\r\n", "<a@b> ".repeat(200_000));
    is_served("200,000 references", references.as_bytes()).await;
    let words = format!("Subject: {}\r\n\r\nneedle\r\n", "=?utf-8?q?=41?= ".repeat(100_000));
    is_served("100,000 encoded words", words.as_bytes()).await;
    let parameters = (0..100_000).map(|at| format!("; a*{at}=x")).collect::<String>();
    let parameters = format!("Content-Type: text/plain{parameters}\r\n\r\nneedle\r\n");
    is_served("100,000 parameters", parameters.as_bytes()).await;
}

#[tokio::test]
async fn nested_deeper_than_is_taken_apart() {
    for levels in [DEPTH_MAX, 3 * DEPTH_MAX] {
        let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(levels);
        let answers = is_served("messages in messages", format!("{messages}needle\r\n").as_bytes()).await;
        assert!(parentheses_match(&answers[0]));
        assert!(!answers[1].contains("NIL"), "part 1 is there");
        let multipart =
            |level| format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
        let multiparts = (0..levels).map(multipart).collect::<String>();
        let answers =
            is_served("multiparts in multiparts", format!("{multiparts}\r\nneedle\r\n").as_bytes()).await;
        assert!(parentheses_match(&answers[0]));
        assert!(answers[6].starts_with("* SEARCH"));
    }
}

#[tokio::test]
async fn a_part_is_named_to_a_bound() {
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(2 * PART_LEVELS_MAX);
    let (_house, mut session) = selected(format!("{messages}end\r\n").as_bytes()).await;
    let part = |levels: usize| vec!["1"; levels].join(".");
    session.send(format!("a FETCH 1 BODY.PEEK[{}]\r\n", part(PART_LEVELS_MAX)).as_bytes()).await;
    let sent = session.take_sent();
    assert!(sent.contains("end\r\n") && sent.contains("a OK"), "{sent}");
    session.send(format!("a FETCH 1 BODY.PEEK[{}]\r\n", part(PART_LEVELS_MAX + 1)).as_bytes()).await;
    assert!(session.take_sent().starts_with("a BAD"));
}

#[tokio::test]
async fn ten_thousand_parts() {
    for parts in [PARTS_MAX - 1, 3 * PARTS_MAX] {
        let some = (0..parts).map(|at| format!("--b\r\n\r\npart {at}\r\n")).collect::<String>();
        let raw = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{some}--b--\r\nneedle\r\n");
        let answers = is_served("many parts", raw.as_bytes()).await;
        assert!(parentheses_match(&answers[0]));
        assert!(answers[3].contains("part 9998"), "the last that is taken apart: {}", answers[3]);
    }
}

#[tokio::test]
async fn fifty_mebibytes() {
    let line = "All work and no play makes Jack a dull boy, and his mails longer than they need to be.\r\n";
    let text = line.repeat((50 << 20) / line.len());
    let raw = format!("Subject: long\r\n\r\n{text}needle\r\n");
    let answers = is_served("50 MiB of text", raw.as_bytes()).await;
    assert!(answers[6].starts_with("* SEARCH 1\r\n"), "{}", answers[6]);
    let (_house, mut session) = selected(raw.as_bytes()).await;
    session.send(format!("a FETCH 1 BODY.PEEK[]<{}.100>\r\n", raw.len() - 8).as_bytes()).await;
    assert!(session.take_sent().contains("{8}\r\nneedle\r\n"));
    // One line, and all of it encoded.
    let raw = format!("Content-Transfer-Encoding: base64\r\n\r\n{}", "QUJD".repeat((5 << 20) / 4));
    is_served("5 MiB of base64 on one line", raw.as_bytes()).await;
}
