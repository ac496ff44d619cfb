//! One mailbox under change: gathers what a command does to its messages, then writes rows, counts,
//! the mod-sequence and the change for the feed together, so that they cannot part.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::keywords::Table;
use super::mailboxes;
use super::transaction::{Stop, Transaction};
use crate::mail::flags::SystemFlag;
use crate::mail::ids::{MailboxId, ModSeq, Uid};
use crate::state::change::{Change, MessagesChanged};
use crate::state::command::UidSet;
use crate::state::keys;
use crate::state::outcome::Refusal;
use crate::state::record::MessageRecord;
use crate::state::rows::RowsError;
use crate::state::settings::QUOTA_DEFAULT;
use crate::state::stored::{AccountRow, ExpungedPartRow, MailboxRow, MessagesRow, SettingRow, UserRow};
use crate::state::view::{EXPUNGES_REMEMBERED_MAX, MESSAGES_PER_COMMAND_MAX};

/// Expunged UIDs in one row: five hundred apart from each other are 5 KB.
const EXPUNGED_PER_ROW: usize = 500;

/// What the feed hears of a mailbox besides its messages.
pub fn as_it_stands(mailbox: MailboxId, row: &MailboxRow) -> MessagesChanged {
    MessagesChanged {
        account: row.account,
        mailbox,
        uid_validity: row.uid_validity,
        modseq: row.highest_modseq,
        uid_next: row.uid_next,
        recent_from: row.recent_from,
        put: Vec::new(),
        expunged: Vec::new(),
        keywords: None,
        messages: row.messages,
        unseen: row.unseen,
        flags_changed: false,
    }
}

pub struct Opened {
    pub id: MailboxId,
    pub row: MailboxRow,
    bytes_before: u64,
    uid_next_before: Uid,
    keywords: Option<Table>,
    /// `None` expunges.
    edits: BTreeMap<Uid, Option<MessageRecord>>,
}

impl Opened {
    /// Refuses a mailbox that is gone, whose account is gone, or that cannot be selected.
    pub fn open(tx: &Transaction, id: MailboxId) -> Result<Self, Stop> {
        let gone = || Refusal::NotFound(format!("mailbox {id}"));
        let row: MailboxRow = tx.get(&keys::mailbox(id))?.ok_or_else(gone)?;
        if row.no_select {
            return Err(gone().into());
        }
        mailboxes::account_row(tx, row.account)?;
        let (bytes_before, uid_next_before) = (row.bytes, row.uid_next);
        Ok(Self { id, row, bytes_before, uid_next_before, keywords: None, edits: BTreeMap::new() })
    }

    pub fn keywords(&mut self, tx: &Transaction) -> Result<&mut Table, RowsError> {
        let table = match self.keywords.take() {
            Some(table) => table,
            None => Table::load(tx, self.id)?,
        };
        Ok(self.keywords.insert(table))
    }

    /// The mod-sequence of whatever this command changes here.
    pub fn next_modseq(&self) -> ModSeq {
        ModSeq(self.row.highest_modseq.0.saturating_add(1))
    }

