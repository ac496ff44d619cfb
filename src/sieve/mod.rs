//! Sieve, the language in which users say what becomes of their mail (RFC 5228 and extensions): a script and a mail
//! go in, actions come out. Pure: no clock, no mailboxes, no network; who runs a script does what it says.
//!
//! A script is compiled once ([`Script::compile`]): parsed ([`grammar`]) and checked (`check`), so that what is left to
//! go wrong in a run is little. Runs are bounded in work, whatever script and mail are: there are no loops, and every
//! step of a comparison is counted.
#![expect(dead_code, reason = "nothing runs a script yet")]

mod check;
mod encode;
mod error;
#[doc(hidden)]
pub mod grammar;
mod lexer;
mod program;
mod template;
mod vacation;

pub use check::CAPABILITIES;
pub use error::{Place, ScriptError};
pub use vacation::{Mailbox, Vacation};

use program::Program;

/// Octets of a script.
pub const SCRIPT_BYTES_MAX: usize = 64 * 1024;
/// Blocks within blocks, and tests within tests (RFC 5228 2.10.5 asks for 15 of either).
pub const NESTING_MAX: usize = 15;
/// Commands and tests of a script.
pub const NODES_MAX: usize = 4096;
/// Arguments of one command or test.
pub const ARGUMENTS_MAX: usize = 32;
/// Strings of one list.
pub const LIST_STRINGS_MAX: usize = 1024;
/// Variables of a script (RFC 5229 6 asks for 128).
pub const VARIABLES_MAX: usize = 128;

/// A script that was parsed and checked.
#[derive(Debug)]
pub struct Script {
    program: Program,
}

impl Script {
    /// Reads a script. What is wrong with it is told with its place, and says which extension it lacks.
    pub fn compile(text: &str) -> Result<Self, ScriptError> {
        let commands = grammar::parse(text)?;
        Ok(Self { program: check::check(&commands)? })
    }
}

#[cfg(test)]
mod tests;
