//! Access control lists (RFC 4314), and which mailboxes of others each account is named in.
//!
//! For each grantee of a list there is a row that leads back to the mailbox, so that LIST need not look at all
//! mailboxes there are, and that a removed user's entries are found.

use std::sync::Arc;

use super::mailboxes;
use super::names::{self, invalid};
use super::sweep::ROWS_PER_ENTRY;
use super::transaction::{Stop, Transaction};
use crate::mail::ids::{AccountId, MailboxId};
use crate::mail::rights::Rights;
use crate::state::acl::{ACL_ENTRIES_MAX, ANYONE, Acl, Grantee};
use crate::state::change::Change;
use crate::state::command::SetAcl;
use crate::state::keys;
use crate::state::namespace;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::rows::RowsError;
use crate::state::stored::{GrantRow, GrantsRow, MailboxRow, UserRow};

/// Mailboxes of others whose lists name one account, or anyone.
pub const GRANTS_MAX: u32 = 10_000;

pub fn set(tx: &mut Transaction, set: &SetAcl) -> Result<Outcome, Stop> {
    let (row, _) = permitted(tx, set.by, set.mailbox, Rights::ADMINISTER)?;
    let owner = mailboxes::account_row(tx, row.account)?;
    if namespace::shown(&owner.user, "").is_none() {
        return Err(invalid("owner of a shared mailbox", &owner.user).into());
    }
    let (grantee, negative) = grantee(tx, &set.identifier)?;
    if grantee == Grantee::Account(row.account) {
        return Err(Refusal::Invalid("identifier: the owner always has all rights".into()).into());
    }
    let before = of(tx, set.mailbox)?;
    let mut acl = before.clone();
    if acl.change((grantee, negative), set.change, set.rights).is_none() {
        return Err(Refusal::Limit(format!("{ACL_ENTRIES_MAX} entries of an access control list")).into());
    }
    if acl == before {
        return Ok(Outcome::Done);
    }
    match (before.names(grantee), acl.names(grantee)) {
        (false, true) => grant(tx, grantee, set.mailbox)?,
        (true, false) => revoke(tx, grantee, set.mailbox)?,
        _ => {}
    }
    put(tx, set.mailbox, acl)?;
    if let Grantee::Account(account) = grantee {
        tx.changes.push(Change::Mailboxes { account });
    }
    Ok(Outcome::Done)
}

/// The mailbox, and what `account` may do there: at least `needs`. One that it may not look up is not there.
pub fn permitted(
    tx: &Transaction,
    account: AccountId,
    mailbox: MailboxId,
    needs: Rights,
) -> Result<(MailboxRow, Rights), Stop> {
    mailboxes::account_row(tx, account)?;
    let gone = || Refusal::NotFound(format!("mailbox {mailbox}"));
    let row: MailboxRow = tx.get(&keys::mailbox(mailbox))?.ok_or_else(gone)?;
    mailboxes::account_row(tx, row.account)?;
    let rights = match row.account == account {
        true => Rights::ALL,
        false => of(tx, mailbox)?.rights_of(account),
    };
    match rights {
        rights if rights.has(needs) => Ok((row, rights)),
        rights if rights.has(Rights::LOOKUP) => Err(Refusal::NotPermitted.into()),
        _ => Err(gone().into()),
    }
}

/// RFC 4314 4: a mailbox that is made has the list of the one above.
pub fn inherit(tx: &mut Transaction, account: AccountId, name: &str, mailbox: MailboxId) -> Result<(), Stop> {
    let Some(above) = names::superiors(name).last() else { return Ok(()) };
    let Some((above, _)) = mailboxes::by_name(tx, account, above)? else { return Ok(()) };
    let acl = of(tx, above)?;
    if acl.entries().is_empty() {
        return Ok(());
    }
    for grantee in grantees(&acl) {
        grant(tx, grantee, mailbox)?;
    }
    Ok(put(tx, mailbox, acl)?)
}

/// The list of a mailbox that is no more.
pub fn sweep(tx: &mut Transaction, mailbox: MailboxId) -> Result<(), RowsError> {
    for grantee in grantees(&of(tx, mailbox)?) {
        revoke(tx, grantee, mailbox)?;
    }
    tx.delete(keys::acl(mailbox));
    Ok(())
}

/// Takes an account that is no more out of some of the lists that name it. True when it is in none.
pub fn sweep_grantee(tx: &mut Transaction, account: AccountId) -> Result<bool, RowsError> {
    let grantee = Grantee::Account(account);
    let rows = tx.first::<GrantRow>(&keys::grants_of(grantee), ROWS_PER_ENTRY)?;
    let done = rows.len() < ROWS_PER_ENTRY;
    for mailbox in rows.iter().filter_map(|(key, _)| keys::granted_of(key)) {
        let mut acl = of(tx, mailbox)?;
        acl.forget(grantee);
        put(tx, mailbox, acl)?;
        revoke(tx, grantee, mailbox)?;
    }
    Ok(done)
}

fn of(tx: &Transaction, mailbox: MailboxId) -> Result<Acl, RowsError> {
    Ok(tx.get(&keys::acl(mailbox))?.unwrap_or_default())
}

fn put(tx: &mut Transaction, mailbox: MailboxId, acl: Acl) -> Result<(), RowsError> {
    match acl.entries().is_empty() {
        true => tx.delete(keys::acl(mailbox)),
        false => tx.put(keys::acl(mailbox), &acl)?,
    }
    tx.changes.push(Change::Acl { mailbox, acl: Arc::new(acl) });
    Ok(())
}

/// Each once.
fn grantees(acl: &Acl) -> std::collections::BTreeSet<Grantee> {
    acl.entries().iter().map(|entry| entry.grantee).collect()
}

fn grant(tx: &mut Transaction, grantee: Grantee, mailbox: MailboxId) -> Result<(), Stop> {
    let key = keys::grants(grantee);
    let mailboxes = tx.get::<GrantsRow>(&key)?.map_or(0, |row| row.mailboxes);
    if mailboxes >= GRANTS_MAX {
        return Err(Refusal::Limit(format!("{GRANTS_MAX} mailboxes shared with one user")).into());
    }
    tx.put(key, &GrantsRow { mailboxes: mailboxes + 1 })?;
    tx.put(keys::grant(grantee, mailbox), &GrantRow {})?;
    Ok(())
}

fn revoke(tx: &mut Transaction, grantee: Grantee, mailbox: MailboxId) -> Result<(), RowsError> {
    tx.delete(keys::grant(grantee, mailbox));
    let key = keys::grants(grantee);
    match tx.get::<GrantsRow>(&key)?.map_or(0, |row| row.mailboxes) {
        0 | 1 => tx.delete(key),
        mailboxes => tx.put(key, &GrantsRow { mailboxes: mailboxes - 1 })?,
    }
    Ok(())
}

/// Whom an identifier means, and whether rights are taken away from him (RFC 4314 2). It must be somebody.
fn grantee(tx: &Transaction, identifier: &str) -> Result<(Grantee, bool), Stop> {
    let (name, negative) = match identifier.strip_prefix('-') {
        Some(name) => (name, true),
        None => (identifier, false),
    };
    if name == ANYONE {
        return Ok((Grantee::Anyone, negative));
    }
    let user: Option<UserRow> = tx.get(&keys::user(&names::local(name)?))?;
    let user = user.ok_or_else(|| invalid("identifier", identifier))?;
    Ok((Grantee::Account(user.account), negative))
}
