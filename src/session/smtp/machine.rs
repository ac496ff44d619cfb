//! The session: phases that carry what they know, and what each command does in each.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes, BytesMut};

use super::body::{DotReader, TextCheck, TextLimits};
use super::command::{Command, HelloVerb, SASL_LINE_BYTES_MAX, parse};
use super::envelope::{Envelope, MailParams, RcptParams, Recipient, show_recipient};
use super::received::{Hello, Stamp, trace_fields};
use super::reply::{self, Reply};
use super::{Flavor, Policy};
use crate::cluster::replica::Fault;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::lines::{Line, LineReader};
use crate::session::login::{Authenticated, Credentials, LoginRefused};
use crate::session::machine::{Machine, Peer, Step};
use crate::state::outcome::Refusal;
use crate::state::routing::LocalTarget;

/// Bad commands in one session before it is closed.
pub const BAD_COMMANDS_MAX: u32 = 20;
/// Refused logins in one session before it is closed.
pub const REFUSED_LOGINS_MAX: u32 = 3;
/// Input gathered before a step, bytes; also what a pipelining client may have under way.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Text handed on at a time, bytes.
const TEXT_CHUNK_BYTES: usize = 32 * 1024;
/// Text read past a refusal to hear its end, bytes over the size limit; beyond it the session is closed.
const SWALLOWED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the session needs from the world.
#[derive(Debug)]
pub enum Question {
    Login(Credentials),
    Recipient {
        path: ForwardPath,
        size: Option<u64>,
        authenticated: bool,
    },
    /// Opens a body and stamps the message.
    BeginBody,
    BodyChunk(Bytes),
    /// The last of the body, and for whom it is.
    Deliver {
        last: Bytes,
        to: Vec<Vec<LocalTarget>>,
    },
    /// Forget the body that was begun.
    AbandonBody,
}

#[derive(Debug)]
pub enum Answer {
    Login(Result<Authenticated, LoginRefused>),
    Recipient(Result<Verdict, Fault>),
    Begun(Result<Stamp, Fault>),
    Chunk(Result<(), Fault>),
    /// One entry per recipient, in order.
    Delivered(Result<Vec<Result<(), Refusal>>, Fault>),
    Abandoned,
}

/// What becomes of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept(Vec<LocalTarget>),
    Unknown,
    Disabled,
    /// Over quota already.
    AlreadyFull,
    /// The size announced would not fit.
    WouldNotFit,
    /// Not ours, and the client may not relay.
    RelayDenied,
    /// To go to another server.
    Outbound,
}

pub struct Smtp {
    policy: Policy,
    peer: Peer,
    hello: Option<Hello>,
    login: Option<Authenticated>,
    phase: Phase,
    lines: LineReader,
    /// The backend holds an unfinished body.
    body_begun: bool,
    bad_commands: u32,
    refused_logins: u32,
}

enum Phase {
    Ready,
    Addressed(Box<Envelope>),
    /// The next line is a SASL response.
    Sasl(Sasl),
    /// Waits for [`Answer::Login`].
    LoggingIn,
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

enum Sasl {
    Plain,
    LoginName,
    LoginPassword(Vec<u8>),
}

enum Framing {
    Dot(DotReader),
    Chunk {
        bytes: u64,
        left: u64,
        last: bool,
    },
    /// Behind a BDAT that was not the last: commands again.
    BetweenChunks,
}

struct Receiving {
    envelope: Box<Envelope>,
    framing: Framing,
    check: TextCheck,
    /// Text not yet handed on.
    text: BytesMut,
    id: String,
    refused: Option<Reply>,
}

type Asked = Step<Question>;

impl Smtp {
    pub fn new(policy: Policy, peer: Peer) -> Self {
        Self {
            policy,
            peer,
            hello: None,
            login: None,
            phase: Phase::Ready,
            lines: LineReader::default(),
            body_begun: false,
            bad_commands: 0,
            refused_logins: 0,
        }
    }

