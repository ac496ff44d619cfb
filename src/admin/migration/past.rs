//! What a user had at a backup, or on a node that stays off.

use std::path::Path;

use super::item::{At, Item, Key, Problem, header_value, inbox_first};
use crate::backup::BackupError;
use crate::backup::mailboxes::Past as OfBackup;
use crate::backup::repository::Repository;
use crate::cluster::membership::Left;
use crate::mail::date::DateTime;
use crate::mail::ids::{AccountId, BodyId, MailboxId, Timestamp};
use crate::state::namespace::is_within;
use crate::state::reading;
use crate::state::record::{MailboxRecord, MessageRecord};

/// Which backup of the folder.
#[derive(Debug, Clone, Copy, Default)]
pub struct Which<'a> {
    pub id: Option<&'a str>,
    /// The last at or before.
    pub at: Option<Timestamp>,
}

/// Mailboxes that lie on a disk, and are not served.
pub struct Past {
    of: Of,
    mailboxes: Vec<MailboxRecord>,
}

enum Of {
    Backup(Box<OfBackup>),
    Node(Box<Left>, AccountId),
}

impl Past {
    /// `folders`: those, with what is below them; none: all.
    pub fn of_backup(
        repository: &Repository,
        which: Which<'_>,
        user: &str,
        folders: &[String],
    ) -> Result<Self, Problem> {
        let open = || -> Result<OfBackup, BackupError> {
            let manifest = repository.choose(which.id, which.at)?;
            OfBackup::open(repository, &manifest, user)
        };
        Self::new(Of::Backup(Box::new(open().map_err(told)?)), user, folders)
    }

    /// What is in the folder of a node that stays off.
    pub async fn of_node(dir: &Path, user: &str, folders: &[String]) -> Result<Self, Problem> {
        let left = Left::open(dir).await.map_err(told)?;
        let account = reading::account_of(&left.rows(), user).map_err(told)?;
        let account = account.ok_or_else(|| format!("{} has no user {user}", dir.display()))?;
        Self::new(Of::Node(Box::new(left), account), user, folders)
    }

    fn new(of: Of, user: &str, folders: &[String]) -> Result<Self, Problem> {
        let mut mailboxes = of.mailboxes()?;
        let lacks = |folder: &&String| !mailboxes.iter().any(|mailbox| is_within(&mailbox.name, folder));
        if let Some(missing) = folders.iter().find(lacks) {
            return Err(format!("{user} has no folder {missing} there"));
        }
        mailboxes.retain(|mailbox| !mailbox.no_select);
        mailboxes
            .retain(|mailbox| folders.is_empty() || folders.iter().any(|it| is_within(&mailbox.name, it)));
        Ok(Self { of, mailboxes })
    }

    pub fn folders(&self) -> Vec<String> {
        inbox_first(self.mailboxes.iter().map(|mailbox| mailbox.name.clone()).collect())
    }

    /// Ascending by UID. Reads each message: what it is known by is in it.
    pub fn list(&mut self, folder: &str) -> Result<Vec<Item>, Problem> {
        let Some(mailbox) = self.mailboxes.iter().find(|mailbox| mailbox.name == folder) else {
            return Ok(Vec::new());
        };
        let mut items = Vec::new();
        for message in self.of.messages(mailbox.id)? {
            let content = self.of.body(message.body)?.unwrap_or_default();
            let date = message.internal_date;
            items.push(Item {
                key: Key {
                    bytes: message.size.into(),
                    unix_seconds: date.unix_seconds,
                    message_id: header_value(&content, "Message-ID").unwrap_or_default(),
                },
                date: Some(DateTime::from_unix(date.unix_seconds, date.zone_minutes)),
                flags: message.flags.names(&mailbox.keywords).map(str::to_owned).collect(),
                at: At::Body(message.body),
            });
        }
        Ok(items)
    }

    pub fn content(&mut self, item: &Item) -> Result<Option<Vec<u8>>, Problem> {
        match item.at {
            At::Body(id) => self.of.body(id),
            At::File(_) | At::Span(..) | At::Uid(_) => Ok(None),
        }
    }
}

impl Of {
    fn mailboxes(&self) -> Result<Vec<MailboxRecord>, Problem> {
        match self {
            Self::Backup(past) => past.mailboxes().map_err(told),
            Self::Node(left, account) => reading::mailboxes(&left.rows(), *account).map_err(told),
        }
    }

    fn messages(&self, mailbox: MailboxId) -> Result<Vec<MessageRecord>, Problem> {
        match self {
            Self::Backup(past) => past.messages(mailbox).map_err(told),
            Self::Node(left, account) => reading::messages(&left.rows(), *account, mailbox).map_err(told),
        }
    }

    fn body(&mut self, id: BodyId) -> Result<Option<Vec<u8>>, Problem> {
        match self {
            Self::Backup(past) => past.body(id).map_err(told),
            Self::Node(left, _) => Ok(left.body(id).map(Vec::from)),
        }
    }
}

fn told(error: impl std::fmt::Display) -> Problem {
    error.to_string()
}
