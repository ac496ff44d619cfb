//! What strangers on port 25 are held to: they wait for replies that they have to wait for, are slowed down where they
//! keep us busy with nothing, and hear at each recipient what speaks against their mail.

use bytes::BytesMut;

use super::*;
use crate::session::machine::Machine;
use crate::session::smtp::machine::{DELAY_SECONDS_MAX, GREETING_DELAY_MS};
use crate::session::transcript::Pace;

fn strict() -> Policy {
    Policy { checked: true, refuse_early_talk: true, junk_commands_max: Some(10), ..policy(Flavor::Mx) }
}

const EARLY: &str = "503 5.5.0 You talk before it is your turn";
const LOGIN: &str = "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";
const MAIL: &str = "MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.test>\r\n";

#[test]
fn recipients_are_refused_each_by_itself_and_postmaster_is_not() {
    for pace in [Pace::Whole, Pace::ByteByByte] {
        let (mut player, world) = player(strict(), false);
        player.play(include_str!("../transcripts/strangers.txt"), pace);
        assert_eq!(world.borrow().mails.len(), 2);
    }
}

#[test]
fn what_is_known_of_a_mail_is_asked_once_at_mail_and_of_strangers_alone() {
    for (policy, login, asked) in [
        (strict(), "", true),
        (Policy { refuse_early_talk: false, ..strict() }, LOGIN, false),
        (policy(Flavor::Mx), "", false),
    ] {
        let (mut player, world) = player(policy, true);
        player.feed(format!("EHLO c.test\r\n{login}").as_bytes(), Pace::ByteByByte);
        assert_eq!(world.borrow().opened, None);
        player.feed(b"MAIL FROM:<a@b.test>\r\n", Pace::Whole);
        let expected = asked.then(|| Arrival {
            address: "192.0.2.1".parse().unwrap(),
            helo: "c.test".to_owned(),
            sender: Some("a@b.test".to_owned()),
            receiver: "mx.example.test".to_owned(),
        });
        assert_eq!(world.borrow_mut().opened.take(), expected, "{login}");
        player.feed(b"RCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n", Pace::Whole);
        assert_eq!(world.borrow().opened, None, "not again");
    }
}

/// What is sent together after the greeting, and whether the second line may follow the first at once.
#[test]
fn only_what_is_announced_is_sent_in_groups_and_some_commands_end_one() {
    for (before, group, early) in [
        ("", "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n", true),
        ("", "HELO c.test\r\nMAIL FROM:<a@b.test>\r\n", true),
        ("", "GET / HTTP/1.1\r\nHost: mx\r\n", true),
        ("", "RSET\r\nEHLO c.test\r\n", true),
        ("HELO c.test\r\n", "MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.test>\r\n", true),
        ("HELO c.test\r\n", "MAIL FROM:<a@b.test>\r\n", false),
        ("EHLO c.test\r\n", MAIL, false),
        ("EHLO c.test\r\n", "MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n", false),
        ("EHLO c.test\r\n", "MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nHi.\r\n", true),
        ("EHLO c.test\r\n", "RSET\r\nHELP\r\nRSET\r\n", false),
        ("EHLO c.test\r\n", "NOOP\r\nRSET\r\n", true),
        ("EHLO c.test\r\n", "VRFY a\r\nRSET\r\n", true),
        ("EHLO c.test\r\n", "EHLO c.test\r\nRSET\r\n", true),
        ("EHLO c.test\r\n", "STARTTLS\r\nRSET\r\n", true),
        ("EHLO c.test\r\n", "STARTTLS\r\n", false),
        ("EHLO c.test\r\n", "AUTH PLAIN\r\nAGFsaWNlAHNlY3JldA==\r\n", true),
        ("EHLO c.test\r\n", "QUIT\r\nNOOP\r\n", false),
        (
            "EHLO c.test\r\n",
            "MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.test>\r\nBDAT 5\r\nHi.\r\nRSET\r\n",
            false,
        ),
    ] {
        for on in [true, false] {
            let (mut player, world) = player(Policy { refuse_early_talk: on, ..strict() }, false);
            player.feed(before.as_bytes(), Pace::ByteByByte);
            player.feed(group.as_bytes(), Pace::Whole);
            let said: Vec<String> = std::iter::from_fn(|| player.line()).collect();
            let refused = said.last().is_some_and(|line| line == EARLY);
            assert_eq!(refused, early && on, "{before:?} {group:?}: {said:?}");
            assert!(!refused || player.closed, "what follows is not heard: {group:?}");
            assert!(world.borrow().mails.is_empty());
        }
        // Who waits is not refused, whatever it sends.
        let (mut player, _) = player(strict(), false);
        player.feed(format!("{before}{group}").as_bytes(), Pace::ByteByByte);
        let waited: Vec<String> = std::iter::from_fn(|| player.line()).collect();
        assert!(!waited.contains(&EARLY.to_owned()), "{before:?} {group:?}: {waited:?}");
    }
}