    /// One command, or one line of a SASL dialogue. `None`: go on at once.
    fn step_line(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Asked> {
        let line = self.lines.take(input, SASL_LINE_BYTES_MAX);
        if line == Line::Partial {
            return Some(Step::NeedInput);
        }
        if let Phase::Sasl(_) = self.phase {
            let Phase::Sasl(sasl) = std::mem::replace(&mut self.phase, Phase::Ready) else {
                return None;
            };
            return match line {
                Line::Whole(line) => self.on_sasl(sasl, &line, out),
                Line::TooLong | Line::Partial => self.bad(reply::LINE_TOO_LONG, out),
            };
        }
        let command = match line {
            Line::Whole(line) => parse(&line),
            Line::TooLong | Line::Partial => Err(reply::LINE_TOO_LONG),
        };
        match command {
            Ok(command) => self.on_command(command, out),
            Err(reply) => self.bad(reply, out),
        }
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

    fn on_hello(&mut self, verb: HelloVerb, name: String, out: &mut BytesMut) -> Option<Asked> {
        // RFC 2033 4.1: LHLO only, and only there.
        if (verb == HelloVerb::Lhlo) != (self.policy.flavor == Flavor::Lmtp) {
            return self.bad(reply::UNKNOWN, out);
        }
        self.phase = Phase::Ready;
        let extended = verb != HelloVerb::Helo;
        self.hello = Some(Hello { name, extended });
        if !extended {
            return self.say(Reply::ok("", self.policy.hostname.clone()), out);
        }
        let mut lines = vec![self.policy.hostname.clone()];
        lines.extend(
            ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8", "CHUNKING"].map(String::from),
        );
        lines.push(format!("SIZE {}", self.policy.message_bytes_max));
        if self.policy.tls_offered && !self.peer.tls {
            lines.push("STARTTLS".to_owned());
        }
        if self.offers_auth() {
            lines.push("AUTH PLAIN LOGIN".to_owned());
        }
        lines.push("HELP".to_owned());
        let last = lines.len() - 1;
        for (at, line) in lines.iter().enumerate() {
            out.extend_from_slice(if at == last { b"250 " } else { b"250-" });
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        None
    }

    /// Requirement 14: no AUTH in the clear unless the policy says so.
    fn offers_auth(&self) -> bool {
        let secure = self.peer.tls || (self.policy.auth_without_tls && !self.policy.tls_forced);
        self.policy.flavor != Flavor::Lmtp && secure && self.login.is_none()
    }

    fn on_starttls(&mut self, out: &mut BytesMut) -> Option<Asked> {
        if self.peer.tls {
            return self.bad(reply::TLS_ALREADY, out);
        }
        if !self.policy.tls_offered {
            return self.bad(reply::NOT_IMPLEMENTED, out);
        }
        self.phase = Phase::Ready;
        reply::TLS_READY.write(out);
        Some(Step::StartTls)
    }

    fn on_auth(&mut self, mechanism: &str, initial: Option<String>, out: &mut BytesMut) -> Option<Asked> {
        if self.policy.flavor == Flavor::Lmtp {
            return self.bad(reply::NOT_IMPLEMENTED, out);
        }
        if !self.hello.as_ref().is_some_and(|hello| hello.extended) {
            return self.bad(reply::HELLO_FIRST, out);
        }
        if self.login.is_some() {
            return self.bad(reply::LOGIN_ALREADY, out);
        }
        if !matches!(self.phase, Phase::Ready) {
            return self.bad(reply::BAD_SEQUENCE, out);
        }
        if !self.offers_auth() {
            return self.bad(reply::LOGIN_NEEDS_TLS, out);
        }
        let (sasl, prompt) = match mechanism {
            "PLAIN" => (Sasl::Plain, reply::SASL_EMPTY),
            "LOGIN" => (Sasl::LoginName, reply::SASL_NAME),
            _ => return self.bad(reply::BAD_MECHANISM, out),
        };
        match initial {
            // RFC 4954 4: a single `=` is an empty initial response.
            Some(initial) if initial == "=" => self.on_sasl(sasl, b"", out),
            Some(initial) => self.on_sasl(sasl, initial.as_bytes(), out),
            None => {
                self.phase = Phase::Sasl(sasl);
                self.say(prompt, out)
            }
        }
    }

    fn on_sasl(&mut self, sasl: Sasl, response: &[u8], out: &mut BytesMut) -> Option<Asked> {
        if response == b"*" {
            return self.bad(reply::CANCELLED, out);
        }
        let credentials = match sasl {
            Sasl::Plain => Credentials::from_sasl_plain(response),
            Sasl::LoginName => match STANDARD.decode(response) {
                Ok(name) => {
                    self.phase = Phase::Sasl(Sasl::LoginPassword(name));
                    return self.say(reply::SASL_PASSWORD, out);
                }
                Err(_) => None,
            },
            Sasl::LoginPassword(name) => {
                STANDARD.decode(response).ok().and_then(|password| Credentials::new(&name, &password))
            }
        };
        match credentials {
            Some(credentials) => {
                self.phase = Phase::LoggingIn;
                Some(Step::Ask(Question::Login(credentials)))
            }
            None => self.bad(reply::BAD_BASE64, out),
        }
    }

    fn on_mail(&mut self, from: ReversePath, params: MailParams, out: &mut BytesMut) -> Option<Asked> {
        if self.hello.is_none() {
            return self.bad(reply::HELLO_FIRST, out);
        }
        if !matches!(self.phase, Phase::Ready) {
            return self.bad(reply::NESTED_MAIL, out);
        }
        if self.policy.auth_required && self.login.is_none() {
            return self.bad(reply::LOGIN_FIRST, out);
        }
        if params.size.is_some_and(|size| size > self.policy.message_bytes_max) {
            return self.say(reply::TOO_BIG, out);
        }
        self.phase = Phase::Addressed(Box::new(Envelope { from, params, to: Vec::new() }));
        self.say(reply::SENDER_OK, out)
    }

    fn on_rcpt(&mut self, to: ForwardPath, params: RcptParams, out: &mut BytesMut) -> Option<Asked> {
        let envelope = match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Addressed(envelope) => envelope,
            other => {
                self.phase = other;
                return self.bad(reply::MAIL_FIRST, out);
            }
        };
        let refusal = match &to {
            ForwardPath::Address(address) if address.is_utf8() && !envelope.params.smtputf8 => {
                Some(reply::NEEDS_UTF8)
            }
            _ if envelope.to.len() as u64 >= self.policy.recipients_max => Some(reply::TOO_MANY_RECIPIENTS),
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.phase = Phase::Addressed(envelope);
            return self.say(refusal, out);
        }
        let size = envelope.params.size;
        self.phase = Phase::Judging(envelope, to.clone(), params);
        Some(Step::Ask(Question::Recipient { path: to, size, authenticated: self.login.is_some() }))
    }

    fn on_verdict(&mut self, verdict: Result<Verdict, Fault>, out: &mut BytesMut) {
        let Phase::Judging(mut envelope, path, params) = std::mem::replace(&mut self.phase, Phase::Ready)
        else {
            return;
        };
        let reply = match verdict {
            Ok(Verdict::Accept(targets)) => {
                envelope.to.push(Recipient { path, params, targets });
                reply::RECIPIENT_OK
            }
            Ok(Verdict::Unknown) => reply::NO_SUCH_USER,
            Ok(Verdict::Disabled) => reply::DISABLED,
            Ok(Verdict::AlreadyFull) => reply::ALREADY_FULL,
            Ok(Verdict::WouldNotFit) => reply::FULL,
            Ok(Verdict::RelayDenied) => reply::RELAY_DENIED,
            Ok(Verdict::Outbound) => reply::NO_OUTBOUND,
            Err(_) => reply::UNAVAILABLE,
        };
        self.phase = Phase::Addressed(envelope);
        reply.write(out);
    }

    fn on_data(&mut self, out: &mut BytesMut) -> Option<Asked> {
        match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Addressed(envelope) if !envelope.to.is_empty() => {
                self.phase = Phase::Beginning(envelope, Framing::Dot(DotReader::default()));
                Some(Step::Ask(Question::BeginBody))
            }
            other => {
                let reply = missing(&other, self.policy.flavor);
                self.phase = other;
                self.bad(reply, out)
            }
        }
    }

    fn on_bdat(&mut self, bytes: u64, last: bool, out: &mut BytesMut) -> Option<Asked> {
        let framing = Framing::Chunk { bytes, left: bytes, last };
        match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Addressed(envelope) if !envelope.to.is_empty() => {
                self.phase = Phase::Beginning(envelope, framing);
                Some(Step::Ask(Question::BeginBody))
            }
            Phase::Receiving(mut receiving) if bytes <= self.swallowed_max(&receiving) => {
                receiving.framing = framing;
                self.phase = Phase::Receiving(receiving);
                None
            }
            Phase::Receiving(_) => self.close(reply::TOO_BIG, out),
            other => {
                let reply = missing(&other, self.policy.flavor);
                self.phase = other;
                self.skip(bytes, reply, out)
            }
        }
    }

