//! Limits over all nodes, as they are replicated: of each budget (a limit, whom it is for, a window of time) how much is
//! spent, and how much each node holds in advance, so that most of what is counted costs no commit.
//!
//! A node gets a share of what is free, ever less toward the end. When somebody asks in vain while others hold some, the
//! budget is *scarce* from then on: whoever holds some gives back what is unused, and each token is had one by one.
//! What a node held when it died is spent: it errs on the side of refusing, until the window ends. Never knows what time it is.

use bincode::{Decode, Encode};

use super::keys;
use super::reading;
use super::rows::{Rows, RowsError};
use super::stored::BudgetRow;
use crate::mail::ids::{AccountId, LogIndex, NodeId, Timestamp};

/// Budgets at once. Beyond it a host shares one with its neighbours: whoever fills the table with addresses of one network
/// is in the way of that network.
pub const BUDGETS_MAX: u32 = 100_000;
/// Budgets of neighbours on top; beyond it all that have none share one for each limit and window.
pub const WIDE_BUDGETS_MAX: u32 = 10_000;
/// Octets of what names whom a budget is for.
pub const KEY_BYTES_MAX: usize = 64;
/// Nodes that hold some of one budget in advance; further ones have their tokens one by one.
pub const HOLDERS_MAX: usize = 16;
/// A node that wants much gets what it needs, or this part of what is free.
pub const SHARE: u64 = 4;
/// A budget is forgotten this long after its window. A node whose clock is behind by more counts its hosts anew.
pub const KEPT_MS: u64 = 120_000;
/// Budgets forgotten with one command.
pub const FORGOTTEN_MAX: usize = 64;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// What is counted. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Limit {
    ConnectionsPerMinute,
    MessagesPerMinute,
    /// Of a user.
    MessagesSentPerDay,
    BytesSentPerDay,
}

impl Limit {
    pub const ALL: [Limit; 4] = [
        Self::ConnectionsPerMinute,
        Self::MessagesPerMinute,
        Self::MessagesSentPerDay,
        Self::BytesSentPerDay,
    ];

    /// Its place in keys, for ever.
    pub fn code(self) -> u8 {
        match self {
            Self::ConnectionsPerMinute => 1,
            Self::MessagesPerMinute => 2,
            Self::MessagesSentPerDay => 3,
            Self::BytesSentPerDay => 4,
        }
    }

    /// A user's are never held in advance, so that they can be shown, and have room whatever strangers fill.
    pub fn is_of_users(self) -> bool {
        match self {
            Self::ConnectionsPerMinute | Self::MessagesPerMinute => false,
            Self::MessagesSentPerDay | Self::BytesSentPerDay => true,
        }
    }

    /// When the window ends that holds `now`; windows are those of UTC.
    pub fn window_end(self, now: Timestamp) -> Timestamp {
        let window_ms = match self {
            Self::ConnectionsPerMinute | Self::MessagesPerMinute => MINUTE_MS,
            Self::MessagesSentPerDay | Self::BytesSentPerDay => DAY_MS,
        };
        Timestamp((now.0 / window_ms).saturating_add(1).saturating_mul(window_ms))
    }
}

/// One budget.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct BudgetId {
    /// When its window ends.
    pub until: Timestamp,
    pub limit: Limit,
    /// Whom it is for. Empty: all those who found no room for a budget of their own.
    pub key: Vec<u8>,
}

impl BudgetId {
    /// Of a user, for the window that holds `now`.
    pub fn of_user(limit: Limit, account: AccountId, now: Timestamp) -> Self {
        Self { until: limit.window_end(now), limit, key: user_key(account) }
    }
}

/// Longer than that of any host.
pub fn user_key(account: AccountId) -> Vec<u8> {
    [b"user:", &account.0.to_be_bytes()[..]].concat()
}

/// How many tokens of the budget are not free.
pub fn used(rows: &dyn Rows, budget: &BudgetId) -> Result<u64, RowsError> {
    let row = reading::get::<BudgetRow>(rows, &keys::budget(budget))?.unwrap_or_default();
    Ok(row.held.iter().fold(row.spent, |sum, held| sum.saturating_add(held.tokens)))
}

/// Of a host (4 octets of IPv4, 8 of an IPv6 network of 64 bits) the network around it: 16 bits of IPv4, 32 of IPv6.
pub fn neighbours(key: &[u8]) -> Vec<u8> {
    match key.len() {
        4 => key[..2].to_vec(),
        // No prefix is both: one of 5 octets, the other of 2.
        8 => [&key[..4], &[0]].concat(),
        _ => Vec::new(),
    }
}

/// A node asks for tokens, and settles what it holds: what it does not call unused is spent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TakeTokens {
    pub node: NodeId,
    pub budget: BudgetId,
    /// Tokens of the whole budget, by the settings that the node knows.
    pub tokens_max: u64,
    /// The grant of which `unused` is left. A proposal that comes late names one that is over, and gives nothing back.
    pub grant: LogIndex,
    pub unused: u64,
    /// All or nothing. 0 only gives back.
    pub needed: u64,
}

/// What a node holds from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Granted {
    /// At least what was needed, or 0.
    pub tokens: u64,
    /// 0: none of them in advance; what is not used at once is lost.
    pub grant: LogIndex,
    /// Others hold some in advance; it is asked back.
    pub others_hold: bool,
}
