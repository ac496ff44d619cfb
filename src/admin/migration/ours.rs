//! Our end: IMAP as the operator, for one user, over the control socket of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use async_imap::imap_proto::{Response, Status};
use async_imap::types::Flag;
use async_imap::{Authenticator, Client, Session};
use futures_util::TryStreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::item::{Item, Key, Problem, inbox_first};
use crate::admin::control::client;
use crate::mail::date::{DateTime, format_imap_date_time};
use crate::mail::utf7::{decode_utf7, encode_utf7};

/// The longest that one command may take: a fail-over, and a large mailbox to list.
const COMMAND_MAX: Duration = Duration::from_secs(300);

/// One user's mailboxes.
pub struct Ours {
    session: Session<UnixStream>,
}

/// What became of an APPEND.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    Done,
    /// For good.
    Refused(Refusal),
    /// The cluster cannot take it now; the next try may.
    Unavailable(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// For what a message is: too large, not valid.
    Message(String),
    /// This user's mailboxes are full: nothing more will be taken.
    OverQuota(String),
}

impl Ours {
    pub async fn open(socket: &Path, user: &str) -> Result<Self, Problem> {
        let stream = client::open_imap(socket).map_err(|failure| failure.to_string())?;
        stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        let stream = UnixStream::from_std(stream).map_err(|error| error.to_string())?;
        let mut client = Client::new(stream);
        bounded(client.read_response()).await?;
        let login = timeout(COMMAND_MAX, client.authenticate("EXTERNAL", ActFor(user.to_owned()))).await;
        match login.map_err(|_| silent())? {
            Ok(session) => Ok(Self { session }),
            Err((error, _)) => {
                Err(format!("there is no user {user}, or it is disabled ({error}); see 'pollux user list'"))
            }
        }
    }

    /// In UTF-8, INBOX first.
    pub async fn folders(&mut self) -> Result<Vec<String>, Problem> {
        let names =
            bounded(async { self.session.list(Some(""), Some("*")).await?.try_collect::<Vec<_>>().await })
                .await?;
        let selectable = names
            .iter()
            .filter(|name| !name.attributes().contains(&async_imap::types::NameAttribute::NoSelect));
        let mut folders: Vec<String> =
            selectable.filter_map(|name| decode_utf7(name.name().as_bytes())).collect();
        folders.retain(|name| !name.starts_with(OTHERS));
        Ok(inbox_first(folders))
    }

    /// Makes it if it is not there.
    pub async fn ensure(&mut self, folder: &str, there: &mut BTreeSet<String>) -> Result<(), Problem> {
        if there.contains(folder) {
            return Ok(());
        }
        let name = encode_utf7(folder);
        bounded(self.session.create(&name))
            .await
            .map_err(|why| format!("the folder {folder} cannot be made: {why}"))?;
        bounded(self.session.subscribe(&name)).await?;
        there.insert(folder.to_owned());
        Ok(())
    }

    /// How often each message is in the folder.
    pub async fn known(&mut self, folder: &str) -> Result<BTreeMap<Key, usize>, Problem> {
        let mut known = BTreeMap::new();
        if self.examine(folder).await? == 0 {
            return Ok(known);
        }
        let fetched = bounded(async {
            let fetched = self.session.fetch("1:*", "(RFC822.SIZE INTERNALDATE ENVELOPE)").await?;
            fetched.map_ok(|fetch| key_of(&fetch)).try_collect::<Vec<_>>().await
        });
        for key in fetched.await? {
            *known.entry(key).or_default() += 1;
        }
        bounded(self.session.run_command_and_check_ok("UNSELECT")).await?;
        Ok(known)
    }

    /// How many messages it has. Nothing is marked as read.
    async fn examine(&mut self, folder: &str) -> Result<u32, Problem> {
        Ok(bounded(self.session.examine(encode_utf7(folder))).await?.exists)
    }

    /// UIDVALIDITY of what is examined, and the UIDs of its messages, ascending.
    pub async fn uids(&mut self, folder: &str) -> Result<(u32, Vec<u32>), Problem> {
        let mailbox = bounded(self.session.examine(encode_utf7(folder))).await?;
        let mut uids: Vec<u32> = bounded(self.session.uid_search("ALL")).await?.into_iter().collect();
        uids.sort_unstable();
        Ok((mailbox.uid_validity.unwrap_or_default(), uids))
    }

    /// One message of what is examined. `None`: it is gone meanwhile.
    pub async fn message(&mut self, uid: u32) -> Result<Option<Message>, Problem> {
        let fetched = bounded(async {
            let wanted = "(UID FLAGS INTERNALDATE BODY.PEEK[])";
            self.session.uid_fetch(uid.to_string(), wanted).await?.try_collect::<Vec<_>>().await
        });
        // What changed meanwhile is told beside it, without a text.
        Ok(fetched.await?.into_iter().find_map(|fetch| {
            let content = fetch.body()?.to_vec();
            let date = fetch.internal_date().map(|date| from_chrono(&date));
            Some(Message { flags: flags_of(fetch.flags()), date, content })
        }))
    }

