//! What one server takes for the end of data and another does not is how mail is smuggled: nothing but
//! CRLF.CRLF ends DATA, and no message with a bare CR, a bare LF or a NUL gets in, by DATA or by BDAT.

use super::*;
use crate::session::transcript::{Pace, unescape};

/// Texts in DATA behind `a: b\r\n\r\n`, each with a second mail hidden behind a false end.
const FALSE_ENDS: &[&str] = &[
    r"x\n.\n",
    r"x\n.\r\n",
    r"x\r\n.\n",
    r"x\r\n.\r",
    r"x\r.\r",
    r"x\r.\r\n",
    r"x\r\n.\r\r\n",
    r"x\r\r\n.\r\r\n",
    r"x\n\r.\n\r",
    r"x\r\n\0.\r\n",
    r"x\r\n.\0\r\n",
    r"x\r\0\n.\r\n",
    r"x\0\r\n.\0\r\n",
    r"x\n\n.\n\n",
    r"x\r\n\n.\r\n",
    r"\n.\r\n",
    r".\n",
    r".\r",
    r"x\r\n..\n",
    r"x\r\n\r.\r\n",
    r"x\n..\r\n",
    r"x\n.\r",
    r"x\r.\n",
    r"x\r",
    r"x\n",
    r"x\0\n.\0\n",
    r"x\r\n.\n\r\n",
];

/// Lines that look dangerous and are none: only stuffed dots and dots within lines.
const HARMLESS: &[(&str, &str)] = &[
    (r"x\r\n..\r\n", "x\r\n.\r\n"),
    (r"x\r\n...\r\n", "x\r\n..\r\n"),
    (r"x.\r\n", "x.\r\n"),
    (r".x\r\n", "x\r\n"),
    (r"x\r\n. \r\n", "x\r\n \r\n"),
    (r"\r\n\r\n", "\r\n\r\n"),
    ("", ""),
];

const HIDDEN: &str = "MAIL FROM:<evil@b.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n";