    /// RFC 3030 2: the octets of a refused BDAT are on their way and must not be read as commands.
    fn skip(&mut self, bytes: u64, reply: Reply, out: &mut BytesMut) -> Option<Asked> {
        if bytes > self.policy.message_bytes_max + SWALLOWED_BYTES_MAX {
            return self.close(reply::TOO_BIG, out);
        }
        self.phase = Phase::Skipping { left: bytes, reply };
        None
    }

    fn swallowed_max(&self, receiving: &Receiving) -> u64 {
        let most = self.policy.message_bytes_max + SWALLOWED_BYTES_MAX;
        most.saturating_sub(receiving.check.bytes())
    }

    fn step_skipping(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Asked> {
        let Phase::Skipping { left, reply } = &mut self.phase else { return None };
        let taken = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        input.advance(taken);
        *left -= taken as u64;
        if *left > 0 {
            return Some(Step::NeedInput);
        }
        let reply = reply.clone();
        self.phase = Phase::Ready;
        self.bad(reply, out)
    }

    fn on_begun(&mut self, begun: Result<Stamp, Fault>, out: &mut BytesMut) {
        let Phase::Beginning(envelope, framing) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return;
        };
        let stamp = match (begun, &framing) {
            (Ok(stamp), _) => stamp,
            (Err(_), Framing::Chunk { left, .. }) => {
                self.phase = Phase::Skipping { left: *left, reply: reply::UNAVAILABLE };
                return;
            }
            (Err(_), _) => return reply::UNAVAILABLE.write(out),
        };
        self.body_begun = true;
        if let Framing::Dot(_) = framing {
            reply::GO_AHEAD.write(out);
        }
        let nobody = Hello { name: String::new(), extended: false };
        let hello = self.hello.as_ref().unwrap_or(&nobody);
        let trace = trace_fields(&self.policy, &self.peer, hello, (&envelope, &stamp, self.login.is_some()));
        let limits = TextLimits { bytes_max: self.policy.message_bytes_max, hops_max: self.policy.hops_max };
        self.phase = Phase::Receiving(Box::new(Receiving {
            envelope,
            framing,
            check: TextCheck::new(limits),
            text: BytesMut::from(trace.as_bytes()),
            id: stamp.id,
            refused: None,
        }));
    }

