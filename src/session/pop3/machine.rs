//! The session: AUTHORIZATION, TRANSACTION, UPDATE (RFC 1939), as phases that carry what they know.

use std::collections::BTreeSet;
use std::fmt::Write;

use bytes::{Bytes, BytesMut};

use super::Policy;
use super::command::{Command, SASL_LINE_BYTES_MAX, parse};
use crate::cluster::replica::Fault;
use crate::mail::ids::{Uid, UidValidity};
use crate::mail::lines::{Line, LineReader};
use crate::session::login::{Authenticated, Credentials, LoginRefused};
use crate::session::machine::{Machine, Peer, Step};

pub const BAD_COMMANDS_MAX: u32 = 20;
pub const REFUSED_LOGINS_MAX: u32 = 3;
pub const INPUT_BYTES_MAX: usize = 16 * 1024;
/// A long answer is written in parts of about this many bytes.
const PART_BYTES: usize = 32 * 1024;

#[derive(Debug)]
pub enum Question {
    /// Check the login, then open its INBOX.
    Login(Credentials),
    /// The raw message.
    Body(Uid),
    /// Expunge these, all or none.
    Delete(Vec<Uid>),
}

#[derive(Debug)]
pub enum Answer {
    Login(Result<(Authenticated, Maildrop), NoEntry>),
    /// `None`: another session has expunged it.
    Body(Result<Option<Bytes>, Fault>),
    Deleted(Result<(), Fault>),
}

#[derive(Debug)]
pub enum NoEntry {
    Refused(LoginRefused),
    Fault(Fault),
}

/// INBOX as it was at login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maildrop {
    pub uid_validity: UidValidity,
    /// Ascending by UID; sizes in octets. Message *n* is entry *n - 1*.
    pub messages: Vec<(Uid, u32)>,
}

pub struct Pop3 {
    policy: Policy,
    peer: Peer,
    phase: Phase,
    lines: LineReader,
    bad_commands: u32,
    refused_logins: u32,
}

enum Phase {
    Authorization {
        user: Option<String>,
    },
    /// The next line is the SASL PLAIN response.
    Sasl,
    LoggingIn,
    Transaction(Box<Session>),
    Fetching(Box<Session>, TextBound),
    Sending(Box<Session>, Long),
    Updating,
    Closing,
}

struct Session {
    drop: Maildrop,
    /// Indices into the maildrop.
    deleted: BTreeSet<usize>,
}

/// An answer too long to be written at once.
enum Long {
    List { next: usize },
    Uidl { next: usize },
    Text(Text),
}

