//! Domains, users, aliases, settings: what the directory is read from.

use super::names::{self, invalid, shown};
use super::transaction::{Stop, Transaction};
use super::{dkim, mailboxes, metadata, sweep};
use crate::mail::ids::{AccountId, MailboxId};
use crate::state::change::Change;
use crate::state::command::{NewUser, SpecialUse};
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::rows::RowsError;
use crate::state::stored::{AccountRow, AliasPartRow, DomainRow, NameRow, SettingRow, SweepRow, UserRow};

pub const DOMAINS_MAX: u32 = 10_000;
pub const USERS_MAX: u32 = 100_000;
pub const ALIASES_MAX: u32 = 100_000;
pub const ALIAS_TARGETS_MAX: usize = 1_000;
pub const PASSWORD_PHC_BYTES_MAX: usize = 500;
pub const SETTINGS_CHANGES_MAX: usize = 1_000;
pub const SETTING_KEY_BYTES_MAX: usize = 100;
pub const SETTING_VALUE_BYTES_MAX: usize = 4_000;
/// Targets in one row: the longest are 318 bytes.
const ALIAS_TARGETS_PER_ROW: usize = 16;

/// What each account begins with, beside INBOX.
const SPECIAL: [(&str, SpecialUse); 5] = [
    ("Archive", SpecialUse::Archive),
    ("Drafts", SpecialUse::Drafts),
    ("Junk", SpecialUse::Junk),
    ("Sent", SpecialUse::Sent),
    ("Trash", SpecialUse::Trash),
];

pub(super) fn directory_changed(tx: &mut Transaction) -> Result<Outcome, Stop> {
    tx.changes.push(Change::Directory);
    Ok(Outcome::Done)
}

pub fn add_domain(tx: &mut Transaction, name: &str) -> Result<Outcome, Stop> {
    let name = names::domain(name)?;
    let key = keys::domain(&name);
    if tx.get::<DomainRow>(&key)?.is_some() {
        return Err(Refusal::Exists(name).into());
    }
    if tx.meta.domains >= DOMAINS_MAX {
        return Err(Refusal::Limit(format!("{DOMAINS_MAX} domains")).into());
    }
    tx.meta.domains += 1;
    tx.put(key, &DomainRow {})?;
    directory_changed(tx)
}

pub fn remove_domain(tx: &mut Transaction, name: &str) -> Result<Outcome, Stop> {
    let name = names::domain(name)?;
    let key = keys::domain(&name);
    if tx.get::<DomainRow>(&key)?.is_none() {
        return Err(Refusal::NotFound(name).into());
    }
    tx.meta.domains = tx.meta.domains.saturating_sub(1);
    tx.delete(key);
    dkim::forget(tx, &name)?;
    directory_changed(tx)
}

pub fn add_user(tx: &mut Transaction, user: &NewUser) -> Result<Outcome, Stop> {
    let name = names::local(&user.name)?;
    check_phc(&user.password_phc)?;
    if tx.get::<UserRow>(&keys::user(&name))?.is_some() {
        return Err(Refusal::Exists(name).into());
    }
    if tx.meta.users >= USERS_MAX {
        return Err(Refusal::Limit(format!("{USERS_MAX} users")).into());
    }
    tx.meta.users += 1;
    tx.meta.last_account.0 += 1;
    let account = tx.meta.last_account;
    let row = UserRow {
        account,
        password_phc: user.password_phc.clone(),
        quota_bytes: user.quota_bytes,
        enabled: true,
    };
    tx.put(keys::user(&name), &row)?;
    let empty = AccountRow { user: name, used_bytes: 0, mailboxes: 0, subscriptions: 0 };
    tx.put(keys::account(account), &empty)?;
    mailboxes::make(tx, account, names::INBOX, None)?;
    mailboxes::set_subscribed(tx, account, names::INBOX, true)?;
    for (name, special_use) in SPECIAL {
        mailboxes::make(tx, account, name, Some(special_use))?;
        mailboxes::set_subscribed(tx, account, name, true)?;
    }
    tx.changes.push(Change::Mailboxes { account });
    tx.changes.push(Change::Directory);
    Ok(Outcome::UserAdded { account })
}

/// The PHC string's content is the proposer's affair; here it is only kept within its bounds.
fn check_phc(phc: &str) -> Result<(), Refusal> {
    match phc.len() <= PASSWORD_PHC_BYTES_MAX && phc.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(Refusal::Invalid("password hash".into())),
    }
}

fn change_user(tx: &mut Transaction, name: &str, change: impl FnOnce(&mut UserRow)) -> Result<Outcome, Stop> {
    let name = names::local(name)?;
    let key = keys::user(&name);
    let mut row: UserRow = tx.get(&key)?.ok_or(Refusal::NotFound(name))?;
    change(&mut row);
    tx.put(key, &row)?;
    directory_changed(tx)
}

