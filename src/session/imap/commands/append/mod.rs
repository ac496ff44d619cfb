//! APPEND (RFC 3501 6.3.11, RFC 4315) of one message or more (RFC 3502), each whole or put together of texts and of what
//! is there already (RFC 4469): it flows from the client into its placing, never gathered; one commit then names them all.
//! REPLACE (RFC 8508) is that of one message, whose commit takes another away.

mod refuse;
mod replace;
mod source;

use std::collections::VecDeque;

use self::replace::Replaced;
use self::source::Source;
use super::copy::uid_list;
use crate::clock::Clock;
use crate::mail::ids::{AccountId, MailboxId, Timestamp};
use crate::mail::mime::recode::Unservable;
use crate::mail::rights::Rights;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{
    AppendHead, AppendStep, Cursor, MessageHead, NameCoding, Parsed, Place, StretchEnd, append_head,
    append_stretch,
};
use crate::session::imap::limits::{
    APPEND_CHUNK_BYTES_MAX, APPEND_LINES_BYTES_MAX, APPEND_MESSAGES_MAX, APPEND_SECONDS_MAX,
    CATENATE_PARTS_MAX,
};
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::reader::{AppendText, Literal, Read};
use crate::state::command::{self, Command, InternalDate, NewMessage, PlacedBody, UidSet};
use crate::state::outcome::{Outcome, Refusal};

enum Stage {
    Begin,
    Mailbox,
    Place,
    /// The literal's octets are on their way.
    Flow,
    /// What stands behind them is read.
    Behind,
    /// What a URL names is on its way.
    Source,
    Finish,
    /// The message came as binary.
    Recode,
    Commit,
    /// Refused: the placing is dropped, what still comes of the command is thrown away, then the client hears it.
    Abandon(Reply),
    Swallow(Reply),
    SwallowLine(Reply),
}

pub struct Append {
    /// The command's beginning, until it is begun.
    head: Option<Parsed<AppendHead>>,
    /// REPLACE: the message that goes.
    replaced: Option<Replaced>,
    /// What is still to be done of it, and what it leads to.
    steps: VecDeque<AppendStep>,
    end: StretchEnd,
    /// The literal behind it, and how many of its octets are still to come.
    literal: Option<Literal>,
    left: u64,
    mailbox: Option<MailboxId>,
    /// Whose mailbox it is: his quota counts.
    owner: AccountId,
    /// The message under way.
    message: Option<Message>,
    /// A place is open for it.
    placing: bool,
    source: Source,
    /// Texts and URLs so far.
    parts: usize,
    /// The messages that lie safely already.
    messages: Vec<NewMessage>,
    messages_bytes: u64,
    lines_bytes: usize,
    first_placed: Option<Timestamp>,
    stage: Stage,
}

struct Message {
    head: MessageHead,
    /// Octets so far, those of the literal that comes among them.
    bytes: u64,
    /// A literal8 is among its parts.
    binary: bool,
}

impl Append {
    pub fn new(text: AppendText, names: NameCoding) -> Self {
        let mut append = Self {
            head: append_head(&text.text, names, text.literal.is_some()),
            replaced: None,
            steps: VecDeque::new(),
            end: StretchEnd::Command,
            literal: None,
            left: 0,
            mailbox: None,
            owner: AccountId::default(),
            message: None,
            placing: false,
            source: Source::default(),
            parts: 0,
            messages: Vec::new(),
            messages_bytes: 0,
            lines_bytes: 0,
            first_placed: None,
            stage: Stage::Begin,
        };
        append.take_text(text);
        append
    }

    /// True for UID REPLACE.
    /// REPLACE: a message goes.
    pub fn replaces(&self) -> bool {
        matches!(&self.head, Some(Ok(head)) if head.replaces.is_some())
    }

    pub fn is_uid_command(&self) -> bool {
        let replaces = |head: &AppendHead| head.replaces.as_ref().is_some_and(|replaces| replaces.uid);
        matches!(&self.head, Some(Ok(head)) if replaces(head))
    }