/// A message on its way out: dot-stuffed, ended by CRLF and a dot.
struct Text {
    raw: Bytes,
    at: usize,
    line_start: bool,
    bound: TextBound,
    in_header: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextBound {
    Whole,
    /// The header, the blank line and this many lines of the body.
    BodyLines(u64),
}

type Asked = Step<Question>;

impl Pop3 {
    pub fn new(policy: Policy, peer: Peer) -> Self {
        Self {
            policy,
            peer,
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
        if let Phase::Sasl = self.phase {
            self.phase = Phase::Authorization { user: None };
            return self.on_sasl(&line.unwrap_or_default(), out);
        }
        let parsed = line.map_or(Err(super::command::Bad::TooLong), |line| parse(&line));
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
        out.extend_from_slice(b"+OK Capability list follows\r\nTOP\r\nUIDL\r\nRESP-CODES\r\n");
        out.extend_from_slice(b"AUTH-RESP-CODE\r\nPIPELINING\r\n");
        if in_authorization && self.policy.tls_offered && !self.peer.tls {
            out.extend_from_slice(b"STLS\r\n");
        }
        if !in_authorization || self.takes_logins() {
            out.extend_from_slice(b"USER\r\nSASL PLAIN\r\n");
        }
        out.extend_from_slice(b"EXPIRE NEVER\r\nIMPLEMENTATION Pollux\r\n.\r\n");
        None
    }

    /// Requirement 14: no password in the clear unless the policy says so.
    fn takes_logins(&self) -> bool {
        self.peer.tls || self.policy.login_without_tls
    }

    fn in_authorization(
        &mut self,
        command: Command,
        user: Option<String>,
        out: &mut BytesMut,
    ) -> Option<Asked> {
        match command {
            Command::Stls if self.peer.tls => self.bad("TLS is active already", out),
            Command::Stls if !self.policy.tls_offered => self.bad("TLS is not available", out),
            Command::Stls => {
                out.extend_from_slice(b"+OK Begin TLS negotiation\r\n");
                Some(Step::StartTls)
            }
            Command::User(_) | Command::Pass(_) | Command::Auth { .. } if !self.takes_logins() => {
                self.bad("plaintext logins are refused; use STLS first", out)
            }
            Command::User(name) => {
                self.phase = Phase::Authorization { user: Some(name) };
                ok("Send the password", out)
            }
            Command::Pass(password) => {
                let user = user.unwrap_or_default();
                match Credentials::new(user.as_bytes(), password.as_bytes()) {
                    Some(credentials) => self.log_in(credentials),
                    None => self.bad("USER first", out),
                }
            }
            Command::Auth { mechanism: None, .. } => {
                out.extend_from_slice(b"+OK\r\nPLAIN\r\n.\r\n");
                None
            }
            Command::Auth { mechanism: Some(mechanism), initial } if mechanism == "PLAIN" => match initial {
                Some(initial) => self.on_sasl(initial.as_bytes(), out),
                None => {
                    self.phase = Phase::Sasl;
                    out.extend_from_slice(b"+ \r\n");
                    None
                }
            },
            Command::Auth { .. } => self.bad("unknown authentication mechanism", out),
            _ => self.bad("log in first", out),
        }
    }

    fn on_sasl(&mut self, response: &[u8], out: &mut BytesMut) -> Option<Asked> {
        if response == b"*" {
            return self.bad("authentication cancelled", out);
        }
        match Credentials::from_sasl_plain(response) {
            Some(credentials) => self.log_in(credentials),
            None => self.bad("cannot decode the response", out),
        }
    }

    fn log_in(&mut self, credentials: Credentials) -> Option<Asked> {
        self.phase = Phase::LoggingIn;
        Some(Step::Ask(Question::Login(credentials)))
    }

    fn on_login(&mut self, login: Result<(Authenticated, Maildrop), NoEntry>, out: &mut BytesMut) {
        self.phase = Phase::Authorization { user: None };
        match login {
            Ok((who, drop)) => {
                let (count, octets) = (drop.messages.len(), octets(drop.messages.iter()));
                line(out, format_args!("+OK {} has {count} messages ({octets} octets)", who.name()));
                self.phase = Phase::Transaction(Box::new(Session { drop, deleted: BTreeSet::new() }));
            }
            Err(NoEntry::Refused(LoginRefused::Wrong)) => {
                line(out, format_args!("-ERR [AUTH] the login is not valid"));
                self.refused_logins += 1;
                if self.refused_logins >= REFUSED_LOGINS_MAX {
                    self.phase = Phase::Closing;
                }
            }
            Err(NoEntry::Refused(LoginRefused::Busy) | NoEntry::Fault(_)) => {
                line(out, format_args!("-ERR [SYS/TEMP] temporarily unable, try again"));
            }
        }
    }

    fn in_transaction(
        &mut self,
        command: Command,
        mut session: Box<Session>,
        out: &mut BytesMut,
    ) -> Option<Asked> {
        let asked = match command {
            Command::Stat => {
                let kept = session.kept();
                let (count, octets) = (kept.len(), octets(kept.iter().map(|(_, message)| *message)));
                line(out, format_args!("+OK {count} {octets}"));
                None
            }
            Command::List(None) => {
                line(out, format_args!("+OK scan listing follows"));
                self.phase = Phase::Sending(session, Long::List { next: 0 });
                return None;
            }
            Command::Uidl(None) => {
                line(out, format_args!("+OK unique-id listing follows"));
                self.phase = Phase::Sending(session, Long::Uidl { next: 0 });
                return None;
            }
            Command::Rset => {
                session.deleted.clear();
                ok("nothing is marked for deletion", out)
            }
            Command::Noop => ok("", out),
            Command::List(Some(number)) | Command::Uidl(Some(number)) | Command::Dele(number)
                if session.find(number).is_none() =>
            {
                self.bad("no such message", out)
            }
            Command::Retr(number) | Command::Top { message: number, .. }
                if session.find(number).is_none() =>
            {
                self.bad("no such message", out)
            }
            Command::List(Some(number)) => {
                line(out, format_args!("+OK {number} {}", session.drop.messages[number - 1].1));
                None
            }
            Command::Uidl(Some(number)) => {
                let uid = session.drop.messages[number - 1].0;
                line(out, format_args!("+OK {number} {}.{uid}", session.drop.uid_validity));
                None
            }
            Command::Dele(number) => {
                session.deleted.insert(number - 1);
                ok("marked for deletion", out)
            }
            Command::Retr(number) => return self.fetch(session, number, TextBound::Whole),
            Command::Top { message, lines } => {
                return self.fetch(session, message, TextBound::BodyLines(lines));
            }
            Command::Capa
            | Command::Quit
            | Command::Stls
            | Command::User(_)
            | Command::Pass(_)
            | Command::Auth { .. } => self.bad("already logged in", out),
        };
        // Unless too many errors have closed the session.
        if asked.is_none() {
            self.phase = Phase::Transaction(session);
        }
        asked
    }

    fn fetch(&mut self, session: Box<Session>, number: usize, bound: TextBound) -> Option<Asked> {
        let uid = session.drop.messages[number - 1].0;
        self.phase = Phase::Fetching(session, bound);
        Some(Step::Ask(Question::Body(uid)))
    }

    fn on_body(&mut self, body: Result<Option<Bytes>, Fault>, out: &mut BytesMut) {
        let Phase::Fetching(session, bound) = std::mem::replace(&mut self.phase, Phase::Closing) else {
            return;
        };
        match body {
            Ok(Some(raw)) => {
                match bound {
                    TextBound::Whole => line(out, format_args!("+OK {} octets", raw.len())),
                    TextBound::BodyLines(_) => line(out, format_args!("+OK top of message follows")),
                }
                self.phase = Phase::Sending(session, Long::Text(Text::new(raw, bound)));
                return;
            }
            Ok(None) => line(out, format_args!("-ERR the message was deleted by another session")),
            Err(_) => line(out, format_args!("-ERR [SYS/TEMP] the message is unavailable, try again")),
        }
        self.phase = Phase::Transaction(session);
    }

    /// Writes the next part of a long answer.
    fn step_sending(&mut self, out: &mut BytesMut) -> Option<Asked> {
        let Phase::Sending(session, mut long) = std::mem::replace(&mut self.phase, Phase::Closing) else {
            return None;
        };
        if session.write_part(&mut long, out) {
            self.phase = Phase::Transaction(session);
            return None;
        }
        self.phase = Phase::Sending(session, long);
        Some(Step::Flush)
    }

    fn on_quit(&mut self, out: &mut BytesMut) -> Option<Asked> {
        match std::mem::replace(&mut self.phase, Phase::Closing) {
            Phase::Transaction(session) if !session.deleted.is_empty() => {
                let uids = session.deleted.iter().map(|at| session.drop.messages[*at].0).collect();
                self.phase = Phase::Updating;
                Some(Step::Ask(Question::Delete(uids)))
            }
            _ => {
                ok("bye", out);
                Some(Step::Close)
            }
        }
    }

    fn on_deleted(&mut self, deleted: Result<(), Fault>, out: &mut BytesMut) {
        match deleted {
            Ok(()) => line(out, format_args!("+OK bye")),
            Err(_) => line(out, format_args!("-ERR [SYS/TEMP] no message was deleted, try again")),
        }
        self.phase = Phase::Closing;
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
    // Writing to a buffer that grows cannot fail.
    let _ = write!(out, "{text}\r\n");
}

fn octets<'a>(messages: impl Iterator<Item = &'a (Uid, u32)>) -> u64 {
    messages.map(|(_, size)| u64::from(*size)).sum()
}

impl Session {
    /// Message `number` unless it is marked as deleted.
    fn find(&self, number: usize) -> Option<usize> {
        let at = number.checked_sub(1)?;
        (at < self.drop.messages.len() && !self.deleted.contains(&at)).then_some(at)
    }