    fn step_receiving(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Asked> {
        let Phase::Receiving(mut receiving) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return None;
        };
        if let Framing::BetweenChunks = receiving.framing {
            self.phase = Phase::Receiving(receiving);
            return self.step_line(input, out);
        }
        let ended = receiving.read(input);
        if receiving.refused.is_some() && self.body_begun {
            self.phase = Phase::Receiving(receiving);
            if ended {
                return self.text_ended(out);
            }
            self.body_begun = false;
            return Some(Step::Ask(Question::AbandonBody));
        }
        let full = receiving.text.len() >= TEXT_CHUNK_BYTES;
        let swallowed = receiving.check.bytes() > self.policy.message_bytes_max + SWALLOWED_BYTES_MAX;
        if !ended && full {
            let chunk = receiving.text.split().freeze();
            self.phase = Phase::Handing(receiving);
            return Some(Step::Ask(Question::BodyChunk(chunk)));
        }
        self.phase = Phase::Receiving(receiving);
        match ended {
            true => self.text_ended(out),
            false if swallowed => self.close(reply::TOO_BIG, out),
            false => Some(Step::NeedInput),
        }
    }

    /// The dot, or the end of a chunk.
    fn text_ended(&mut self, out: &mut BytesMut) -> Option<Asked> {
        let Phase::Receiving(mut receiving) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return None;
        };
        if let Framing::Chunk { bytes, last: false, .. } = receiving.framing
            && receiving.refused.is_none()
        {
            receiving.framing = Framing::BetweenChunks;
            self.phase = Phase::Receiving(receiving);
            return self.say(Reply::ok("2.0.0", format!("{bytes} octets received")), out);
        }
        receiving.finish();
        let envelope = receiving.envelope;
        match receiving.refused {
            None => {
                let to = envelope.to.iter().map(|recipient| recipient.targets.clone()).collect();
                let last = receiving.text.freeze();
                self.phase = Phase::Delivering(envelope, receiving.id);
                self.body_begun = false;
                Some(Step::Ask(Question::Deliver { last, to }))
            }
            Some(reply) => {
                // RFC 2033 4.2: after the dot, one reply for each recipient that was accepted.
                let after_dot =
                    matches!(receiving.framing, Framing::Dot(_) | Framing::Chunk { last: true, .. });
                let replies = match self.policy.flavor {
                    Flavor::Lmtp if after_dot => envelope.to.len(),
                    Flavor::Lmtp | Flavor::Mx | Flavor::Submission => 1,
                };
                (0..replies).for_each(|_| reply.write(out));
                None
            }
        }
    }

