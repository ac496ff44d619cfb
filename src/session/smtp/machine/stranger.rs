//! What a stranger on port 25 is held to: to wait for what it has to wait for, and not to keep us busy with nothing.

use bytes::BytesMut;

use super::{Asked, Question, Smtp};
use crate::session::machine::Step;
use crate::session::smtp::command::Command;
use crate::session::smtp::reply::{self, Reply};

/// How long a reply is held back at the most, seconds.
pub const DELAY_SECONDS_MAX: u64 = 10;
/// How long we listen before we greet, milliseconds: who talks meanwhile does not wait for greetings.
pub const GREETING_DELAY_MS: u64 = 250;

/// A line as it was understood, or what its sender hears of it.
pub(super) type Parsed = Result<Command, Reply>;

impl Smtp {
    /// Neither one of our users, as far as is known, nor one of our hosts.
    pub(super) fn is_stranger(&self) -> bool {
        self.policy.checked && self.login.is_none()
    }

    /// A line of the client. `None`: go on at once.
    pub(super) fn take_line(
        &mut self,
        parsed: Parsed,
        input: &BytesMut,
        out: &mut BytesMut,
    ) -> Option<Asked> {
        if self.talks_early(&parsed, input) {
            // What was said too early is not read as commands.
            return self.close(reply::EARLY_TALK, out);
        }
        let seconds = self.delay_seconds();
        if seconds > 0 && parsed != Ok(Command::Quit) {
            self.delayed = Some(parsed);
            return Some(Step::Ask(Question::Delay { seconds }));
        }
        self.obey(parsed, out)
    }

    pub(super) fn obey(&mut self, parsed: Parsed, out: &mut BytesMut) -> Option<Asked> {
        self.junk_commands = self.junk_commands.saturating_add(u64::from(is_junk(&parsed)));
        match parsed {
            Ok(command) => self.on_command(command, out),
            Err(reply) => self.bad(reply, out),
        }
    }

    /// RFC 2920 3.1: only what EHLO allows is sent in groups, and some commands only as the last of one.
    fn talks_early(&self, parsed: &Parsed, input: &BytesMut) -> bool {
        if !self.policy.refuse_early_talk || !self.is_stranger() || input.is_empty() {
            return false;
        }
        let in_groups = self.hello.as_ref().is_some_and(|hello| hello.extended);
        match parsed {
            // RFC 3030 2: its octets follow at once. After QUIT nothing is heard anyway.
            Ok(Command::Bdat { .. } | Command::Quit) => false,
            Ok(
                Command::Hello { .. }
                | Command::Data
                | Command::Auth { .. }
                | Command::StartTls
                | Command::Noop
                | Command::Vrfy,
            ) => true,
            Ok(Command::Mail { .. } | Command::Rcpt { .. } | Command::Rset | Command::Help) | Err(_) => {
                !in_groups
            }
        }
    }

    /// Row 53.
    fn delay_seconds(&self) -> u64 {
        match self.policy.junk_commands_max {
            Some(count) if self.is_stranger() => (self.junk_commands / count).min(DELAY_SECONDS_MAX),
            _ => 0,
        }
    }
}

/// Does nothing for a mail. One that is taken pays for those before it.
fn is_junk(parsed: &Parsed) -> bool {
    match parsed {
        Ok(Command::Noop | Command::Rset | Command::Vrfy | Command::Help) => true,
        // EXPN, ETRN and their like.
        Err(reply) => *reply == reply::NOT_IMPLEMENTED,
        Ok(_) => false,
    }
}
