//! chasquid's dialogues at the edges, where `../shared/corpora` (or `POLLUX_CORPORA`) has them. Their texts are
//! theirs; what must agree is the kind of each reply, its first digit.

use std::path::PathBuf;

use super::*;
use crate::session::transcript::Pace;

/// Dialogues in which we differ on purpose, with the reason.
const ELSEWISE: &[(&str, &str)] = &[
    ("auth_too_many_failures.cmy", "a response that cannot be decoded is no failed login here"),
    ("auth_multi_dialog.cmy", "their users"),
    ("bad_data.cmy", "a header that cannot be parsed is no reason to lose a mail"),
];

#[test]
fn dialogues_end_alike() {
    let corpora = std::env::var_os("POLLUX_CORPORA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora"), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(corpora.join("chasquid")) else {
        eprintln!("skipped: no chasquid dialogues in {}", corpora.display());
        return;
    };
    let mut played = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".cmy") || ELSEWISE.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let script = std::fs::read_to_string(&path).unwrap();
        play(&name, &script, Pace::Whole);
        if script.len() < 10_000 && !name.contains("too_big") {
            play(&name, &script, Pace::ByteByByte);
        }
        played += 1;
    }
    assert!(played >= 12, "only {played} dialogues were found");
}

fn play(name: &str, script: &str, pace: Pace) {
    let mut session = None;
    for line in script.lines() {
        let at = || format!("{name}: {line:.100}");
        if line.starts_with("c tcp_connect") || line.starts_with("c tls_connect") {
            session = Some(player(policy(Flavor::Mx), line.contains("tls")).0);
            continue;
        }
        let Some(player) = &mut session else { continue };
        if let Some(sent) = line.strip_prefix("c ->") {
            player.feed(format!("{}\r\n", sent.strip_prefix(' ').unwrap_or(sent)).as_bytes(), pace);
        } else if let Some(python) = line.strip_prefix("c ~> ") {
            player.feed(&evaluate(python), pace);
        } else if let Some(last) = line.strip_prefix("c <... ") {
            while player.line().unwrap_or_else(|| panic!("{}: nothing said", at())) != last {}
        } else if let Some(expected) = line.strip_prefix("c <~ ").or(line.strip_prefix("c <- ")) {
            let said = player.line().unwrap_or_else(|| panic!("{}: nothing said", at()));
            assert_eq!(said.as_bytes()[0], expected.as_bytes()[0], "{}: we said {said}", at());
        }
    }
}

/// The few forms of Python in which they write bytes: `'text'`, `'c' * n + 'text'`, `(…) * n`.
fn evaluate(python: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let python = python.trim();
    if let Some((inner, times)) = python.strip_prefix('(').and_then(|rest| rest.rsplit_once(") * ")) {
        return evaluate(inner).repeat(times.trim().parse().unwrap());
    }
    for term in python.split(" + ") {
        let (text, times) = term.split_once(" * ").unwrap_or((term, "1"));
        let text = crate::session::transcript::unescape(text.trim().trim_matches('\''));
        bytes.extend(text.repeat(times.trim().parse().unwrap()));
    }
    bytes
}
