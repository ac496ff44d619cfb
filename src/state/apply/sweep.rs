//! Removes what deleted mailboxes and accounts have left, a bounded portion with each entry: a large
//! batch of deletes would cost every node a gigabyte of memory (design 4a).

use super::acl;
use super::bodies;
use super::keywords::Table;
use super::metadata;
use super::removed::{self, From};
use super::sieve;
use super::transaction::Transaction;
use crate::mail::ids::{AccountId, MailboxId, Timestamp};
use crate::state::keys;
use crate::state::rows::RowsError;
use crate::state::stored::{ExpungedPartRow, KeywordsPartRow, MessagesRow, NameRow, SweepRow};

/// Rows removed with one entry; each may drop eight references to bodies.
pub const ROWS_PER_ENTRY: usize = 16;

/// Queues a sweep.
pub fn order(tx: &mut Transaction, sweep: &SweepRow) -> Result<(), RowsError> {
    let number = tx.meta.sweeps_made;
    tx.meta.sweeps_made += 1;
    tx.put(keys::sweep(number), sweep)
}

/// Does the next portion of the oldest sweep.
pub fn portion(tx: &mut Transaction) -> Result<(), RowsError> {
    if tx.meta.sweeps_done >= tx.meta.sweeps_made {
        return Ok(());
    }
    let key = keys::sweep(tx.meta.sweeps_done);
    let done = match tx.get::<SweepRow>(&key)? {
        Some(SweepRow::Mailbox { account, mailbox }) => sweep_mailbox(tx, account, mailbox, None)?,
        Some(SweepRow::MailboxKept { account, mailbox, name, at }) => {
            sweep_mailbox(tx, account, mailbox, Some((&name, at)))?
        }
        Some(SweepRow::Account { account }) => sweep_account(tx, account)?,
        None => true,
    };
    if done {
        tx.delete(key);
        tx.meta.sweeps_done += 1;
    }
    Ok(())
}

/// True when nothing is left. `kept`: the messages are kept, as of that name and moment.
fn sweep_mailbox(
    tx: &mut Transaction,
    account: AccountId,
    mailbox: MailboxId,
    kept: Option<(&str, Timestamp)>,
) -> Result<bool, RowsError> {
    let messages = tx.first::<MessagesRow>(&keys::messages(account, mailbox), ROWS_PER_ENTRY)?;
    if !messages.is_empty() {
        let keywords = if kept.is_some() { Table::load(tx, mailbox)? } else { Table::default() };
        for (key, row) in messages {
            match kept {
                Some((name, at)) => {
                    removed::keep(
                        tx,
                        &From { account, mailbox, name, keywords: &keywords, at },
                        &row.messages,
                    )?;
                }
                None => bodies::drop_references(tx, &row.messages)?,
            }
            tx.delete(key);
        }
        return Ok(false);
    }
    for (key, _) in tx.first::<KeywordsPartRow>(&keys::keywords(mailbox), ROWS_PER_ENTRY)? {
        tx.delete(key);
    }
    let expunged = tx.first::<ExpungedPartRow>(&keys::expunged(mailbox), ROWS_PER_ENTRY)?;
    let metadata_done = metadata::sweep_mailbox(tx, mailbox, ROWS_PER_ENTRY)?;
    let done = expunged.len() < ROWS_PER_ENTRY && metadata_done;
    if done {
        acl::sweep(tx, mailbox)?;
    }
    expunged.into_iter().for_each(|(key, _)| tx.delete(key));
    Ok(done)
}

fn sweep_account(tx: &mut Transaction, account: AccountId) -> Result<bool, RowsError> {
    let names = tx.first::<NameRow>(&keys::names(account), ROWS_PER_ENTRY)?;
    let metadata_done = metadata::sweep_account(tx, account, ROWS_PER_ENTRY)?;
    let scripts_done = sieve::sweep_account(tx, account, ROWS_PER_ENTRY)?;
    let done = names.len() < ROWS_PER_ENTRY && metadata_done && scripts_done;
    for (key, row) in names {
        tx.delete(key);
        if let Some(mailbox) = row.mailbox {
            tx.delete(keys::mailbox(mailbox));
            order(tx, &SweepRow::Mailbox { account, mailbox })?;
        }
    }
    Ok(done && acl::sweep_grantee(tx, account)?)
}
