//! The mailboxes of one user as they were at a backup, to be put back into a cluster that goes on.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::Manifest;
use super::pack::{Entry, Pack};
use super::repository::Repository;
use super::{BackupError, rows_error};
use crate::mail::ids::{AccountId, BodyId, MailboxId};
use crate::state::codec::decode_row;
use crate::state::keys;
use crate::state::reading;
use crate::state::record::{MailboxRecord, MessageRecord};
use crate::state::rows::{MemoryRows, RowsError};
use crate::state::stored::{MailboxRow, MessagesRow, UserRow};
use crate::store::tables::Row;

/// What a backup has of the user. Takes some 200 octets of memory for each message.
pub struct Past {
    repository: Repository,
    account: AccountId,
    rows: MemoryRows,
    places: BTreeMap<BodyId, (u32, Entry)>,
    /// The pack that was read last.
    pack: Option<(u32, Pack)>,
}

impl Past {
    /// Reads all rows of the backup, of which only the last tells that they are what was written. Blocks.
    pub fn open(repository: &Repository, manifest: &Manifest, user: &str) -> Result<Self, BackupError> {
        let mut reader = repository.rows(manifest)?;
        let mut kept = Kept::new(user);
        loop {
            let read = reader.next_rows()?;
            if read.is_empty() {
                break;
            }
            for row in read {
                kept.take(row).map_err(rows_error)?;
            }
        }
        let Some(account) = kept.account else {
            return Err(BackupError::Refused(format!("backup {} has no user {user}", manifest.id)));
        };
        let wanted = kept.bodies;
        let mut places = BTreeMap::new();
        for number in repository.packs()? {
            // What a damaged pack has is missed where it is wanted.
            let Ok(pack) = Pack::open(repository.storage(), number) else { continue };
            let here = pack.entries.iter().filter(|entry| wanted.contains(&entry.id));
            places.extend(here.map(|entry| (entry.id, (number, *entry))));
        }
        Ok(Self { repository: repository.clone(), account, rows: kept.rows, places, pack: None })
    }

    /// Ascending by name.
    pub fn mailboxes(&self) -> Result<Vec<MailboxRecord>, BackupError> {
        reading::mailboxes(&self.rows, self.account).map_err(rows_error)
    }

    /// Ascending by UID.
    pub fn messages(&self, mailbox: MailboxId) -> Result<Vec<MessageRecord>, BackupError> {
        reading::messages(&self.rows, self.account, mailbox).map_err(rows_error)
    }

    /// `None`: it is in no pack, or damaged there.
    pub fn body(&mut self, id: BodyId) -> Result<Option<Vec<u8>>, BackupError> {
        let Some((number, entry)) = self.places.get(&id).copied() else { return Ok(None) };
        let pack = match self.pack.take().filter(|(open, _)| *open == number) {
            Some((_, pack)) => pack,
            None => Pack::open(self.repository.storage(), number)?,
        };
        let read = pack.read(&entry);
        self.pack = Some((number, pack));
        match read {
            Ok(body) => Ok(Some(body)),
            Err(BackupError::Damaged(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// The rows that are about the user; they come in the order of their keys, and so users before what they have.
struct Kept {
    user: Vec<u8>,
    account: Option<AccountId>,
    mailboxes: BTreeSet<MailboxId>,
    bodies: BTreeSet<BodyId>,
    rows: MemoryRows,
}

impl Kept {
    fn new(user: &str) -> Self {
        Self {
            user: keys::user(user),
            account: None,
            mailboxes: BTreeSet::new(),
            bodies: BTreeSet::new(),
            rows: MemoryRows::default(),
        }
    }

    fn take(&mut self, (key, value): Row) -> Result<(), RowsError> {
        if key == self.user {
            self.account = Some(decode_row::<UserRow>(&key, &value)?.account);
        }
        let Some(account) = self.account else { return Ok(()) };
        let is_wanted = match key.first() {
            Some(&keys::ACCOUNT) => key == keys::account(account),
            Some(&keys::NAME) => key.starts_with(&keys::names(account).from),
            Some(&keys::MAILBOX) => match keys::mailbox_of(&key) {
                Some(mailbox) if decode_row::<MailboxRow>(&key, &value)?.account == account => {
                    self.mailboxes.insert(mailbox)
                }
                _ => false,
            },
            Some(&keys::KEYWORDS) => self.is_ours(keys::mailbox_of(&key)),
            Some(&keys::MESSAGES) if self.is_ours(keys::mailbox_of_messages(&key)) => {
                let row = decode_row::<MessagesRow>(&key, &value)?;
                self.bodies.extend(row.messages.iter().map(|message| message.body));
                true
            }
            _ => false,
        };
        if is_wanted {
            self.rows.0.insert(key, value);
        }
        Ok(())
    }

    fn is_ours(&self, mailbox: Option<MailboxId>) -> bool {
        mailbox.is_some_and(|mailbox| self.mailboxes.contains(&mailbox))
    }
}
