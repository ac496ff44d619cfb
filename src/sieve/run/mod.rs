//! A script and a mail: the steps one after the other, and what is left to do at their end.

mod body;
mod conditions;
mod dates;
mod flags;
mod message;
mod outcome;
mod replying;

pub use self::flags::FLAGS_MAX;
pub use self::message::FIELDS_SEEN_MAX;
use self::message::Message;
use self::outcome::Outcome;
use super::error::quoted;
use super::program::{Command, Modifier, Program, Step};
use super::template::{Piece, Template};
use super::work::{Fault, Work};
use super::{Actions, Mail, Mailboxes};
use crate::mail::address::Address;

/// Octets of a variable; what is longer is cut off (RFC 5229 6 asks for 4000).
pub const VARIABLE_BYTES_MAX: usize = 4096;
/// Octets of a string with its variables in place.
pub const STRING_BYTES_MAX: usize = 64 * 1024;

struct Run<'a> {
    mail: &'a Mail<'a>,
    mailboxes: &'a dyn Mailboxes,
    message: Message<'a>,
    work: Work,
    /// By their numbers.
    variables: Vec<String>,
    /// `${0}` and so on.
    matches: Vec<String>,
    /// Of the mail, as far as they were set (RFC 5232 2).
    flags: Vec<String>,
    outcome: Outcome,
}

enum Flow {
    On,
    Stop,
}

pub(super) fn run(program: &Program, mail: &Mail, mailboxes: &dyn Mailboxes, steps: u64) -> Actions {
    let mut run = Run {
        mail,
        mailboxes,
        message: Message::new(mail.head),
        work: Work::new(steps),
        variables: vec![String::new(); program.variables],
        matches: Vec::new(),
        flags: Vec::new(),
        outcome: Outcome::default(),
    };
    let fault = run.steps(&program.steps).err();
    run.outcome.finish(flags::named(&run.flags), fault.map(|fault| fault.to_string()))
}

impl Run<'_> {
    fn steps(&mut self, steps: &[Step]) -> Result<Flow, Fault> {
        for step in steps {
            let flow = self.step(&step.command).map_err(|fault| fault.in_line(step.line))?;
            if matches!(flow, Flow::Stop) {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::On)
    }

    fn step(&mut self, command: &Command) -> Result<Flow, Fault> {
        self.work.spend(1)?;
        match command {
            Command::If(branches) => {
                for branch in branches {
                    if self.test(&branch.test)? {
                        return self.steps(&branch.steps);
                    }
                }
            }
            Command::Stop => return Ok(Flow::Stop),
            Command::Keep { flags } => {
                let flags = self.flags_for(flags.as_deref())?;
                self.outcome.keep(flags)?;
            }
            Command::FileInto { mailbox, copy, create, flags } => {
                let mailbox = self.expand(mailbox)?;
                let flags = self.flags_for(flags.as_deref())?;
                self.outcome.file_into(mailbox, *create, flags, *copy)?;
            }
            Command::Redirect { address, copy } => {
                let text = self.expand(address)?;
                let address = Address::parse(&text);
                let address = address.map_err(|error| Fault::new(format!("{}: {error}", quoted(&text))))?;
                self.outcome.redirect(address, *copy)?;
            }
            Command::Discard => self.outcome.discard(),
            Command::Reject(reason) => {
                let reason = self.expand(reason)?;
                self.outcome.reject(reason)?;
            }
            Command::Vacation(reply) => {
                let vacation = self.reply(reply)?;
                self.outcome.vacation(vacation)?;
            }
            Command::Set { variable, modifiers, value } => {
                let value = self.expand(value)?;
                self.variables[*variable] = modified(value, modifiers);
            }
            Command::Flags { change, variable, flags } => self.change_flags(*change, *variable, flags)?,
            Command::Error(text) => {
                let text = self.expand(text)?;
                return Err(Fault::new(super::encode::one_line(&text)));
            }
        }
        Ok(Flow::On)
    }

    /// A string as it is now. A variable that was never set is empty.
    fn expand(&mut self, template: &Template) -> Result<String, Fault> {
        let mut text = String::new();
        for piece in &template.0 {
            let more = match piece {
                Piece::Text(text) => text,
                Piece::Variable(number) => &self.variables[*number],
                Piece::Match(number) => self.matches.get(*number).map_or("", |text| text),
            };
            self.work.spend(more.len() + 1)?;
            if text.len() + more.len() > STRING_BYTES_MAX {
                return Err(Fault::new(format!("a string has more than {STRING_BYTES_MAX} octets")));
            }
            text.push_str(more);
        }
        Ok(text)
    }

    fn expand_all(&mut self, templates: &[Template]) -> Result<Vec<String>, Fault> {
        templates.iter().map(|template| self.expand(template)).collect()
    }
}

/// RFC 5229 4.1, in the order of precedence; only letters of ASCII have another case.
fn modified(mut value: String, modifiers: &[Modifier]) -> String {
    for modifier in modifiers {
        match modifier {
            Modifier::Lower => value.make_ascii_lowercase(),
            Modifier::Upper => value.make_ascii_uppercase(),
            Modifier::LowerFirst => value.get_mut(..1).unwrap_or_default().make_ascii_lowercase(),
            Modifier::UpperFirst => value.get_mut(..1).unwrap_or_default().make_ascii_uppercase(),
            Modifier::QuoteWildcard => value = quote_wildcards(&value),
            Modifier::Length => value = value.chars().count().to_string(),
        }
    }
    cut(&mut value);
    value
}

/// Leaves no backslash without what it quotes, even where the rest is cut off.
fn quote_wildcards(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len());
    for c in value.chars() {
        let wild = matches!(c, '*' | '?' | '\\');
        if quoted.len() + c.len_utf8() + usize::from(wild) > VARIABLE_BYTES_MAX {
            break;
        }
        if wild {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// To [`VARIABLE_BYTES_MAX`], at the end of a character (RFC 5229 6).
fn cut(value: &mut String) {
    if value.len() > VARIABLE_BYTES_MAX {
        let end = (0..=VARIABLE_BYTES_MAX).rev().find(|at| value.is_char_boundary(*at));
        value.truncate(end.unwrap_or(0));
    }
}
