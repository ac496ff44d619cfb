//! The blocked hosts, as operators see and change them.

use serde_json::{Value, json};

use super::request::Failure;
use super::server::fault;
use crate::admin::status::rfc3339;
use crate::cluster::replica::Replica;
use crate::mail::ids::Timestamp;
use crate::state::blocks::{Block, Blocks, Host, NOTE_BYTES_MAX, NewBlock};
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::outcome::Outcome;
use crate::state::rows::Rows;

/// Blocks in one answer, so that it fits a line whatever stands in them.
const BLOCKS_PER_ANSWER_MAX: usize = 1_000;
/// An operator blocks for ten years at the most.
pub const SECONDS_MAX: u64 = 3_650 * 86_400;

/// What is asked of the blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Those behind this host.
    List {
        after: Option<Host>,
    },
    Add {
        host: Host,
        seconds: u64,
        note: String,
    },
    /// `None`: all of them.
    Clear {
        host: Option<Host>,
    },
}

impl Wish {
    pub fn list(after: Option<String>) -> Result<Self, Failure> {
        Ok(Self::List { after: after.map(|host| self::host(&host)).transpose()? })
    }

    /// Pure; the directory is looked at for who is never blocked.
    pub fn add(text: &str, seconds: u64, note: String, directory: &Directory) -> Result<Self, Failure> {
        let host = host(text)?;
        if !(1..=SECONDS_MAX).contains(&seconds) {
            return Err(Failure::refused("a block lasts 1 second to 3650 days; give --for such as 1d"));
        }
        if note.len() > NOTE_BYTES_MAX || note.contains(char::is_control) {
            return Err(Failure::refused(format!("a reason is one line of at most {NOTE_BYTES_MAX} bytes")));
        }
        if directory.settings().is_never_blocked(host.address()) {
            return Err(Failure::refused(format!(
                "{host} is one of block.exempt_networks, which are never blocked"
            )));
        }
        Ok(Self::Add { host, seconds, note })
    }

    pub fn clear(text: Option<String>) -> Result<Self, Failure> {
        Ok(Self::Clear { host: text.map(|host| self::host(&host)).transpose()? })
    }
}

fn host(text: &str) -> Result<Host, Failure> {
    let wrong = || Failure::refused(format!("{text:?} is not an IP address, nor an IPv6 network of 64 bits"));
    Host::parse(text).ok_or_else(wrong)
}

pub async fn answer<R: Replica>(wish: Wish, replica: &R) -> Result<Value, Failure> {
    let now = replica.clock().now();
    let load = |rows: &dyn Rows| Blocks::load(rows);
    let (command, done) = match wish {
        Wish::List { after } => {
            return Ok(list(&replica.read_queue(load).await.map_err(fault)?, after, now));
        }
        Wish::Add { host, seconds, note } => {
            let until = Timestamp(now.0.saturating_add(seconds * 1_000));
            let done = format!("{host} is blocked until {}", rfc3339(until));
            (Command::AddBlock(Box::new(NewBlock { host, until, note })), done)
        }
        Wish::Clear { host } => {
            replica.refresh().await.map_err(fault)?;
            let blocks = replica.read_queue(load).await.map_err(fault)?;
            let done = match host {
                Some(host) if blocks.of(host, now).is_none() => {
                    let problem = format!("{host} is not blocked; see 'pollux block list'");
                    return Err(Failure::refused(problem));
                }
                Some(host) => format!("{host} is blocked no longer"),
                None => format!("{} blocks are cleared", blocks.all(now).count()),
            };
            (Command::ClearBlocks { host }, done)
        }
    };
    match replica.propose(command).await.map_err(fault)? {
        Outcome::Refused(refusal) => Err(Failure::refused(refusal.to_string())),
        _ => Ok(json!({ "done": done })),
    }
}

/// Some blocks, ascending by host; `next` is where to go on, if that was not all.
fn list(blocks: &Blocks, after: Option<Host>, now: Timestamp) -> Value {
    let mut rest = blocks.all(now).filter(|(host, _)| after.is_none_or(|after| **host > after)).peekable();
    let mut shown = Vec::new();
    let mut last = None;
    while shown.len() < BLOCKS_PER_ANSWER_MAX
        && let Some((host, block)) = rest.next()
    {
        shown.push(self::shown(*host, block));
        last = Some(host.to_string());
    }
    json!({ "blocks": shown, "next": last.filter(|_| rest.peek().is_some()) })
}

