//! Mail that is judged before it is taken: who is, what the backend is told, and where what was found goes.

use super::*;
use crate::session::transcript::Pace;

fn checked(flavor: Flavor) -> Policy {
    Policy { checked: flavor == Flavor::Mx, ..policy(flavor) }
}

const MAIL: &str = "MAIL FROM:<joe@b\u{fc}cher.test> SMTPUTF8\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n";
const TEXT: &str = "Subject: x\r\n\r\nHi.\r\n.\r\n";

#[test]
fn how_a_mail_came_is_told_and_what_was_found_stands_between_our_fields() {
    for pace in [Pace::Whole, Pace::ByteByByte] {
        let (mut player, world) = player(checked(Flavor::Mx), false);
        player.feed(format!("EHLO mail.a.test\r\n{MAIL}{TEXT}QUIT\r\n").as_bytes(), pace);
        let world = world.borrow();
        let expected = Arrival {
            address: "192.0.2.1".parse().unwrap(),
            helo: "mail.a.test".to_owned(),
            sender: Some("joe@xn--bcher-kva.test".to_owned()),
            receiver: "mx.example.test".to_owned(),
        };
        assert_eq!(world.arrival, Some(expected));
        let text = &world.mails[0].text;
        let names: Vec<_> =
            text.lines().filter(|line| !line.starts_with('\t')).map(|line| line.split(':').next()).collect();
        let expected = ["Return-Path", "X-Found", "Received", "Subject", "", "Hi."].map(Some);
        assert_eq!(names, expected, "{text}");
    }
}

#[test]
fn a_mail_without_a_sender_is_judged_by_its_hello() {
    let (mut player, world) = player(checked(Flavor::Mx), false);
    let mail = MAIL.replace("<joe@b\u{fc}cher.test>", "<>");
    player.feed(format!("HELO mail.a.test\r\n{mail}{TEXT}").as_bytes(), Pace::Whole);
    assert_eq!(world.borrow().arrival.as_ref().unwrap().sender, None);
}

#[test]
fn what_is_refused_gets_one_reply_and_the_session_goes_on() {
    for (begin, text) in [("DATA\r\n", TEXT), ("", "BDAT 19 LAST\r\nSubject: x\r\n\r\nHi.\r\n")] {
        let (mut player, world) = player(checked(Flavor::Mx), false);
        let mail = format!(
            "EHLO c\r\nMAIL FROM:<forger@elsewhere.test>\r\nRCPT TO:<alice@example.test>\r\nRCPT TO:<bob@example.test>\r\n{begin}"
        );
        player.feed(mail.as_bytes(), Pace::Whole);
        player.out.clear();
        player.feed(text.as_bytes(), Pace::Whole);
        assert_eq!(player.line().as_deref(), Some("550 5.7.26 Forged"));
        player.feed(b"NOOP\r\n", Pace::Whole);
        assert_eq!(player.line().as_deref(), Some("250 2.0.0 Ok"));
        assert!(world.borrow().mails.is_empty());
    }
}

#[test]
fn our_users_and_our_front_ends_are_not_judged() {
    let login = "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";
    for (flavor, hello, login) in
        [(Flavor::Mx, "EHLO c", login), (Flavor::Submission, "EHLO c", login), (Flavor::Lmtp, "LHLO c", "")]
    {
        let (mut player, world) = player(checked(flavor), true);
        player.feed(format!("{hello}\r\n{login}{MAIL}{TEXT}").as_bytes(), Pace::Whole);
        let world = world.borrow();
        assert_eq!((world.mails.len(), &world.arrival), (1, &None), "{flavor:?}");
        assert!(world.mails[0].text.starts_with("Return-Path: "));
        assert!(!world.mails[0].text.contains("X-Found"));
    }
}
