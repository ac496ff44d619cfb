//! Reads of single rows, for the replica's answers and for the keepers of bodies.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::acl::{ANYONE, Acl, Grantee};
use super::authorities::{Authorities, Authority};
use super::certificate::{Acme, Certificate};
use super::codec::{self, Record};
use super::directory::{Directory, User};
use super::dkim::{DkimKey, DkimKeys};
use super::firewall::FirewallRule;
use super::keys::{self, Span};
use super::lists::{Lists, Rule};
use super::namespace::{self, Place};
use super::record::{MailboxRecord, MessageRecord, Quota, ReplicaRecord};
use super::relays::{Relay, Relays};
use super::rows::{Rows, RowsError};
use super::settings::QUOTA_DEFAULT;
use super::srs::SrsSecrets;
use super::stored::{
    AccountRow, AcmeAnswersRow, AcmeRow, AliasPartRow, AuthorityRow, BodyRow, CertificateRow, ChainRow,
    DkimKeyRow, DrainedRow, FirewallRow, GrantRow, KeywordsPartRow, MailboxRow, MessagesRow, MetaRow,
    NameRow, RelayRow, ReplicasRow, Retired, RetiredRow, RuleRow, ScramRow, SettingRow, SrsRow, StandInRow,
    UserRow,
};
use crate::mail::ids::{AccountId, BodyId, MailboxId, NodeId};
use crate::mail::rights::Rights;

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

