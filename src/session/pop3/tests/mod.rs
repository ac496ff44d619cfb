//! Transcripts against the pure machine, each also byte by byte.

use bytes::Bytes;

use super::Policy;
use super::command::{COMMAND_LINE_BYTES_MAX, SASL_LINE_BYTES_MAX};
use super::machine::{Answer, BAD_COMMANDS_MAX, Maildrop, NoEntry, Pop3, Question};
use crate::cluster::replica::Fault;
use crate::mail::ids::{AccountId, Uid, UidValidity};
use crate::session::login::{Authenticated, Claim, Keys, LoginRefused};
use crate::session::machine::Peer;
use crate::session::transcript::{Pace, Player};
use crate::state::scram_keys::ScramKeys;

fn policy() -> Policy {
    Policy {
        banner: "Pollux".to_owned(),
        tls_offered: true,
        tls_forced: false,
        login_without_tls: false,
        scram: false,
        idle_seconds_max: 600,
        login_seconds_max: 180,
    }
}

/// RFC 7677 3.
fn keys_of_the_rfc() -> Keys {
    let salt = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, "W22ZaJ0SNY7soEsUEjb6gQ==");
    let keys = ScramKeys::derive("pencil", salt.unwrap().try_into().unwrap(), 4096);
    Keys::unchecked(keys, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
}

fn peer(tls: bool) -> Peer {
    Peer { address: Some("192.0.2.1:4711".parse().unwrap()), tls }
}

const FIRST: &str = "Subject: one\r\n\r\n.dot\r\ntwo\r\n..three\r\n";
/// Without an end of line at its end.
const SECOND: &str = "Subject: two\r\n\r\nno end";

/// Alice has three messages with the UIDs 3, 5, 9; the last was expunged by another session since.
fn answer(question: Question, deleted: &mut Vec<Vec<u32>>) -> Answer {
    match question {
        Question::Keys(_) => Answer::Keys(keys_of_the_rfc()),
        Question::Login(Claim::Proof(proof)) => Answer::Login(match proof.is_right() {
            true => Ok(alice()),
            false => Err(NoEntry::Refused(LoginRefused::Wrong)),
        }),
        Question::Login(Claim::External(_)) => unreachable!("it is not offered here"),
        Question::Login(Claim::Password(claim)) => {
            Answer::Login(match (&claim.login[..], &claim.password[..]) {
                ("alice", b"secret with blanks" | b"secret") => Ok(alice()),
                ("empty", _) => Ok((
                    Authenticated::unchecked(AccountId(2), "empty"),
                    Maildrop { uid_validity: UidValidity(78), messages: Vec::new() },
                )),
                ("unsure", _) => Err(NoEntry::Refused(LoginRefused::Unsure)),
                ("busy", _) => Err(NoEntry::Refused(LoginRefused::Busy)),
                ("fault", _) => Err(NoEntry::Fault(Fault::NoQuorum)),
                _ => Err(NoEntry::Refused(LoginRefused::Wrong)),
            })
        }
        Question::Body(uid) => Answer::Body(match uid.0 {
            3 => Ok(Some(Bytes::from_static(FIRST.as_bytes()))),
            5 => Ok(Some(Bytes::from_static(SECOND.as_bytes()))),
            _ => Ok(None),
        }),
        Question::Delete(uids) => {
            deleted.push(uids.iter().map(|uid| uid.0).collect());
            Answer::Deleted(if uids.len() == 2 { Err(Fault::NoQuorum) } else { Ok(()) })
        }
    }
}

fn alice() -> (Authenticated, Maildrop) {
    let messages = vec![(Uid(3), FIRST.len() as u32), (Uid(5), SECOND.len() as u32), (Uid(9), 1000)];
    (Authenticated::unchecked(AccountId(1), "alice"), Maildrop { uid_validity: UidValidity(77), messages })
}

/// Plays at both paces; says what was deleted.
fn run(script: &str, policy: Policy, tls: bool) -> Vec<Vec<u32>> {
    let mut deleted = Vec::new();
    for pace in [Pace::Whole, Pace::ByteByByte] {
        deleted.clear();
        let machine = Pop3::new(policy.clone(), peer(tls));
        Player::new(machine, |question| answer(question, &mut deleted)).play(script, pace);
    }
    deleted
}

