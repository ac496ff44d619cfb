//! What is expunged is kept for a while, put back, and forgotten.

use super::keywords::{NoRoom, Table};
use super::opened::{Opened, check_quota};
use super::transaction::{Stop, Transaction};
use super::{bodies, mailboxes, names};
use crate::mail::flags::{KEYWORDS_PER_MAILBOX_MAX, NamedFlags, SystemFlag};
use crate::mail::ids::{AccountId, MailboxId, Timestamp};
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::record::MessageRecord;
use crate::state::removed::{ROWS_PER_COMMAND_MAX, RemovedId, UNDELETE_DAYS, Undelete};
use crate::state::rows::RowsError;
use crate::state::stored::{RemovedRow, SettingRow};

/// Octets of keywords in one row, beside eight messages.
const KEYWORD_BYTES_KEPT_MAX: usize = 4 << 10;

/// Where messages go from.
pub struct From<'a> {
    pub account: AccountId,
    pub mailbox: MailboxId,
    pub name: &'a str,
    pub keywords: &'a Table,
    /// When they went.
    pub at: Timestamp,
}

/// Whether what is expunged now is kept. The setting came with cluster version 2, and is not set before.
pub fn are_kept(tx: &Transaction) -> Result<bool, RowsError> {
    let row: Option<SettingRow> = tx.get(&keys::setting(UNDELETE_DAYS))?;
    Ok(row.is_some_and(|row| row.value.parse::<u64>().is_ok_and(|days| days > 0)))
}

/// Messages that went from a mailbox: kept, or their references given up.
pub fn expunged(
    tx: &mut Transaction,
    mailbox: &mut Opened,
    messages: &[MessageRecord],
) -> Result<(), RowsError> {
    if messages.is_empty() || !are_kept(tx)? {
        return bodies::drop_references(tx, messages);
    }
    let keywords = mailbox.keywords(tx)?.clone();
    let from = From {
        account: mailbox.row.account,
        mailbox: mailbox.id,
        name: &mailbox.row.name,
        keywords: &keywords,
        at: tx.at,
    };
    keep(tx, &from, messages)
}

/// Their references stay.
pub fn keep(tx: &mut Transaction, from: &From, messages: &[MessageRecord]) -> Result<(), RowsError> {
    for part in messages.chunks(keys::MESSAGES_PER_ROW as usize) {
        let Some(first) = part.first() else { continue };
        let id = RemovedId { at: from.at, account: from.account, mailbox: from.mailbox, uid: first.uid };
        let keywords = named_bits(from.keywords, part);
        tx.put(
            keys::removed(id),
            &RemovedRow { name: from.name.to_owned(), keywords, messages: part.to_vec() },
        )?;
    }
    Ok(())
}

/// The bits that any of them has set, by name. What does not fit a row is left out.
fn named_bits(table: &Table, messages: &[MessageRecord]) -> Vec<(u8, String)> {
    let set = messages.iter().fold(0, |all, message| all | message.flags.keywords);
    let mut left = KEYWORD_BYTES_KEPT_MAX;
    let names = table.names.iter().enumerate().take(KEYWORDS_PER_MAILBOX_MAX);
    names
        .filter(|(bit, name)| {
            let wanted = set & (1 << bit) != 0 && name.len() <= left;
            left -= if wanted { name.len() } else { 0 };
            wanted
        })
        .map(|(bit, name)| (bit as u8, name.clone()))
        .collect()
}

/// All or nothing. A row that is there no longer is passed over: it was put back, or forgotten, meanwhile.
pub fn undelete(tx: &mut Transaction, undelete: &Undelete) -> Result<Outcome, Stop> {
    if undelete.from.len() > ROWS_PER_COMMAND_MAX {
        return Err(Refusal::Limit(format!("{ROWS_PER_COMMAND_MAX} rows of messages in one command")).into());
    }
    let mut messages = 0;
    for id in &undelete.from {
        let key = keys::removed(*id);
        let Some(row) = tx.get::<RemovedRow>(&key)? else { continue };
        messages += row.messages.len() as u32;
        put_back(tx, id.account, undelete.into.as_deref().unwrap_or(&row.name), &row)?;
        tx.delete(key);
    }
    Ok(Outcome::Undeleted { messages })
}

fn put_back(tx: &mut Transaction, account: AccountId, name: &str, row: &RemovedRow) -> Result<(), Stop> {
    let name = names::mailbox(name)?;
    let known = mailboxes::by_name(tx, account, &name)?.filter(|(_, row)| !row.no_select);
    let id = match known {
        Some((id, _)) => id,
        None => match mailboxes::create(tx, account, &name, None)? {
            Outcome::MailboxCreated { mailbox, .. } => mailbox,
            other => unreachable!("create answers with what it made, not {other:?}"),
        },
    };
    let mut mailbox = Opened::open(tx, id)?;
    let bytes = row.messages.iter().map(|message| u64::from(message.size)).sum();
    check_quota(tx, &mailbox, bytes)?;
    for message in &row.messages {
        let set =
            row.keywords.iter().filter(|(bit, _)| message.flags.keywords & (1_u64 << bit.min(&63)) != 0);
        let named = NamedFlags {
            // Or the next EXPUNGE would take it again.
            system: message.flags.system & !(SystemFlag::Deleted as u8),
            keywords: set.map(|(_, name)| name.clone()).collect(),
        };
        let flags = mailbox.keywords(tx)?.flags(&named, NoRoom::LeaveOut)?;
        mailbox.add(MessageRecord { flags, saved_at: tx.at, ..*message })?;
    }
    mailbox.close(tx)?;
    Ok(())
}

/// Forgets what went before that moment, a portion of it; says whether more is left.
pub fn forget(tx: &mut Transaction, before: Timestamp) -> Result<Outcome, Stop> {
    let found = tx.first::<RemovedRow>(&keys::removed_before(before), ROWS_PER_COMMAND_MAX)?;
    let more = found.len() == ROWS_PER_COMMAND_MAX;
    for (key, row) in found {
        bodies::drop_references(tx, &row.messages)?;
        tx.delete(key);
    }
    Ok(Outcome::Forgotten { more })
}
