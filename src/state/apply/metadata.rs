//! Annotations of mailboxes and of the server (RFC 5464): set, copied, forgotten. Values lie in parts, since they outgrow
//! a row; tallies bound them without reading them.

use super::acl;
use super::mailboxes::account_row;
use super::names::{invalid, shown};
use super::opened::as_it_stands;
use super::transaction::{Stop, Transaction};
use crate::mail::ids::{AccountId, MailboxId, ModSeq};
use crate::mail::rights::Rights;
use crate::state::change::{Change, MetadataChanged};
use crate::state::codec::Record;
use crate::state::command::{MetadataEntry, SetMetadata};
use crate::state::keys;
use crate::state::metadata::{ANNOTATING, SERVER_ENTRIES, entry_name, is_shared};
use crate::state::outcome::{Outcome, Refusal};
use crate::state::rows::RowsError;
use crate::state::stored::{MailboxRow, MetadataGuestRow, MetadataPartRow, MetadataTallyRow};

/// Bytes of one value.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// Annotations of a mailbox, private and shared together; and those that an account keeps with the server.
pub const ENTRIES_MAX: u32 = 100;
/// Bytes of the names and values of a mailbox's annotations: one command may copy them all.
pub const BYTES_PER_MAILBOX_MAX: u64 = 256 << 10;
/// Bytes of the names and values of all annotations of an account and its mailboxes.
pub const BYTES_PER_ACCOUNT_MAX: u64 = 16 << 20;
/// Annotations in one command.
pub const ENTRIES_PER_COMMAND_MAX: usize = 1_000;
/// Bytes of a value in one row.
const PART_BYTES: usize = 4_000;

/// RFC 5464 4.3: all or nothing.
pub fn set(tx: &mut Transaction, set: &SetMetadata) -> Result<Outcome, Stop> {
    if set.entries.len() > ENTRIES_PER_COMMAND_MAX {
        return Err(Refusal::Limit(format!("{ENTRIES_PER_COMMAND_MAX} annotations in one command")).into());
    }
    let (mailbox, owner) = match set.mailbox {
        Some(mailbox) => (mailbox, permitted_owner(tx, set.account, mailbox)?),
        None => {
            account_row(tx, set.account)?;
            (MailboxId(0), set.account)
        }
    };
    let mut change = Tally::default();
    for entry in &set.entries {
        set_entry(tx, (set, mailbox), entry, &mut change)?;
    }
    let entries = set.entries.iter().filter_map(|entry| entry_name(entry.name.as_bytes())).collect();
    let annotated = set.mailbox.map(|mailbox| (owner, mailbox));
    tx.changes.push(Change::Metadata(MetadataChanged { mailbox: annotated, by: set.account, entries }));
    if let Some(mailbox) = set.mailbox {
        mark_changed(tx, mailbox)?;
        let all = charge(tx, keys::mailbox_metadata_tally(mailbox), &change)?;
        check(&all, &change, BYTES_PER_MAILBOX_MAX)?;
        if owner != set.account {
            note_guest(tx, mailbox, set.account)?;
        }
        // Its entries are none of the account's own.
        change.entries = 0;
    }
    let all = charge(tx, keys::account_metadata_tally(owner), &change)?;
    check(&all, &change, BYTES_PER_ACCOUNT_MAX)?;
    Ok(Outcome::Done)
}

/// What all share of the server: settings are annotations, too.
pub fn settings_changed(tx: &mut Transaction, changes: &[(String, Option<String>)]) {
    let of_setting = |key: &str| SERVER_ENTRIES.iter().find(|(_, setting)| *setting == key);
    let entries: Vec<String> =
        changes.iter().filter_map(|(key, _)| of_setting(key)).map(|(entry, _)| (*entry).to_owned()).collect();
    if !entries.is_empty() {
        tx.changes.push(Change::Metadata(MetadataChanged { mailbox: None, by: AccountId(0), entries }));
    }
}

/// RFC 7162 3.2: a client that was away sees by the mod-sequence that something has changed.
fn mark_changed(tx: &mut Transaction, mailbox: MailboxId) -> Result<(), RowsError> {
    let key = keys::mailbox(mailbox);
    let Some(mut row) = tx.get::<MailboxRow>(&key)? else { return Ok(()) };
    row.highest_modseq = ModSeq(row.highest_modseq.0.saturating_add(1));
    tx.put(key, &row)?;
    tx.changes.push(Change::Messages(as_it_stands(mailbox, &row)));
    Ok(())
}

