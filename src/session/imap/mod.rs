//! IMAP4rev1 (RFC 3501) and the extensions of [`capability`]: a pure machine, [`Session`], and the
//! [`ImapBackend`] that answers its questions from the replica.
//!
//! Invariants: commands are answered strictly in order. A session holds of its mailbox only the UIDs
//! behind its message numbers; records are read from the shared view. EXPUNGE is told only where the
//! client's message numbers allow it. Memory is bounded by one message and the bounds of [`limits`].

pub mod arrange;
pub mod backend;
pub mod bodystructure;
pub mod capability;
mod commands;
mod contents;
mod contexts;
mod core;
pub mod envelope;
pub mod grammar;
mod guest;
pub mod item;
pub mod limits;
mod notify;
mod object_id;
pub mod question;
mod reader;
pub mod search;
pub mod section;
mod selected;
pub mod sequence_set;
mod session;
pub mod string;
pub mod summary;
mod telling;
#[cfg(test)]
mod tests;
mod write;

pub use backend::ImapBackend;
pub use core::Terms;
pub use session::Session;
pub use summary::SummaryCache;