pub fn set_password(tx: &mut Transaction, name: &str, phc: &str) -> Result<Outcome, Stop> {
    check_phc(phc)?;
    // They are of the password before.
    tx.delete(keys::scram(&names::local(name)?));
    change_user(tx, name, |row| row.password_phc = phc.to_owned())
}

pub fn set_quota(tx: &mut Transaction, name: &str, quota_bytes: Option<u64>) -> Result<Outcome, Stop> {
    change_user(tx, name, |row| row.quota_bytes = quota_bytes)
}

pub fn set_enabled(tx: &mut Transaction, name: &str, enabled: bool) -> Result<Outcome, Stop> {
    change_user(tx, name, |row| row.enabled = enabled)
}

/// The account is gone at once: without its row nothing of it can be read. Its rows are swept later.
pub fn remove_user(tx: &mut Transaction, name: &str) -> Result<Outcome, Stop> {
    let name = names::local(name)?;
    let (key, scram) = (keys::user(&name), keys::scram(&name));
    let row: UserRow = tx.get(&key)?.ok_or(Refusal::NotFound(name))?;
    let account = row.account;
    tx.meta.users = tx.meta.users.saturating_sub(1);
    tx.delete(key);
    tx.delete(scram);
    for mailbox in mailboxes_of(tx, account)? {
        tx.changes.push(Change::MailboxDeleted { mailbox });
    }
    tx.delete(keys::account(account));
    metadata::forget_account(tx, account)?;
    sweep::order(tx, &SweepRow::Account { account })?;
    tx.changes.push(Change::Mailboxes { account });
    directory_changed(tx)
}

fn mailboxes_of(tx: &Transaction, account: AccountId) -> Result<Vec<MailboxId>, RowsError> {
    let rows = tx.first::<NameRow>(&keys::names(account), usize::MAX)?;
    Ok(rows.into_iter().filter_map(|(_, row)| row.mailbox).collect())
}

pub fn set_alias(tx: &mut Transaction, address: &str, targets: &[String]) -> Result<Outcome, Stop> {
    let address = names::address(address)?;
    if targets.is_empty() {
        return Err(Refusal::Invalid(format!("alias {}: it needs a target", shown(&address))).into());
    }
    if targets.len() > ALIAS_TARGETS_MAX {
        return Err(Refusal::Limit(format!("{ALIAS_TARGETS_MAX} targets of an alias")).into());
    }
    let mut folded = Vec::with_capacity(targets.len());
    for target in targets {
        let target = names::address(target)?;
        if !folded.contains(&target) {
            folded.push(target);
        }
    }
    if !delete_alias(tx, &address)? {
        if tx.meta.aliases >= ALIASES_MAX {
            return Err(Refusal::Limit(format!("{ALIASES_MAX} aliases")).into());
        }
        tx.meta.aliases += 1;
    }
    for (part, targets) in folded.chunks(ALIAS_TARGETS_PER_ROW).enumerate() {
        let row = AliasPartRow { targets: targets.to_vec() };
        tx.put(keys::alias_part(&address, part as u16), &row)?;
    }
    directory_changed(tx)
}

pub fn remove_alias(tx: &mut Transaction, address: &str) -> Result<Outcome, Stop> {
    let address = names::address(address)?;
    if !delete_alias(tx, &address)? {
        return Err(Refusal::NotFound(address).into());
    }
    tx.meta.aliases = tx.meta.aliases.saturating_sub(1);
    directory_changed(tx)
}

/// False if there was none.
fn delete_alias(tx: &mut Transaction, address: &str) -> Result<bool, RowsError> {
    let parts = tx.first::<AliasPartRow>(&keys::alias(address), usize::MAX)?;
    let existed = !parts.is_empty();
    parts.into_iter().for_each(|(key, _)| tx.delete(key));
    Ok(existed)
}

pub fn set_settings(tx: &mut Transaction, changes: &[(String, Option<String>)]) -> Result<Outcome, Stop> {
    if changes.len() > SETTINGS_CHANGES_MAX {
        return Err(Refusal::Limit(format!("{SETTINGS_CHANGES_MAX} settings in one change")).into());
    }
    for (key, value) in changes {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if key.is_empty() || key.len() > SETTING_KEY_BYTES_MAX || !key.bytes().all(plain) {
            return Err(invalid("setting", key).into());
        }
        match value {
            Some(value) if value.len() > SETTING_VALUE_BYTES_MAX || value.contains(char::is_control) => {
                return Err(invalid("value", value).into());
            }
            Some(value) => tx.put(keys::setting(key), &SettingRow { value: value.clone() })?,
            None => tx.delete(keys::setting(key)),
        }
    }
    metadata::settings_changed(tx, changes);
    directory_changed(tx)
}
