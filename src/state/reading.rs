//! Reads of single rows, for the replica's answers and for the keepers of bodies.

use super::directory::Directory;
use super::record::{MailboxRecord, ReplicaRecord};
use super::rows::{Rows, RowsError};
use crate::mail::ids::{AccountId, BodyId, MailboxId};

/// The account's mailboxes, ascending by name. Empty for an account that is gone.
pub fn mailboxes(rows: &dyn Rows, account: AccountId) -> Result<Vec<MailboxRecord>, RowsError> {
    let _ = (rows, account);
    unimplemented!("mailboxes")
}

/// The names the account has subscribed to, ascending, existing or not.
pub fn subscriptions(rows: &dyn Rows, account: AccountId) -> Result<Vec<String>, RowsError> {
    let _ = (rows, account);
    unimplemented!("subscriptions")
}

/// One mailbox by its exact name.
pub fn mailbox_by_name(
    rows: &dyn Rows,
    account: AccountId,
    name: &str,
) -> Result<Option<MailboxRecord>, RowsError> {
    let _ = (rows, account, name);
    unimplemented!("mailbox_by_name")
}

pub fn mailbox_by_id(rows: &dyn Rows, mailbox: MailboxId) -> Result<Option<MailboxRecord>, RowsError> {
    let _ = (rows, mailbox);
    unimplemented!("mailbox_by_id")
}

/// Bytes in all the account's mailboxes; 0 for an account that is gone.
pub fn used_bytes(rows: &dyn Rows, account: AccountId) -> Result<u64, RowsError> {
    let _ = (rows, account);
    unimplemented!("used_bytes")
}

/// The data nodes and their standing, ascending by node.
pub fn replicas(rows: &dyn Rows) -> Result<Vec<ReplicaRecord>, RowsError> {
    let _ = rows;
    unimplemented!("replicas")
}

/// The version all replicas agreed to write (design 7); 0 before the first `SetClusterVersion`.
pub fn cluster_version(rows: &dyn Rows) -> Result<u32, RowsError> {
    let _ = rows;
    unimplemented!("cluster_version")
}

/// At most `limit` bodies that messages refer to, ascending, from the first after `after`. An empty answer is the end.
pub fn bodies(rows: &dyn Rows, after: Option<BodyId>, limit: usize) -> Result<Vec<BodyId>, RowsError> {
    let _ = (rows, after, limit);
    unimplemented!("bodies")
}

/// How many messages refer to this body.
pub fn body_references(rows: &dyn Rows, body: BodyId) -> Result<u64, RowsError> {
    let _ = (rows, body);
    unimplemented!("body_references")
}

impl Directory {
    /// Reads the whole directory: tens of milliseconds for a hundred thousand users.
    pub fn load(rows: &dyn Rows) -> Result<Self, RowsError> {
        let _ = rows;
        unimplemented!("Directory::load")
    }
}
