//! The blocks as sessions ask them.

use std::collections::BTreeMap;

use super::{Host, Reason};
use crate::mail::ids::Timestamp;
use crate::state::keys;
use crate::state::reading;
use crate::state::rows::{Rows, RowsError};
use crate::state::stored::BlockRow;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub since: Timestamp,
    pub until: Timestamp,
    pub reason: Reason,
}

/// All blocks, those that are over among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blocks {
    by_host: BTreeMap<Host, Block>,
}

impl Blocks {
    /// A few milliseconds for as many as there may be.
    pub fn load(rows: &dyn Rows) -> Result<Self, RowsError> {
        let mut blocks = Self::default();
        reading::visit::<BlockRow>(rows, &keys::table(keys::BLOCK), |key, row| {
            if let Some(host) = keys::block_of(key) {
                let BlockRow { since, until, reason } = row;
                blocks.by_host.insert(host, Block { since, until, reason });
            }
        })?;
        Ok(blocks)
    }

    /// The host's, if it is not over.
    pub fn of(&self, host: Host, now: Timestamp) -> Option<&Block> {
        self.by_host.get(&host).filter(|block| block.until > now)
    }

    /// Those that are not over, ascending by host.
    pub fn all(&self, now: Timestamp) -> impl Iterator<Item = (&Host, &Block)> {
        self.by_host.iter().filter(move |(_, block)| block.until > now)
    }
}
