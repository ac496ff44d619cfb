//! `vacation`: who is answered, and what the answer looks like.

use super::{LETTER, NOW, outcome, outcome_of, run_on, shown};
use crate::mail::header;
use crate::sieve::{Action, Vacation, vacation};

const AWAY: &str = "vacation \"I am away\";";

fn reply_to(script: &str, head: &str) -> Vacation {
    let script = format!("require [\"vacation\", \"vacation-seconds\", \"variables\"]; {script}");
    match run_on(&script, head, |_| {}).actions.into_iter().next() {
        Some(Action::Vacation(vacation)) => *vacation,
        other => panic!("{other:?}"),
    }
}

fn composed(script: &str, head: &str) -> String {
    String::from_utf8(reply_to(script, head).compose(NOW, "9@mx.example.test")).unwrap()
}

#[test]
fn a_reply_leaves_the_mail_where_it_goes() {
    let answered = "answer coyote@desert.example.org: Auto: I have a präsent for you";
    assert_eq!(outcome(AWAY), format!("{answered}; keep"));
    assert_eq!(outcome(&format!("{AWAY} discard;")), answered);
    let twice = outcome(&format!("{AWAY} {AWAY}"));
    assert_eq!(twice, format!("{answered}; keep; fault: line 1: a mail is answered once at the most"));
    // One that must not be answered is not answered by a second command either.
    let twice = outcome_of(&format!("{AWAY} {AWAY}"), "");
    assert_eq!(twice, "keep; fault: line 1: a mail is answered once at the most");
}

#[test]
fn only_people_who_wrote_to_the_user_are_answered() {
    let answered = |head: &str| outcome_of(AWAY, head).starts_with("answer");
    for field in ["To", "cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"] {
        assert!(answered(&format!("{field}: x <AL@example.test>\r\n\r\n")), "{field}");
    }
    for head in [
        "",
        "To: bob@x.test\r\n\r\n",
        "From: alice@example.test\r\n\r\nTo: alice@example.test\r\n",
        "To: alice@example.test\r\nList-Id: <x.y>\r\n\r\n",
        "To: alice@example.test\r\nlist-unsubscribe: <x:y>\r\n\r\n",
        "To: alice@example.test\r\nAuto-Submitted: auto-generated\r\n\r\n",
        "To: alice@example.test\r\nAuto-Submitted:\r\n\r\n",
        "To: alice@example.test\r\nPrecedence: bulk\r\n\r\n",
        "To: alice@example.test\r\nPrecedence: List (x)\r\n\r\n",
        "To: alice@example.test\r\nPrecedence: junk\r\n\r\n",
    ] {
        assert!(!answered(head), "{head}");
    }
    assert!(answered("To: alice@example.test\r\nAuto-Submitted: No; x=y\r\nPrecedence: first-class\r\n\r\n"));
    let other = "vacation :addresses [\"bob@x.test\"] \"x\";";
    assert!(outcome_of(other, "To: Bob@X.test\r\n\r\n").starts_with("answer"));
}

#[test]
fn robots_and_the_user_are_not_answered() {
    let answered = |sender: Option<&'static str>| {
        let script = format!("require \"vacation\"; {AWAY}");
        shown(&run_on(&script, LETTER, |mail| mail.sender = sender)).starts_with("answer")
    };
    assert!(answered(Some("wile@desert.example.org")));
    for sender in [
        None,
        Some(""),
        Some("no address"),
        Some("Mailer-Daemon@x.test"),
        Some("listserv@x.test"),
        Some("majordomo@x.test"),
        Some("owner-birds@x.test"),
        Some("birds-Request@x.test"),
        Some("ALICE@example.test"),
        Some("al@example.test"),
        Some("alice+lists@example.test"),
    ] {
        assert!(!answered(sender), "{sender:?}");
    }
}

