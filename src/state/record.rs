//! The rows' own types: what the state remembers of mailboxes, messages and replicas.

use bincode::{Decode, Encode};

use super::command::{InternalDate, SpecialUse};
use crate::mail::flags::Flags;
use crate::mail::ids::{AccountId, BodyId, LogIndex, MailboxId, ModSeq, NodeId, Timestamp, Uid, UidValidity};
use crate::mail::rights::Rights;

/// One mailbox. Counts are kept by apply, so that STATUS reads one row.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MailboxRecord {
    pub id: MailboxId,
    pub account: AccountId,
    /// UTF-8, hierarchy separator `/`; INBOX in capitals. Of another's mailbox: [`super::namespace::shown`].
    pub name: String,
    pub uid_validity: UidValidity,
    pub uid_next: Uid,
    pub highest_modseq: ModSeq,
    pub special_use: Option<SpecialUse>,
    pub subscribed: bool,
    /// RFC 3501 6.3.4: deleted while it has inferiors: a name that cannot be selected.
    pub no_select: bool,
    /// Messages with a UID at or above this have not been shown as \Recent to any session.
    pub recent_from: Uid,
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    /// Sum of the messages' sizes, octets.
    pub bytes: u64,
    /// Keyword *n* of [`Flags::keywords`].
    pub keywords: Vec<String>,
    /// What the one who asked may do with it.
    pub rights: Rights,
}

/// One message, as a listing needs it. About 60 bytes encoded; eight to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct MessageRecord {
    pub uid: Uid,
    pub body: BodyId,
    /// Octets of the raw message.
    pub size: u32,
    pub flags: Flags,
    pub modseq: ModSeq,
    pub internal_date: InternalDate,
    /// When it came into this mailbox.
    pub saved_at: Timestamp,
}

/// What an account keeps, and how much of it it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Bytes in all its mailboxes.
    pub used_bytes: u64,
    /// `None` is unlimited.
    pub bytes_max: Option<u64>,
    /// At most [`MAILBOXES_MAX`](super::apply::MAILBOXES_MAX).
    pub mailboxes: u32,
}

impl Quota {
    pub fn has_room(&self, bytes: u64) -> bool {
        self.bytes_max.is_none_or(|bytes_max| self.used_bytes.saturating_add(bytes) <= bytes_max)
    }
}

/// A data node's standing in the in-sync set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ReplicaRecord {
    pub node: NodeId,
    pub in_sync: bool,
    /// When `in_sync` last changed.
    pub since: Timestamp,
    /// The last entry that committed a body without this node.
    pub missed_at: LogIndex,
}
