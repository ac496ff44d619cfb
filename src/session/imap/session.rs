//! The machine: reads commands one after the other, runs each to its end, tells what changed meanwhile.

use bytes::BytesMut;

use super::capability::{Stage, capabilities};
use super::commands::{self, Command};
use super::core::{Core, Io, Next, Reply, Status, Task, Terms};
use super::grammar::{self, NameCoding, Syntax, append_head, tag_of};
use super::limits::{BAD_COMMANDS_MAX, BAD_COMMANDS_MAX_LOGGED_IN, IDLE_SECONDS_MAX, OUTPUT_CHUNK_BYTES};
use super::notify::{Notify, Own};
use super::question::{Answer, Question};
use super::reader::{AppendText, Read, Reader};
use super::selected::{Expunges, Selected};
use super::telling::{self, Manner};
use crate::clock::Clock;
use crate::session::channel::ChannelBindings;
use crate::session::machine::{Machine, Peer, Step};
use crate::session::sasl;
use crate::state::outcome::Outcome;

/// One IMAP session.
pub struct Session {
    core: Core,
    reader: Reader,
    running: Option<Running>,
    ending: Option<Ending>,
    answer: Option<Answer>,
    /// What NOTIFY wants to be told between commands is told, as far as it is known.
    told: bool,
    /// BADs since the last good command.
    bad_commands: u32,
    /// The farewell is written.
    closing: bool,
}

/// The command under way.
struct Running {
    tag: String,
    expunges: Expunges,
    /// True for the UID commands: flags told meanwhile carry the UID.
    uid: bool,
    task: Box<dyn Task>,
}

/// A command that is done, but for what is told at its end.
struct Ending {
    tag: String,
    reply: Reply,
    manner: Manner,
    /// What follows the reply is compressed.
    compress: bool,
}

impl Session {
    pub fn new(peer: Peer, terms: Terms, clock: Clock) -> Self {
        let core = Core {
            terms,
            peer,
            bindings: ChannelBindings::default(),
            login: None,
            selected: None,
            condstore: false,
            qresync: false,
            rev2: false,
            uid_only: false,
            utf8_accept: false,
            names: NameCoding::default(),
            compressed: false,
            idling: false,
            notify: None,
            own: Own::default(),
            telling_stage: telling::Stage::default(),
            tag: String::new(),
            clock,
            refused_logins: 0,
            reached: None,
            cut: None,
        };
        Self {
            core,
            reader: Reader::default(),
            running: None,
            ending: None,
            answer: None,
            told: false,
            bad_commands: 0,
            closing: false,
        }
    }

