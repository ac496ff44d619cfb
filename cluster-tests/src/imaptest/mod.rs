//! Runs the scripted tests of Dovecot's imaptest against a pair.
//!
//! Their format is described beside them (`FORMAT.md`). What is read otherwise here, and why:
//! - A script was written for one server. Here its connections are spread over the nodes, which show each other's
//!   writes after milliseconds, not at once. Where a script has more than one connection, each command is followed by
//!   waiting, with a bound, until the nodes show the same mailboxes in the same state (`step`); the scripts' own
//!   commands are sent as they stand, none is repeated.
//! - `$modseqN` is a variable as any other: captured once, then compared.
//! - `!ifenv` never holds.

mod connection;
mod mailbox;
mod pattern;
mod run;
pub mod script;
mod step;
mod value;

pub use run::{Place, Verdict, run};