    fn begin(&mut self, core: &Core, io: &mut Io) -> Next {
        if core.login.is_none() {
            return self.refuse(Reply::bad("Log in first"), io);
        }
        let head = match self.head.take() {
            Some(Ok(head)) => head,
            Some(Err(syntax)) => return self.refuse(Reply::syntax(syntax), io),
            None => return self.refuse(Reply::bad("Malformed command"), io),
        };
        match head.replaces.map(|replaces| Replaced::find(&replaces, core)) {
            None => {}
            Some(Ok(replaced)) => self.replaced = Some(replaced),
            Some(Err(reply)) => return self.refuse(reply, io),
        }
        self.steps.extend(head.stretch.steps);
        self.end = head.stretch.end;
        if self.steps.is_empty() {
            return self.refuse(Reply::bad("Malformed command: a message is missing"), io);
        }
        let Some(name) = head.mailbox.0 else { return self.refuse(Reply::try_create(), io) };
        self.stage = Stage::Mailbox;
        Next::Ask(core.reach(name, Rights::INSERT))
    }

    /// Notes what follows a stretch; its text is to be taken apart.
    fn take_text(&mut self, text: AppendText) -> Vec<u8> {
        self.left = text.literal.as_ref().map_or(0, |literal| literal.size);
        self.literal = text.literal;
        self.lines_bytes += text.text.len();
        text.text
    }

    /// The next step of the stretch, or what it leads to.
    fn go_on(&mut self, core: &Core, io: &mut Io) -> Next {
        match self.steps.pop_front() {
            Some(AppendStep::Message(head)) => self.begin_message(head, core, io),
            Some(AppendStep::Url(url)) => self.begin_url(url, core, io),
            Some(AppendStep::Whole) => self.finish_message(io),
            None => match self.end {
                StretchEnd::Command => self.commit(&core.clock),
                StretchEnd::Message => self.begin_flow(core, io),
                StretchEnd::Text => self.begin_text(core, io),
                // RFC 6855 4: a literal8.
                StretchEnd::Utf8 { .. } if !self.literal.as_ref().is_some_and(|literal| literal.binary) => {
                    self.refuse(Reply::bad("UTF8 takes a literal8"), io)
                }
                StretchEnd::Utf8 { among: false } => self.begin_flow(core, io),
                StretchEnd::Utf8 { among: true } => self.begin_text(core, io),
                // The reader has gathered it.
                StretchEnd::Url => self.refuse(Reply::bad("A URL is missing"), io),
            },
        }
    }

    fn begin_message(&mut self, head: MessageHead, core: &Core, io: &mut Io) -> Next {
        if self.messages.len() == APPEND_MESSAGES_MAX {
            let text = format!("One APPEND has at most {APPEND_MESSAGES_MAX} messages");
            // RFC 9738 3.1.
            let code = format!("MESSAGELIMIT {APPEND_MESSAGES_MAX}");
            return self.refuse(Reply::no("", text).with_code(code), io);
        }
        if self.replaced.is_some() && !self.messages.is_empty() {
            // RFC 8508 4.7, 5: there is one message.
            return self.refuse(Reply::bad("REPLACE takes one message"), io);
        }
        let flows = matches!(self.end, StretchEnd::Message | StretchEnd::Utf8 { among: false });
        let whole = self.steps.is_empty() && flows;
        let bytes = if whole { self.left } else { 0 };
        if whole && bytes == 0 {
            // RFC 3502: that is how a client thinks better of it.
            return self.refuse(empty(), io);
        }
        if bytes > core.terms.append_bytes_max() {
            return self.refuse(too_big(core), io);
        }
        self.message = Some(Message { head, bytes, binary: false });
        // The quota must have room for all of them; of what is put together the commit knows the size.
        self.stage = Stage::Place;
        let freed = self.replaced.as_ref().map_or(0, |replaced| replaced.bytes);
        let bytes = self.messages_bytes.saturating_add(bytes.max(1)).saturating_sub(freed);
        Next::Ask(Question::Place { owner: self.owner, bytes })
    }

    /// RFC 4469 4.2: the message that is put together has a bound as any other.
    fn add_bytes(&mut self, bytes: u64, core: &Core) -> Result<(), Reply> {
        let Some(message) = &mut self.message else { return Err(Reply::unexpected(None)) };
        message.bytes = message.bytes.saturating_add(bytes);
        if message.bytes > core.terms.append_bytes_max() { Err(too_big(core)) } else { Ok(()) }
    }

