//! The session: before the login and behind it (RFC 5804 1.5), as phases that carry what they know.

mod authorization;
mod question;
mod scripts;

use bytes::BytesMut;

use self::scripts::Asked;
use super::Policy;
use super::command::{Command, parse};
use super::reader::{Bad, LiteralBounds, Reader, SWALLOWED_BYTES_MAX, Taken, Word};
use super::reply::{Code, bye, no, ok, string};
use crate::session::channel::ChannelBindings;
use crate::session::login::Authenticated;
use crate::session::machine::{Machine, Peer, Step};
use crate::session::sasl::{Exchange, Mechanism};
use crate::sieve::{CAPABILITIES, REDIRECTS_MAX};
use crate::state::sieve::SCRIPT_BYTES_MAX;

pub use question::{Answer, NotDone, Question};

pub const BAD_COMMANDS_MAX: u32 = 20;
pub const REFUSED_LOGINS_MAX: u32 = 3;
pub const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Octets of a literal before the login: a base64 PLAIN of the longest credentials fits.
pub const SASL_BYTES_MAX: usize = 4096;
/// With so many octets unsent, no further command is looked at.
const GATHERED_BYTES_MAX: usize = 32 * 1024;
const SASL_BOUNDS: LiteralBounds =
    LiteralBounds { kept_bytes_max: SASL_BYTES_MAX as u64, swallowed_bytes_max: SASL_BYTES_MAX as u64 };
const SCRIPT_BOUNDS: LiteralBounds =
    LiteralBounds { kept_bytes_max: SCRIPT_BYTES_MAX as u64, swallowed_bytes_max: SWALLOWED_BYTES_MAX };

pub struct ManageSieve {
    policy: Policy,
    peer: Peer,
    /// What names the TLS below.
    bindings: ChannelBindings,
    phase: Phase,
    reader: Reader,
    /// RFC 5804 2.2: after the handshake the capabilities are said again, unasked.
    announces: bool,
    bad_commands: u32,
    refused_logins: u32,
}

enum Phase {
    Authorization,
    /// The next line is a SASL response.
    Sasl(Box<Exchange>),
    LoggingIn(Box<Exchange>),
    LoggedIn(Authenticated),
    Waiting(Authenticated, Asked),
    Closing,
}

type Next = Step<Question>;

impl ManageSieve {
    pub fn new(policy: Policy, peer: Peer) -> Self {
        Self {
            policy,
            peer,
            bindings: ChannelBindings::default(),
            phase: Phase::Authorization,
            reader: Reader::default(),
            announces: false,
            bad_commands: 0,
            refused_logins: 0,
        }
    }