    /// The messages there are of `uids`, ascending; refused if they are too many for one command.
    pub fn read(&self, tx: &Transaction, uids: &UidSet) -> Result<Vec<MessageRecord>, Stop> {
        let uids = canonical(uids)?;
        let mut found: Vec<MessageRecord> = Vec::new();
        for (first, last) in uids.ranges() {
            let span = keys::messages_between(self.row.account, self.id, *first, *last);
            tx.visit::<MessagesRow>(&span, |_, row| {
                let wanted = |uid: Uid| *first <= uid && uid <= *last;
                found.extend(row.messages.iter().filter(|message| wanted(message.uid)));
                match found.len() <= MESSAGES_PER_COMMAND_MAX {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })?;
            if found.len() > MESSAGES_PER_COMMAND_MAX {
                let limit = format!("{MESSAGES_PER_COMMAND_MAX} messages in one command");
                return Err(Refusal::Limit(limit).into());
            }
        }
        Ok(found)
    }

    /// Takes in a message under the next UID (RFC 3501 2.3.1.1: UIDs only ascend).
    pub fn add(&mut self, mut message: MessageRecord) -> Result<Uid, Stop> {
        let uid = self.row.uid_next;
        let next =
            uid.0.checked_add(1).ok_or_else(|| Refusal::Limit("the mailbox's UIDs are used up".into()))?;
        self.row.uid_next = Uid(next);
        message.uid = uid;
        message.modseq = self.next_modseq();
        self.count_in(&message);
        self.edits.insert(uid, Some(message));
        Ok(uid)
    }

    /// Puts `new`, whose flags differ, in the place of `old`.
    pub fn replace(&mut self, old: &MessageRecord, mut new: MessageRecord) {
        new.modseq = self.next_modseq();
        self.count_out(old);
        self.count_in(&new);
        self.edits.insert(new.uid, Some(new));
    }

    pub fn expunge(&mut self, message: &MessageRecord) {
        self.count_out(message);
        self.edits.insert(message.uid, None);
    }

    /// True while this command changes no message here.
    pub fn is_unchanged(&self) -> bool {
        self.edits.is_empty()
    }

    /// Writes it all. Bodies are counted by the caller, who knows which are new and which move.
    pub fn close(mut self, tx: &mut Transaction) -> Result<ModSeq, RowsError> {
        if self.edits.is_empty() {
            return Ok(self.row.highest_modseq);
        }
        let modseq = self.next_modseq();
        self.row.highest_modseq = modseq;
        let edits = std::mem::take(&mut self.edits);
        self.write_messages(tx, &edits)?;
        let expunged: Vec<Uid> = edits.iter().filter(|(_, it)| it.is_none()).map(|(uid, _)| *uid).collect();
        self.remember_expunged(tx, &expunged)?;
        let flags_changed = edits.range(..self.uid_next_before).any(|(_, it)| it.is_some());
        let keywords = self.save_keywords(tx)?;
        self.charge(tx)?;
        tx.put(keys::mailbox(self.id), &self.row)?;
        tx.changes.push(Change::Messages(MessagesChanged {
            put: edits.into_values().flatten().collect(),
            expunged,
            keywords,
            flags_changed,
            ..as_it_stands(self.id, &self.row)
        }));
        Ok(modseq)
    }

    fn write_messages(
        &self,
        tx: &mut Transaction,
        edits: &BTreeMap<Uid, Option<MessageRecord>>,
    ) -> Result<(), RowsError> {
        let mut edits = edits.iter().peekable();
        while let Some((uid, _)) = edits.peek() {
            let key = keys::messages_of(self.row.account, self.id, **uid);
            let group = uid.0 / keys::MESSAGES_PER_ROW;
            let mut row = tx.get::<MessagesRow>(&key)?.unwrap_or_default();
            while let Some((uid, edit)) = edits.next_if(|(uid, _)| uid.0 / keys::MESSAGES_PER_ROW == group) {
                match (row.messages.binary_search_by_key(uid, |message| message.uid), edit) {
                    (Ok(at), Some(message)) => row.messages[at] = *message,
                    (Err(at), Some(message)) => row.messages.insert(at, *message),
                    (Ok(at), None) => drop(row.messages.remove(at)),
                    (Err(_), None) => {}
                }
            }
            match row.messages.is_empty() {
                true => tx.delete(key),
                false => tx.put(key, &row)?,
            }
        }
        Ok(())
    }

    /// Keeps the newest expunges, for clients that were away (RFC 7162). The bound is on UIDs; rows
    /// go whole, oldest first.
    fn remember_expunged(&mut self, tx: &mut Transaction, uids: &[Uid]) -> Result<(), RowsError> {
        let modseq = self.row.highest_modseq;
        for part in uids.chunks(EXPUNGED_PER_ROW) {
            let row = ExpungedPartRow { uids: UidSet::from_ascending(part.iter().copied()) };
            tx.put(keys::expunged_part(self.id, modseq, part[0]), &row)?;
        }
        self.row.expunged = self.row.expunged.saturating_add(uids.len() as u32);
        while self.row.expunged as usize > EXPUNGES_REMEMBERED_MAX {
            let oldest = tx.first::<ExpungedPartRow>(&keys::expunged(self.id), 1)?;
            let Some((key, row)) = oldest.into_iter().next() else {
                self.row.expunged = 0;
                break;
            };
            self.row.expunged = self.row.expunged.saturating_sub(row.uids.len() as u32);
            self.row.expunged_floor = keys::modseq_of(&key).unwrap_or(modseq);
            tx.delete(key);
        }
        Ok(())
    }

    fn save_keywords(&mut self, tx: &mut Transaction) -> Result<Option<Arc<Vec<String>>>, RowsError> {
        let Some(table) = self.keywords.take().filter(|table| table.grown) else {
            return Ok(None);
        };
        table.save(tx, self.id)?;
        self.row.keywords = table.names.len() as u8;
        Ok(Some(Arc::new(table.names)))
    }

    fn charge(&self, tx: &mut Transaction) -> Result<(), RowsError> {
        let key = keys::account(self.row.account);
        let Some(mut owner) = tx.get::<AccountRow>(&key)? else {
            return Ok(());
        };
        owner.used_bytes = owner.used_bytes.saturating_add(self.row.bytes).saturating_sub(self.bytes_before);
        tx.put(key, &owner)
    }

    fn count_in(&mut self, message: &MessageRecord) {
        let row = &mut self.row;
        row.messages = row.messages.saturating_add(1);
        row.unseen = row.unseen.saturating_add(u32::from(!message.flags.has(SystemFlag::Seen)));
        row.deleted = row.deleted.saturating_add(u32::from(message.flags.has(SystemFlag::Deleted)));
        row.bytes = row.bytes.saturating_add(u64::from(message.size));
    }

    fn count_out(&mut self, message: &MessageRecord) {
        let row = &mut self.row;
        row.messages = row.messages.saturating_sub(1);
        row.unseen = row.unseen.saturating_sub(u32::from(!message.flags.has(SystemFlag::Seen)));
        row.deleted = row.deleted.saturating_sub(u32::from(message.flags.has(SystemFlag::Deleted)));
        row.bytes = row.bytes.saturating_sub(u64::from(message.size));
    }
}

/// Refuses if `bytes` more would be over the account's quota (over all its mailboxes).
pub fn check_quota(tx: &Transaction, opened: &Opened, bytes: u64) -> Result<(), Stop> {
    check_freed_quota(tx, opened, bytes, 0)
}

/// As [`check_quota`] for `added` bytes that come as `freed` ones go: only the net counts, and what does not grow is let in.
pub fn check_net_quota(tx: &Transaction, opened: &Opened, added: u64, freed: u64) -> Result<(), Stop> {
    if added <= freed { Ok(()) } else { check_freed_quota(tx, opened, added, freed) }
}

fn check_freed_quota(tx: &Transaction, opened: &Opened, added: u64, freed: u64) -> Result<(), Stop> {
    let owner = mailboxes::account_row(tx, opened.row.account)?;
    let user: Option<UserRow> = tx.get(&keys::user(&owner.user))?;
    let quota_bytes = match user.and_then(|user| user.quota_bytes) {
        Some(quota_bytes) => quota_bytes,
        None => default_quota(tx)?.unwrap_or(u64::MAX),
    };
    match owner.used_bytes.saturating_sub(freed).saturating_add(added) > quota_bytes {
        true => Err(Refusal::OverQuota.into()),
        false => Ok(()),
    }
}

/// Text of a number, or whatever is not one: unlimited.
fn default_quota(tx: &Transaction) -> Result<Option<u64>, RowsError> {
    let row: Option<SettingRow> = tx.get(&keys::setting(QUOTA_DEFAULT))?;
    Ok(row.and_then(|row| row.value.parse().ok()))
}

/// A decoded set may hold its ranges in any order.
fn canonical(uids: &UidSet) -> Result<UidSet, Refusal> {
    if uids.ranges().len() > UidSet::RANGES_MAX {
        return Err(Refusal::Limit(format!("{} ranges of UIDs", UidSet::RANGES_MAX)));
    }
    Ok(UidSet::from_ranges(uids.ranges().iter().copied()))
}