fn in_data(text: &[u8], pace: Pace) -> (Vec<String>, Vec<Mail>) {
    let (mut player, world) = player(policy(Flavor::Mx), false);
    player
        .feed(b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n", pace);
    player.out.clear();
    player.feed(b"a: b\r\n\r\n", pace);
    player.feed(text, pace);
    player.feed(b"\r\n.\r\nNOOP\r\n", pace);
    let replies = std::iter::from_fn(|| player.line()).collect();
    let mails = world.borrow().mails.clone();
    (replies, mails)
}

#[test]
fn a_false_end_of_data_is_text_and_refused() {
    for end in FALSE_ENDS {
        for pace in [Pace::Whole, Pace::ByteByByte] {
            let text = [&unescape(end)[..], HIDDEN.as_bytes(), b"smuggled"].concat();
            let (replies, mails) = in_data(&text, pace);
            assert_eq!(mails, [], "{end} {pace:?}");
            assert_eq!(replies.len(), 2, "{end} {pace:?}: one reply for the text, one for NOOP: {replies:?}");
            assert!(replies[0].starts_with("554 5.6.0"), "{end} {pace:?}: {replies:?}");
            assert_eq!(replies[1], "250 2.0.0 Ok", "{end} {pace:?}");
        }
    }
}

#[test]
fn dots_are_unstuffed_and_nothing_else_changes() {
    for (sent, kept) in HARMLESS {
        for pace in [Pace::Whole, Pace::ByteByByte] {
            let (replies, mails) = in_data(&unescape(sent), pace);
            assert_eq!(replies, ["250 2.0.0 Delivered as ID1", "250 2.0.0 Ok"], "{sent} {pace:?}");
            assert_eq!(content(&mails[0]), format!("a: b\r\n\r\n{kept}\r\n"), "{sent} {pace:?}");
        }
    }
}

#[test]
fn chunks_hold_no_bare_line_ends_either() {
    for (text, good) in [
        (r"a\nb\r\n", false),
        (r"a\rb\r\n", false),
        (r"a\r\n.\r\n\0", false),
        (r"a\r\nb\r", false),
        (r"a\r\n.\r\nb\r\n", true),
    ] {
        let bytes = unescape(text);
        for split in 0..=bytes.len() {
            let (mut player, world) = player(policy(Flavor::Mx), false);
            player
                .feed(b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.test>\r\n", Pace::Whole);
            player.out.clear();
            let (one, two) = bytes.split_at(split);
            player.feed(&[format!("BDAT {}\r\n", one.len()).as_bytes(), one].concat(), Pace::Whole);
            player.feed(&[format!("BDAT {} LAST\r\n", two.len()).as_bytes(), two].concat(), Pace::Whole);
            let delivered = world.borrow().mails.len();
            assert_eq!(delivered == 1, good, "{text:?} split at {split}");
            if good {
                assert_eq!(content(&world.borrow().mails[0]).as_bytes(), bytes, "split at {split}");
            }
            // Still in step: no octet of a chunk was read as a command.
            player.out.clear();
            player.feed(b"NOOP\r\n", Pace::Whole);
            assert_eq!(&player.out[..], b"250 2.0.0 Ok\r\n", "{text:?} split at {split}");
        }
    }
}

/// The same texts in chunks, and in pipelines with all that is around them: one mail or none, never another's.
#[test]
fn no_second_mail_gets_in_by_data_or_bdat_at_any_pace() {
    let open = "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.test>\r\n";
    for end in FALSE_ENDS.iter().chain(HARMLESS.iter().map(|(sent, _)| sent)) {
        let hidden = [b"a: b\r\n\r\n", &unescape(end)[..], HIDDEN.as_bytes(), b"smuggled\r\n.\r\n"].concat();
        let (one, two) = hidden.split_at(hidden.len() / 2);
        let chunk =
            |text: &[u8], last: &str| [format!("BDAT {}{last}\r\n", text.len()).as_bytes(), text].concat();
        let forms = [
            ("DATA", [b"DATA\r\n", &hidden[..], b".\r\n"].concat()),
            ("one chunk", chunk(&hidden, " LAST")),
            ("two chunks", [chunk(one, ""), chunk(two, " LAST")].concat()),
            ("an empty last chunk", [chunk(&hidden, ""), chunk(b"", " LAST")].concat()),
        ];
        for (form, text) in forms {
            for pace in [Pace::Whole, Pace::ByteByByte] {
                for checked in [false, true] {
                    let policy = Policy { checked, ..policy(Flavor::Mx) };
                    let (mut player, world) = player(policy, false);
                    player.feed(&[open.as_bytes(), &text, b"QUIT\r\n"].concat(), pace);
                    let at = format!("{end} {form} {pace:?} checked: {checked}");
                    let world = world.borrow();
                    assert!(world.mails.len() <= 1, "{at}: {:?}", world.mails);
                    let of_another =
                        |mail: &Mail| mail.accounts != [1] || !mail.text.contains("<a@b.example>");
                    assert!(!world.mails.iter().any(of_another), "{at}: {:?}", world.mails);
                    let harmless = HARMLESS.iter().any(|(sent, _)| sent == end);
                    let whole = world.mails.first().is_some_and(|mail| mail.text.contains("smuggled"));
                    assert_eq!(!world.mails.is_empty(), harmless, "{at}: taken or refused as a whole");
                    assert!(world.mails.is_empty() || whole, "{at}");
                }
            }
        }
    }
}

/// A stranger who does not wait for 354 is not heard at all.
#[test]
fn a_stranger_that_sends_its_text_with_its_envelope_is_refused_before_a_word_of_it() {
    let policy = Policy { checked: true, refuse_early_talk: true, ..policy(Flavor::Mx) };
    let (mut player, world) = player(policy, false);
    player.feed(b"EHLO c.example\r\n", Pace::ByteByByte);
    player.out.clear();
    let mail = "MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\na: b\r\n\r\nx\r\n.\r\n";
    player.feed(mail.as_bytes(), Pace::Whole);
    let said: Vec<String> = std::iter::from_fn(|| player.line()).collect();
    assert!(said[2].starts_with("503 5.5.0") && said.len() == 3 && player.closed, "{said:?}");
    assert!(world.borrow().mails.is_empty() && world.borrow().body.is_none());
}
