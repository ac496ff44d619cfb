//! The session: phases that carry what they know, and what each command does in each.

mod addressing;
mod auth;
mod data;
mod deliver;
mod hello;
mod question;
mod receiving;
mod stranger;
mod submission;

use bytes::BytesMut;

use self::receiving::{Framing, Receiving};
use self::stranger::Parsed;
use super::Policy;
use super::command::{Command, SASL_LINE_BYTES_MAX, parse};
use super::delays::Crowded;
use super::envelope::{Envelope, RcptParams};
use super::received::Hello;
use super::reply::{self, Reply};
use crate::mail::address::ForwardPath;
use crate::mail::lines::{Line, LineReader};
use crate::session::channel::ChannelBindings;
use crate::session::login::Authenticated;
use crate::session::machine::{Machine, Peer, Step};
use crate::session::sasl::Exchange;

pub use question::{Answer, NoReturn, Outgoing, Question, Verdict};
pub use stranger::{DELAY_SECONDS_MAX, GREETING_DELAY_MS};
pub use submission::HEADER_BYTES_MAX;

/// Bad commands in one session before it is closed.
pub const BAD_COMMANDS_MAX: u32 = 20;
/// Refused logins in one session before it is closed.
pub const REFUSED_LOGINS_MAX: u32 = 3;
/// Input gathered before a step, bytes; also what a pipelining client may have under way.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Text read past a refusal to hear its end, bytes over the size limit; beyond it the session is closed.
const SWALLOWED_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub struct Smtp {
    policy: Policy,
    peer: Peer,
    /// What names the TLS below.
    bindings: ChannelBindings,
    hello: Option<Hello>,
    login: Option<Authenticated>,
    phase: Phase,
    lines: LineReader,
    /// The backend holds an unfinished body.
    body_begun: bool,
    bad_commands: u32,
    refused_logins: u32,
    /// Commands that did nothing for a mail, since the last one was taken.
    junk_commands: u64,
    /// A line whose turn comes after a pause.
    delayed: Option<Parsed>,
}

enum Phase {
    Ready,
    /// Waits for [`Answer::Sender`].
    Opening(Box<Envelope>),
    Addressed(Box<Envelope>),
    /// The next line is a SASL response. With one who is accepted it is the last.
    Sasl(Exchange, Option<Authenticated>),
    /// Waits for [`Answer::Keys`] or [`Answer::Login`].
    LoggingIn(Exchange),
    Judging(Box<Envelope>, ForwardPath, RcptParams),
    Beginning(Box<Envelope>, Framing),
    Receiving(Box<Receiving>),
    /// A part of the body is being taken.
    Handing(Box<Receiving>),
    Delivering(Box<Envelope>, String),
    /// Octets of a refused BDAT, then its reply.
    Skipping {
        left: u64,
        reply: Reply,
    },
    Closing,
}

type Asked = Step<Question>;

impl Smtp {
    pub fn new(policy: Policy, peer: Peer) -> Self {
        Self {
            policy,
            peer,
            bindings: ChannelBindings::default(),
            hello: None,
            login: None,
            phase: Phase::Ready,
            lines: LineReader::default(),
            body_begun: false,
            bad_commands: 0,
            refused_logins: 0,
            junk_commands: 0,
            delayed: None,
        }
    }

    /// One command, or one line of a SASL dialogue. `None`: go on at once.
    fn step_line(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Asked> {
        let line = self.lines.take(input, SASL_LINE_BYTES_MAX);
        if line == Line::Partial {
            return Some(Step::NeedInput);
        }
        if let Phase::Sasl(..) = self.phase {
            let Phase::Sasl(exchange, who) = std::mem::replace(&mut self.phase, Phase::Ready) else {
                return None;
            };
            return match line {
                Line::Whole(line) => self.on_sasl(exchange, who, &line, out),
                Line::TooLong | Line::Partial => self.bad(reply::LINE_TOO_LONG, out),
            };
        }
        let parsed = match line {
            Line::Whole(line) => parse(&line),
            Line::TooLong | Line::Partial => Err(reply::LINE_TOO_LONG),
        };
        self.take_line(parsed, input, out)
    }

    fn on_command(&mut self, command: Command, out: &mut BytesMut) -> Option<Asked> {
        // RFC 3207 4: before TLS nothing else is heard.
        let free = matches!(
            command,
            Command::Hello { .. } | Command::StartTls | Command::Noop | Command::Rset | Command::Quit
        );
        if self.policy.tls_forced && !self.peer.tls && !free {
            if let Command::Bdat { bytes, .. } = command {
                return self.skip(bytes, reply::TLS_FIRST, out);
            }
            return self.bad(reply::TLS_FIRST, out);
        }
        match command {
            Command::Hello { verb, name } => self.on_hello(verb, name, out),
            Command::Mail { from, params } => self.on_mail(from, params, out),
            Command::Rcpt { to, params } => self.on_rcpt(to, params, out),
            Command::Data => self.on_data(out),
            Command::Bdat { bytes, last } => self.on_bdat(bytes, last, out),
            Command::Auth { mechanism, initial } => self.on_auth(&mechanism, initial, out),
            Command::StartTls => self.on_starttls(out),
            Command::Rset => {
                self.phase = Phase::Ready;
                self.say(reply::OK, out)
            }
            Command::Noop => self.say(reply::OK, out),
            Command::Vrfy => self.say(reply::VRFY, out),
            Command::Help => self.say(reply::HELP, out),
            Command::Quit => self.close(reply::BYE, out),
        }
    }

    /// An error of the client; too many of them end the session.
    fn bad(&mut self, reply: Reply, out: &mut BytesMut) -> Option<Asked> {
        self.bad_commands += 1;
        if self.bad_commands > BAD_COMMANDS_MAX {
            return self.close(reply::TOO_MANY_ERRORS, out);
        }
        self.say(reply, out)
    }

    fn say(&mut self, reply: Reply, out: &mut BytesMut) -> Option<Asked> {
        reply.write(out);
        None
    }

    fn close(&mut self, reply: Reply, out: &mut BytesMut) -> Option<Asked> {
        reply.write(out);
        self.phase = Phase::Closing;
        Some(Step::Close)
    }
}

impl Machine for Smtp {
    type Question = Question;
    type Answer = Answer;