/// All messages of the account's mailbox, ascending by UID.
pub fn messages(
    rows: &dyn Rows,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Vec<MessageRecord>, RowsError> {
    let mut messages = Vec::new();
    let span = keys::messages(account, mailbox);
    visit::<MessagesRow>(rows, &span, |_, row| messages.extend(row.messages.iter()))?;
    Ok(messages)
}

/// By login name.
pub fn account_of(rows: &dyn Rows, user: &str) -> Result<Option<AccountId>, RowsError> {
    Ok(get::<UserRow>(rows, &keys::user(user))?.map(|row| row.account))
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

/// The account's own mailboxes, and those of others that it may look up, ascending by the names that it writes.
pub fn visible_mailboxes(rows: &dyn Rows, account: AccountId) -> Result<Vec<MailboxRecord>, RowsError> {
    let mut visible = mailboxes(rows, account)?;
    let mut named = BTreeSet::new();
    for grantee in [Grantee::Account(account), Grantee::Anyone] {
        visit::<GrantRow>(rows, &keys::grants_of(grantee), |key, _| named.extend(keys::granted_of(key)))?;
    }
    for id in named {
        let others = live_mailbox(rows, id)?.filter(|row| row.account != account);
        let Some(row) = others else { continue };
        if let Some(record) = as_guest(rows, account, record(rows, id, row, false)?)? {
            visible.extend(Some(record).filter(|record| record.rights.has(Rights::LOOKUP)));
        }
    }
    visible.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(visible)
}

/// One mailbox by its name as `account` writes it, with what it may do there, be it nothing.
pub fn reach(rows: &dyn Rows, account: AccountId, name: &str) -> Result<Option<MailboxRecord>, RowsError> {
    let (user, name) = match namespace::place(name) {
        Place::Own(name) => return mailbox_by_name(rows, account, name),
        Place::Level => return Ok(None),
        Place::Of { user, name } => (user, name),
    };
    let Some(user) = get::<UserRow>(rows, &keys::user(user))? else { return Ok(None) };
    match mailbox_by_name(rows, user.account, name)? {
        Some(record) if user.account != account => as_guest(rows, account, record),
        own => Ok(own),
    }
}

/// What is of its owner's making alone (the special use, the subscription) is not seen by others.
fn as_guest(
    rows: &dyn Rows,
    account: AccountId,
    mut record: MailboxRecord,
) -> Result<Option<MailboxRecord>, RowsError> {
    let owner = get::<AccountRow>(rows, &keys::account(record.account))?;
    let Some(name) = owner.and_then(|owner| namespace::shown(&owner.user, &record.name)) else {
        return Ok(None);
    };
    record.rights = acl(rows, record.id)?.rights_of(account);
    record.subscribed = get::<NameRow>(rows, &keys::name(account, &name))?.is_some_and(|row| row.subscribed);
    record.special_use = None;
    record.name = name;
    Ok(Some(record))
}

pub fn acl(rows: &dyn Rows, mailbox: MailboxId) -> Result<Acl, RowsError> {
    Ok(get(rows, &keys::acl(mailbox))?.unwrap_or_default())
}

/// The list with identifiers, the owner first. Entries of users that are no more are left out.
pub fn named_acl(rows: &dyn Rows, mailbox: MailboxId) -> Result<Vec<(String, Rights)>, RowsError> {
    let user = |account| Ok(get::<AccountRow>(rows, &keys::account(account))?.map(|row| row.user));
    let Some(row) = live_mailbox(rows, mailbox)? else { return Ok(Vec::new()) };
    let mut named: Vec<_> = user(row.account)?.into_iter().map(|owner| (owner, Rights::ALL)).collect();
    for entry in acl(rows, mailbox)?.entries() {
        let name = match entry.grantee {
            Grantee::Anyone => Some(ANYONE.to_owned()),
            Grantee::Account(account) => user(account)?,
        };
        let sign = if entry.negative { "-" } else { "" };
        named.extend(name.map(|name| (format!("{sign}{name}"), entry.rights)));
    }
    Ok(named)
}

/// By what apply goes when it refuses for want of room; nothing and no bound for an account that is gone.
pub fn quota(rows: &dyn Rows, account: AccountId) -> Result<Quota, RowsError> {
    let Some(owner) = get::<AccountRow>(rows, &keys::account(account))? else {
        return Ok(Quota::default());
    };
    let own = get::<UserRow>(rows, &keys::user(&owner.user))?.and_then(|user| user.quota_bytes);
    let bytes_max = match own {
        Some(bytes) => Some(bytes),
        None => {
            get::<SettingRow>(rows, &keys::setting(QUOTA_DEFAULT))?.and_then(|row| row.value.parse().ok())
        }
    };
    Ok(Quota { used_bytes: owner.used_bytes, bytes_max, mailboxes: owner.mailboxes })
}

/// The data nodes and their standing, ascending by node.
pub fn replicas(rows: &dyn Rows) -> Result<Vec<ReplicaRecord>, RowsError> {
    Ok(get::<ReplicasRow>(rows, &keys::replicas())?.unwrap_or_default().replicas)
}

/// The data nodes that are to be removed, ascending by node.
pub fn retired(rows: &dyn Rows) -> Result<Vec<Retired>, RowsError> {
    Ok(get::<RetiredRow>(rows, &keys::retired())?.unwrap_or_default().retired)
}

/// The data nodes that are drained, ascending.
pub fn drained(rows: &dyn Rows) -> Result<Vec<NodeId>, RowsError> {
    Ok(get::<DrainedRow>(rows, &keys::drained())?.unwrap_or_default().nodes)
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
        let mut directory = Self { cluster_version: cluster_version(rows)?, ..Self::default() };
        let domains = keys::table(keys::DOMAIN);
        rows.scan(&domains.from, &domains.to, &mut |key, _| {
            directory.domains.insert(text(key));
            ControlFlow::Continue(())
        })?;
        directory.stand_in_secret = get::<StandInRow>(rows, &keys::stand_in())?.map(|row| row.secret);
        let mut scram = BTreeMap::new();
        visit::<ScramRow>(rows, &keys::table(keys::SCRAM), |key, row| {
            scram.insert(text(key), row.keys);
        })?;
        visit::<UserRow>(rows, &keys::table(keys::USER), |key, row| {
            let name = text(key);
            let user = User {
                account: row.account,
                scram: scram.remove(&name),
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
        let mut rules = Vec::new();
        visit::<RuleRow>(rows, &keys::table(keys::RULE), |key, row| {
            let RuleRow { order, kind, pattern, action, created } = row;
            rules.push(Rule { name: text(key), order, kind, pattern, action, created });
        })?;
        directory.lists = Arc::new(Lists::new(rules));
        let mut signing = Vec::new();
        visit::<DkimKeyRow>(rows, &keys::table(keys::DKIM_KEY), |key, row| {
            let (domain, selector) = keys::dkim_named_by(key);
            let DkimKeyRow { algorithm, private, signs, created } = row;
            signing.push(DkimKey { domain, selector, algorithm, private, signs, created });
        })?;
        directory.dkim = Arc::new(DkimKeys::new(signing));
        directory.srs = get::<SrsRow>(rows, &keys::srs())?.map(|row| {
            let SrsRow { current, previous } = row;
            Arc::new(SrsSecrets { current, previous })
        });
        directory.certificate = certificate(rows)?.map(Arc::new);
        if let Some(row) = get::<AcmeRow>(rows, &keys::acme())? {
            let AcmeRow { account, order, failures, renewal } = row;
            let answers = get::<AcmeAnswersRow>(rows, &keys::acme_answers())?;
            let answers = answers.map_or_else(Vec::new, |row| row.answers);
            directory.acme = Arc::new(Acme { account, order, failures, renewal, answers });
        }
        let mut relays = Vec::new();
        visit::<RelayRow>(rows, &keys::table(keys::RELAY), |key, row| {
            let RelayRow { applies, host, port, tls, login, created } = row;
            relays.push(Relay { name: text(key), applies, host, port, tls, login, created });
        })?;
        directory.relays = Arc::new(Relays::new(relays));
        let mut firewall = Vec::new();
        visit::<FirewallRow>(rows, &keys::table(keys::FIREWALL), |key, row| {
            let FirewallRow { place, ports, action, sources, interface, created } = row;
            firewall
                .push((place, FirewallRule { name: text(key), ports, action, sources, interface, created }));
        })?;
        firewall.sort_by_key(|(place, _)| *place);
        directory.firewall = Arc::new(firewall.into_iter().map(|(_, rule)| rule).collect());
        let mut authorities = Vec::new();
        visit::<AuthorityRow>(rows, &keys::table(keys::AUTHORITY), |key, row| {
            let AuthorityRow { hosts, certificate, created } = row;
            authorities.push(Authority { name: text(key), hosts, certificate, created });
        })?;
        directory.authorities = Arc::new(Authorities::new(authorities));
        Ok(directory)
    }
}

fn certificate(rows: &dyn Rows) -> Result<Option<Certificate>, RowsError> {
    let Some(row) = get::<CertificateRow>(rows, &keys::certificate())? else { return Ok(None) };
    let CertificateRow { private, from, taken, .. } = row;
    let mut chain = Vec::new();
    visit::<ChainRow>(rows, &keys::table(keys::CHAIN), |_, row| chain.push(row.certificate))?;
    Ok(Some(Certificate { chain, private, from, taken }))
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

pub(crate) fn get<R: Record>(rows: &dyn Rows, key: &[u8]) -> Result<Option<R>, RowsError> {
    match rows.get(key)? {
        Some(bytes) => codec::decode_row(key, &bytes).map(Some),
        None => Ok(None),
    }
}

/// Visits all rows of `span` in key order.
pub(crate) fn visit<R: Record>(
    rows: &dyn Rows,
    span: &Span,
    mut look: impl FnMut(&[u8], R),
) -> Result<(), RowsError> {
    visit_while(rows, span, |key, row| {
        look(key, row);
        ControlFlow::Continue(())
    })
}

/// What `keep` makes of the rows of `span`, in key order, the first `limit` of it.
pub(crate) fn first<R: Record, T>(
    rows: &dyn Rows,
    span: &Span,
    limit: usize,
    mut keep: impl FnMut(&[u8], R) -> Option<T>,
) -> Result<Vec<T>, RowsError> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    visit_while(rows, span, |key, row| {
        found.extend(keep(key, row));
        if found.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

fn visit_while<R: Record>(
    rows: &dyn Rows,
    span: &Span,
    mut look: impl FnMut(&[u8], R) -> ControlFlow<()>,
) -> Result<(), RowsError> {
    let mut failed = None;
    rows.scan(&span.from, &span.to, &mut |key, bytes| match codec::decode_row(key, bytes) {
        Ok(row) => look(key, row),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)
}
