//! Whether a message matches: metadata first, so that a body is opened only where it decides.

use std::cell::OnceCell;

use super::SearchKey;
use crate::mail::ids::Timestamp;
use crate::mail::mime::{self, Structure};
use crate::state::record::MessageRecord;

/// What is the same for all messages of one search.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The mailbox's keyword table.
    pub keywords: &'a [String],
    /// What `*` means in a sequence set; 0 in an empty mailbox.
    pub sequence_last: u32,
    /// What `*` means in a UID set; 0 in an empty mailbox.
    pub uid_last: u32,
    pub now: Timestamp,
}

/// A message that may match.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub sequence: u32,
    pub record: &'a MessageRecord,
    pub recent: bool,
}

/// The bytes of a message, taken apart only when a key asks for it.
#[derive(Debug)]
pub struct Body<'a> {
    raw: &'a [u8],
    structure: OnceCell<Structure>,
}

impl<'a> Body<'a> {
    pub fn new(raw: &'a [u8]) -> Self {
        Self { raw, structure: OnceCell::new() }
    }

    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    pub fn structure(&self) -> &Structure {
        self.structure.get_or_init(|| mime::parse(self.raw))
    }
}

/// True when the message matches. `None` means that the bytes of the message decide: ask again with them.
pub fn matches(key: &SearchKey, scope: &Scope, candidate: &Candidate, body: Option<&Body>) -> Option<bool> {
    let _ = (key, scope, candidate, body);
    todo!()
}