    fn open(&mut self, out: &mut BytesMut) {
        Reply { code: 220, enhanced: "", text: self.policy.banner.clone().into() }.write(out);
    }

    fn listens_ms(&self) -> u64 {
        if self.policy.refuse_early_talk && self.is_stranger() { GREETING_DELAY_MS } else { 0 }
    }

    fn interrupted(&mut self, out: &mut BytesMut) {
        self.close(reply::EARLY_TALK, out);
    }

    fn step(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Asked {
        loop {
            let uses_body =
                matches!(self.phase, Phase::Receiving(_) | Phase::Handing(_) | Phase::Beginning(..));
            if self.body_begun && !uses_body {
                self.body_begun = false;
                return Step::Ask(Question::AbandonBody);
            }
            if let Some(parsed) = self.delayed.take() {
                if let Some(step) = self.obey(parsed, out) {
                    return step;
                }
                continue;
            }
            let step = match self.phase {
                Phase::Ready | Phase::Addressed(_) | Phase::Sasl(..) => self.step_line(input, out),
                Phase::Receiving(_) => self.step_receiving(input, out),
                Phase::Skipping { .. } => self.step_skipping(input, out),
                Phase::Closing => Some(Step::Close),
                // The answer is awaited; the driver does not step meanwhile.
                Phase::LoggingIn(_)
                | Phase::Opening(_)
                | Phase::Judging(..)
                | Phase::Beginning(..)
                | Phase::Handing(_)
                | Phase::Delivering(..) => Some(Step::NeedInput),
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
            Answer::Delayed(Ok(())) => {}
            Answer::Delayed(Err(Crowded)) => {
                self.delayed = None;
                self.close(reply::TOO_MUCH_JUNK, out);
            }
            Answer::Sender(opening) => self.on_opening(opening, out),
            Answer::Recipient(verdict) => self.on_verdict(verdict, out),
            Answer::Begun(begun) => self.on_begun(begun, out),
            Answer::TooMany => self.on_not_begun(reply::TOO_MANY_MESSAGES, out),
            Answer::Chunk(taken) => self.on_chunk(taken),
            Answer::Delivered(results) => self.on_delivered(results, out),
            Answer::Refused(refusal) => self.on_refused(refusal, out),
            Answer::Abandoned => {}
        }
    }

    fn bind_channel(&mut self, bindings: ChannelBindings) {
        self.bindings = bindings;
    }

    fn tls_started(&mut self) {
        // RFC 3207 4.2: whatever was said in the clear is forgotten.
        self.peer.tls = true;
        self.hello = None;
        self.login = None;
        self.phase = Phase::Ready;
        self.lines = LineReader::default();
    }

    fn timed_out(&mut self, out: &mut BytesMut) {
        reply::IDLE.write(out);
    }

    fn shutting_down(&mut self, out: &mut BytesMut) {
        reply::STOPPING.write(out);
    }

    fn login_ended(&mut self, out: &mut BytesMut) {
        reply::LOGIN_ENDED.write(out);
    }

    fn idle_seconds_max(&self) -> u64 {
        self.policy.idle_seconds_max
    }

    fn input_max(&self) -> usize {
        INPUT_BYTES_MAX
    }

    /// Between the chunks of BDAT too: a message that is begun must come to its end.
    fn is_mid_command(&self) -> bool {
        let receiving = matches!(self.phase, Phase::Receiving(_) | Phase::Skipping { .. });
        receiving || self.lines.is_swallowing()
    }

    fn is_mid_transaction(&self) -> bool {
        !matches!(self.phase, Phase::Ready | Phase::Closing) || self.lines.is_swallowing()
    }
}