    fn kept(&self) -> Vec<(usize, &(Uid, u32))> {
        let all = self.drop.messages.iter().enumerate();
        all.filter(|(at, _)| !self.deleted.contains(at)).collect()
    }

    /// True once the answer is whole.
    fn write_part(&self, long: &mut Long, out: &mut BytesMut) -> bool {
        let next = match long {
            Long::Text(text) => return text.write_part(out),
            Long::List { next } | Long::Uidl { next } => *next,
        };
        let mut at = next;
        while at < self.drop.messages.len() && out.len() < PART_BYTES {
            let (uid, size) = self.drop.messages[at];
            if !self.deleted.contains(&at) {
                match long {
                    Long::Uidl { .. } => {
                        line(out, format_args!("{} {}.{uid}", at + 1, self.drop.uid_validity));
                    }
                    Long::List { .. } | Long::Text(_) => line(out, format_args!("{} {size}", at + 1)),
                }
            }
            at += 1;
        }
        if at == self.drop.messages.len() {
            out.extend_from_slice(b".\r\n");
            return true;
        }
        match long {
            Long::List { next } | Long::Uidl { next } => *next = at,
            Long::Text(_) => {}
        }
        false
    }
}

impl Text {
    fn new(raw: Bytes, bound: TextBound) -> Self {
        Self { raw, at: 0, line_start: true, bound, in_header: true }
    }

