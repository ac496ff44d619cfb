//! What the session asks the world, and what it hears.

use crate::cluster::replica::Fault;
use crate::session::login::{Authenticated, Claim, Keys, LoginRefused};
use crate::state::outcome::Refusal;
use crate::state::sieve::ScriptRecord;

#[derive(Debug)]
pub enum Question {
    Login(Claim),
    /// What SCRAM goes on with for this login.
    Keys(String),
    List,
    Get(String),
    /// Is it a script?
    Check(String),
    /// Check it, then keep it.
    Put {
        name: String,
        text: String,
    },
    Activate(Option<String>),
    Delete(String),
    Rename {
        from: String,
        to: String,
    },
}

#[derive(Debug)]
pub enum Answer {
    Login(Result<Authenticated, LoginRefused>),
    Keys(Keys),
    Scripts(Result<Vec<ScriptRecord>, Fault>),
    /// `None`: there is no such script.
    Script(Result<Option<String>, Fault>),
    /// To a check, and to all that changes something.
    Done(Result<(), NotDone>),
}

#[derive(Debug)]
pub enum NotDone {
    /// It is no script; says where and why.
    NoScript(String),
    Refused(Refusal),
    Fault(Fault),
}