/// RFC 5464 3.3: besides looking it up, something that has to do with its messages must be allowed.
fn permitted_owner(tx: &Transaction, account: AccountId, mailbox: MailboxId) -> Result<AccountId, Stop> {
    let (row, rights) = acl::permitted(tx, account, mailbox, Rights::LOOKUP)?;
    match rights.has_any(ANNOTATING) {
        true => Ok(row.account),
        false => Err(Refusal::NotPermitted.into()),
    }
}

/// Keeps in mind where an account has private annotations of others' mailboxes: they go with it.
fn note_guest(tx: &mut Transaction, mailbox: MailboxId, account: AccountId) -> Result<(), RowsError> {
    let key = keys::metadata_guest(account, mailbox);
    let noted = tx.get::<MetadataGuestRow>(&key)?.is_some();
    let has_some = !tx.first::<MetadataPartRow>(&keys::private_metadata(mailbox, account), 1)?.is_empty();
    match (has_some, noted) {
        (true, false) => tx.put(key, &MetadataGuestRow {})?,
        (false, true) => tx.delete(key),
        _ => {}
    }
    Ok(())
}

/// By how much something grows.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    entries: i64,
    bytes: i64,
}

fn set_entry(
    tx: &mut Transaction,
    (set, mailbox): (&SetMetadata, MailboxId),
    entry: &MetadataEntry,
    change: &mut Tally,
) -> Result<(), Stop> {
    let name = entry_name(entry.name.as_bytes()).ok_or_else(|| invalid("annotation", &entry.name))?;
    let account = match is_shared(&name) {
        true if set.mailbox.is_none() => return Err(Refusal::NotAllowed.into()),
        true => AccountId(0),
        false => set.account,
    };
    let old = tx.first::<MetadataPartRow>(&keys::metadata_entry(mailbox, account, &name), usize::MAX)?;
    if !old.is_empty() {
        change.entries -= 1;
        change.bytes -= name.len() as i64;
    }
    for (key, row) in old {
        change.bytes -= row.bytes.len() as i64;
        tx.delete(key);
    }
    let Some(value) = &entry.value else { return Ok(()) };
    if value.len() > VALUE_BYTES_MAX {
        let limit = format!("{VALUE_BYTES_MAX} bytes of an annotation: {}", shown(&name));
        return Err(Refusal::Limit(limit).into());
    }
    change.entries += 1;
    change.bytes += (name.len() + value.len()) as i64;
    for (part, bytes) in value.chunks(PART_BYTES).chain(value.is_empty().then_some(&[][..])).enumerate() {
        let key = keys::metadata_part(mailbox, account, &name, part as u16);
        tx.put(key, &MetadataPartRow { bytes: bytes.to_vec() })?;
    }
    Ok(())
}

/// Adds to a tally, which goes when there is nothing.
fn charge(tx: &mut Transaction, key: Vec<u8>, change: &Tally) -> Result<MetadataTallyRow, RowsError> {
    let mut row: MetadataTallyRow = tx.get(&key)?.unwrap_or_default();
    row.entries = i64::from(row.entries).saturating_add(change.entries).clamp(0, u32::MAX.into()) as u32;
    row.bytes = row.bytes.saturating_add_signed(change.bytes);
    match row == MetadataTallyRow::default() {
        true => tx.delete(key),
        false => tx.put(key, &row)?,
    }
    Ok(row)
}

/// What does not make it more is never too much.
fn check(all: &MetadataTallyRow, change: &Tally, bytes_max: u64) -> Result<(), Refusal> {
    if change.entries > 0 && all.entries > ENTRIES_MAX {
        return Err(Refusal::Limit(format!("{ENTRIES_MAX} annotations")));
    }
    if change.bytes > 0 && all.bytes > bytes_max {
        return Err(Refusal::Limit(format!("{bytes_max} bytes of annotations")));
    }
    Ok(())
}

