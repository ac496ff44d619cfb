//! What a user had at a backup.

use std::path::Path;

use super::item::{At, Item, Key, Problem, header_value};
use crate::backup::BackupError;
use crate::backup::mailboxes::Past as OfBackup;
use crate::backup::repository::Repository;
use crate::mail::date::DateTime;
use crate::mail::flags::{Flags, SystemFlag};
use crate::mail::ids::{BodyId, Timestamp};
use crate::state::record::MailboxRecord;

/// Which backup of the folder.
#[derive(Debug, Clone, Copy, Default)]
pub struct Which<'a> {
    pub id: Option<&'a str>,
    /// The last at or before.
    pub at: Option<Timestamp>,
}

pub struct Past {
    of: OfBackup,
    mailboxes: Vec<MailboxRecord>,
}

impl Past {
    /// `folders`: those, with what is below them; none: all.
    pub fn open(dir: &Path, which: Which<'_>, user: &str, folders: &[String]) -> Result<Self, Problem> {
        let open = || -> Result<(OfBackup, Vec<MailboxRecord>), BackupError> {
            let repository = Repository::open(dir)?;
            let manifest = repository.choose(which.id, which.at)?;
            let of = OfBackup::open(&repository, &manifest, user)?;
            let mailboxes = of.mailboxes()?;
            Ok((of, mailboxes))
        };
        let (of, mut mailboxes) = open().map_err(told)?;
        let is_in = |name: &str, folder: &str| {
            name.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(missing) =
            folders.iter().find(|folder| !mailboxes.iter().any(|mailbox| is_in(&mailbox.name, folder)))
        {
            return Err(format!("the backup has no folder {missing} of {user}"));
        }
        mailboxes.retain(|mailbox| !mailbox.no_select);
        mailboxes.retain(|mailbox| folders.is_empty() || folders.iter().any(|it| is_in(&mailbox.name, it)));
        Ok(Self { of, mailboxes })
    }

    pub fn folders(&self) -> Vec<String> {
        let mut names: Vec<String> = self.mailboxes.iter().map(|mailbox| mailbox.name.clone()).collect();
        names.sort_by_key(|name| (name != "INBOX", name.clone()));
        names
    }

    /// Ascending by UID. Reads each message: what it is known by is in it.
    pub fn list(&mut self, folder: &str) -> Result<Vec<Item>, Problem> {
        let Some(mailbox) = self.mailboxes.iter().find(|mailbox| mailbox.name == folder) else {
            return Ok(Vec::new());
        };
        let mut items = Vec::new();
        for message in self.of.messages(mailbox.id).map_err(told)? {
            let content = self.of.body(message.body).map_err(told)?.unwrap_or_default();
            let date = message.internal_date;
            items.push(Item {
                key: Key {
                    bytes: message.size.into(),
                    unix_seconds: date.unix_seconds,
                    message_id: header_value(&content, "Message-ID").unwrap_or_default(),
                },
                date: Some(DateTime::from_unix(date.unix_seconds, date.zone_minutes)),
                flags: flags(message.flags, &mailbox.keywords),
                at: At::Body(message.body),
            });
        }
        Ok(items)
    }

    pub fn content(&mut self, id: BodyId) -> Result<Option<Vec<u8>>, Problem> {
        self.of.body(id).map_err(told)
    }
}

/// As IMAP writes them.
fn flags(flags: Flags, keywords: &[String]) -> Vec<String> {
    let system = SystemFlag::ALL.into_iter().filter(|flag| flags.has(*flag));
    let named = (0..64).zip(keywords).filter(|(bit, _)| flags.keywords >> bit & 1 == 1);
    system.map(|flag| flag.name().to_owned()).chain(named.map(|(_, name)| name.clone())).collect()
}

fn told(error: BackupError) -> Problem {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_their_names_back() {
        let keywords = ["a", "b", "c"].map(str::to_owned);
        let some = Flags { system: SystemFlag::Seen as u8 | SystemFlag::Draft as u8, keywords: 0b101 };
        assert_eq!(flags(some, &keywords), ["\\Seen", "\\Draft", "a", "c"]);
        assert!(flags(Flags::default(), &keywords).is_empty());
    }
}
