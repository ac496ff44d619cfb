//! Scripts of accounts (RFC 5804 1.4), as they are replicated: their names, how they are read, and what is remembered of
//! vacation replies (RFC 5230 4.2). What a script says is for others; here it is text.

use bincode::{Decode, Encode};

use super::keys;
use super::queue::Submit;
use super::reading::{get, visit};
use super::rows::{Rows, RowsError};
use super::stored::{AccountRow, ScriptPartRow, ScriptRow, ScriptsRow};
use crate::mail::ids::{AccountId, Timestamp};

/// Scripts of one account.
pub const SCRIPTS_PER_ACCOUNT_MAX: u32 = 32;
/// Octets of one script.
pub const SCRIPT_BYTES_MAX: usize = 64 << 10;
/// RFC 5804 1.6: names of so many Unicode characters must be taken.
pub const NAME_CHARS_MAX: usize = 128;
/// Vacation replies of one account that are remembered; beyond, those go first that would be forgotten first.
pub const REPLIES_PER_ACCOUNT_MAX: u32 = 1_000;

/// A script without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptRecord {
    pub name: String,
    pub bytes: u32,
    /// At most one of an account is.
    pub active: bool,
}

/// A reply to whoever wrote to somebody who is away; sent unless he had it lately.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct VacationReply {
    /// Who is away.
    pub account: AccountId,
    pub reply: ReplyId,
    /// The same reply is not sent again before.
    pub until: Timestamp,
    pub submit: Submit,
}

/// A reply's handle and whom it is to, hashed: addresses of strangers are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct ReplyId(pub [u8; 16]);

impl ReplyId {
    /// The addressee in its canonical form.
    pub fn of(handle: impl AsRef<[u8]>, addressee: &str) -> Self {
        let (mut hasher, handle) = (blake3::Hasher::new(), handle.as_ref());
        // A handle may hold anything: its length parts it from the addressee.
        hasher.update(&(handle.len() as u64).to_be_bytes()).update(handle);
        hasher.update(addressee.as_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }
}

/// RFC 5804 1.6: 1 to [`NAME_CHARS_MAX`] characters, without controls and separators of lines.
pub fn is_script_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let chars = name.chars().take(NAME_CHARS_MAX + 1).count();
    (1..=NAME_CHARS_MAX).contains(&chars) && !name.contains(forbidden)
}

/// The account's scripts, ascending by name. Empty for an account that is gone.
pub fn scripts(rows: &dyn Rows, account: AccountId) -> Result<Vec<ScriptRecord>, RowsError> {
    let mut found = Vec::new();
    let Some(row) = live_scripts(rows, account)? else { return Ok(found) };
    visit::<ScriptRow>(rows, &keys::scripts_of(account), |key, script| {
        if let Some(name) = keys::script_name_of(key) {
            let active = row.active.as_deref() == Some(name);
            found.push(ScriptRecord { name: name.to_owned(), bytes: script.bytes, active });
        }
    })?;
    Ok(found)
}

/// The text of one script.
pub fn script(rows: &dyn Rows, account: AccountId, name: &str) -> Result<Option<String>, RowsError> {
    match live_scripts(rows, account)? {
        Some(_) => text(rows, account, name),
        None => Ok(None),
    }
}

/// The text of the active script.
pub fn active_script(rows: &dyn Rows, account: AccountId) -> Result<Option<String>, RowsError> {
    match live_scripts(rows, account)?.and_then(|row| row.active) {
        Some(name) => text(rows, account, &name),
        None => Ok(None),
    }
}

/// `None`: it has none, or is gone.
fn live_scripts(rows: &dyn Rows, account: AccountId) -> Result<Option<ScriptsRow>, RowsError> {
    let Some(row) = get::<ScriptsRow>(rows, &keys::scripts(account))? else { return Ok(None) };
    Ok(get::<AccountRow>(rows, &keys::account(account))?.map(|_| row))
}

fn text(rows: &dyn Rows, account: AccountId, name: &str) -> Result<Option<String>, RowsError> {
    if !is_script_name(name) || get::<ScriptRow>(rows, &keys::script(account, name))?.is_none() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    visit::<ScriptPartRow>(rows, &keys::script_parts(account, name), |_, part| bytes.extend(part.bytes))?;
    let whole = String::from_utf8(bytes);
    whole.map(Some).map_err(|_| RowsError(format!("script of account {account}: it is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_line_of_bounded_length() {
        for good in ["a", " ", "main.sieve", "\u{fc}ber / \"alles\"", &"\u{10348}".repeat(NAME_CHARS_MAX)] {
            assert!(is_script_name(good), "{good}");
        }
        let long = "x".repeat(NAME_CHARS_MAX + 1);
        for bad in [
            "",
            "a\0",
            "a\n",
            "\u{1f}",
            "\u{7f}",
            "\u{80}",
            "\u{9f}",
            "a\u{2028}",
            "\u{2029}b",
            long.as_str(),
        ] {
            assert!(!is_script_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_reply_is_known_by_its_handle_and_its_addressee() {
        let id = ReplyId::of("h", "a@b.test");
        assert_eq!(id, ReplyId::of("h", "a@b.test"));
        for other in [("ha", "@b.test"), ("", "ha@b.test"), ("h", "b@b.test"), ("i", "a@b.test")] {
            assert_ne!(id, ReplyId::of(other.0, other.1), "{other:?}");
        }
    }
}
