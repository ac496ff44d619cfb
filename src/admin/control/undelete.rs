//! `pollux mail undelete`: what users have expunged, as operators see it and put it back.

use mail_parser::MessageParser;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::plan::known_user;
use super::request::Failure;
use super::server::fault;
use crate::admin::status::rfc3339;
use crate::cluster::replica::{Fault, Replica};
use crate::mail::ids::{AccountId, Timestamp};
use crate::state::command::Command;
use crate::state::directory::Directory;
use crate::state::namespace::is_within;
use crate::state::outcome::Outcome;
use crate::state::record::MessageRecord;
use crate::state::removed::{self, ROWS_PER_COMMAND_MAX, Removed, Undelete};

/// Messages that are listed; of further ones it is said that there are some.
const LISTED_MAX: usize = 500;
/// Characters of a subject and a sender that are shown.
const SHOWN_CHARS_MAX: usize = 120;

/// Which messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedRemoved {
    pub user: String,
    /// This folder alone, and what was below it.
    pub folder: Option<String>,
    /// Expunged at or after, and before; ms since 1970.
    pub since_ms: Option<u64>,
    pub until_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    List(Which),
    /// `into`: one folder for all; `None`: each where it was.
    PutBack {
        which: Which,
        into: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Which {
    account: AccountId,
    user: String,
    folder: Option<String>,
    since: Timestamp,
    until: Timestamp,
}

impl Which {
    pub fn of(wanted: WantedRemoved, directory: &Directory) -> Result<Self, Failure> {
        let user = known_user(&wanted.user, directory)?;
        Ok(Self {
            account: user.account,
            user: user.name.clone(),
            folder: wanted.folder,
            since: Timestamp(wanted.since_ms.unwrap_or(0)),
            until: Timestamp(wanted.until_ms.unwrap_or(u64::MAX)),
        })
    }

    fn fits(&self, removed: &Removed) -> bool {
        let in_folder = self.folder.as_deref().is_none_or(|folder| {
            is_within(&removed.name, folder)
                || (removed.name == "INBOX" && folder.eq_ignore_ascii_case("inbox"))
        });
        in_folder && removed.id.at < self.until
    }
}

pub async fn answer<R: Replica>(wish: Wish, replica: &R) -> Result<Value, Failure> {
    match wish {
        Wish::List(which) => list(&which, replica).await,
        Wish::PutBack { which, into } => put_back(&which, into, replica).await,
    }
}

/// The rows that fit, at most `count_max`.
async fn found<R: Replica>(which: &Which, count_max: usize, replica: &R) -> Result<Vec<Removed>, Failure> {
    let wanted = which.clone();
    let read = replica.read_queue(move |rows| {
        removed::of_account(rows, (wanted.account, wanted.since), |removed| wanted.fits(removed), count_max)
    });
    read.await.map_err(fault)
}

async fn list<R: Replica>(which: &Which, replica: &R) -> Result<Value, Failure> {
    let mut messages = Vec::new();
    for removed in found(which, LISTED_MAX + 1, replica).await? {
        for message in &removed.messages {
            if messages.len() == LISTED_MAX {
                return Ok(json!({ "messages": messages, "more": true }));
            }
            messages.push(shown(&removed, message, replica).await?);
        }
    }
    Ok(json!({ "messages": messages, "more": false }))
}

async fn shown<R: Replica>(
    removed: &Removed,
    message: &MessageRecord,
    replica: &R,
) -> Result<Value, Failure> {
    let (subject, from) = match replica.body(message.body).await {
        Ok(body) => headers(&body),
        Err(Fault::BodyUnavailable(_)) => (None, None),
        Err(error) => return Err(fault(error)),
    };
    Ok(json!({
        "removed": rfc3339(removed.id.at),
        "folder": removed.name,
        "uid": message.uid.0,
        "bytes": message.size,
        "subject": subject,
        "from": from,
    }))
}

fn headers(body: &[u8]) -> (Option<String>, Option<String>) {
    let Some(message) = MessageParser::default().parse_headers(body) else { return (None, None) };
    let plain = |text: &str| -> String {
        text.chars().filter(|char| !char.is_control()).take(SHOWN_CHARS_MAX).collect()
    };
    let from = message.from().and_then(|from| from.first()).and_then(|from| from.address());
    (message.subject().map(plain), from.map(plain))
}

/// A portion at a time: what was put back stays so, whatever comes after it.
async fn put_back<R: Replica>(which: &Which, into: Option<String>, replica: &R) -> Result<Value, Failure> {
    let mut back = 0_u64;
    loop {
        let found = found(which, ROWS_PER_COMMAND_MAX, replica).await?;
        let from: Vec<_> = found.into_iter().map(|removed| removed.id).collect();
        if from.is_empty() {
            break;
        }
        match replica
            .propose(Command::Undelete(Undelete { from, into: into.clone() }))
            .await
            .map_err(fault)?
        {
            Outcome::Undeleted { messages } => back += u64::from(messages),
            Outcome::Refused(refusal) => {
                return Err(Failure::refused(format!("{refusal}; {back} messages were put back before")));
            }
            other => return Err(Failure::unavailable(format!("it was answered with {other:?}"))),
        }
    }
    if back == 0 {
        let user = &which.user;
        return Err(Failure::refused(format!(
            "nothing of {user} fits; see 'pollux mail undelete {user} --list', 'pollux policy show mail.undelete_days', and backups"
        )));
    }
    Ok(json!({ "done": format!("{back} messages of {} are back", which.user), "messages": back }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::cluster::memory::MemoryReplica;
    use crate::cluster::replica::Placing;
    use crate::mail::ids::Uid;
    use crate::state::command::{Deliver, DeliverTo, NewUser, UidSet};
    use crate::state::removed::UNDELETE_DAYS;

    async fn deliver(replica: &MemoryReplica, account: AccountId, text: &str) {
        let mut placing = replica.place().await.unwrap();
        placing.push(text.as_bytes().to_vec().into()).await.unwrap();
        let body = placing.finish().await.unwrap();
        let to = vec![DeliverTo { account, mailbox: "INBOX".into(), flags: Default::default() }];
        replica.run(Command::Deliver(Deliver { body, to })).unwrap();
    }

    #[tokio::test]
    async fn what_was_expunged_is_listed_and_put_back() {
        let replica = MemoryReplica::new(Clock::system());
        let user = NewUser { name: "bob".into(), password_phc: "$x".into(), quota_bytes: None };
        replica.run(Command::AddUser(user)).unwrap();
        replica.run(Command::SetClusterVersion { version: 2 }).unwrap();
        let set = vec![(UNDELETE_DAYS.to_owned(), Some("7".to_owned()))];
        replica.run(Command::SetSettings { changes: set }).unwrap();
        let directory = replica.directory();
        let account = known_user("bob", &directory).unwrap().account;
        deliver(&replica, account, "From: a@x.test\r\nSubject: =?utf-8?Q?b=C3=A4r?=\r\n\r\nx\r\n").await;
        let wanted = |folder: Option<&str>, since_ms| WantedRemoved {
            user: "Bob".into(),
            folder: folder.map(str::to_owned),
            since_ms,
            until_ms: None,
        };
        let list = async |folder: Option<&str>, since_ms| {
            let which = Which::of(wanted(folder, since_ms), &directory).unwrap();
            answer(Wish::List(which), &replica).await.unwrap()["messages"].clone()
        };
        let back = async |into: Option<&str>| {
            let which = Which::of(wanted(None, None), &directory).unwrap();
            let wish = Wish::PutBack { which, into: into.map(str::to_owned) };
            answer(wish, &replica).await.map_err(|failure| failure.message)
        };
        assert_eq!(list(None, None).await, json!([]));
        let said = back(None).await.unwrap_err();
        assert!(said.contains("nothing of bob fits"), "{said}");

        let inbox = replica.mailbox(account, "INBOX").await.unwrap().unwrap();
        let uids = UidSet::from_ascending([Uid(1)]);
        replica.run(Command::Expunge { mailbox: inbox.id, uids, only_deleted: false }).unwrap();
        let shown = list(Some("inbox"), None).await;
        assert_eq!((&shown[0]["subject"], &shown[0]["from"]), (&json!("bär"), &json!("a@x.test")));
        assert_eq!((&shown[0]["folder"], &shown[0]["uid"]), (&json!("INBOX"), &json!(1)));
        assert_eq!(list(Some("Work"), None).await, json!([]));
        assert_eq!(list(None, Some(u64::MAX)).await, json!([]));
        assert_eq!(back(Some("Found/old")).await.unwrap()["done"], "1 messages of bob are back");
        let found = replica.mailbox(account, "Found/old").await.unwrap().unwrap();
        assert_eq!((found.messages, found.bytes), (1, shown[0]["bytes"].as_u64().unwrap()));
        assert_eq!(list(None, None).await, json!([]));
        assert!(Which::of(WantedRemoved { user: "carol".into(), ..wanted(None, None) }, &directory).is_err());
    }
}
