//! Scripts: put, removed, renamed, made active; and vacation replies, each once in its time. Texts lie in parts, since they
//! outgrow a row.

use super::mailboxes::account_row;
use super::names::{invalid, shown};
use super::queue;
use super::transaction::{Stop, Transaction};
use crate::mail::ids::AccountId;
use crate::state::keys;
use crate::state::outcome::{Outcome, Refusal};
use crate::state::rows::RowsError;
use crate::state::sieve::{
    REPLIES_PER_ACCOUNT_MAX, SCRIPT_BYTES_MAX, SCRIPTS_PER_ACCOUNT_MAX, VacationReply, is_script_name,
};
use crate::state::stored::{RepliesRow, ReplyEndRow, ReplyRow, ScriptPartRow, ScriptRow, ScriptsRow};

/// Bytes of a script in one row.
const PART_BYTES: usize = 4_000;
/// Of replies that are remembered no longer, with each new one.
pub const EXPIRED_PER_REPLY: usize = 8;

/// RFC 5804 2.6: a script of that name is replaced; it stays active if it was.
pub fn put(tx: &mut Transaction, account: AccountId, name: &str, text: &str) -> Result<Outcome, Stop> {
    let mut scripts = load(tx, account)?;
    check_name(name)?;
    if text.len() > SCRIPT_BYTES_MAX {
        return Err(Refusal::Limit(format!("{SCRIPT_BYTES_MAX} octets of a script")).into());
    }
    if !drop_parts(tx, account, name)? {
        if scripts.scripts >= SCRIPTS_PER_ACCOUNT_MAX {
            return Err(Refusal::Limit(format!("{SCRIPTS_PER_ACCOUNT_MAX} scripts")).into());
        }
        scripts.scripts += 1;
    }
    put_text(tx, (account, name), text.as_bytes())?;
    save(tx, account, &scripts)
}

/// RFC 5804 2.10: the active one stays.
pub fn remove(tx: &mut Transaction, account: AccountId, name: &str) -> Result<Outcome, Stop> {
    let mut scripts = load(tx, account)?;
    find(tx, account, name)?;
    if scripts.active.as_deref() == Some(name) {
        return Err(Refusal::ScriptActive.into());
    }
    drop_parts(tx, account, name)?;
    tx.delete(keys::script(account, name));
    scripts.scripts = scripts.scripts.saturating_sub(1);
    save(tx, account, &scripts)
}

/// RFC 5804 2.11.1: the active one stays active under its new name.
pub fn rename(tx: &mut Transaction, account: AccountId, from: &str, to: &str) -> Result<Outcome, Stop> {
    let mut scripts = load(tx, account)?;
    find(tx, account, from)?;
    check_name(to)?;
    if tx.get::<ScriptRow>(&keys::script(account, to))?.is_some() {
        return Err(Refusal::Exists(shown(to)).into());
    }
    let mut text = Vec::new();
    for (key, part) in tx.first::<ScriptPartRow>(&keys::script_parts(account, from), usize::MAX)? {
        text.extend(part.bytes);
        tx.delete(key);
    }
    tx.delete(keys::script(account, from));
    put_text(tx, (account, to), &text)?;
    if scripts.active.as_deref() == Some(from) {
        scripts.active = Some(to.to_owned());
    }
    save(tx, account, &scripts)
}

/// RFC 5804 2.8: this one and no other; `None`, no script at all.
pub fn activate(tx: &mut Transaction, account: AccountId, name: Option<&str>) -> Result<Outcome, Stop> {
    let mut scripts = load(tx, account)?;
    if let Some(name) = name {
        find(tx, account, name)?;
    }
    scripts.active = name.map(str::to_owned);
    save(tx, account, &scripts)
}

fn load(tx: &Transaction, account: AccountId) -> Result<ScriptsRow, Stop> {
    account_row(tx, account)?;
    Ok(tx.get(&keys::scripts(account))?.unwrap_or_default())
}

/// An account without scripts has no row.
fn save(tx: &mut Transaction, account: AccountId, scripts: &ScriptsRow) -> Result<Outcome, Stop> {
    match *scripts == ScriptsRow::default() {
        true => tx.delete(keys::scripts(account)),
        false => tx.put(keys::scripts(account), scripts)?,
    }
    Ok(Outcome::Done)
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if is_script_name(name) { Ok(()) } else { Err(invalid("script name", name)) }
}

