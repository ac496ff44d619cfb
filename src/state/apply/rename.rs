//! RENAME (RFC 3501 6.3.5). A mailbox keeps its id, messages and UIDVALIDITY under its new name.

use super::mailboxes::{self, by_name, existing, set_name};
use super::metadata;
use super::names;
use super::transaction::{Stop, Transaction};
use crate::mail::ids::{AccountId, MailboxId};
use crate::state::change::Change;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::stored::{MailboxRow, NameRow};

pub fn rename(tx: &mut Transaction, account: AccountId, from: &str, to: &str) -> Result<Outcome, Stop> {
    mailboxes::account_row(tx, account)?;
    let (from, to) = (names::mailbox(from)?, names::mailbox(to)?);
    let (id, row) = existing(tx, account, &from)?;
    if by_name(tx, account, &to)?.is_some() {
        return Err(Refusal::Exists(names::shown(&to)).into());
    }
    // A mailbox cannot become its own inferior. INBOX can: its inferiors stay where they are.
    let within = to.strip_prefix(from.as_str()).is_some_and(|rest| rest.starts_with('/'));
    if within && from != names::INBOX {
        return Err(Refusal::NotAllowed.into());
    }
    mailboxes::make_superiors(tx, account, &to)?;
    if from == names::INBOX {
        rename_inbox(tx, id, row, &to)?;
    } else {
        for (inferior, row) in inferiors(tx, account, &from)? {
            let name = format!("{to}{}", &row.name[from.len()..]);
            move_to(tx, inferior, row, &name)?;
        }
        move_to(tx, id, row, &to)?;
    }
    tx.changes.push(Change::Mailboxes { account });
    Ok(Outcome::Done)
}

/// INBOX's messages move, its inferiors do not, and INBOX is there as before, empty. Handing its
/// mailbox to the new name and making a new one costs the same however many messages there are.
fn rename_inbox(tx: &mut Transaction, id: MailboxId, row: MailboxRow, to: &str) -> Result<(), Stop> {
    let account = row.account;
    move_to(tx, id, row, to)?;
    let (inbox, _) = mailboxes::make(tx, account, names::INBOX, None)?;
    metadata::copy(tx, (id, inbox), account)
}

fn inferiors(tx: &Transaction, account: AccountId, name: &str) -> Result<Vec<(MailboxId, MailboxRow)>, Stop> {
    let rows = tx.first::<NameRow>(&keys::inferiors(account, name), usize::MAX)?;
    let mut found = Vec::new();
    for id in rows.into_iter().filter_map(|(_, row)| row.mailbox) {
        if let Some(row) = tx.get(&keys::mailbox(id))? {
            found.push((id, row));
        }
    }
    Ok(found)
}

/// The bounds of names hold for inferiors too; a refusal undoes those already moved.
fn move_to(tx: &mut Transaction, id: MailboxId, mut row: MailboxRow, name: &str) -> Result<(), Stop> {
    let name = names::mailbox(name)?;
    if by_name(tx, row.account, &name)?.is_some() {
        return Err(Refusal::Exists(names::shown(&name)).into());
    }
    set_name(tx, row.account, &row.name, None)?;
    set_name(tx, row.account, &name, Some(id))?;
    row.name = name;
    tx.put(keys::mailbox(id), &row)?;
    Ok(())
}
