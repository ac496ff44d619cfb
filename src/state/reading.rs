//! Reads of single rows, for the replica's answers and for the keepers of bodies.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::codec::{self, Record};
use super::directory::{Directory, User};
use super::keys::{self, Span};
use super::record::{MailboxRecord, ReplicaRecord};
use super::rows::{Rows, RowsError};
use super::stored::{
    AccountRow, AliasPartRow, BodyRow, KeywordsPartRow, MailboxRow, MetaRow, NameRow, ReplicasRow,
    SettingRow, UserRow,
};
use crate::mail::ids::{AccountId, BodyId, MailboxId};

/// The account's mailboxes, ascending by name. Empty for an account that is gone.
pub fn mailboxes(rows: &dyn Rows, account: AccountId) -> Result<Vec<MailboxRecord>, RowsError> {
    let mut found = Vec::new();
    for (_, name) in names(rows, account)? {
        if let Some(id) = name.mailbox
            && let Some(row) = get::<MailboxRow>(rows, &keys::mailbox(id))?
        {
            found.push(record(rows, id, row, name.subscribed)?);
        }
    }
    Ok(found)
}

/// The names the account has subscribed to, ascending, existing or not.
pub fn subscriptions(rows: &dyn Rows, account: AccountId) -> Result<Vec<String>, RowsError> {
    let names = names(rows, account)?;
    Ok(names.into_iter().filter(|(_, row)| row.subscribed).map(|(name, _)| name).collect())
}

/// One mailbox by its exact name.
pub fn mailbox_by_name(
    rows: &dyn Rows,
    account: AccountId,
    name: &str,
) -> Result<Option<MailboxRecord>, RowsError> {
    let Some(NameRow { mailbox: Some(id), subscribed }) = get(rows, &keys::name(account, name))? else {
        return Ok(None);
    };
    match live_mailbox(rows, id)? {
        Some(row) => record(rows, id, row, subscribed).map(Some),
        None => Ok(None),
    }
}

pub fn mailbox_by_id(rows: &dyn Rows, mailbox: MailboxId) -> Result<Option<MailboxRecord>, RowsError> {
    let Some(row) = live_mailbox(rows, mailbox)? else {
        return Ok(None);
    };
    let name = get::<NameRow>(rows, &keys::name(row.account, &row.name))?;
    record(rows, mailbox, row, name.is_some_and(|name| name.subscribed)).map(Some)
}

/// Bytes in all the account's mailboxes; 0 for an account that is gone.
pub fn used_bytes(rows: &dyn Rows, account: AccountId) -> Result<u64, RowsError> {
    Ok(get::<AccountRow>(rows, &keys::account(account))?.map_or(0, |row| row.used_bytes))
}

/// The data nodes and their standing, ascending by node.
pub fn replicas(rows: &dyn Rows) -> Result<Vec<ReplicaRecord>, RowsError> {
    Ok(get::<ReplicasRow>(rows, &keys::replicas())?.unwrap_or_default().replicas)
}

/// The version all replicas agreed to write (design 7); 0 before the first `SetClusterVersion`.
pub fn cluster_version(rows: &dyn Rows) -> Result<u32, RowsError> {
    Ok(get::<MetaRow>(rows, &keys::meta())?.unwrap_or_default().cluster_version)
}

/// At most `limit` bodies that messages refer to, ascending, from the first after `after`. An empty
/// answer is the end.
pub fn bodies(rows: &dyn Rows, after: Option<BodyId>, limit: usize) -> Result<Vec<BodyId>, RowsError> {
    let mut span = keys::table(keys::BODY);
    if let Some(after) = after {
        span.from = keys::body(after);
        span.from.push(0);
    }
    let mut found = Vec::new();
    rows.scan(&span.from, &span.to, &mut |key, _| {
        if found.len() == limit {
            return ControlFlow::Break(());
        }
        found.extend(keys::body_of(key));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// How many messages refer to this body.
pub fn body_references(rows: &dyn Rows, body: BodyId) -> Result<u64, RowsError> {
    Ok(get::<BodyRow>(rows, &keys::body(body))?.map_or(0, |row| row.references))
}

impl Directory {
    /// Reads the whole directory: tens of milliseconds for a hundred thousand users.
    pub fn load(rows: &dyn Rows) -> Result<Self, RowsError> {
        let mut directory = Self::default();
        let domains = keys::table(keys::DOMAIN);
        rows.scan(&domains.from, &domains.to, &mut |key, _| {
            directory.domains.insert(text(key));
            ControlFlow::Continue(())
        })?;
        visit::<UserRow>(rows, &keys::table(keys::USER), |key, row| {
            let name = text(key);
            let user = User {
                account: row.account,
                name: name.clone(),
                password_phc: row.password_phc,
                quota_bytes: row.quota_bytes,
                enabled: row.enabled,
            };
            directory.users.insert(name, Arc::new(user));
        })?;
        visit::<AliasPartRow>(rows, &keys::table(keys::ALIAS), |key, row| {
            let address = text(&key[..key.len().saturating_sub(3)]);
            Arc::make_mut(directory.aliases.entry(address).or_default()).extend(row.targets);
        })?;
        visit::<SettingRow>(rows, &keys::table(keys::SETTING), |key, row| {
            directory.settings.insert(text(key), row.value);
        })?;
        Ok(directory)
    }
}

/// What stands in a key after its table.
fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned()
}

/// The mailbox's row, unless its account is gone and it only waits to be swept.
pub(super) fn live_mailbox(rows: &dyn Rows, id: MailboxId) -> Result<Option<MailboxRow>, RowsError> {
    let Some(row) = get::<MailboxRow>(rows, &keys::mailbox(id))? else {
        return Ok(None);
    };
    let owner = get::<AccountRow>(rows, &keys::account(row.account))?;
    Ok(owner.map(|_| row))
}

pub(super) fn keywords(rows: &dyn Rows, id: MailboxId, row: &MailboxRow) -> Result<Vec<String>, RowsError> {
    let mut names = Vec::new();
    if row.keywords > 0 {
        visit::<KeywordsPartRow>(rows, &keys::keywords(id), |_, part| names.extend(part.names))?;
    }
    Ok(names)
}

fn record(
    rows: &dyn Rows,
    id: MailboxId,
    row: MailboxRow,
    subscribed: bool,
) -> Result<MailboxRecord, RowsError> {
    let keywords = keywords(rows, id, &row)?;
    Ok(row.into_record(id, subscribed, keywords))
}

fn names(rows: &dyn Rows, account: AccountId) -> Result<Vec<(String, NameRow)>, RowsError> {
    let mut names = Vec::new();
    if get::<AccountRow>(rows, &keys::account(account))?.is_some() {
        visit::<NameRow>(rows, &keys::names(account), |key, row| {
            names.extend(keys::name_of(key).map(|name| (name.to_owned(), row)));
        })?;
    }
    Ok(names)
}

pub(super) fn get<R: Record>(rows: &dyn Rows, key: &[u8]) -> Result<Option<R>, RowsError> {
    match rows.get(key)? {
        Some(bytes) => codec::decode_row(key, &bytes).map(Some),
        None => Ok(None),
    }
}

/// Visits all rows of `span` in key order.
pub(super) fn visit<R: Record>(
    rows: &dyn Rows,
    span: &Span,
    mut look: impl FnMut(&[u8], R),
) -> Result<(), RowsError> {
    let mut failed = None;
    rows.scan(&span.from, &span.to, &mut |key, bytes| match codec::decode_row(key, bytes) {
        Ok(row) => {
            look(key, row);
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)
}
