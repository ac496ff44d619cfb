//! Newtypes for every id, so that a UID can never be passed where a sequence number is meant.

use std::fmt;

use bincode::{Decode, Encode};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A node of the cluster, for ever: a removed node's id is not used again.
    NodeId(u64)
);
id!(
    /// A user's account. Assigned in apply, never reused.
    AccountId(u64)
);
id!(
    /// A mailbox, unique over all accounts. Assigned in apply, never reused, kept by RENAME.
    MailboxId(u64)
);
id!(
    /// A message's unique identifier in its mailbox (RFC 9051 2.3.1.1). Never 0 in use; only ascends.
    Uid(u32)
);
id!(
    /// A mailbox's UIDVALIDITY (RFC 9051 2.3.1.1). Never 0; unique per mailbox name over its incarnations.
    UidValidity(u32)
);
id!(
    /// A mod-sequence (RFC 7162), per mailbox, at most 63 bits.
    ModSeq(u64)
);
id!(
    /// An index of the Raft log.
    LogIndex(u64)
);
id!(
    /// A mail in the outbound queue. Assigned in apply, never reused.
    QueueId(u64)
);
id!(
    /// A node's hold on some of the queue's due work; rolled by the node.
    LeaseId(u64)
);
id!(
    /// Milliseconds since 1970-01-01 UTC, stamped by the proposer.
    Timestamp(u64)
);
id!(
    /// Names one proposal for ever, so that a retry of it is applied once.
    CommandId(u128)
);

impl Uid {
    pub const MAX: Uid = Uid(u32::MAX);
}

/// The BLAKE3 hash of a message's raw RFC 5322 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct BodyId(pub [u8; 32]);

impl BodyId {
    pub fn of(raw: &[u8]) -> Self {
        Self(*blake3::hash(raw).as_bytes())
    }
}

impl fmt::Display for BodyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BodyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyId({self})")
    }
}
