//! The session: AUTHORIZATION, TRANSACTION, UPDATE (RFC 1939), as phases that carry what they know.

mod authorization;
mod long;
mod question;
mod transaction;

use std::fmt::Write;

use bytes::BytesMut;

use self::long::{Long, TextBound};
use self::transaction::Session;
use super::Policy;
use super::command::{Bad, Command, SASL_LINE_BYTES_MAX, parse};
use crate::mail::lines::{Line, LineReader};
use crate::meters::{self, METERS};
use crate::session::channel::ChannelBindings;
use crate::session::login::Authenticated;
use crate::session::machine::{Machine, Peer, Step};
use crate::session::sasl::{Exchange, Mechanism};

pub use question::{Answer, Maildrop, NoEntry, Question};

pub const BAD_COMMANDS_MAX: u32 = 20;
pub const REFUSED_LOGINS_MAX: u32 = 3;
pub const INPUT_BYTES_MAX: usize = 16 * 1024;

pub struct Pop3 {
    policy: Policy,
    peer: Peer,
    /// What names the TLS below.
    bindings: ChannelBindings,
    phase: Phase,
    lines: LineReader,
    bad_commands: u32,
    refused_logins: u32,
}

enum Phase {
    Authorization {
        user: Option<String>,
    },
    /// The next line is a SASL response. With one who is accepted it is the last.
    Sasl(Box<(Exchange, Option<Entry>)>),
    /// Without an exchange: by PASS.
    LoggingIn(Option<Exchange>),
    Transaction(Box<Session>),
    Fetching(Box<Session>, TextBound),
    Sending(Box<Session>, Long),
    Updating,
    Closing,
}

/// Whom to let in, and to what.
type Entry = (Authenticated, Maildrop);

type Asked = Step<Question>;

impl Pop3 {
    pub fn new(policy: Policy, peer: Peer) -> Self {
        Self {
            policy,
            peer,
            bindings: ChannelBindings::default(),
            phase: Phase::Authorization { user: None },
            lines: LineReader::default(),
            bad_commands: 0,
            refused_logins: 0,
        }
    }

    /// One line; `None`: go on at once.
    fn step_line(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Asked> {
        let line = match self.lines.take(input, SASL_LINE_BYTES_MAX) {
            Line::Partial => return Some(Step::NeedInput),
            Line::Whole(line) => Some(line),
            Line::TooLong => None,
        };
        if let Phase::Sasl(_) = self.phase {
            let Phase::Sasl(sasl) = std::mem::replace(&mut self.phase, Phase::Authorization { user: None })
            else {
                return None;
            };
            return match line {
                Some(line) => self.on_sasl(*sasl, &line, out),
                None => self.bad("line too long", out),
            };
        }
        let parsed = line.map_or(Err(Bad::TooLong), |line| parse(&line));
        match parsed {
            Ok(command) => self.on_command(command, out),
            Err(bad) => self.bad(&bad.to_string(), out),
        }
    }

    fn on_command(&mut self, command: Command, out: &mut BytesMut) -> Option<Asked> {
        match command {
            Command::Capa => self.on_capa(out),
            Command::Quit => self.on_quit(out),
            _ => match std::mem::replace(&mut self.phase, Phase::Closing) {
                Phase::Authorization { user } => {
                    self.phase = Phase::Authorization { user: None };
                    self.in_authorization(command, user, out)
                }
                Phase::Transaction(session) => self.in_transaction(command, session, out),
                other => {
                    self.phase = other;
                    self.bad("not now", out)
                }
            },
        }
    }

    fn on_capa(&mut self, out: &mut BytesMut) -> Option<Asked> {
        let in_authorization = matches!(self.phase, Phase::Authorization { .. });
        ok("Capability list follows", out);
        out.extend_from_slice(b"TOP\r\nUIDL\r\nRESP-CODES\r\n");
        out.extend_from_slice(b"AUTH-RESP-CODE\r\nPIPELINING\r\n");
        if in_authorization && self.policy.tls_offered && !self.peer.tls {
            out.extend_from_slice(b"STLS\r\n");
        }
        if !in_authorization || self.takes_logins() {
            let names: Vec<&str> = self.mechanisms().into_iter().map(Mechanism::name).collect();
            line(out, format_args!("USER\r\nSASL {}", names.join(" ")));
        }
        out.extend_from_slice(b"EXPIRE NEVER\r\nIMPLEMENTATION Pollux\r\n.\r\n");
        None
    }

    fn bad(&mut self, why: &str, out: &mut BytesMut) -> Option<Asked> {
        self.bad_commands += 1;
        if self.bad_commands > BAD_COMMANDS_MAX {
            line(out, format_args!("-ERR too many errors"));
            self.phase = Phase::Closing;
            return Some(Step::Close);
        }
        line(out, format_args!("-ERR {why}"));
        None
    }
}

fn ok(text: &str, out: &mut BytesMut) -> Option<Asked> {
    line(out, format_args!("+OK{}{text}", if text.is_empty() { "" } else { " " }));
    None
}

fn line(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    let start = out.len();
    // Writing to a buffer that grows cannot fail.
    let _ = write!(out, "{text}\r\n");
    // No other line begins so: those of listings have a number or a word in front.
    match &out[start..] {
        [b'+', b'O', ..] => METERS.replies.of(meters::Reply::Pop3Ok).one(),
        [b'-', ..] => METERS.replies.of(meters::Reply::Pop3Err).one(),
        _ => {}
    }
}

impl Machine for Pop3 {
    type Question = Question;
    type Answer = Answer;

