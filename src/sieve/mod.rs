//! Sieve, the language in which users say what becomes of their mail (RFC 5228 and extensions): a script and a mail
//! go in, actions come out. Pure: no clock, no mailboxes, no network; who runs a script does what it says.
//!
//! A script is compiled once ([`Script::compile`]): parsed ([`grammar`]) and checked (`check`), so that what is left to
//! go wrong in a run is little. Runs are bounded in work, whatever script and mail are: there are no loops, and every
//! step of a comparison is counted.

mod check;
mod encode;
mod error;
#[doc(hidden)]
pub mod grammar;
mod lexer;
mod matching;
mod program;
mod run;
mod template;
mod vacation;
mod work;

pub use check::CAPABILITIES;
pub use error::{Place, ScriptError};
pub use vacation::{Mailbox, Vacation};

pub use run::{FIELDS_SEEN_MAX, FLAGS_MAX, STRING_BYTES_MAX, VARIABLE_BYTES_MAX};
pub use work::STEPS_MAX;

use crate::mail::address::Address;
use crate::mail::flags::NamedFlags;
use crate::mail::ids::Timestamp;
use program::{Command, Program};

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

/// Actions of one mail, beside the implicit keep.
pub const ACTIONS_MAX: usize = 32;
/// Addresses that one mail is redirected to (RFC 5228 10 asks for a bound).
pub const REDIRECTS_MAX: usize = 4;
/// Octets of a mailbox's name.
pub const MAILBOX_BYTES_MAX: usize = 1024;
/// Octets of a body that the `body` test looks at, from its start on.
pub const BODY_SEEN_BYTES_MAX: usize = 256 * 1024;

/// What a script may know of one mail for one recipient.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// The front of the message: all of its header, and of its body [`BODY_SEEN_BYTES_MAX`] octets or what there is.
    pub head: &'a [u8],
    /// Octets of the whole message.
    pub size: u64,
    /// MAIL FROM without brackets; `None` is `<>`.
    pub sender: Option<&'a str>,
    /// RCPT TO without brackets, as it was given.
    pub recipient: &'a str,
    /// The addresses of the user: to these alone a mail must be addressed to be answered.
    pub own: &'a [String],
    pub now: Timestamp,
}

/// The mailboxes of the user, in names of UTF-8 as IMAP shows them to him.
pub trait Mailboxes {
    /// There is a mailbox of that name that mail can be put into (RFC 5490 3.1).
    fn exists(&self, name: &str) -> bool;
}

impl<F: Fn(&str) -> bool> Mailboxes for F {
    fn exists(&self, name: &str) -> bool {
        self(name)
    }
}

/// One thing to do with a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Into the inbox.
    Keep {
        flags: NamedFlags,
    },
    /// Into another mailbox, never the inbox.
    FileInto {
        mailbox: String,
        create: bool,
        flags: NamedFlags,
    },
    Redirect {
        address: Address,
    },
    /// The only action then. The reason may have several lines.
    Reject {
        reason: String,
    },
    Vacation(Box<Vacation>),
}

/// What is to be done with a mail; nothing, where it is discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions {
    /// With the implicit keep (RFC 5228 2.10.2) where it applies; one for each mailbox, one for each address.
    pub actions: Vec<Action>,
    /// What went wrong, for the user. The actions are those before it then, and the mail is kept (RFC 5228 2.10.6).
    pub fault: Option<String>,
}

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

    /// True where it may refuse a mail: its recipient is not served together with others then.
    pub fn may_refuse(&self) -> bool {
        self.program.has(|command| matches!(command, Command::Reject(_)))
    }

    /// True where it may send a mail to other addresses.
    pub fn may_redirect(&self) -> bool {
        self.program.has(|command| matches!(command, Command::Redirect { .. }))
    }

    /// True where it may answer a mail: it has to be told the addresses of its user then ([`Mail::own`]).
    pub fn may_answer(&self) -> bool {
        self.program.has(|command| matches!(command, Command::Vacation(_)))
    }

    /// What the script makes of a mail. Always ends: after [`STEPS_MAX`] steps with a fault, if not before.
    pub fn run(&self, mail: &Mail, mailboxes: &dyn Mailboxes) -> Actions {
        run::run(&self.program, mail, mailboxes, STEPS_MAX)
    }
}

#[cfg(test)]
mod tests;
