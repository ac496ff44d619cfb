//! Each limit at its bound, and one beyond.

use super::*;
use crate::session::smtp::body::TEXT_LINE_BYTES_MAX;
use crate::session::smtp::machine::BAD_COMMANDS_MAX;
use crate::session::transcript::Pace;

fn reply_to(policy: Policy, text: &[u8]) -> (String, Option<String>) {
    let (mut player, world) = player(policy, false);
    player
        .feed(b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n", Pace::Whole);
    player.out.clear();
    player.feed(text, Pace::Whole);
    player.feed(b".\r\n", Pace::Whole);
    let reply = player.line().expect("a reply to the text");
    player.feed(b"NOOP\r\n", Pace::Whole);
    assert_eq!(player.line().as_deref(), Some("250 2.0.0 Ok"), "the session is in step");
    let kept = world.borrow().mails.first().map(|mail| content(mail).to_owned());
    assert_eq!(kept.is_some(), reply.starts_with("250"));
    assert_eq!(world.borrow().abandoned, usize::from(kept.is_none()));
    (reply, kept)
}

#[test]
fn size_counts_the_text_without_our_trace_fields() {
    let limit = 200_000;
    let policy = Policy { message_bytes_max: limit, ..policy(Flavor::Mx) };
    let line = [&[b'x'; 98][..], b"\r\n"].concat();
    let fits = line.repeat(limit as usize / 100);
    let (reply, kept) = reply_to(policy.clone(), &fits);
    assert_eq!(reply, "250 2.0.0 Delivered as ID1");
    assert_eq!(kept.unwrap().as_bytes(), fits);
    let (reply, _) = reply_to(policy, &[&fits[..], b"\r\n"].concat());
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
}

#[test]
fn hops_are_counted_in_the_header_only() {
    let hop = "Received: from a\r\n\tby b; Received: no\r\n";
    let mail =
        |hops: usize| format!("{}Subject: x\r\n\r\n{}", hop.repeat(hops), "Received: body\r\n".repeat(9));
    assert!(reply_to(policy(Flavor::Mx), mail(2).as_bytes()).0.starts_with("250"));
    assert!(reply_to(policy(Flavor::Mx), mail(3).as_bytes()).0.starts_with("554 5.4.6"));
    let odd_case = "RECEIVED: a\r\nreceived: b\r\nReceived: c\r\n\r\n";
    assert!(reply_to(policy(Flavor::Mx), odd_case.as_bytes()).0.starts_with("554 5.4.6"));
}

/// What the client hears, and what was kept.
fn passed_on(to: &[&str], text: &str) -> (String, Option<String>) {
    let (mut player, world) = player(policy(Flavor::Mx), false);
    player.feed(b"EHLO c\r\nMAIL FROM:<a@b.example>\r\n", Pace::Whole);
    for to in to {
        player.feed(format!("RCPT TO:<{to}>\r\n").as_bytes(), Pace::Whole);
    }
    player.feed(b"DATA\r\n", Pace::Whole);
    player.out.clear();
    player.feed(text.as_bytes(), Pace::ByteByByte);
    player.feed(b".\r\n", Pace::Whole);
    let reply = player.line().expect("a reply to the text");
    let kept = world.borrow().mails.first().map(|mail| mail.text.clone());
    (reply, kept)
}

#[test]
fn what_was_passed_on_before_goes_round_and_is_refused() {
    let loops = "554 5.4.6 This message goes round in a loop: it was passed on from this address before";
    let (reply, kept) = passed_on(&["AWAY@example.test"], "Subject: x\r\n\r\n");
    assert_eq!(reply, "250 2.0.0 Queued as ID1");
    let mark = "\r\nDelivered-To: AWAY@example.test\r\nReceived: from c";
    assert!(kept.as_ref().is_some_and(|text| text.contains(mark)), "{kept:?}");
    for (text, is_loop) in [
        ("Delivered-To: away@example.test\r\n\r\n", true),
        ("Received: x\r\nDELIVERED-TO:  Away@EXAMPLE.test \r\nSubject: x\r\n\r\n", true),
        ("Delivered-To: other@example.test\r\n\r\n", false),
        ("X-Delivered-To: away@example.test\r\n\r\n", false),
        ("Subject: x\r\n Delivered-To: away@example.test\r\n\r\n", false),
        ("Subject: x\r\n\r\nDelivered-To: away@example.test\r\n", false),
        ("Delivered-To\r\n:\r\nDelivered-To:\r\n\r\n", false),
    ] {
        let (reply, kept) = passed_on(&["away@example.test"], text);
        assert_eq!((reply == loops, kept.is_none()), (is_loop, is_loop), "{text:?}: {reply}");
        let (reply, _) = passed_on(&["alice@example.test"], text);
        assert!(reply.starts_with("250"), "a mailbox here passes nothing on: {reply}");
        let (reply, _) = passed_on(&["alice@example.test", "away@example.test"], text);
        assert_eq!(reply == loops, is_loop, "one of several: {reply}");
    }
    let (_, kept) = passed_on(&["alice@example.test", "away@example.test"], "Subject: x\r\n\r\n");
    assert!(!kept.unwrap().contains("Delivered-To"), "the others are not told who it is");
    // As much of a line is looked at as an address may have.
    let padded = |blanks: usize| format!("Delivered-To:{}away@example.test\r\n\r\n", " ".repeat(blanks));
    let bound = crate::mail::address::PATH_BYTES_MAX - "away@example.test".len() + 1;
    assert_eq!(passed_on(&["away@example.test"], &padded(bound)).0, loops);
    assert!(passed_on(&["away@example.test"], &padded(bound + 1)).0.starts_with("250"));
}

#[test]
fn a_text_line_at_the_bound_passes_and_one_octet_more_does_not() {
    let line = |length: usize| [&vec![b'x'; length][..], b"\r\n"].concat();
    assert!(reply_to(policy(Flavor::Mx), &line(TEXT_LINE_BYTES_MAX)).0.starts_with("250"));
    assert!(reply_to(policy(Flavor::Mx), &line(TEXT_LINE_BYTES_MAX + 1)).0.starts_with("554 5.6.0"));
}

#[test]
fn command_lines_are_bounded() {
    let say = |line: &str| {
        let (mut player, _) = player(policy(Flavor::Mx), false);
        player.out.clear();
        player.feed(line.as_bytes(), Pace::Whole);
        player.line().expect("a reply")
    };
    assert_eq!(say(&format!("NOOP {}\r\n", "x".repeat(505))), "250 2.0.0 Ok");
    assert_eq!(say(&format!("NOOP {}\r\n", "x".repeat(506))), "500 5.5.6 Line too long");
    assert_eq!(say(&format!("NOOP {}\r\n", "x".repeat(1_000_000))), "500 5.5.6 Line too long");
}

#[test]
fn the_session_ends_after_too_many_errors() {
    let (mut player, _) = player(policy(Flavor::Mx), false);
    player.out.clear();
    for _ in 0..BAD_COMMANDS_MAX {
        player.feed(b"WHAT\r\n", Pace::Whole);
        assert_eq!(player.line().as_deref(), Some("500 5.5.2 Command not recognised"));
    }
    player.feed(b"WHAT\r\nNOOP\r\n", Pace::Whole);
    assert_eq!(player.line().as_deref(), Some("421 4.7.0 Too many errors"));
    assert!(player.closed && player.out.is_empty());
}

#[test]
fn garbage_ends_the_session_and_holds_no_memory() {
    let mut garbage = vec![0; 10_000];
    crate::clock::Clock::fixed(Timestamp(7)).fill(&mut garbage);
    for pace in [Pace::Whole, Pace::ByteByByte] {
        let (mut player, world) = player(policy(Flavor::Mx), false);
        player.feed(&garbage, pace);
        player.feed(b"\r\nQUIT\r\n", pace);
        assert!(player.closed);
        assert!(world.borrow().mails.is_empty());
    }
}

#[test]
fn an_endless_line_is_never_held() {
    let (mut player, _) = player(policy(Flavor::Mx), false);
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..100 {
        // The player asserts that the machine leaves no full buffer behind.
        player.feed(&piece, Pace::Whole);
    }
    player.out.clear();
    player.feed(b"\r\nNOOP\r\n", Pace::Whole);
    assert_eq!(player.line().as_deref(), Some("500 5.5.6 Line too long"));
    assert_eq!(player.line().as_deref(), Some("250 2.0.0 Ok"));
}

#[test]
fn text_that_goes_on_for_ever_after_a_refusal_ends_the_session() {
    let policy = Policy { message_bytes_max: 1000, ..policy(Flavor::Mx) };
    let (mut player, world) = player(policy, false);
    player
        .feed(b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n", Pace::Whole);
    player.out.clear();
    let piece = [&[b'x'; 1022][..], b"\r\n"].concat().repeat(1024);
    for _ in 0..65 {
        player.feed(&piece, Pace::Whole);
    }
    assert!(player.closed);
    assert!(player.line().is_some_and(|reply| reply.starts_with("552 5.3.4")));
    assert_eq!(world.borrow().abandoned, 1);
}

#[test]
fn the_trace_fields_name_sender_client_node_and_the_only_recipient() {
    let (mut player, world) = player(policy(Flavor::Mx), false);
    let mail = |to: &str| format!("MAIL FROM:<a@b.example>\r\n{to}DATA\r\n.\r\n");
    let (alice, bob) = ("RCPT TO:<alice@example.test>\r\n", "RCPT TO:<bob@example.test>\r\n");
    player.feed(
        format!("EHLO c.example\r\n{}{}", mail(alice), mail(&format!("{alice}{bob}"))).as_bytes(),
        Pace::Whole,
    );
    let mails = world.borrow().mails.clone();
    assert_eq!(
        mails[0].text,
        "Return-Path: <a@b.example>\r\nReceived: from c.example ([192.0.2.1])\r\n\
         \tby mx.example.test (Pollux node1) with ESMTP id ID1\r\n\tfor <alice@example.test>;\r\n\
         \tThu, 01 Jan 1970 00:00:00 +0000\r\n"
    );
    assert!(!mails[1].text.contains("for <"), "a blind copy must stay blind: {}", mails[1].text);
    assert_eq!(mails[1].accounts, [1, 2]);
}

#[test]
fn a_host_that_has_sent_too_much_hears_it_before_the_text_and_the_session_goes_on() {
    for begin in ["DATA\r\n", "BDAT 19 LAST\r\nSubject: x\r\n\r\nHi.\r\n"] {
        for pace in [Pace::Whole, Pace::ByteByByte] {
            let (mut player, world) = player(policy(Flavor::Mx), false);
            world.borrow_mut().too_many = true;
            let envelope = "EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.test>\r\n";
            player.feed(envelope.as_bytes(), pace);
            player.out.clear();
            player.feed(begin.as_bytes(), pace);
            let said = player.line();
            assert_eq!(
                said.as_deref(),
                Some("450 4.7.1 Too many messages from your host, try again in a minute")
            );
            player.feed(b"NOOP\r\n", pace);
            assert_eq!(player.line().as_deref(), Some("250 2.0.0 Ok"));
            assert!(world.borrow().mails.is_empty());
        }
    }
}

#[test]
fn of_several_faults_the_first_is_told_however_the_text_is_cut() {
    let hops = "Received: a\r\n".repeat(3);
    let size = 70_000;
    let long = "x".repeat(size);
    for (text, said) in [
        (format!("{hops}\0\r\n"), "554 5.4.6"),
        (format!("\0{hops}"), "554 5.6.0 A NUL"),
        (format!("a\nb\0\r\n{hops}"), "554 5.6.0 Lines"),
        (format!("{long}\0\r\n"), "554 5.6.0 A line"),
        (format!("Subject: x\r\n\r\n{}\0\r\n", "y\r\n".repeat(size / 3)), "552 5.3.4"),
        (format!("\0\r\n{}", "y\r\n".repeat(size / 3)), "554 5.6.0 A NUL"),
    ] {
        let policy = Policy { message_bytes_max: size as u64 - 1_000, ..policy(Flavor::Mx) };
        let policy =
            if said.contains("A line") { Policy { message_bytes_max: 1 << 20, ..policy } } else { policy };
        for pace in [Pace::Whole, Pace::ByteByByte] {
            let (mut player, _) = player(policy.clone(), false);
            let open = b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n";
            player.feed(open, Pace::Whole);
            player.out.clear();
            player.feed(text.as_bytes(), pace);
            player.feed(b".\r\n", pace);
            let reply = player.line().expect("a reply to the text");
            assert!(reply.starts_with(said), "{pace:?}: {reply}");
        }
    }
}
