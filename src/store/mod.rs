//! This disk: the only fsync and rename. Knows bytes, not their meaning.

pub mod files;
pub mod journal;
pub mod log;
pub mod segments;
pub mod tables;
mod watch;