/// RFC 5464 4.1: INBOX keeps its annotations when it is renamed, and the new name has them, too. Where there is no room
/// for both, the new INBOX has none.
pub fn copy(tx: &mut Transaction, (from, to): (MailboxId, MailboxId), owner: AccountId) -> Result<(), Stop> {
    let Some(tally) = tx.get::<MetadataTallyRow>(&keys::mailbox_metadata_tally(from))? else { return Ok(()) };
    let change = Tally { entries: 0, bytes: tally.bytes.try_into().unwrap_or(i64::MAX) };
    let copied = tx.attempt(|tx| {
        let all = charge(tx, keys::account_metadata_tally(owner), &change)?;
        Ok(check(&all, &change, BYTES_PER_ACCOUNT_MAX)?)
    });
    match copied {
        Ok(()) => {}
        Err(Stop::Refused(_)) => return Ok(()),
        Err(stop) => return Err(stop),
    }
    tx.put(keys::mailbox_metadata_tally(to), &tally)?;
    for (key, row) in tx.first::<MetadataPartRow>(&keys::metadata(from), usize::MAX)? {
        tx.put(keys::metadata_part_in(to, &key), &row)?;
        if let Some(account) =
            keys::metadata_account_of(&key).filter(|it| ![AccountId(0), owner].contains(it))
        {
            tx.put(keys::metadata_guest(account, to), &MetadataGuestRow {})?;
        }
    }
    Ok(())
}

/// Of a mailbox that is being deleted: the account has room again at once, the parts are swept.
pub fn forget_mailbox(tx: &mut Transaction, owner: AccountId, mailbox: MailboxId) -> Result<(), RowsError> {
    let key = keys::mailbox_metadata_tally(mailbox);
    if let Some(tally) = tx.get::<MetadataTallyRow>(&key)? {
        let bytes = i64::try_from(tally.bytes).unwrap_or(i64::MAX).saturating_neg();
        charge(tx, keys::account_metadata_tally(owner), &Tally { entries: 0, bytes })?;
        tx.delete(key);
    }
    Ok(())
}

/// A few parts of a mailbox that is gone. True when none is left.
pub fn sweep_mailbox(tx: &mut Transaction, mailbox: MailboxId, rows_max: usize) -> Result<bool, RowsError> {
    let parts = tx.first::<MetadataPartRow>(&keys::metadata(mailbox), rows_max)?;
    let done = parts.len() < rows_max;
    for (key, _) in parts {
        let guest = keys::metadata_account_of(&key).map(|account| keys::metadata_guest(account, mailbox));
        delete_if_there::<MetadataGuestRow>(tx, guest.unwrap_or_default())?;
        tx.delete(key);
    }
    // Where the account went, too.
    delete_if_there::<MetadataTallyRow>(tx, keys::mailbox_metadata_tally(mailbox))?;
    Ok(done)
}

/// What an account that is gone has kept with the server, a few parts at a time, and with mailboxes of others, one
/// mailbox at a time. True when nothing is left.
pub fn sweep_account(tx: &mut Transaction, account: AccountId, rows_max: usize) -> Result<bool, RowsError> {
    let parts = tx.first::<MetadataPartRow>(&keys::private_metadata(MailboxId(0), account), rows_max)?;
    let done = parts.len() < rows_max;
    parts.into_iter().for_each(|(key, _)| tx.delete(key));
    let guest = tx.first::<MetadataGuestRow>(&keys::metadata_guests(account), 1)?.pop();
    let Some((key, _)) = guest else { return Ok(done) };
    if let Some(mailbox) = keys::metadata_guest_mailbox(&key) {
        forget_private(tx, mailbox, account)?;
    }
    tx.delete(key);
    Ok(false)
}

/// Of one mailbox, all that is private to `account`: within the bounds of a mailbox.
fn forget_private(tx: &mut Transaction, mailbox: MailboxId, account: AccountId) -> Result<(), RowsError> {
    let mut change = Tally::default();
    for (key, row) in tx.first::<MetadataPartRow>(&keys::private_metadata(mailbox, account), usize::MAX)? {
        change.bytes -= row.bytes.len() as i64;
        if keys::is_first_metadata_part(&key) {
            change.entries -= 1;
            change.bytes -= keys::metadata_entry_of(&key).map_or(0, str::len) as i64;
        }
        tx.delete(key);
    }
    // Tallies of a mailbox that is gone have gone.
    if let Some(row) = tx.get::<MailboxRow>(&keys::mailbox(mailbox))? {
        charge(tx, keys::mailbox_metadata_tally(mailbox), &change)?;
        charge(tx, keys::account_metadata_tally(row.account), &Tally { entries: 0, ..change })?;
    }
    Ok(())
}

fn delete_if_there<R: Record>(tx: &mut Transaction, key: Vec<u8>) -> Result<(), RowsError> {
    if tx.get::<R>(&key)?.is_some() {
        tx.delete(key);
    }
    Ok(())
}

/// Of an account that is gone; its mailboxes' tallies go with them.
pub fn forget_account(tx: &mut Transaction, account: AccountId) -> Result<(), RowsError> {
    delete_if_there::<MetadataTallyRow>(tx, keys::account_metadata_tally(account))
}
