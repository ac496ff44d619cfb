//! Messages that users have expunged, for as long as `mail.undelete_days` says: an operator can put them back. They are in
//! no mailbox, count for no quota, and name their bodies still.

use std::ops::ControlFlow;

use bincode::{Decode, Encode};

use super::codec::decode_row;
use super::keys;
use super::record::MessageRecord;
use super::rows::{Rows, RowsError};
use super::stored::RemovedRow;
use crate::mail::ids::{AccountId, MailboxId, Timestamp, Uid};

/// The name of the setting: days, 0 is not at all.
pub const UNDELETE_DAYS: &str = "mail.undelete_days";
/// Rows that one command puts back or forgets; each holds as many messages as a row of a mailbox.
pub const ROWS_PER_COMMAND_MAX: usize = 64;

/// A row of messages that went together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct RemovedId {
    /// When they went.
    pub at: Timestamp,
    pub account: AccountId,
    pub mailbox: MailboxId,
    /// Of the first of them.
    pub uid: Uid,
}

/// Puts messages back, under new UIDs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Undelete {
    /// Of one account.
    pub from: Vec<RemovedId>,
    /// The mailbox that they come into, made if it is missing; `None`: each one's own, by its name when it went.
    pub into: Option<String>,
}

/// Messages that went together, as an operator chooses among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    pub id: RemovedId,
    /// The mailbox's name when they went.
    pub name: String,
    pub messages: Vec<MessageRecord>,
}

/// Those of `account` that went at or after `since` and are wanted, oldest first, `count_max` rows at the most.
pub fn of_account(
    rows: &dyn Rows,
    (account, since): (AccountId, Timestamp),
    wanted: impl Fn(&Removed) -> bool,
    count_max: usize,
) -> Result<Vec<Removed>, RowsError> {
    let (mut found, mut failed) = (Vec::new(), None);
    let span = keys::removed_since(since);
    rows.scan(&span.from, &span.to, &mut |key, value| {
        let Some(id) = keys::removed_of(key).filter(|id| id.account == account) else {
            return ControlFlow::Continue(());
        };
        match decode_row::<RemovedRow>(key, value) {
            Ok(RemovedRow { name, messages, .. }) => {
                found.extend(Some(Removed { id, name, messages }).filter(&wanted));
            }
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        if found.len() < count_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed.map_or(Ok(found), Err)
}

/// Whether any went before that moment.
pub fn any_before(rows: &dyn Rows, before: Timestamp) -> Result<bool, RowsError> {
    let mut any = false;
    let span = keys::removed_before(before);
    rows.scan(&span.from, &span.to, &mut |_, _| {
        any = true;
        ControlFlow::Break(())
    })?;
    Ok(any)
}