    fn on_chunk(&mut self, taken: Result<(), Fault>) {
        let Phase::Handing(mut receiving) = std::mem::replace(&mut self.phase, Phase::Ready) else { return };
        if taken.is_err() {
            receiving.refused.get_or_insert(reply::UNAVAILABLE);
        }
        self.phase = Phase::Receiving(receiving);
    }

    fn on_delivered(&mut self, results: Result<Vec<Result<(), Refusal>>, Fault>, out: &mut BytesMut) {
        let Phase::Delivering(envelope, id) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return;
        };
        let reply_of = |result: &Result<(), Refusal>| match result {
            Ok(()) => Reply::ok("2.0.0", format!("Delivered as {id}")),
            Err(refusal) => Reply::of_refusal(refusal),
        };
        match (self.policy.flavor, results) {
            (Flavor::Lmtp, Err(_)) => envelope.to.iter().for_each(|_| reply::UNAVAILABLE.write(out)),
            (Flavor::Lmtp, Ok(results)) => {
                for (recipient, result) in envelope.to.iter().zip(&results) {
                    let mut reply = reply_of(result);
                    reply.text = format!("{} {}", show_recipient(&recipient.path), reply.text).into();
                    reply.write(out);
                }
            }
            (Flavor::Mx | Flavor::Submission, Err(_)) => reply::UNAVAILABLE.write(out),
            (Flavor::Mx | Flavor::Submission, Ok(results)) => one_reply(&results, reply_of).write(out),
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

    fn on_login(&mut self, login: Result<Authenticated, LoginRefused>, out: &mut BytesMut) {
        self.phase = Phase::Ready;
        match login {
            Ok(who) => {
                self.login = Some(who);
                reply::LOGGED_IN.write(out);
            }
            Err(LoginRefused::Busy) => reply::LOGIN_BUSY.write(out),
            Err(LoginRefused::Wrong) => {
                self.refused_logins += 1;
                if self.refused_logins >= REFUSED_LOGINS_MAX {
                    reply::TOO_MANY_LOGINS.write(out);
                    self.phase = Phase::Closing;
                } else {
                    reply::WRONG_LOGIN.write(out);
                }
            }
        }
    }
}

/// What DATA or BDAT lacks.
fn missing(phase: &Phase, flavor: Flavor) -> Reply {
    match phase {
        // RFC 2033 4.2: 503 without a recipient.
        Phase::Addressed(_) if flavor == Flavor::Lmtp => reply::BAD_SEQUENCE,
        Phase::Addressed(_) => reply::NO_RECIPIENTS,
        Phase::Receiving(_) => reply::BAD_SEQUENCE,
        _ => reply::MAIL_FIRST,
    }
}

/// SMTP has one reply for all recipients. Where some were served and some refused, a temporary one: on the
/// next try RCPT refuses each by itself, so none is lost and at most one copy is doubled.
fn one_reply(results: &[Result<(), Refusal>], reply_of: impl Fn(&Result<(), Refusal>) -> Reply) -> Reply {
    let refused = results.iter().filter(|result| result.is_err()).count();
    match results {
        [] => reply::UNAVAILABLE,
        [only] => reply_of(only),
        [first, ..] if refused == 0 => reply_of(first),
        [first, ..] if refused == results.len() && results.iter().all(|result| result == first) => {
            reply_of(first)
        }
        _ => reply::UNAVAILABLE,
    }
}

impl Receiving {
    /// Takes text from the input; true at the end of the message (DATA) or of the chunk (BDAT).
    fn read(&mut self, input: &mut BytesMut) -> bool {
        let before = self.text.len();
        let ended = match &mut self.framing {
            Framing::Dot(dot) => dot.read(input, &mut self.text),
            Framing::Chunk { left, .. } => {
                let taken = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                self.text.extend_from_slice(&input[..taken]);
                input.advance(taken);
                *left -= taken as u64;
                *left == 0
            }
            Framing::BetweenChunks => return false,
        };
        self.check.take(&self.text[before..]);
        self.note_refusal();
        ended
    }

