//! The map in `src/lib.rs` is a law: each room uses only rooms below it, and what a room alone may do
//! (fsync, openraft, the clock) is done nowhere else.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from top to bottom. Rooms on one line stand side by side and do not see each other.
const FLOORS: &[&[&str]] = &[
    &["node"],
    &["admin", "session", "delivery"],
    &["policy", "firewall", "address", "backup", "certificate"],
    &["cluster", "dns", "maillog", "asking"],
    &["store"],
    &["state"],
    &["sieve", "http"],
    &["mail"],
    &["config", "clock"],
    &["meters"],
];

/// Arrows that are allowed although they point sideways or up, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("clock", "mail", "a clock hands out ids and timestamps, which are words of the vocabulary"),
    ("admin", "node", "the command `serve` starts the composition root"),
];

/// Words that belong to one room, and what others use instead.
const PRIVILEGES: &[(&str, &str, &str)] = &[
    ("sync_all(", "store", "store::files"),
    ("sync_data(", "store", "store::files"),
    ("fs::rename(", "store", "store::files"),
    ("sled::", "store", "store::tables"),
    ("raft_log::", "store", "store::log"),
    ("openraft::", "cluster", "cluster::replica::Replica"),
    ("quinn::", "cluster", "cluster::transport"),
    ("hickory_resolver::", "dns", "dns::Resolver"),
    ("mail_auth::", "policy", "policy::gather"),
    ("SystemTime::now", "clock", "clock::Clock::now"),
    ("Utc::now", "clock", "clock::Clock::now"),
    ("rand::", "clock", "clock::Clock::fill"),
    ("Command::new(\"nft\")", "firewall", "firewall::Firewall"),
    ("clock_gettime(", "clock", "clock::BootTime"),
    ("hyper_util::", "asking", "asking::Asking"),
    ("object_store::", "backup", "backup::storage"),
    ("instant_acme::", "certificate", "certificate::order"),
    ("nix::sys::socket", "address", "address::Keeper"),
];

struct Source {
    path: PathBuf,
    room: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&root).expect("found below src");
                let first = inside.components().next().expect("a file has a name").as_os_str();
                let room = first.to_string_lossy().trim_end_matches(".rs").to_string();
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                found.push(Source { path: inside.to_path_buf(), room, text });
            }
        }
    }
    assert!(found.len() > 20, "the walk found the sources");
    found
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Lines of code before the tests at the end of the file, with their numbers; comments left out. Files and
/// folders named `tests` are tests altogether.
fn code(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let is_test = source.path.components().any(|part| {
        let name = part.as_os_str();
        name == "tests" || name == "tests.rs"
    });
    let text = if is_test { "" } else { &source.text };
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line))
}

/// The rooms named by `crate::ROOM` in a line.
fn rooms_named(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, word)| {
        let rest = &line[at + word.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn each_room_uses_only_rooms_below_it() {
    let mut broken = Vec::new();
    for source in sources() {
        let Some(own) = floor(&source.room) else { continue };
        for (number, line) in code(&source) {
            for room in rooms_named(line) {
                let Some(other) = floor(room) else { continue };
                let allowed = room == source.room
                    || other > own
                    || EXCEPTIONS.iter().any(|(from, to, _)| *from == source.room && *to == room);
                if !allowed {
                    broken.push(format!("{}:{number}: {} uses {room}", source.path.display(), source.room));
                }
            }
        }
    }
    assert!(broken.is_empty(), "rooms see only what is below them:\n{}", broken.join("\n"));
}

#[test]
fn what_one_room_alone_may_do_is_done_nowhere_else() {
    let mut broken = Vec::new();
    for source in sources() {
        for (number, line) in code(&source) {
            for (word, room, instead) in PRIVILEGES {
                if line.contains(word) && source.room != *room {
                    broken.push(format!(
                        "{}:{number}: `{word}` is {room}'s; use {instead}",
                        source.path.display()
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_replicated_state_knows_no_clock_dice_float_or_unordered_map() {
    const FORBIDDEN: &[&str] =
        &["HashMap", "HashSet", "Instant::", "f32", "f64", "std::fs", "std::net", "tokio::net", "async fn"];
    let mut broken = Vec::new();
    for source in sources().into_iter().filter(|source| source.room == "state") {
        for (number, line) in code(&source) {
            for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
                broken.push(format!("{}:{number}: `{word}`", source.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "state is a pure function:\n{}", broken.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|source| source.room != "main" && !source.text.starts_with("//! "))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "these files do not open with `//!`: {silent:?}");
}