macro_rules! script {
    ($name:literal) => {
        include_str!(concat!("../transcripts/", $name, ".txt"))
    };
}

#[test]
fn a_maildrop_is_listed_and_read() {
    assert!(run(script!("read"), policy(), true).is_empty());
}

#[test]
fn deletions_wait_for_quit() {
    assert_eq!(run(script!("delete"), policy(), true), [[5]]);
}

#[test]
fn a_fault_at_quit_deletes_nothing() {
    assert_eq!(run(script!("delete_fault"), policy(), true), [[3, 5]]);
}

#[test]
fn what_is_marked_is_not_there() {
    assert!(run(script!("marked"), policy(), true).is_empty());
}

#[test]
fn an_empty_maildrop_and_none() {
    assert!(run(script!("empty"), policy(), true).is_empty());
    assert!(run(script!("quit_at_once"), policy(), true).is_empty());
}

#[test]
fn commands_in_one_piece_are_answered_in_order() {
    assert_eq!(run(script!("pipelined"), policy(), true), [[3]]);
}

#[test]
fn malformed_arguments_change_nothing() {
    assert!(run(script!("arguments"), policy(), true).is_empty());
}

/// RFC 2449 4: 255 octets with the line end; RFC 5034 4: but for AUTH, whose bound is another.
#[test]
fn lines_end_at_their_bounds() {
    let said = |line: String| {
        let mut player =
            Player::new(Pop3::new(policy(), peer(true)), |question| answer(question, &mut Vec::new()));
        player.out.clear();
        player.feed(format!("{line}\r\nCAPA\r\n").as_bytes(), Pace::Whole);
        let lines: Vec<String> = std::iter::from_fn(|| player.line()).collect();
        assert_eq!(lines.last().map(String::as_str), Some("."), "it stays in step");
        lines[0].clone()
    };
    let capa = |octets: usize| said(format!("CAPA{}", " ".repeat(octets - 6)));
    assert_eq!(capa(COMMAND_LINE_BYTES_MAX), "+OK Capability list follows");
    assert_eq!(capa(COMMAND_LINE_BYTES_MAX + 1), "-ERR line too long");
    let auth = |octets: usize| said(format!("AUTH PLAIN {}", "%".repeat(octets - 13)));
    assert_eq!(auth(SASL_LINE_BYTES_MAX), "-ERR cannot decode the response");
    assert_eq!(auth(SASL_LINE_BYTES_MAX + 1), "-ERR line too long");
}

#[test]
fn logins() {
    run(script!("login"), policy(), true);
}

#[test]
fn logins_by_scram() {
    run(script!("login_scram"), Policy { scram: true, ..policy() }, true);
}

#[test]
fn three_wrong_logins_end_the_session() {
    run(script!("login_wrong"), policy(), true);
}

#[test]
fn who_cannot_be_asked_about_hears_a_temporary_refusal_and_no_more_than_three() {
    run(script!("login_unsure"), policy(), true);
}

#[test]
fn stls_comes_before_any_password() {
    run(script!("stls"), policy(), false);
}

#[test]
fn a_hangup_or_silence_deletes_nothing() {
    use crate::session::machine::Machine;
    let mut deleted = Vec::new();
    let mut player = Player::new(Pop3::new(policy(), peer(true)), |question| answer(question, &mut deleted));
    player.feed(b"USER alice\r\nPASS secret\r\nDELE 1\r\n", Pace::Whole);
    let mut out = bytes::BytesMut::new();
    player.machine.timed_out(&mut out);
    assert!(out.starts_with(b"-ERR"));
    drop(player);
    assert!(deleted.is_empty());
}