    #[cfg(test)]
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Runs the command under way as far as it goes; `None`: it is over, or can go on.
    fn run(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Step<Question>> {
        let running = self.running.as_mut()?;
        let mut io = Io { input, out, reader: &mut self.reader };
        match running.task.step(&mut self.core, self.answer.take(), &mut io) {
            Next::Ask(question) => {
                self.core.own.asks(&question);
                match self.core.as_guest(question) {
                    Ok(question) => Some(Step::Ask(question)),
                    // The command goes on with the refusal at once.
                    Err(refusal) => {
                        self.answer = Some(Answer::Outcome(Outcome::Refused(refusal)));
                        None
                    }
                }
            }
            Next::NeedInput => Some(Step::NeedInput),
            Next::Flush => Some(Step::Flush),
            Next::Done(reply) => {
                let reply = match self.core.cut.take() {
                    Some(cut) => cut.tell(reply, out),
                    None => reply,
                };
                self.finish(reply);
                None
            }
            Next::Compress(reply) => {
                self.finish(reply);
                if let Some(ending) = &mut self.ending {
                    ending.compress = true;
                }
                None
            }
            Next::StartTls(reply) => {
                // No mailbox is selected yet: the end is at once.
                self.finish(reply);
                self.conclude(input, out).or(Some(Step::StartTls))
            }
            Next::Close(reply) => {
                if let Some(running) = self.running.take() {
                    reply.write(&running.tag, out);
                }
                self.closing = true;
                None
            }
        }
    }

    fn finish(&mut self, reply: Reply) {
        let Some(running) = self.running.take() else { return };
        let manner = Manner { expunges: running.expunges, uid: running.uid, others: false };
        self.ending = Some(Ending { tag: running.tag, reply, manner, compress: false });
    }

    /// Tells what changed meanwhile, then ends the command. `None`: it is over.
    fn conclude(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Step<Question>> {
        let manner = self.ending.as_ref()?.manner;
        if let Some(step) = self.tell(manner, input, out) {
            return Some(step);
        }
        let Ending { tag, reply, compress, .. } = self.ending.take()?;
        reply.write(&tag, out);
        self.told = false;
        self.part_from_gone(out);
        match reply.status {
            Status::Bad => self.count_bad(out),
            Status::Ok | Status::No => self.bad_commands = 0,
        }
        if compress && !self.closing {
            self.core.compressed = true;
            return Some(Step::Compress);
        }
        None
    }

    /// Tells what NOTIFY wants to be told though nothing is asked. `None`: all is told.
    fn tell_between(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Step<Question>> {
        let delayed = match self.core.notify.as_ref().filter(|notify| notify.is_listening()) {
            Some(notify) => notify.selected.delayed,
            None => {
                self.told = true;
                return None;
            }
        };
        // Watch first, then tell: nothing can change unheard in between.
        if let Some(watch) = self.core.watch() {
            return Some(Step::Ask(watch));
        }
        let expunges = if delayed { Expunges::KeepBack } else { Expunges::Tell };
        if let Some(step) = self.tell(Manner { expunges, uid: false, others: true }, input, out) {
            return Some(step);
        }
        self.told = true;
        self.part_from_gone(out);
        None
    }

    fn tell(&mut self, manner: Manner, input: &mut BytesMut, out: &mut BytesMut) -> Option<Step<Question>> {
        let mut io = Io { input, out, reader: &mut self.reader };
        match telling::tell(&mut self.core, manner, self.answer.take(), &mut io)? {
            Next::Ask(question) => Some(Step::Ask(question)),
            // It asks and writes, and reads nothing.
            _ => Some(Step::Flush),
        }
    }

    fn part_from_gone(&mut self, out: &mut BytesMut) {
        if let Some(why) = self.core.selected.as_ref().and_then(Selected::farewell) {
            self.farewell(why, out);
        }
    }

    fn count_bad(&mut self, out: &mut BytesMut) {
        self.bad_commands += 1;
        let bad_commands_max =
            if self.core.login.is_some() { BAD_COMMANDS_MAX_LOGGED_IN } else { BAD_COMMANDS_MAX };
        if self.bad_commands >= bad_commands_max {
            self.farewell("Too many commands that I cannot read", out);
        }
    }

    fn farewell(&mut self, text: &str, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.closing, true) {
            out.extend_from_slice(format!("* BYE {text}\r\n").as_bytes());
        }
    }

    /// Reads the next command and makes it the one under way. `Some`: there is none as yet.
    fn next_command(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Option<Step<Question>> {
        match self.reader.read(input) {
            Read::Nothing => return Some(Step::NeedInput),
            Read::Continue => out.extend_from_slice(b"+ OK\r\n"),
            // An APPEND that sends nothing, but names what is there.
            Read::Command(text) if append_head(&text, self.core.names, false).is_some() => {
                self.begin_append(AppendText { text, literal: None });
            }
            Read::Command(command) => self.begin(&command, out),
            Read::Append(text) => self.begin_append(text),
            // RFC 5464 4.3: what a value may have is said.
            Read::TooLarge { tag, name }
                if self.core.login.is_some() && name.as_deref() == Some("SETMETADATA") =>
            {
                commands::metadata_too_large().write(tag.as_deref().unwrap_or("*"), out);
            }
            Read::TooLarge { tag, .. } => {
                let reply = Reply::bad("The command's literals are too large").with_code("TOOBIG");
                reply.write(tag.as_deref().unwrap_or("*"), out);
                self.count_bad(out);
            }
            Read::Lost => self.farewell("The command is too long", out),
        }
        None
    }

    fn begin(&mut self, command: &[u8], out: &mut BytesMut) {
        let tag = tag_of(command);
        let request = grammar::parse(command, self.core.names);
        match (tag, request) {
            (Some(tag), Ok(request)) => {
                let Command { task, expunges, uid } = commands::begin(request, &self.core);
                self.core.tag.clone_from(&tag);
                self.core.reached = None;
                self.core.cut = None;
                self.running = Some(Running { tag, expunges, uid, task });
            }
            (Some(tag), Err(syntax)) => {
                if let (Syntax::BadCharset { saves: true }, Some(selected)) =
                    (syntax, &mut self.core.selected)
                {
                    selected.saved.clear();
                }
                let reply = Reply::syntax(syntax);
                reply.write(&tag, out);
                if reply.status == Status::Bad {
                    self.count_bad(out);
                }
            }
            (None, _) => {
                out.extend_from_slice(b"* BAD A command begins with a tag and a space\r\n");
                self.count_bad(out);
            }
        }
    }

    fn begin_append(&mut self, text: AppendText) {
        let tag = tag_of(&text.text).unwrap_or_else(|| "*".to_owned());
        let Command { task, expunges, uid } = commands::append(text, self.core.names);
        self.core.reached = None;
        self.running = Some(Running { tag, expunges, uid, task });
    }
}

impl Machine for Session {
    type Question = Question;
    type Answer = Answer;

    fn open(&mut self, out: &mut BytesMut) {
        let capabilities = capabilities(self.core.stage());
        let banner = &self.core.terms.banner;
        out.extend_from_slice(format!("* OK [CAPABILITY {capabilities}] {banner}\r\n").as_bytes());
    }

    fn step(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Step<Question> {
        // Whoever wakes the session may know something new.
        self.told = false;
        loop {
            if self.closing {
                return Step::Close;
            }
            // Pipelined commands may write without end: send what is gathered.
            if out.len() > OUTPUT_CHUNK_BYTES {
                return Step::Flush;
            }
            let step = if self.ending.is_some() {
                self.conclude(input, out)
            } else if self.running.is_some() {
                self.run(input, out)
            } else if !self.told && !self.reader.is_mid_command() {
                self.tell_between(input, out)
            } else {
                self.next_command(input, out)
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn answer(&mut self, answer: Answer, _out: &mut BytesMut) {
        self.core.note_reached(&answer);
        self.core.own.hears(&answer);
        self.answer = Some(answer);
    }

    fn waited(&mut self, out: &mut BytesMut) {
        if let Some(running) = &self.running
            && let Some(progress) = running.task.progress()
        {
            progress.write(&running.tag, out);
        }
    }

    fn bind_channel(&mut self, bindings: ChannelBindings) {
        self.core.bindings = bindings;
    }

    fn tls_started(&mut self) {
        // RFC 3501 6.2.1: what was known before is forgotten.
        self.core.peer.tls = true;
        self.core.terms.starttls = false;
        self.core.login = None;
        self.core.selected = None;
        self.core.notify = None;
        self.core.condstore = false;
        self.core.qresync = false;
        self.core.rev2 = false;
        self.core.uid_only = false;
        self.core.utf8_accept = false;
        self.core.names = NameCoding::default();
        self.core.refused_logins = 0;
        self.reader = Reader::default();
    }

    fn timed_out(&mut self, out: &mut BytesMut) {
        self.farewell("Autologout: idle for too long", out);
    }

    fn shutting_down(&mut self, out: &mut BytesMut) {
        self.farewell("The server is shutting down, come again", out);
    }

    fn login_ended(&mut self, out: &mut BytesMut) {
        self.farewell("This account is not open to you any more", out);
    }

    fn idle_seconds_max(&self) -> u64 {
        let terms = &self.core.terms;
        match (&self.core.login, self.core.idling) {
            (None, _) => terms.login_seconds_max,
            (Some(_), false) => terms.idle_seconds_max,
            (Some(_), true) => terms.idle_seconds_max.max(IDLE_SECONDS_MAX),
        }
    }

    fn input_max(&self) -> usize {
        OUTPUT_CHUNK_BYTES
    }

    /// IDLE waits for its end as long as it likes.
    fn is_mid_command(&self) -> bool {
        self.reader.is_mid_command() || (self.running.is_some() && !self.core.idling)
    }

    fn wants_news(&self) -> bool {
        self.core.idling || self.core.notify.as_ref().is_some_and(Notify::is_listening)
    }
}

impl Core {
    pub fn stage(&self) -> Stage {
        match self.login {
            Some(_) => {
                let append_bytes_max = self.terms.append_bytes_max();
                Stage::LoggedIn { append_bytes_max, message_limit: self.terms.message_limit }
            }
            None => Stage::Greeting { starttls: self.terms.starttls, mechanisms: self.mechanisms() },
        }
    }

    /// None where passwords may not be sent. The same for SCRAM: what would follow it in the clear is no less secret.
    pub fn mechanisms(&self) -> Vec<sasl::Mechanism> {
        if self.terms.external {
            return vec![sasl::Mechanism::External];
        }
        match self.may_send_password() {
            true => sasl::offered(self.terms.scram, &self.bindings),
            false => Vec::new(),
        }
    }

    pub fn may_send_password(&self) -> bool {
        !self.terms.external && (self.peer.tls || self.terms.plaintext_without_tls)
    }
}