fn shown(host: Host, block: &Block) -> Value {
    json!({
        "address": host.to_string(),
        "since": rfc3339(block.since),
        "until": rfc3339(block.until),
        "reason": block.reason.text(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::cluster::memory::MemoryReplica;

    async fn ask(replica: &MemoryReplica, wish: Result<Wish, Failure>) -> Result<Value, String> {
        match wish {
            Ok(wish) => answer(wish, replica).await.map_err(|failure| failure.message),
            Err(failure) => Err(failure.message),
        }
    }

    async fn add(replica: &MemoryReplica, host: &str, seconds: u64, note: &str) -> Result<Value, String> {
        ask(replica, Wish::add(host, seconds, note.to_owned(), &replica.directory())).await
    }

    #[tokio::test]
    async fn blocks_are_added_shown_and_cleared_and_wrong_wishes_say_what_is_wrong() {
        let replica = MemoryReplica::new(Clock::fixed(Timestamp(1_700_000_000_000)));
        let done = add(&replica, "192.0.2.1", 3_600, "scans us").await.unwrap();
        assert_eq!(done["done"], "192.0.2.1 is blocked until 2023-11-14T23:13:20Z");
        add(&replica, "2001:db8::1", 60, "").await.unwrap();
        let expected = json!({ "blocks": [
            { "address": "192.0.2.1", "since": "2023-11-14T22:13:20Z", "until": "2023-11-14T23:13:20Z", "reason": "scans us" },
            { "address": "2001:db8::/64", "since": "2023-11-14T22:13:20Z", "until": "2023-11-14T22:14:20Z", "reason": "by an operator" },
        ], "next": null });
        assert_eq!(ask(&replica, Wish::list(None)).await.unwrap(), expected);
        for (host, seconds, note, said) in [
            ("192.0.2.0/24", 60, "", "is not an IP address"),
            ("192.0.2.1", 0, "", "a block lasts"),
            ("192.0.2.1", SECONDS_MAX + 1, "", "a block lasts"),
            ("192.0.2.1", 60, "a\nb", "a reason is one line"),
            ("127.0.0.1", 60, "", "block.exempt_networks"),
        ] {
            let message = add(&replica, host, seconds, note).await.unwrap_err();
            assert!(message.contains(said), "{message}");
        }
        add(&replica, "192.0.2.9", SECONDS_MAX, "").await.unwrap();
        let clear = |host: Option<&str>| Wish::clear(host.map(str::to_owned));
        assert_eq!(
            ask(&replica, clear(Some("192.0.2.2"))).await.unwrap_err(),
            "192.0.2.2 is not blocked; see 'pollux block list'"
        );
        let done = ask(&replica, clear(Some("2001:db8::/64"))).await.unwrap();
        assert_eq!(done["done"], "2001:db8::/64 is blocked no longer");
        assert_eq!(ask(&replica, clear(None)).await.unwrap()["done"], "2 blocks are cleared");
        assert_eq!(ask(&replica, Wish::list(None)).await.unwrap()["blocks"], json!([]));
    }

    #[tokio::test]
    async fn a_long_listing_comes_in_portions_that_fit_a_line() {
        let replica = MemoryReplica::new(Clock::fixed(Timestamp(0)));
        for at in 0..=BLOCKS_PER_ANSWER_MAX as u32 {
            let new = NewBlock {
                host: Host::V4((0x0a00_0000 + at).to_be_bytes()),
                until: Timestamp(1),
                note: "\"".repeat(NOTE_BYTES_MAX),
            };
            replica.run(Command::AddBlock(Box::new(new))).unwrap();
        }
        let first = ask(&replica, Wish::list(None)).await.unwrap();
        assert!(first.to_string().len() < crate::admin::control::request::LINE_BYTES_MAX * 3 / 4);
        assert_eq!(first["next"], "10.0.3.231");
        let second = ask(&replica, Wish::list(first["next"].as_str().map(str::to_owned))).await.unwrap();
        assert_eq!((second["blocks"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
    }
}