    fn count_part(&mut self) -> Result<(), Reply> {
        self.parts += 1;
        let text = || format!("One APPEND has at most {CATENATE_PARTS_MAX} parts");
        if self.parts > CATENATE_PARTS_MAX { Err(Reply::no("LIMIT", text())) } else { Ok(()) }
    }

    fn begin_text(&mut self, core: &Core, io: &mut Io) -> Next {
        if let Err(reply) = self.count_part().and_then(|()| self.add_bytes(self.left, core)) {
            return self.refuse(reply, io);
        }
        self.begin_flow(core, io)
    }

    fn begin_flow(&mut self, core: &Core, io: &mut Io) -> Next {
        let (Some(literal), Some(message)) = (&mut self.literal, &mut self.message) else {
            return Next::Done(Reply::unexpected(None));
        };
        message.binary |= literal.binary;
        if std::mem::take(&mut literal.waits) {
            io.out.extend_from_slice(b"+ Send the message\r\n");
        }
        if self.left == 0 {
            // So that no number of empty texts is a deep recursion.
            self.stage = Stage::Flow;
            return Next::Ask(Question::Pause);
        }
        self.flow(core, io)
    }

    fn flow(&mut self, core: &Core, io: &mut Io) -> Next {
        if self.left == 0 {
            return self.behind(core, io);
        }
        self.stage = Stage::Flow;
        if io.input.is_empty() {
            return self.await_client();
        }
        let here = self.left.min(io.input.len().min(APPEND_CHUNK_BYTES_MAX) as u64);
        self.left -= here;
        Next::Ask(Question::Push(io.input.split_to(here as usize).freeze()))
    }

    /// Reads the stretch behind a literal. What came before is made durable only when this can be read.
    fn behind(&mut self, core: &Core, io: &mut Io) -> Next {
        self.stage = Stage::Behind;
        let place = match self.end {
            StretchEnd::Text => Place::Among,
            StretchEnd::Utf8 { among } => Place::InUtf8 { among },
            StretchEnd::Message | StretchEnd::Url | StretchEnd::Command => Place::Between,
        };
        let text = loop {
            match io.reader.read_append(io.input, place) {
                Read::Nothing => return self.await_client(),
                Read::Continue => io.out.extend_from_slice(b"+ OK\r\n"),
                Read::Append(text) => break text,
                Read::Command(text) => break AppendText { text, literal: None },
                Read::TooLarge { .. } => {
                    self.literal = None;
                    return self
                        .refuse(Reply::bad("The command's literals are too large").with_code("TOOBIG"), io);
                }
                Read::Lost => return too_long(io),
            }
        };
        let text = self.take_text(text);
        if self.lines_bytes > APPEND_LINES_BYTES_MAX {
            return self.refuse(Reply::no("LIMIT", "The command's lines are too long together"), io);
        }
        let stretch = match append_stretch(Cursor::new(&text), place, self.literal.is_some()) {
            Ok(stretch) => stretch,
            Err(syntax) => return self.refuse(Reply::syntax(syntax), io),
        };
        if place == Place::Between {
            self.steps.push_back(AppendStep::Whole);
        }
        self.steps.extend(stretch.steps);
        self.end = stretch.end;
        self.go_on(core, io)
    }

    /// A client may take its time: the message that a part was taken of is not held meanwhile.
    fn await_client(&mut self) -> Next {
        self.source = Source::default();
        Next::NeedInput
    }

    fn finish_message(&mut self, io: &mut Io) -> Next {
        if self.message.as_ref().is_none_or(|message| message.bytes == 0) {
            return self.refuse(empty(), io);
        }
        // The room that it takes among the messages that are read is for others again.
        self.source = Source::default();
        self.placing = false;
        self.stage = Stage::Finish;
        Next::Ask(Question::Finish)
    }

    fn placed(&mut self, body: PlacedBody, core: &Core, io: &mut Io) -> Next {
        let Some(Message { head, .. }) = self.message.take() else {
            return Next::Done(Reply::unexpected(None));
        };
        let now = core.clock.now();
        let internal_date = match &head.internal_date {
            Some(date) => InternalDate { unix_seconds: date.unix_seconds(), zone_minutes: date.zone_minutes },
            None => InternalDate { unix_seconds: (now.0 / 1000) as i64, zone_minutes: 0 },
        };
        self.messages_bytes = self.messages_bytes.saturating_add(body.size.into());
        self.messages.push(NewMessage { body, flags: head.flags, internal_date });
        self.first_placed.get_or_insert(now);
        self.go_on(core, io)
    }