    /// One command, or SASL response; `None`: go on at once.
    fn step_command(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Next> {
        let bounds = match self.phase {
            Phase::LoggedIn(_) => SCRIPT_BOUNDS,
            _ => SASL_BOUNDS,
        };
        let taken = match self.reader.take(input, bounds) {
            Taken::Partial => return Some(Step::NeedInput),
            Taken::Hopeless(bad) => {
                let code = if bad == Bad::LiteralTooLong { Code::MaxSize } else { Code::None };
                return self.close(code, &bad.to_string(), out);
            }
            Taken::Bad(bad) => Err(bad),
            Taken::Command(words) => Ok(words),
        };
        match std::mem::replace(&mut self.phase, Phase::Authorization) {
            Phase::Sasl(exchange) => match taken.map(<[Word; 1]>::try_from) {
                Ok(Ok([Word::Text(response)])) => self.on_sasl(exchange, &response, out),
                Ok(_) => self.bad(Bad::Syntax, out),
                Err(bad) => self.bad(bad, out),
            },
            phase => {
                self.phase = phase;
                match taken.and_then(parse) {
                    Ok(command) => self.on_command(command, out),
                    Err(bad) => self.bad(bad, out),
                }
            }
        }
    }

    fn on_command(&mut self, command: Command, out: &mut BytesMut) -> Option<Next> {
        match command {
            Command::Capability => {
                self.capabilities(out);
                ok(Code::None, "Capabilities", out);
                None
            }
            Command::Noop(tag) => {
                ok(tag.as_deref().map_or(Code::None, Code::Tag), "Done", out);
                None
            }
            Command::Logout => {
                ok(Code::None, "Bye", out);
                self.phase = Phase::Closing;
                Some(Step::Close)
            }
            _ => match std::mem::replace(&mut self.phase, Phase::Authorization) {
                Phase::LoggedIn(who) => self.when_logged_in(command, who, out),
                _ => self.before_login(command, out),
            },
        }
    }

    /// RFC 5804 1.7.
    fn capabilities(&self, out: &mut BytesMut) {
        let names: Vec<&str> = match self.takes_logins() {
            true => self.mechanisms().into_iter().map(Mechanism::name).collect(),
            false => Vec::new(),
        };
        capability("IMPLEMENTATION", Some("Pollux"), out);
        capability("SASL", Some(&names.join(" ")), out);
        capability("SIEVE", Some(&CAPABILITIES.join(" ")), out);
        if self.offers_tls() {
            capability("STARTTLS", None, out);
        }
        capability("MAXREDIRECTS", Some(&REDIRECTS_MAX.to_string()), out);
        if let Phase::LoggedIn(who) = &self.phase {
            capability("OWNER", Some(who.name()), out);
        }
        capability("VERSION", Some("1.0"), out);
    }

    fn offers_tls(&self) -> bool {
        self.policy.tls_offered && !self.peer.tls && !matches!(self.phase, Phase::LoggedIn(_))
    }

    fn greet(&mut self, out: &mut BytesMut) {
        self.capabilities(out);
        let text = match self.policy.hostname.as_str() {
            "" => "ManageSieve ready".to_owned(),
            hostname => format!("{hostname} ManageSieve ready"),
        };
        ok(Code::None, &text, out);
    }

    fn bad(&mut self, bad: Bad, out: &mut BytesMut) -> Option<Next> {
        let code = match (bad, &self.phase) {
            (Bad::LiteralTooLong, Phase::LoggedIn(_)) => Code::MaxSize,
            _ => Code::None,
        };
        self.bad_as(code, &bad.to_string(), out)
    }

    /// A command that should not have been sent: of those there is a bound.
    fn bad_as(&mut self, code: Code<'_>, why: &str, out: &mut BytesMut) -> Option<Next> {
        self.bad_commands += 1;
        if self.bad_commands > BAD_COMMANDS_MAX {
            return self.close(Code::None, "Too many errors", out);
        }
        no(code, why, out);
        None
    }

    fn close(&mut self, code: Code<'_>, why: &str, out: &mut BytesMut) -> Option<Next> {
        bye(code, why, out);
        self.phase = Phase::Closing;
        Some(Step::Close)
    }
}

fn capability(name: &str, value: Option<&str>, out: &mut BytesMut) {
    string(name, out);
    if let Some(value) = value {
        out.extend_from_slice(b" ");
        string(value, out);
    }
    out.extend_from_slice(b"\r\n");
}

impl Machine for ManageSieve {
    type Question = Question;
    type Answer = Answer;

    fn open(&mut self, out: &mut BytesMut) {
        self.greet(out);
    }

    fn step(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Next {
        if std::mem::take(&mut self.announces) {
            self.greet(out);
        }
        loop {
            // Commands that come in one piece may each have a long answer.
            if out.len() >= GATHERED_BYTES_MAX {
                return Step::Flush;
            }
            let step = match self.phase {
                Phase::Authorization | Phase::Sasl(_) | Phase::LoggedIn(_) => self.step_command(input, out),
                Phase::Closing => Some(Step::Close),
                // The answer is awaited; the driver does not step meanwhile.
                Phase::LoggingIn(_) | Phase::Waiting(..) => Some(Step::NeedInput),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn answer(&mut self, answer: Answer, out: &mut BytesMut) {
        match answer {
            Answer::Login(login) => self.on_login(login, out),
            Answer::Keys(keys) => self.on_keys(keys, out),
            Answer::Scripts(scripts) => self.on_scripts(scripts, out),
            Answer::Script(script) => self.on_script(script, out),
            Answer::Done(done) => self.on_done(done, out),
        }
    }

    fn bind_channel(&mut self, bindings: ChannelBindings) {
        self.bindings = bindings;
    }

    fn tls_started(&mut self) {
        self.peer.tls = true;
        self.phase = Phase::Authorization;
        self.reader = Reader::default();
        self.announces = true;
    }

    fn timed_out(&mut self, out: &mut BytesMut) {
        bye(Code::None, "Silent for too long", out);
    }

    fn shutting_down(&mut self, out: &mut BytesMut) {
        bye(Code::TryLater, "This node is stopping, try again", out);
    }

    fn login_ended(&mut self, out: &mut BytesMut) {
        bye(Code::None, "This account is not open to you any more", out);
    }

    fn idle_seconds_max(&self) -> u64 {
        match self.phase {
            Phase::Authorization | Phase::Sasl(_) | Phase::LoggingIn(_) => self.policy.login_seconds_max,
            Phase::LoggedIn(_) | Phase::Waiting(..) | Phase::Closing => self.policy.idle_seconds_max,
        }
    }

    fn input_max(&self) -> usize {
        INPUT_BYTES_MAX
    }

    fn is_mid_command(&self) -> bool {
        self.reader.is_mid_command()
    }
}
