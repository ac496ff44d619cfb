//! What apply answers. Remembered by command id, so that a retry hears the same again.

use bincode::{Decode, Encode};

use super::command::UidSet;
use super::limits::Granted;
use super::queue::ParcelId;
use super::seats::Seats;
use crate::mail::ids::{AccountId, LeaseId, MailboxId, ModSeq, NodeId, QueueId, Uid, UidValidity};

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    Done,
    UserAdded {
        account: AccountId,
    },
    MailboxCreated {
        mailbox: MailboxId,
        uid_validity: UidValidity,
    },
    /// One entry per recipient of the command, in its order.
    Delivered {
        results: Vec<Result<Delivered, Refusal>>,
    },
    /// UIDs in the order of the messages.
    Appended {
        uid_validity: UidValidity,
        uids: Vec<Uid>,
    },
    /// `modified`: UIDs left alone because of UNCHANGEDSINCE.
    Stored {
        modseq: ModSeq,
        modified: UidSet,
    },
    Expunged {
        modseq: ModSeq,
        uids: UidSet,
    },
    /// RFC 4315 COPYUID: `to` are the new UIDs, in the order of `from`.
    Copied {
        uid_validity: UidValidity,
        from: UidSet,
        to: UidSet,
    },
    Refused(Refusal),
    /// A Store that changed no flag: the mailbox stands at `modseq`, which is another command's.
    StoredNothing {
        modseq: ModSeq,
        modified: UidSet,
    },
    NodeIdGiven {
        node: NodeId,
    },
    /// The message that came in, and where.
    Replaced {
        uid_validity: UidValidity,
        uid: Uid,
    },
    /// A Replace of what had gone already.
    ReplacedNothing,
    /// `delivered` in the order of the command; `queued` if there were recipients elsewhere.
    Submitted {
        delivered: Vec<Delivered>,
        queued: Option<QueueId>,
    },
    /// The parcels that were free, in the order of the command; if there are none, there is no lease.
    Leased {
        parcels: Vec<ParcelId>,
    },
    /// Those that there still were.
    Renewed {
        leases: Vec<LeaseId>,
    },
    /// Mails that there were, as far as one command goes: the first of the command.
    Steered {
        messages: Vec<QueueId>,
        /// How many of the command's mails were looked at.
        looked_at: u32,
    },
    TokensTaken(Granted),
    SeatsTaken(Seats),
    /// To be tried again, after so long.
    Greylisted {
        left_ms: u64,
    },
    /// A vacation reply that its addressee had lately: nothing was submitted.
    AlreadyAnswered,
    /// So many came back.
    Undeleted {
        messages: u32,
    },
    /// Of what was to be forgotten.
    Forgotten {
        more: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Delivered {
    pub mailbox: MailboxId,
    pub uid: Uid,
}

/// The state says no. Permanent unless [`Refusal::is_temporary`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such domain, user, alias, mailbox or script: {0}")]
    NotFound(String),
    #[error("it exists already: {0}")]
    Exists(String),
    #[error("the value is not valid: {0}")]
    Invalid(String),
    #[error("the user is over quota")]
    OverQuota,
    #[error("a limit is reached: {0}")]
    Limit(String),
    #[error("INBOX cannot be deleted, and a mailbox name in use cannot be created again")]
    NotAllowed,
    /// The body is not on all in-sync nodes (their set changed on the way): place it again, propose anew.
    #[error("the message body is not yet on every in-sync node")]
    NotPlaced,
    #[error("the node lacks bodies that were committed without it")]
    StillBehind,
    /// The proposal is too old for the window of remembered ids; whether it was applied is not known.
    #[error("the proposal is too old to be applied")]
    Expired,
    /// RFC 4314 4: who asks sees the mailbox, and has not the right.
    #[error("the access control list does not allow it")]
    NotPermitted,
    /// Without this data node, bodies that were acknowledged would be gone.
    #[error("node {0} alone has all message bodies")]
    LastCopies(NodeId),
    #[error("the outbound queue is full")]
    QueueFull,
    /// What was done under it is no longer this node's affair.
    #[error("the lease has ended, or was renewed meanwhile")]
    LeaseChanged,
    #[error("the script is active")]
    ScriptActive,
    #[error("no other data node that is in sync would serve without node {0}")]
    LastServing(NodeId),
    /// It is not as the proposer read it.
    #[error("it has changed meanwhile")]
    Changed,
}

impl Refusal {
    /// True when the same request may well succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Refusal::OverQuota
            | Refusal::NotPlaced
            | Refusal::StillBehind
            | Refusal::Expired
            | Refusal::LastCopies(_)
            | Refusal::QueueFull
            | Refusal::LastServing(_)
            | Refusal::Changed => true,
            Refusal::NotFound(_) | Refusal::Exists(_) | Refusal::Invalid(_) => false,
            Refusal::Limit(_) | Refusal::NotAllowed | Refusal::NotPermitted | Refusal::LeaseChanged => false,
            Refusal::ScriptActive => false,
        }
    }
}