    fn commit(&mut self, clock: &Clock) -> Next {
        let (Some(mailbox), Some(since)) = (self.mailbox, self.first_placed) else {
            return Next::Done(Reply::unexpected(None));
        };
        if clock.now().0.saturating_sub(since.0) > APPEND_SECONDS_MAX * 1000 {
            let text = format!("The messages of one APPEND must come within {APPEND_SECONDS_MAX} seconds");
            return Next::Done(Reply::no("LIMIT", text));
        }
        let mut messages = std::mem::take(&mut self.messages);
        self.stage = Stage::Commit;
        if let Some(replaced) = &self.replaced {
            let Some(message) = messages.pop() else { return Next::Done(Reply::unexpected(None)) };
            return Next::Ask(Question::Propose(replaced.by(message, mailbox)));
        }
        Next::Ask(Question::Propose(Command::Append(command::Append { mailbox, messages })))
    }
}

fn too_big(core: &Core) -> Reply {
    Reply::no("TOOBIG", format!("A message has at most {} octets", core.terms.append_bytes_max()))
}

fn empty() -> Reply {
    Reply::no("CANNOT", "A message is not empty")
}

fn too_long(io: &mut Io) -> Next {
    io.out.extend_from_slice(b"* BYE The command is too long\r\n");
    Next::Close(Reply::bad("The command is too long"))
}

impl Task for Append {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Begin), answer) {
            (Stage::Begin, None) => self.begin(core, io),
            (Stage::Mailbox, Some(Answer::Mailbox(Some(record)))) if !record.no_select => {
                self.mailbox = Some(record.id);
                self.owner = record.account;
                self.go_on(core, io)
            }
            (Stage::Mailbox, Some(Answer::Mailbox(_))) => self.refuse(Reply::try_create(), io),
            (Stage::Place, Some(Answer::Done)) => {
                self.placing = true;
                self.go_on(core, io)
            }
            (Stage::Flow, None | Some(Answer::Done)) => self.flow(core, io),
            (Stage::Behind, None) => self.behind(core, io),
            (Stage::Source, answer) => self.source(answer, core, io),
            (Stage::Finish, Some(Answer::Placed(body))) => {
                if self.message.as_ref().is_some_and(|message| message.binary) {
                    self.stage = Stage::Recode;
                    return Next::Ask(Question::Recode(body));
                }
                self.placed(body, core, io)
            }
            (Stage::Recode, Some(Answer::Recoded(Ok(body)))) => self.placed(body, core, io),
            (Stage::Recode, Some(Answer::Recoded(Err(Unservable::Nul)))) => {
                let text = "NUL may stand only in a part whose encoding is binary";
                self.refuse(Reply::no("UNKNOWN-CTE", text), io)
            }
            (Stage::Commit, Some(Answer::Outcome(Outcome::Appended { uid_validity, uids }))) => {
                let uids = uid_list(&UidSet::from_ascending(uids));
                Next::Done(Reply::ok("Appended").with_code(format!("APPENDUID {uid_validity} {uids}")))
            }
            (Stage::Commit, Some(Answer::Outcome(Outcome::Replaced { uid_validity, uid }))) => {
                replace::tell(core, (uid_validity, uid), self.replaced.as_ref(), io)
            }
            (Stage::Commit, Some(Answer::Outcome(Outcome::ReplacedNothing))) => {
                Next::Done(Reply::no("EXPUNGEISSUED", "The message is expunged already"))
            }
            (Stage::Commit, Some(Answer::Outcome(Outcome::Refused(Refusal::NotFound(_))))) => {
                Next::Done(Reply::try_create())
            }
            (Stage::Abandon(reply), Some(_)) => self.turn_away(reply, io),
            (Stage::Swallow(reply), None) => self.swallow(reply, io),
            (Stage::SwallowLine(reply), None) => self.swallow_line(reply, io),
            (stage, answer) => self.failed(&stage, answer, io),
        }
    }
}