#[test]
fn who_has_logged_in_or_is_one_of_us_may_talk_early() {
    for (policy, login) in [(strict(), LOGIN), (Policy { checked: false, ..strict() }, "")] {
        let (mut player, world) = player(policy, true);
        player.feed(format!("EHLO c.test\r\n{login}").as_bytes(), Pace::ByteByByte);
        player.feed(format!("NOOP\r\n{MAIL}DATA\r\nHi.\r\n.\r\n").as_bytes(), Pace::Whole);
        assert_eq!(world.borrow().mails.len(), 1, "{login}");
    }
}

#[test]
fn who_talks_before_the_greeting_is_refused_instead() {
    let mut machine = Smtp::new(strict(), peer(false));
    assert_eq!(machine.listens_ms(), GREETING_DELAY_MS);
    let mut out = BytesMut::new();
    machine.interrupted(&mut out);
    assert_eq!(&out[..], format!("{EARLY}\r\n").as_bytes());
    let mut input = BytesMut::from("EHLO c.test\r\n");
    assert!(matches!(machine.step(&mut input, &mut out), crate::session::machine::Step::Close));
    for policy in [
        Policy { refuse_early_talk: false, ..strict() },
        Policy { checked: false, ..strict() },
        policy(Flavor::Submission),
    ] {
        assert_eq!(Smtp::new(policy, peer(false)).listens_ms(), 0, "nobody is kept waiting for nothing");
    }
}

/// The pauses after `lines`, said one by one.
fn delays(policy: Policy, before: &str, lines: &[&str]) -> Vec<u64> {
    let (mut player, world) = player(policy, true);
    player.feed(format!("EHLO c.test\r\n{before}").as_bytes(), Pace::ByteByByte);
    world.borrow_mut().delays.clear();
    for line in lines {
        player.feed(format!("{line}\r\n").as_bytes(), Pace::Whole);
    }
    world.borrow().delays.clone()
}

#[test]
fn every_ten_commands_that_do_nothing_add_a_second_before_each_further_reply() {
    for junk in ["NOOP", "RSET", "HELP", "VRFY a", "EXPN a", "ETRN a"] {
        assert!(delays(strict(), "", &[junk; 10]).is_empty(), "{junk}");
        assert_eq!(delays(strict(), "", &[junk; 11]), [1], "{junk}");
    }
    let expected: Vec<u64> = [vec![1; 10], vec![2; 5]].concat();
    assert_eq!(delays(strict(), "", &["NOOP"; 25]), expected);
    let long = delays(strict(), "", &["NOOP"; 300]);
    assert_eq!(long.iter().max(), Some(&DELAY_SECONDS_MAX), "and no more");
    assert_eq!(long.len(), 290);
    // Other commands wait too, but for QUIT.
    let others =
        [&["NOOP"; 10][..], &["MAIL FROM:<a@b.test>", "RCPT TO:<alice@example.test>", "QUIT"]].concat();
    assert_eq!(delays(strict(), "", &others), [1, 1]);
    assert_eq!(delays(Policy { junk_commands_max: Some(1), ..strict() }, "", &["NOOP"; 3]), [1, 2]);
}

#[test]
fn a_mail_pays_for_what_came_before_and_our_users_and_hosts_are_not_slowed_down() {
    let mail = ["RSET", "MAIL FROM:<a@b.test>", "RCPT TO:<alice@example.test>", "DATA", "Hi.\r\n."];
    let session = mail.repeat(30);
    assert!(delays(strict(), "", &session).is_empty(), "one RSET for each mail");
    for (policy, before) in [
        (strict(), LOGIN),
        (Policy { checked: false, ..strict() }, ""),
        (Policy { junk_commands_max: None, ..strict() }, ""),
    ] {
        assert!(delays(policy, before, &["NOOP"; 50]).is_empty(), "{before}");
    }
}

#[test]
fn replies_come_in_order_after_their_pauses_and_where_there_is_no_place_for_one_the_session_ends() {
    let (mut player, world) = player(Policy { refuse_early_talk: false, ..strict() }, false);
    player.feed(b"EHLO c.test\r\n", Pace::Whole);
    player.out.clear();
    player.feed("NOOP\r\nHELP\r\n".repeat(8).as_bytes(), Pace::Whole);
    for _ in 0..8 {
        assert_eq!(player.line().as_deref(), Some("250 2.0.0 Ok"));
        assert_eq!(player.line().as_deref(), Some("214 2.0.0 See RFC 5321"));
    }
    assert_eq!(world.borrow().delays, [1; 6]);
    world.borrow_mut().crowded = true;
    player.feed(b"MAIL FROM:<a@b.test>\r\n", Pace::Whole);
    let reply = player.line().unwrap();
    assert!(reply.starts_with("421 4.7.0") && player.closed && player.out.is_empty(), "{reply}");
    assert_eq!(world.borrow().opened, None, "the command was not obeyed");
}
