//! What apply tells the feed. Each item carries whole records, so that hearing it twice does no harm.

use std::sync::Arc;

use super::acl::Acl;
use super::limits::BudgetId;
use super::record::{MessageRecord, ReplicaRecord};
use super::seats::SeatsChanged;
use crate::mail::ids::{AccountId, BodyId, MailboxId, ModSeq, NodeId, Uid, UidValidity};

#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Messages(MessagesChanged),
    /// A mailbox of this account was made, deleted, renamed, or its subscription changed.
    Mailboxes {
        account: AccountId,
    },
    /// The mailbox is gone; sessions that have it selected must let go.
    MailboxDeleted {
        mailbox: MailboxId,
    },
    /// The mailbox's access control list: sessions of others that have it selected must heed it.
    Acl {
        mailbox: MailboxId,
        acl: Arc<Acl>,
    },
    Metadata(MetadataChanged),
    /// Domains, users, aliases or settings changed: rebuild the directory.
    Directory,
    /// No message refers to this body any longer.
    BodyDropped {
        body: BodyId,
    },
    /// A body was named by a message for the first time (or again).
    BodyNamed {
        body: BodyId,
    },
    Replicas {
        replicas: Vec<ReplicaRecord>,
    },
    /// The data nodes that are drained.
    Drained {
        nodes: Vec<NodeId>,
    },
    /// There may be work in the outbound queue that was not there before.
    Queue,
    /// An operator wants mail tried now, whatever is known of its servers.
    QueueRetried,
    /// This budget is scarce: whoever holds some of it gives back what is unused, and whoever asked in vain asks again.
    Budget {
        budget: BudgetId,
    },
    /// A host is blocked, or is no longer.
    Blocks,
    /// What nodes may let in of a host.
    Seats(Arc<SeatsChanged>),
}

/// Annotations that were set or removed (RFC 5464).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataChanged {
    /// The mailbox and its owner; `None` is the server.
    pub mailbox: Option<(AccountId, MailboxId)>,
    /// Whose those are that are private.
    pub by: AccountId,
    pub entries: Vec<String>,
}

/// What one command did to one mailbox; an annotation of it puts and expunges nothing. Each has a mod-sequence of its
/// own, one above the one before, except a claim of \Recent, which repeats the mailbox's highest and changes nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct MessagesChanged {
    pub account: AccountId,
    pub mailbox: MailboxId,
    pub uid_validity: UidValidity,
    pub modseq: ModSeq,
    pub uid_next: Uid,
    /// See [`super::record::MailboxRecord::recent_from`].
    pub recent_from: Uid,
    /// New messages, and messages whose flags changed.
    pub put: Vec<MessageRecord>,
    pub expunged: Vec<Uid>,
    /// The keyword table, when it grew.
    pub keywords: Option<Arc<Vec<String>>>,
    /// Messages in the mailbox now, and of them those without \Seen.
    pub messages: u32,
    pub unseen: u32,
    /// Flags of messages that were there before have changed.
    pub flags_changed: bool,
}
