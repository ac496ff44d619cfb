//! Hosts that are shut out for a time, as they are replicated: because of what they did too often, or by an operator's word.
//!
//! What a host did is counted from the first time on until a moment that the proposer names; beyond what is tolerated the
//! host is blocked. Never knows what time it is, nor who is exempt: who notes an offense decides that.

mod host;
mod view;

use bincode::{Decode, Encode};

use crate::mail::ids::Timestamp;
pub use host::Host;
pub use view::{Block, Blocks};

/// Blocks at once. Beyond it the one that ends first makes room, an operator's last of all.
pub const BLOCKS_MAX: u32 = 10_000;
/// Hosts whose offenses are counted. Beyond it another's count is forgotten for each new one.
pub const OFFENDERS_MAX: u32 = 20_000;
/// Counts that are looked at, for old ones, when a new one begins.
pub const OFFENDERS_SWEPT: usize = 4;
/// Octets of what an operator says why.
pub const NOTE_BYTES_MAX: usize = 200;

/// What is counted. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Offense {
    FailedLogin,
    UnknownRecipient,
}

impl Offense {
    pub const ALL: [Offense; 2] = [Self::FailedLogin, Self::UnknownRecipient];

    /// Its place in keys, for ever.
    pub fn code(self) -> u8 {
        match self {
            Self::FailedLogin => 1,
            Self::UnknownRecipient => 2,
        }
    }
}

/// Why a host is blocked. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reason {
    FailedLogins,
    UnknownRecipients,
    /// By an operator, who says why; may be empty.
    Operator(String),
}

impl Reason {
    pub fn of(offense: Offense) -> Self {
        match offense {
            Offense::FailedLogin => Self::FailedLogins,
            Offense::UnknownRecipient => Self::UnknownRecipients,
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Self::FailedLogins => "failed logins",
            Self::UnknownRecipients => "unknown recipients",
            Self::Operator(note) if note.is_empty() => "by an operator",
            Self::Operator(note) => note,
        }
    }
}

/// A host did something once more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NoteOffense {
    pub host: Host,
    pub offense: Offense,
    /// So often it may; the next time it is blocked.
    pub tolerated: u64,
    /// When this is forgotten, if it is the first time.
    pub forget_at: Timestamp,
    pub blocked_until: Timestamp,
}

/// An operator's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewBlock {
    pub host: Host,
    pub until: Timestamp,
    /// At most [`NOTE_BYTES_MAX`] octets.
    pub note: String,
}