    /// All of them, or none (RFC 3502). There is one at least.
    pub async fn append(&mut self, folder: &str, messages: &[(&Item, Vec<u8>)]) -> Result<Appended, Problem> {
        timeout(COMMAND_MAX, self.try_append(folder, messages)).await.map_err(|_| silent())?
    }

    async fn try_append(&mut self, folder: &str, messages: &[(&Item, Vec<u8>)]) -> Result<Appended, Problem> {
        let mut command = format!("APPEND {}", quoted(&encode_utf7(folder)));
        let mut tag = None;
        for (item, content) in messages {
            let date = item.date.as_ref().map(|date| format!(" \"{}\"", format_imap_date_time(date)));
            let (flags, date) = (item.flags.join(" "), date.unwrap_or_default());
            // LITERAL+ (RFC 7888): the answer is not waited for in between.
            command.push_str(&format!(" ({flags}){date} {{{}+}}", content.len()));
            match &tag {
                None => tag = Some(self.session.run_command(&command).await.map_err(broken)?),
                Some(_) => self.write(format!("{command}\r\n").as_bytes()).await?,
            }
            self.write(content).await?;
            command.clear();
        }
        self.write(b"\r\n").await?;
        loop {
            let Some(response) = self.session.read_response().await.map_err(|error| broken(error.into()))?
            else {
                return Err(broken(async_imap::error::Error::ConnectionLost));
            };
            if let Response::Done { tag: done, status, outcome } = response.parsed()
                && Some(done) == tag.as_ref()
            {
                // The codes that matter here are not among those that the parser knows: they stand before the text.
                let said = outcome.information.as_deref().unwrap_or_default().to_owned();
                return Ok(match status {
                    Status::Ok => Appended::Done,
                    _ if said.starts_with("[OVERQUOTA]") => Appended::Refused(Refusal::OverQuota(said)),
                    _ if said.starts_with("[UNAVAILABLE]") => Appended::Unavailable(said),
                    _ => Appended::Refused(Refusal::Message(said)),
                });
            }
        }
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), Problem> {
        let written = self.session.get_mut().write_all(octets).await;
        written.map_err(|error| broken(error.into()))
    }
}

/// As it is exported.
pub struct Message {
    pub flags: Vec<String>,
    pub date: Option<DateTime>,
    pub content: Vec<u8>,
}

/// Mailboxes of other users, which are theirs to export.
const OTHERS: &str = "user/";

struct ActFor(String);

impl Authenticator for ActFor {
    type Response = String;

    fn process(&mut self, _challenge: &[u8]) -> String {
        self.0.clone()
    }
}

pub fn flags_of<'a>(flags: impl Iterator<Item = Flag<'a>>) -> Vec<String> {
    flags
        .filter_map(|flag| match flag {
            Flag::Seen => Some("\\Seen".to_owned()),
            Flag::Answered => Some("\\Answered".to_owned()),
            Flag::Flagged => Some("\\Flagged".to_owned()),
            Flag::Deleted => Some("\\Deleted".to_owned()),
            Flag::Draft => Some("\\Draft".to_owned()),
            Flag::Recent | Flag::MayCreate => None,
            Flag::Custom(word) => super::item::is_keyword(&word).then(|| word.into_owned()),
        })
        .collect()
}

pub fn key_of(fetch: &async_imap::types::Fetch) -> Key {
    let message_id = fetch.envelope().and_then(|envelope| envelope.message_id.as_deref());
    Key {
        bytes: fetch.size.unwrap_or_default().into(),
        unix_seconds: fetch.internal_date().map_or(0, |date| date.timestamp()),
        message_id: message_id.unwrap_or_default().trim_ascii().to_vec(),
    }
}

pub fn from_chrono(date: &chrono::DateTime<chrono::FixedOffset>) -> DateTime {
    DateTime::from_unix(date.timestamp(), (date.offset().local_minus_utc() / 60) as i16)
}

/// A name in ASCII as a quoted string.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

async fn bounded<T, E: Into<async_imap::error::Error>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Problem> {
    match timeout(COMMAND_MAX, work).await {
        Ok(done) => done.map_err(|error| broken(error.into())),
        Err(_) => Err(silent()),
    }
}

fn silent() -> Problem {
    format!(
        "the node did not answer in {} s; run the command again, what is done is not done twice",
        COMMAND_MAX.as_secs()
    )
}

fn broken(error: async_imap::error::Error) -> Problem {
    match error {
        async_imap::error::Error::No(why) | async_imap::error::Error::Bad(why) => why,
        other => {
            format!("the node broke off ({other}); run the command again, what is done is not done twice")
        }
    }
}