#[test]
fn a_long_message_is_stuffed_in_parts_and_unstuffs_to_itself() {
    let mut raw = Vec::new();
    for number in 0..20_000 {
        raw.extend_from_slice(format!("{}line {number}\r\n", ".".repeat(number % 4)).as_bytes());
    }
    raw.extend(vec![b'.'; 200_000]);
    raw.extend_from_slice(b"\r\n.");
    let body = Bytes::from(raw.clone());
    let mut player = Player::new(Pop3::new(policy(), peer(true)), |question| match question {
        Question::Body(_) => Answer::Body(Ok(Some(body.clone()))),
        other => answer(other, &mut Vec::new()),
    });
    player.feed(b"USER alice\r\nPASS secret\r\n", Pace::Whole);
    player.out.clear();
    player.feed(b"RETR 1\r\n", Pace::Whole);
    assert_eq!(player.line(), Some(format!("+OK {} octets", raw.len())));
    let mut read = String::new();
    loop {
        let line = player.line().expect("an end of the message");
        if line == "." {
            break;
        }
        read.push_str(line.strip_prefix('.').unwrap_or(&line));
        read.push_str("\r\n");
    }
    assert!(player.out.is_empty());
    assert!(read.as_bytes() == [&raw[..], b"\r\n"].concat(), "the message is not what was sent");
}

#[test]
fn fifty_mebibytes_without_a_line_end() {
    let body = Bytes::from([&[b'x'; 1000][..], &vec![0; 50 << 20]].concat());
    let mut player = Player::new(Pop3::new(policy(), peer(true)), |question| match question {
        Question::Body(_) => Answer::Body(Ok(Some(body.clone()))),
        other => answer(other, &mut Vec::new()),
    });
    player.feed(b"USER alice\r\nPASS secret\r\n", Pace::Whole);
    player.out.clear();
    // There is no body: the header is all of it.
    for command in ["RETR 1", "TOP 1 0"] {
        player.feed(format!("{command}\r\n").as_bytes(), Pace::Whole);
        let said = player.line().expect("an answer");
        assert!(said.starts_with("+OK"), "{said}");
        assert!(player.out[..] == [&body[..], b"\r\n.\r\n"].concat(), "{command}");
        player.out.clear();
    }
    player.feed(b"NOOP\r\n", Pace::Whole);
    assert!(player.line().is_some_and(|said| said.starts_with("+OK")));
}

/// APPEND takes any bytes. A client that ends lines at CRLF alone must find the end of such a message too.
#[test]
fn a_bare_line_feed_goes_out_as_a_line_end() {
    // Also where CR and LF of one line end fall into two parts.
    let long = "x".repeat(32 * 1024 - 4);
    let body = Bytes::from(format!("a: b\n\n.\nc\r\n{long}\r\n{long}yyy\r\n.d\n"));
    let mut player = Player::new(Pop3::new(policy(), peer(true)), |question| match question {
        Question::Body(_) => Answer::Body(Ok(Some(body.clone()))),
        other => answer(other, &mut Vec::new()),
    });
    player.feed(b"USER alice\r\nPASS secret\r\n", Pace::Whole);
    player.out.clear();
    player.feed(b"RETR 1\r\nTOP 1 1\r\n", Pace::Whole);
    let lines: Vec<String> = std::iter::from_fn(|| player.line()).collect();
    let (retr, top) = lines.split_at(9);
    assert_eq!(
        retr[1..],
        ["a: b", "", "..", "c", &long, &format!("{long}yyy"), "..d", "."].map(str::to_owned)
    );
    assert_eq!(top[1..], ["a: b", "", "..", "."].map(str::to_owned));
}

#[test]
fn too_many_errors_and_garbage_end_the_session() {
    let mut player =
        Player::new(Pop3::new(policy(), peer(true)), |question| answer(question, &mut Vec::new()));
    player.feed("WHAT\r\n".repeat(BAD_COMMANDS_MAX as usize).as_bytes(), Pace::Whole);
    assert!(!player.closed);
    let mut garbage = vec![0; 10_000];
    crate::clock::Clock::fixed(crate::mail::ids::Timestamp(7)).fill(&mut garbage);
    player.feed(&garbage, Pace::ByteByByte);
    player.feed(b"\r\n", Pace::Whole);
    assert!(player.closed);
}
