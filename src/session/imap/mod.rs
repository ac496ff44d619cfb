//! IMAP4rev1.

pub mod bodystructure;
pub mod envelope;
pub mod item;
pub mod search;
pub mod section;
pub mod sequence_set;
pub mod string;