    fn open(&mut self, out: &mut BytesMut) {
        line(out, format_args!("+OK {}", self.policy.banner));
    }

    fn step(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Asked {
        loop {
            let step = match self.phase {
                Phase::Authorization { .. } | Phase::Sasl(_) | Phase::Transaction(_) => {
                    self.step_line(input, out)
                }
                Phase::Sending(..) => self.step_sending(out),
                Phase::Closing => Some(Step::Close),
                // The answer is awaited; the driver does not step meanwhile.
                Phase::LoggingIn(_) | Phase::Fetching(..) | Phase::Updating => Some(Step::NeedInput),
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
            Answer::Body(body) => self.on_body(body, out),
            Answer::Deleted(deleted) => self.on_deleted(deleted, out),
        }
    }

    fn bind_channel(&mut self, bindings: ChannelBindings) {
        self.bindings = bindings;
    }

    fn tls_started(&mut self) {
        self.peer.tls = true;
        self.phase = Phase::Authorization { user: None };
        self.lines = LineReader::default();
    }

    fn timed_out(&mut self, out: &mut BytesMut) {
        // RFC 1939 3: without the UPDATE state, so nothing is deleted.
        line(out, format_args!("-ERR silent for too long"));
    }

    fn shutting_down(&mut self, out: &mut BytesMut) {
        line(out, format_args!("-ERR [SYS/TEMP] this node is stopping, try again"));
    }

    fn login_ended(&mut self, out: &mut BytesMut) {
        line(out, format_args!("-ERR [AUTH] this account is not open to you any more"));
    }

    fn idle_seconds_max(&self) -> u64 {
        match self.phase {
            Phase::Authorization { .. } | Phase::Sasl(_) | Phase::LoggingIn(_) => {
                self.policy.login_seconds_max
            }
            _ => self.policy.idle_seconds_max,
        }
    }

    fn input_max(&self) -> usize {
        INPUT_BYTES_MAX
    }

    fn is_mid_command(&self) -> bool {
        self.lines.is_swallowing()
    }

    /// What was marked is deleted by QUIT alone (RFC 1939 6): cut off before it, a client would fetch the same mail again.
    fn is_mid_transaction(&self) -> bool {
        !matches!(self.phase, Phase::Authorization { .. } | Phase::Closing)
    }
}