    /// True once the end is written.
    fn write_part(&mut self, out: &mut BytesMut) -> bool {
        while self.at < self.raw.len() && !self.is_enough() {
            if out.len() >= PART_BYTES {
                return false;
            }
            self.write_line_part(out);
        }
        if !self.line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        true
    }

    fn is_enough(&self) -> bool {
        self.line_start && !self.in_header && self.bound == TextBound::BodyLines(0)
    }

    /// The next line, or as much of it as fits a part.
    fn write_line_part(&mut self, out: &mut BytesMut) {
        let rest = &self.raw[self.at..self.raw.len().min(self.at + PART_BYTES)];
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let part = &rest[..end];
        if self.line_start && part.first() == Some(&b'.') {
            out.extend_from_slice(b".");
        }
        out.extend_from_slice(part);
        let whole = part.last() == Some(&b'\n');
        if whole && self.in_header {
            self.in_header = !(self.line_start && matches!(part, b"\r\n" | b"\n"));
        } else if whole && let TextBound::BodyLines(left) = &mut self.bound {
            *left -= 1;
        }
        self.line_start = whole;
        self.at += end;
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
                Phase::Authorization { .. } | Phase::Sasl | Phase::Transaction(_) => {
                    self.step_line(input, out)
                }
                Phase::Sending(..) => self.step_sending(out),
                Phase::Closing => Some(Step::Close),
                // The answer is awaited; the driver does not step meanwhile.
                Phase::LoggingIn | Phase::Fetching(..) | Phase::Updating => Some(Step::NeedInput),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn answer(&mut self, answer: Answer, out: &mut BytesMut) {
        match answer {
            Answer::Login(login) => self.on_login(login, out),
            Answer::Body(body) => self.on_body(body, out),
            Answer::Deleted(deleted) => self.on_deleted(deleted, out),
        }
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
            Phase::Authorization { .. } | Phase::Sasl | Phase::LoggingIn => self.policy.login_seconds_max,
            _ => self.policy.idle_seconds_max,
        }
    }

    fn input_max(&self) -> usize {
        INPUT_BYTES_MAX
    }
}
