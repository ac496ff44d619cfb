//! Making, deleting and subscribing mailboxes.

use super::acl;
use super::metadata;
use super::names;
use super::removed;
use super::sweep;
use super::transaction::{Stop, Transaction};
use crate::mail::ids::{AccountId, MailboxId, ModSeq, Uid, UidValidity};
use crate::state::change::Change;
use crate::state::command::SpecialUse;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::rows::RowsError;
use crate::state::stored::{AccountRow, MailboxRow, NameRow, SweepRow};

pub const MAILBOXES_MAX: u32 = 10_000;
pub const SUBSCRIPTIONS_MAX: u32 = 10_000;

pub fn create(
    tx: &mut Transaction,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<Outcome, Stop> {
    account_row(tx, account)?;
    let name = names::mailbox(name)?;
    if let Some((id, row)) = by_name(tx, account, &name)? {
        return revive(tx, id, row, special_use);
    }
    make_superiors(tx, account, &name)?;
    let (mailbox, row) = make(tx, account, &name, special_use)?;
    tx.changes.push(Change::Mailboxes { account });
    Ok(Outcome::MailboxCreated { mailbox, uid_validity: row.uid_validity })
}

/// A name left \Noselect by DELETE may be created again (RFC 3501 6.3.4), with a UIDVALIDITY of its own.
fn revive(
    tx: &mut Transaction,
    id: MailboxId,
    mut row: MailboxRow,
    special_use: Option<SpecialUse>,
) -> Result<Outcome, Stop> {
    if !row.no_select {
        return Err(Refusal::Exists(names::shown(&row.name)).into());
    }
    row.no_select = false;
    row.special_use = special_use;
    row.uid_validity = next_uid_validity(tx)?;
    tx.put(keys::mailbox(id), &row)?;
    tx.changes.push(Change::Mailboxes { account: row.account });
    Ok(Outcome::MailboxCreated { mailbox: id, uid_validity: row.uid_validity })
}

/// RFC 3501 6.3.3: missing superiors come into being as mailboxes of their own.
pub fn make_superiors(tx: &mut Transaction, account: AccountId, name: &str) -> Result<(), Stop> {
    for superior in names::superiors(name) {
        if by_name(tx, account, superior)?.is_none() {
            make(tx, account, superior, None)?;
        }
    }
    Ok(())
}

/// Makes an empty mailbox under a name that none has, with the access control list of the one above.
pub fn make(
    tx: &mut Transaction,
    account: AccountId,
    name: &str,
    special_use: Option<SpecialUse>,
) -> Result<(MailboxId, MailboxRow), Stop> {
    let mut owner = account_row(tx, account)?;
    if owner.mailboxes >= MAILBOXES_MAX {
        return Err(Refusal::Limit(format!("{MAILBOXES_MAX} mailboxes of an account")).into());
    }
    owner.mailboxes += 1;
    tx.put(keys::account(account), &owner)?;
    tx.meta.last_mailbox.0 += 1;
    let id = tx.meta.last_mailbox;
    let row = MailboxRow {
        account,
        name: name.to_owned(),
        uid_validity: next_uid_validity(tx)?,
        uid_next: Uid(1),
        highest_modseq: ModSeq(1),
        special_use,
        no_select: false,
        recent_from: Uid(1),
        messages: 0,
        unseen: 0,
        deleted: 0,
        bytes: 0,
        keywords: 0,
        expunged: 0,
        expunged_floor: ModSeq(1),
    };
    tx.put(keys::mailbox(id), &row)?;
    set_name(tx, account, name, Some(id))?;
    acl::inherit(tx, account, name, id)?;
    Ok((id, row))
}

/// No mailbox ever gets a UIDVALIDITY that another had, so that a name deleted and made again, or
/// taken over by RENAME, shows a different one (RFC 3501 2.3.1.1).
fn next_uid_validity(tx: &mut Transaction) -> Result<UidValidity, Stop> {
    let last = tx.meta.last_uid_validity.0;
    let next = last.checked_add(1).ok_or_else(|| Refusal::Limit("UIDVALIDITY is used up".into()))?;
    let clock = u32::try_from(tx.at.0 / 1_000).unwrap_or(0);
    tx.meta.last_uid_validity = UidValidity(next.max(clock));
    Ok(tx.meta.last_uid_validity)
}

/// RFC 3501 6.3.4: with inferiors, the name stays as \Noselect.
pub fn delete(tx: &mut Transaction, account: AccountId, name: &str) -> Result<Outcome, Stop> {
    account_row(tx, account)?;
    let name = names::mailbox(name)?;
    let (id, row) = existing(tx, account, &name)?;
    let inferiors = has_inferiors(tx, account, &name)?;
    if name == names::INBOX || (row.no_select && inferiors) {
        return Err(Refusal::NotAllowed.into());
    }
    let mut owner = account_row(tx, account)?;
    owner.mailboxes = owner.mailboxes.saturating_sub(1);
    owner.used_bytes = owner.used_bytes.saturating_sub(row.bytes);
    tx.put(keys::account(account), &owner)?;
    metadata::forget_mailbox(tx, account, id)?;
    tx.delete(keys::mailbox(id));
    set_name(tx, account, &name, None)?;
    let kept = removed::are_kept(tx)?;
    let sweep = match kept {
        true => SweepRow::MailboxKept { account, mailbox: id, name: name.clone(), at: tx.at },
        false => SweepRow::Mailbox { account, mailbox: id },
    };
    sweep::order(tx, &sweep)?;
    tx.changes.push(Change::MailboxDeleted { mailbox: id });
    if inferiors {
        let (id, mut row) = make(tx, account, &name, None)?;
        row.no_select = true;
        tx.put(keys::mailbox(id), &row)?;
    }
    tx.changes.push(Change::Mailboxes { account });
    Ok(Outcome::Done)
}

/// RFC 3501 6.3.6: the name need not exist.
pub fn subscribe(
    tx: &mut Transaction,
    account: AccountId,
    name: &str,
    subscribed: bool,
) -> Result<Outcome, Stop> {
    account_row(tx, account)?;
    let name = names::mailbox(name)?;
    if set_subscribed(tx, account, &name, subscribed)? {
        tx.changes.push(Change::Mailboxes { account });
    }
    Ok(Outcome::Done)
}

/// True if that changed anything.
pub fn set_subscribed(
    tx: &mut Transaction,
    account: AccountId,
    name: &str,
    subscribed: bool,
) -> Result<bool, Stop> {
    let mut row = name_row(tx, account, name)?;
    if row.subscribed == subscribed {
        return Ok(false);
    }
    let mut owner = account_row(tx, account)?;
    if subscribed && owner.subscriptions >= SUBSCRIPTIONS_MAX {
        return Err(Refusal::Limit(format!("{SUBSCRIPTIONS_MAX} subscriptions of an account")).into());
    }
    owner.subscriptions = match subscribed {
        true => owner.subscriptions + 1,
        false => owner.subscriptions.saturating_sub(1),
    };
    tx.put(keys::account(account), &owner)?;
    row.subscribed = subscribed;
    put_name(tx, account, name, &row)?;
    Ok(true)
}

pub fn account_row(tx: &Transaction, account: AccountId) -> Result<AccountRow, Stop> {
    let row = tx.get(&keys::account(account))?;
    Ok(row.ok_or_else(|| Refusal::NotFound(format!("account {account}")))?)
}

/// The mailbox of that canonical name.
pub fn by_name(
    tx: &Transaction,
    account: AccountId,
    name: &str,
) -> Result<Option<(MailboxId, MailboxRow)>, RowsError> {
    let Some(id) = tx.get::<NameRow>(&keys::name(account, name))?.and_then(|row| row.mailbox) else {
        return Ok(None);
    };
    Ok(tx.get(&keys::mailbox(id))?.map(|row| (id, row)))
}

pub fn existing(tx: &Transaction, account: AccountId, name: &str) -> Result<(MailboxId, MailboxRow), Stop> {
    Ok(by_name(tx, account, name)?.ok_or_else(|| Refusal::NotFound(names::shown(name)))?)
}

fn has_inferiors(tx: &Transaction, account: AccountId, name: &str) -> Result<bool, RowsError> {
    let mut found = false;
    tx.visit::<NameRow>(&keys::inferiors(account, name), |_, row| {
        found = row.mailbox.is_some();
        if found { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

fn name_row(tx: &Transaction, account: AccountId, name: &str) -> Result<NameRow, RowsError> {
    let row = tx.get(&keys::name(account, name))?;
    Ok(row.unwrap_or(NameRow { mailbox: None, subscribed: false }))
}

/// Points the name at a mailbox, or at none; a subscription stays (RFC 3501 6.3.4, 6.3.6).
pub fn set_name(
    tx: &mut Transaction,
    account: AccountId,
    name: &str,
    mailbox: Option<MailboxId>,
) -> Result<(), RowsError> {
    let row = NameRow { mailbox, ..name_row(tx, account, name)? };
    put_name(tx, account, name, &row)
}

fn put_name(tx: &mut Transaction, account: AccountId, name: &str, row: &NameRow) -> Result<(), RowsError> {
    let key = keys::name(account, name);
    if row.mailbox.is_none() && !row.subscribed {
        tx.delete(key);
        return Ok(());
    }
    tx.put(key, row)
}