    fn finish(&mut self) {
        self.check.finish();
        self.note_refusal();
        if self.refused.is_none() && self.check.is_open_line() {
            self.text.extend_from_slice(b"\r\n");
        }
    }

    fn note_refusal(&mut self) {
        if let Some(reply) = self.check.refused() {
            self.refused.get_or_insert_with(|| reply.clone());
        }
        if self.refused.is_some() {
            self.text.clear();
        }
    }
}

impl Machine for Smtp {
    type Question = Question;
    type Answer = Answer;

    fn open(&mut self, out: &mut BytesMut) {
        Reply { code: 220, enhanced: "", text: self.policy.banner.clone().into() }.write(out);
    }

    fn step(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Asked {
        loop {
            let uses_body =
                matches!(self.phase, Phase::Receiving(_) | Phase::Handing(_) | Phase::Beginning(..));
            if self.body_begun && !uses_body {
                self.body_begun = false;
                return Step::Ask(Question::AbandonBody);
            }
            let step = match self.phase {
                Phase::Ready | Phase::Addressed(_) | Phase::Sasl(_) => self.step_line(input, out),
                Phase::Receiving(_) => self.step_receiving(input, out),
                Phase::Skipping { .. } => self.step_skipping(input, out),
                Phase::Closing => Some(Step::Close),
                // The answer is awaited; the driver does not step meanwhile.
                Phase::LoggingIn
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
            Answer::Recipient(verdict) => self.on_verdict(verdict, out),
            Answer::Begun(begun) => self.on_begun(begun, out),
            Answer::Chunk(taken) => self.on_chunk(taken),
            Answer::Delivered(results) => self.on_delivered(results, out),
            Answer::Abandoned => {}
        }
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
}
