//! POP3 sessions. The first byte chooses: any bytes at two paces, or commands one by one against a maildrop whose
//! first message is the fuzzer's, where each answer must be one, and RETR and TOP must yield the message.

use bytes::Bytes;
use pollux::mail::ids::{Uid, UidValidity};
use pollux::session::machine::Peer;
use pollux::session::pop3::machine::{Answer, Maildrop, NoEntry, Question};
use pollux::session::pop3::{Policy, Pop3};

use super::dice::Dice;
use super::drive::Driven;
use super::house;
use super::responses::show;

/// Answers to a buffer full of pipelined CAPA, and a part of a long one.
const GATHERED_BYTES_MAX: usize = 1 << 20;
const COMMANDS_MAX: usize = 200;
const PACES: [usize; 4] = [usize::MAX, 1, 7, 1000];
const SECOND: &[u8] = b"Subject: two\r\n\r\n.\r\n..\r\nno end";

type Answering = Box<dyn FnMut(Question) -> Answer>;

pub fn run(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let mode = dice.byte();
    let message = dice.bytes(usize::MAX);
    if mode & 1 == 1 {
        return one_by_one(message, &mut dice);
    }
    let pace = PACES[usize::from(mode >> 2 & 3)];
    let play = |pace| {
        let mut session = session(message, mode & 2 == 2);
        if mode & 2 == 2 {
            session.feed(b"USER alice\r\nPASS secret\r\n", usize::MAX);
        }
        session.feed(dice.rest(), pace);
        let said = session.take_said();
        (!session.cut_short).then_some(said)
    };
    let said = play(pace);
    if pace != usize::MAX && said.is_some() {
        assert!(said == play(usize::MAX), "the answer depends on the pace");
    }
}

fn session(message: &[u8], tls: bool) -> Driven<Pop3, Answering> {
    let policy = Policy {
        banner: "Pollux".into(),
        tls_offered: true,
        tls_forced: false,
        login_without_tls: false,
        scram: true,
        idle_seconds_max: 600,
        login_seconds_max: 180,
    };
    let peer = Peer { address: Some("192.0.2.1:4711".parse().expect("an address")), tls };
    let message = Bytes::copy_from_slice(message);
    let mut deleted = false;
    let answer: Answering = Box::new(move |question| match question {
        Question::Keys(login) => Answer::Keys(house::keys(&login)),
        Question::Login(claim) => Answer::Login(match house::login(&claim) {
            Ok(alice) => Ok((alice, maildrop(&message))),
            Err(refused) => Err(NoEntry::Refused(refused)),
        }),
        Question::Body(Uid(3)) => Answer::Body(Ok(Some(message.clone()))),
        Question::Body(Uid(5)) => Answer::Body(Ok(Some(Bytes::from_static(SECOND)))),
        Question::Body(_) => Answer::Body(Ok(None)),
        Question::Delete(uids) => {
            assert!(!std::mem::replace(&mut deleted, true), "deleted twice in one session");
            assert!(!uids.is_empty() && uids.windows(2).all(|two| two[0] < two[1]));
            Answer::Deleted(Ok(()))
        }
    });
    Driven::new(Pop3::new(policy, peer), GATHERED_BYTES_MAX, answer)
}

/// The third message is expunged by another session.
fn maildrop(message: &[u8]) -> Maildrop {
    let messages = vec![(Uid(3), message.len() as u32), (Uid(5), SECOND.len() as u32), (Uid(9), 1_000)];
    Maildrop { uid_validity: UidValidity(77), messages }
}

fn one_by_one(message: &[u8], dice: &mut Dice) {
    let mut session = session(message, true);
    session.feed(b"USER alice\r\nPASS secret\r\n", usize::MAX);
    session.take_said();
    for _ in 0..COMMANDS_MAX {
        if dice.is_empty() || session.ended {
            return;
        }
        let line = dice.line();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        session.feed(&[line, b"\r\n"].concat(), usize::MAX);
        let said = session.take_said();
        if session.cut_short {
            return;
        }
        check(message, line, &said);
    }
}

fn check(message: &[u8], line: &[u8], said: &[u8]) {
    let first = said.windows(2).position(|pair| pair == b"\r\n").expect("every command is answered") + 2;
    let (status, rest) = said.split_at(first);
    let good = status.starts_with(b"+OK");
    assert!(good || status.starts_with(b"-ERR"), "{}", show(said));
    let text = String::from_utf8_lossy(line).to_ascii_uppercase();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let long = match words[..] {
        ["CAPA" | "LIST" | "UIDL"] | ["RETR" | "TOP", ..] => good,
        _ => false,
    };
    if !long {
        return assert!(rest.is_empty(), "{}: {}", show(line), show(said));
    }
    let body = match rest == b".\r\n" {
        true => &b""[..],
        false => {
            let end = rest.windows(5).position(|five| five == b"\r\n.\r\n").expect("a long answer ends");
            assert_eq!(end + 5, rest.len(), "{}: more behind the end", show(line));
            &rest[..end + 2]
        }
    };
    let shown = unstuffed(body);
    let number = words.get(1).and_then(|number| number.parse().ok());
    let raw = match number {
        Some(1) => message,
        Some(2) => SECOND,
        _ => return,
    };
    match words[..] {
        ["RETR", _] => assert_eq!(shown, ended(raw), "{}", show(line)),
        ["TOP", _, lines] => assert_eq!(shown, top(raw, lines.parse().unwrap_or(u64::MAX)), "{}", show(line)),
        _ => {}
    }
}

fn unstuffed(body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        text.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    text
}

/// With CRLF at the end of every line, the last one too.
fn ended(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).unwrap_or(line);
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// RFC 1939 7: the header, the blank line, and as many lines of the body.
fn top(raw: &[u8], lines: u64) -> Vec<u8> {
    let (mut shown, mut in_header, mut left) = (Vec::new(), true, lines);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if !in_header {
            if left == 0 {
                break;
            }
            left -= 1;
        }
        in_header &= line != b"\r\n" && line != b"\n";
        shown.extend_from_slice(line);
    }
    ended(&shown)
}
