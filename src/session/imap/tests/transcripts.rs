//! Runs the transcripts of `../transcripts`, each whole lines at a time and again byte by byte.
//!
//! `C:` is sent, `S:` must come, in order and with nothing between; `…` stands for anything in a line, `␀` for a NUL. `C2:`
//! and `S2:` are a second session. `mail MAILBOX SUBJECT` delivers a mail, `plain` makes the sessions start without
//! TLS (it comes first, as does `limit N`: so many messages in one command), `quota N` gives alice room for N bytes, `set KEY VALUE` changes a setting, `remove NAME` removes a
//! user, `fault on` takes the quorum away, `slow on` lets the first session wait for a while with each question, `login` logs both sessions in as alice, `login alice bob` as the two.

use std::path::Path;

use super::harness::{Driven, House};
use crate::cluster::replica::Fault;
use crate::state::command::Command;
use crate::state::outcome::Outcome;

const MAIL: &str = "From: Bob <bob@example.test>\r\nTo: alice@example.test\r\nSubject: SUBJECT\r\n\
    Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <SUBJECT@example.test>\r\n\r\nHello SUBJECT.\r\n";

#[derive(Clone, Copy, PartialEq)]
enum Pace {
    Lines,
    Bytes,
}

#[tokio::test(start_paused = true)]
async fn all_transcripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/session/imap/transcripts");
    let mut stories: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    stories.sort();
    assert!(stories.len() >= 10, "the transcripts are there");
    let mut failures = Vec::new();
    for story in &stories {
        let text = std::fs::read_to_string(story).unwrap();
        for pace in [Pace::Lines, Pace::Bytes] {
            if let Err(why) = play(&text, pace).await {
                let how = if pace == Pace::Lines { "by lines" } else { "by bytes" };
                failures.push(format!("{} {how}: {why}", story.file_name().unwrap().display()));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

async fn play(text: &str, pace: Pace) -> Result<(), String> {
    let mut house = House::new();
    house.message_limit = text.lines().find_map(|line| line.strip_prefix("limit ")?.parse().ok());
    let plain = text.lines().any(|line| line == "plain");
    let mut sessions = [house.session(!plain), house.session(!plain)];
    for (number, line) in text.lines().enumerate() {
        let at = |why: String| format!("line {}: {why}", number + 1);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "plain" | "limit" => {}
            word if word.starts_with('#') => {}
            "C:" => send(&mut sessions[0], rest, pace).await.map_err(at)?,
            "C2:" => send(&mut sessions[1], rest, pace).await.map_err(at)?,
            "S:" => expect(&mut sessions[0], rest).await.map_err(at)?,
            "S2:" => expect(&mut sessions[1], rest).await.map_err(at)?,
            "mail" => {
                let (mailbox, subject) = rest.split_once(' ').unwrap();
                house.deliver(mailbox, &MAIL.replace("SUBJECT", subject));
            }
            "login" => {
                let names = if rest.is_empty() { "alice alice" } else { rest };
                for (session, name) in sessions.iter_mut().zip(names.split(' ')) {
                    session.send(format!("l LOGIN {name} demo-{name}\r\n").as_bytes()).await;
                    let sent = session.take_sent();
                    assert!(sent.contains("l OK"), "{sent}");
                }
            }
            "quota" => {
                let quota_bytes = Some(rest.parse().unwrap());
                let outcome = house.replica.run(Command::SetQuota { name: "alice".into(), quota_bytes });
                assert_eq!(outcome.unwrap(), Outcome::Done);
            }
            "set" => {
                let (key, value) = rest.split_once(' ').unwrap();
                let changes = vec![(key.to_owned(), Some(value.to_owned()))];
                let outcome = house.replica.run(Command::SetSettings { changes });
                assert_eq!(outcome.unwrap(), Outcome::Done);
            }
            "remove" => {
                let removed = house.replica.run(Command::RemoveUser { name: rest.into() });
                assert_eq!(removed.unwrap(), Outcome::Done);
            }
            "slow" => sessions[0].slow = rest == "on",
            "fault" => house.replica.fail((rest == "on").then_some(Fault::NoQuorum)),
            _ => panic!("line {}: what is {word}?", number + 1),
        }
    }
    for session in &mut sessions {
        session.hear().await;
        let left = session.take_sent();
        if !left.is_empty() && !left.starts_with("* OK [CAPABILITY") {
            return Err(format!("at the end there is more: {left:?}"));
        }
    }
    Ok(())
}

async fn send(session: &mut Driven, line: &str, pace: Pace) -> Result<(), String> {
    session.hear().await;
    let left = session.take_sent();
    if !left.is_empty() {
        return Err(format!("before this was sent there came more: {left:?}"));
    }
    let line = format!("{}\r\n", line.replace('␀', "\0"));
    match pace {
        Pace::Lines => session.send(line.as_bytes()).await,
        Pace::Bytes => {
            for byte in line.as_bytes() {
                session.send(&[*byte]).await;
            }
        }
    }
    Ok(())
}

async fn expect(session: &mut Driven, wanted: &str) -> Result<(), String> {
    session.hear().await;
    let end = session.sent.windows(2).position(|pair| pair == b"\r\n");
    let end = end.ok_or_else(|| format!("wanted {wanted:?}, nothing came"))?;
    let line: Vec<u8> = session.sent.drain(..end + 2).collect();
    let line = String::from_utf8_lossy(&line[..end]).replace('\0', "␀");
    if is_like(wanted, &line) { Ok(()) } else { Err(format!("wanted {wanted:?}, got {line:?}")) }
}

fn is_like(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}