#[test]
fn a_reply_is_a_whole_message() {
    assert_eq!(
        composed(AWAY, LETTER),
        "Date: Thu, 26 Nov 2026 20:15:30 +0000\r\n\
        From: <alice+lists@example.test>\r\n\
        To: <coyote@desert.example.org>\r\n\
        Subject: =?utf-8?B?QXV0bzogSSBoYXZlIGEgcHLDpHNlbnQgZm9yIHlvdQ==?=\r\n\
        Message-ID: <9@mx.example.test>\r\n\
        In-Reply-To: <1@desert.example.org>\r\n\
        References: <1@desert.example.org>\r\n\
        Auto-Submitted: auto-replied\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: 7bit\r\n\
        \r\n\
        I am away\r\n"
    );
    let text = composed(
        "vacation :subject \"Gone\" :from \"Älice <al@example.test>\" \"Schöne Grüße = \nEnde\";",
        LETTER,
    );
    assert!(text.contains("\r\nFrom: =?utf-8?B?w4RsaWNl?= <al@example.test>\r\n"), "{text}");
    assert!(text.contains("\r\nSubject: Gone\r\n"));
    assert!(text.ends_with(
        "Content-Transfer-Encoding: quoted-printable\r\n\r\nSch=C3=B6ne Gr=C3=BC=C3=9Fe =3D=20\r\nEnde\r\n"
    ));
    // An address that is not the user's is not used.
    let text = composed("vacation :from \"Bob <bob@x.test>\" \"x\";", LETTER);
    assert!(text.contains("\r\nFrom: <alice+lists@example.test>\r\n"));
    assert_eq!(reply_to(AWAY, "To: al@example.test\r\n\r\n").subject, "Automated reply");
}

#[test]
fn an_entity_brings_the_fields_of_its_content_alone() {
    let text = composed(
        "vacation :mime text:\nContent-Type: text/html\nBcc: x@x.test\nX-A: b\nContent-Language: en\n\n<b>a</b>\n.\n;",
        LETTER,
    );
    let end = "MIME-Version: 1.0\r\nContent-Type: text/html\r\nContent-Language: en\r\n\r\n<b>a</b>\r\n";
    assert!(text.ends_with(end), "{text}");
    let text = composed("vacation :mime \"Content-Type: text/html; charset=utf-8\n\nü\";", LETTER);
    assert!(text.ends_with("charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nü\r\n"), "{text}");
    for empty in ["", "\n", "Content-Type: text/plain", "no field"] {
        let text = composed(&format!("vacation :mime \"{empty}\";"), LETTER);
        let names: Vec<_> = header::fields(text.as_bytes()).map(|field| field.name.to_vec()).collect();
        assert!(names.iter().all(|name| !name.is_empty()), "{text}");
    }
}

#[test]
fn nothing_makes_a_field_of_its_own() {
    let hostile = "x\r\nBcc: evil@x.test\r\n\r\nbody";
    let head = "To: alice@example.test\r\nSubject: a\r\r\n =?utf-8?q?=0D=0ABcc:_evil=40x.test=0D=0A=0D=0Abody?=\r\n\
        Message-ID: <a\rb@c>\r\nReferences: <x@y>\r\n <a b@c> <z@y>\r\n\r\n";
    let script =
        format!("vacation :from \"\\\"{hostile}\\\" <al@example.test>\" \"x\"; set \"v\" \"{hostile}\";");
    for script in
        [script, AWAY.to_owned(), format!("set \"v\" \"{hostile}\"; vacation :subject \"${{v}}\" \"x\";")]
    {
        let mut vacation = reply_to(&script, head);
        for subject in [None, Some(hostile)] {
            if let Some(subject) = subject {
                vacation.subject = subject.to_owned();
            }
            let text = vacation.compose(NOW, "9\r\nBcc: evil@x.test\r\n\r\n@x");
            let names: Vec<_> = header::fields(&text).map(|field| field.name.to_vec()).collect();
            let known = [
                &b"Date"[..],
                b"From",
                b"To",
                b"Subject",
                b"Message-ID",
                b"References",
                b"Auto-Submitted",
                b"MIME-Version",
                b"Content-Type",
                b"Content-Transfer-Encoding",
            ];
            assert_eq!(names, known, "{}", String::from_utf8_lossy(&text));
            assert!(text.ends_with(b"\r\n\r\nx\r\n") || text.ends_with(b"\r\n\r\nI am away\r\n"));
        }
    }
}