fn find(tx: &Transaction, account: AccountId, name: &str) -> Result<(), Stop> {
    check_name(name)?;
    match tx.get::<ScriptRow>(&keys::script(account, name))? {
        Some(_) => Ok(()),
        None => Err(Refusal::NotFound(shown(name)).into()),
    }
}

/// False if there is no such script.
fn drop_parts(tx: &mut Transaction, account: AccountId, name: &str) -> Result<bool, RowsError> {
    for (key, _) in tx.first::<ScriptPartRow>(&keys::script_parts(account, name), usize::MAX)? {
        tx.delete(key);
    }
    Ok(tx.get::<ScriptRow>(&keys::script(account, name))?.is_some())
}

fn put_text(tx: &mut Transaction, (account, name): (AccountId, &str), text: &[u8]) -> Result<(), RowsError> {
    for (part, bytes) in text.chunks(PART_BYTES).enumerate() {
        let key = keys::script_part(account, name, part as u16);
        tx.put(key, &ScriptPartRow { bytes: bytes.to_vec() })?;
    }
    tx.put(keys::script(account, name), &ScriptRow { bytes: text.len() as u32 })
}

/// RFC 5230 4.2: the reply goes out and is remembered, or was remembered and does not.
pub fn reply(tx: &mut Transaction, vacation: &VacationReply) -> Result<Outcome, Stop> {
    let VacationReply { account, reply, until, submit } = vacation;
    account_row(tx, *account)?;
    let key = keys::reply(*account, *reply);
    let before = tx.get::<ReplyRow>(&key)?;
    if before.as_ref().is_some_and(|row| tx.at < row.until) {
        return Ok(Outcome::AlreadyAnswered);
    }
    let outcome = queue::submit(tx, submit)?;
    let mut replies: RepliesRow = tx.get(&keys::replies(*account))?.unwrap_or_default();
    if let Some(row) = before {
        forget(tx, *account, &mut replies, keys::reply_end(*account, row.until, *reply));
    }
    forget_expired(tx, *account, &mut replies)?;
    if tx.at < *until {
        if replies.replies >= REPLIES_PER_ACCOUNT_MAX
            && let Some((end, _)) = tx.first::<ReplyEndRow>(&keys::reply_ends(*account), 1)?.pop()
        {
            forget(tx, *account, &mut replies, end);
        }
        replies.replies += 1;
        tx.put(key, &ReplyRow { until: *until })?;
        tx.put(keys::reply_end(*account, *until, *reply), &ReplyEndRow {})?;
    }
    match replies.replies {
        0 => tx.delete(keys::replies(*account)),
        _ => tx.put(keys::replies(*account), &replies)?,
    }
    Ok(outcome)
}

fn forget_expired(
    tx: &mut Transaction,
    account: AccountId,
    replies: &mut RepliesRow,
) -> Result<(), RowsError> {
    for (end, ReplyEndRow {}) in tx.first(&keys::reply_ends(account), EXPIRED_PER_REPLY)? {
        if keys::reply_until_of(&end).is_some_and(|until| tx.at < until) {
            break;
        }
        forget(tx, account, replies, end);
    }
    Ok(())
}

fn forget(tx: &mut Transaction, account: AccountId, replies: &mut RepliesRow, end: Vec<u8>) {
    if let Some(reply) = keys::reply_of(&end) {
        tx.delete(keys::reply(account, reply));
    }
    tx.delete(end);
    replies.replies = replies.replies.saturating_sub(1);
}

/// Of an account that is gone, a few rows at a time. True when nothing is left.
pub fn sweep_account(tx: &mut Transaction, account: AccountId, rows_max: usize) -> Result<bool, RowsError> {
    let parts = tx.first::<ScriptPartRow>(&keys::all_script_parts(account), rows_max)?;
    let scripts = tx.first::<ScriptRow>(&keys::scripts_of(account), rows_max)?;
    let ends = tx.first::<ReplyEndRow>(&keys::reply_ends(account), rows_max)?;
    let done = parts.len().max(scripts.len()).max(ends.len()) < rows_max;
    let mut replies: RepliesRow = tx.get(&keys::replies(account))?.unwrap_or_default();
    ends.into_iter().for_each(|(end, _)| forget(tx, account, &mut replies, end));
    parts.into_iter().for_each(|(key, _)| tx.delete(key));
    scripts.into_iter().for_each(|(key, _)| tx.delete(key));
    if done {
        tx.delete(keys::scripts(account));
        tx.delete(keys::replies(account));
    }
    Ok(done)
}
