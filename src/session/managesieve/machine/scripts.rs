//! Behind the login: the scripts (RFC 5804 2.4 to 2.12).

use bytes::BytesMut;

use super::{Command, ManageSieve, Next, NotDone, Phase, Question};
use crate::cluster::replica::Fault;
use crate::session::login::Authenticated;
use crate::session::machine::Step;
use crate::session::managesieve::reply::{Code, literal, no, ok, string};
use crate::state::outcome::Refusal;
use crate::state::sieve::{SCRIPT_BYTES_MAX, SCRIPTS_PER_ACCOUNT_MAX, ScriptRecord, is_script_name};

/// What the answer is for.
pub(super) enum Asked {
    List,
    Space { name: String },
    Script,
    Change,
}

impl ManageSieve {
    pub(super) fn when_logged_in(
        &mut self,
        command: Command,
        who: Authenticated,
        out: &mut BytesMut,
    ) -> Option<Next> {
        let (question, asked) = match command {
            Command::StartTls | Command::Authenticate { .. } => {
                self.phase = Phase::LoggedIn(who);
                return self.bad_as(Code::None, "Already logged in", out);
            }
            Command::HaveSpace { octets, .. } if octets as usize > SCRIPT_BYTES_MAX => {
                self.phase = Phase::LoggedIn(who);
                no(Code::MaxSize, &too_large(), out);
                return None;
            }
            Command::HaveSpace { name, .. } => (Question::List, Asked::Space { name }),
            Command::ListScripts => (Question::List, Asked::List),
            Command::GetScript(name) => (Question::Get(name), Asked::Script),
            Command::CheckScript(text) => (Question::Check(text), Asked::Change),
            Command::PutScript { name, text } => (Question::Put { name, text }, Asked::Change),
            Command::SetActive(name) => (Question::Activate(name), Asked::Change),
            Command::DeleteScript(name) => (Question::Delete(name), Asked::Change),
            Command::RenameScript { from, to } => (Question::Rename { from, to }, Asked::Change),
            // Answered before, in either state.
            Command::Capability | Command::Noop(_) | Command::Logout => return None,
        };
        if names(&question, &asked).into_iter().any(|name| !is_script_name(name)) {
            self.phase = Phase::LoggedIn(who);
            no(Code::None, NO_NAME, out);
            return None;
        }
        self.phase = Phase::Waiting(who, asked);
        Some(Step::Ask(question))
    }

    /// The session goes on; `None`: nobody has asked.
    fn resume(&mut self) -> Option<Asked> {
        match std::mem::replace(&mut self.phase, Phase::Closing) {
            Phase::Waiting(who, asked) => {
                self.phase = Phase::LoggedIn(who);
                Some(asked)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    pub(super) fn on_scripts(&mut self, scripts: Result<Vec<ScriptRecord>, Fault>, out: &mut BytesMut) {
        match (self.resume(), scripts) {
            (Some(Asked::List), Ok(scripts)) => {
                for script in scripts {
                    string(&script.name, out);
                    out.extend_from_slice(if script.active { b" ACTIVE\r\n" } else { b"\r\n" });
                }
                ok(Code::None, "Listed", out);
            }
            (Some(Asked::Space { name }), Ok(scripts)) => {
                let replaces = scripts.iter().any(|script| script.name == name);
                match replaces || scripts.len() < SCRIPTS_PER_ACCOUNT_MAX as usize {
                    true => ok(Code::None, "There is room", out),
                    false => no(Code::MaxScripts, &too_many(), out),
                }
            }
            _ => no(Code::TryLater, UNAVAILABLE, out),
        }
    }

    pub(super) fn on_script(&mut self, script: Result<Option<String>, Fault>, out: &mut BytesMut) {
        match (self.resume(), script) {
            (Some(_), Ok(Some(text))) => {
                literal(&text, out);
                out.extend_from_slice(b"\r\n");
                ok(Code::None, "Read", out);
            }
            (Some(_), Ok(None)) => no(Code::NonExistent, NOT_THERE, out),
            _ => no(Code::TryLater, UNAVAILABLE, out),
        }
    }

    pub(super) fn on_done(&mut self, done: Result<(), NotDone>, out: &mut BytesMut) {
        if self.resume().is_none() {
            return;
        }
        match done {
            Ok(()) => ok(Code::None, "Done", out),
            Err(NotDone::NoScript(why)) => no(Code::None, &why, out),
            Err(NotDone::Fault(_)) => no(Code::TryLater, UNAVAILABLE, out),
            Err(NotDone::Refused(refusal)) => refused(&refusal, out),
        }
    }
}

/// The scripts that it is about, as they are named.
fn names<'a>(question: &'a Question, asked: &'a Asked) -> Vec<&'a str> {
    match (question, asked) {
        (_, Asked::Space { name }) => vec![name],
        (Question::Get(name) | Question::Delete(name) | Question::Put { name, .. }, _) => vec![name],
        (Question::Activate(name), _) => name.as_deref().into_iter().collect(),
        (Question::Rename { from, to }, _) => vec![from, to],
        (Question::List | Question::Check(_) | Question::Login(_) | Question::Keys(_), _) => Vec::new(),
    }
}

fn refused(refusal: &Refusal, out: &mut BytesMut) {
    match refusal {
        Refusal::NotFound(_) => no(Code::NonExistent, NOT_THERE, out),
        Refusal::Exists(_) => no(Code::AlreadyExists, "A script of that name is there already", out),
        Refusal::ScriptActive => no(Code::Active, "The script is active", out),
        // Of size nothing is proposed that is too large.
        Refusal::Limit(_) => no(Code::MaxScripts, &too_many(), out),
        Refusal::Invalid(_) => no(Code::None, NO_NAME, out),
        Refusal::OverQuota => no(Code::Quota, "The quota is exceeded", out),
        Refusal::NotAllowed | Refusal::NotPermitted => no(Code::None, "This is not allowed", out),
        Refusal::NotPlaced
        | Refusal::StillBehind
        | Refusal::Expired
        | Refusal::LastCopies(_)
        | Refusal::QueueFull
        | Refusal::LeaseChanged
        | Refusal::LastServing(_)
        | Refusal::Changed => no(Code::TryLater, UNAVAILABLE, out),
    }
}

fn too_large() -> String {
    format!("A script has at most {SCRIPT_BYTES_MAX} octets")
}

fn too_many() -> String {
    format!("There are {SCRIPTS_PER_ACCOUNT_MAX} scripts, and no more may be")
}

const NO_NAME: &str = "A script's name has 1 to 128 characters, and no control characters";
const NOT_THERE: &str = "There is no script of that name";
const UNAVAILABLE: &str = "Temporarily unable, try again";