#[test]
fn references_are_the_first_and_the_last() {
    let ids: Vec<String> = (0..30).map(|number| format!("<{number}@x>")).collect();
    let head = format!("To: al@example.test\r\nReferences: {}\r\nMessage-ID: <m@x>\r\n\r\n", ids.join(" "));
    let text = composed(AWAY, &head);
    let field = header::find(text.as_bytes(), "References").unwrap();
    let value = String::from_utf8(header::unfold(field.value).into_owned()).unwrap();
    let kept: Vec<&str> = value.split_whitespace().collect();
    assert_eq!(
        (kept.len(), kept[0], kept[1], kept[19]),
        (vacation::REFERENCES_MAX, "<0@x>", "<12@x>", "<m@x>")
    );
    let head = "To: al@example.test\r\nIn-Reply-To: <p@x>\r\nMessage-ID: <m@x>\r\n\r\n";
    assert!(composed(AWAY, head).contains("\r\nReferences: <p@x>\r\n\t<m@x>\r\n"));
    let head = "To: al@example.test\r\nIn-Reply-To: <p@x> <q@x>\r\n\r\n";
    assert!(!composed(AWAY, head).contains("References"));
}

#[test]
fn replies_are_alike_by_handle_or_by_content() {
    let of = |script: &str| reply_to(script, LETTER).handle;
    assert_eq!(of("vacation \"a\";"), of("vacation :days 3 \"a\";"));
    assert_eq!(of("vacation :handle \"h\" \"a\";"), of("vacation :handle \"h\" :subject \"s\" \"b\";"));
    let all = [
        of("vacation \"a\";"),
        of("vacation \"b\";"),
        of("vacation :mime \"a\";"),
        of("vacation :subject \"s\" \"a\";"),
        of("vacation :subject \"\" \"a\";"),
        of("vacation :from \"al@example.test\" \"a\";"),
        of("vacation :handle \"a\" \"a\";"),
    ];
    for (at, one) in all.iter().enumerate() {
        assert!(!all[..at].contains(one), "{at}");
    }
}

#[test]
fn the_time_between_replies_is_bounded() {
    let of = |tags: &str| reply_to(&format!("vacation {tags} \"x\";"), LETTER).seconds;
    for (tags, seconds) in [
        ("", 7 * 86_400),
        (":days 0", 86_400),
        (":days 3", 3 * 86_400),
        (":days 180", vacation::SECONDS_MAX),
        (":days 181", vacation::SECONDS_MAX),
        (":days 18446744073709551615", vacation::SECONDS_MAX),
        (":seconds 0", vacation::SECONDS_MIN),
        (":seconds 59", vacation::SECONDS_MIN),
        (":seconds 61", 61),
    ] {
        assert_eq!(of(tags), seconds, "{tags}");
    }
}

#[test]
fn subjects_are_bounded_and_folded() {
    let long = "word ".repeat(60);
    let text = composed(AWAY, &format!("To: al@example.test\r\nSubject: {long}\r\n\r\n"));
    let subject = header::find(text.as_bytes(), "Subject").unwrap();
    assert!(subject.raw.split(|byte| *byte == b'\n').all(|line| line.len() <= 79));
    let unfolded = header::decode_text(subject.value);
    assert!(unfolded.starts_with("Auto: word word") && unfolded.len() >= vacation::SUBJECT_CHARS_MAX - 1);
    assert!(unfolded.len() <= vacation::SUBJECT_CHARS_MAX);
    for subject in ["ä".repeat(100), "x".repeat(150), "=?utf-8?q?x".to_owned(), "a =?b".to_owned()] {
        let mut vacation = reply_to(AWAY, LETTER);
        vacation.subject = subject.clone();
        let text = vacation.compose(NOW, "9@x");
        let field = header::find(&text, "Subject").unwrap();
        assert_eq!(header::decode_text(field.value), subject);
        assert!(field.raw.split(|byte| *byte == b'\n').all(|line| line.len() <= 79));
    }
}
