//! APPEND (RFC 3501 6.3.11, RFC 4315) of one message or more (RFC 3502): each flows from the client into its
//! placing, never gathered; one commit then names them all.

use super::copy::uid_list;
use crate::clock::Clock;
use crate::mail::ids::{MailboxId, Timestamp};
use crate::mail::mime::recode::Unservable;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{Cursor, MessageHead, Syntax, append_head, next_head};
use crate::session::imap::limits::{
    APPEND_CHUNK_BYTES_MAX, APPEND_LINES_BYTES_MAX, APPEND_MESSAGES_MAX, APPEND_SECONDS_MAX,
    SWALLOWED_LITERAL_BYTES_MAX,
};
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::reader::{MessageLiteral, Read};
use crate::state::command::{self, Command, InternalDate, NewMessage, PlacedBody, UidSet};
use crate::state::outcome::{Outcome, Refusal};

enum Stage {
    Begin,
    Mailbox,
    Place,
    /// The message is on its way.
    Flow,
    /// What stands behind the message: the end of the command, or the next message.
    Behind,
    /// With what comes after this message.
    Finish(Option<MessageLiteral>),
    /// The message came as binary.
    Recode(Option<MessageLiteral>),
    Commit,
    /// Refused: what still comes of the command is thrown away, then the client hears it.
    Swallow(Reply),
    SwallowLine(Reply),
    /// The placing is dropped before that.
    Abandon(Reply),
}

pub struct Append {
    /// The message under way.
    literal: MessageLiteral,
    /// Bytes of it still to come.
    left: u64,
    head: Option<MessageHead>,
    mailbox: Option<MailboxId>,
    /// Those that lie safely already.
    messages: Vec<NewMessage>,
    messages_bytes: u64,
    lines_bytes: usize,
    first_placed: Option<Timestamp>,
    stage: Stage,
}

impl Append {
    pub fn new(literal: MessageLiteral) -> Self {
        Self {
            left: literal.size,
            lines_bytes: literal.head.len(),
            literal,
            head: None,
            mailbox: None,
            messages: Vec::new(),
            messages_bytes: 0,
            first_placed: None,
            stage: Stage::Begin,
        }
    }

    fn begin(&mut self, core: &Core, io: &mut Io) -> Next {
        if core.login.is_none() {
            return self.refuse(Reply::bad("Log in first"), io);
        }
        let head = match append_head(&self.literal.head, core.names) {
            Some(Ok(head)) => head,
            Some(Err(syntax)) => return self.refuse(malformed(syntax), io),
            None => return self.refuse(Reply::bad("Malformed command"), io),
        };
        if let Some(reply) = self.size_refused(core) {
            return self.refuse(reply, io);
        }
        let Some(name) = head.mailbox.0 else { return self.refuse(Reply::try_create(), io) };
        self.head = Some(head.message);
        self.stage = Stage::Mailbox;
        Next::Ask(Question::Mailbox(core.account(), name))
    }

    fn size_refused(&self, core: &Core) -> Option<Reply> {
        if self.literal.size == 0 {
            // RFC 3502: that is how a client thinks better of it.
            return Some(Reply::no("CANNOT", "A message is not empty"));
        }
        let size_max = core.terms.message_bytes_max.min(u64::from(u32::MAX));
        let text = || format!("A message has at most {size_max} octets");
        (self.literal.size > size_max).then(|| Reply::no("TOOBIG", text()))
    }

    /// Asks for a place for the message under way; the quota must have room for all of them.
    fn place(&mut self) -> Next {
        self.stage = Stage::Place;
        Next::Ask(Question::Place(self.messages_bytes.saturating_add(self.literal.size)))
    }

    /// The client that waits for our word never sends the message; of another all is thrown away.
    fn refuse(&mut self, reply: Reply, io: &mut Io) -> Next {
        if self.literal.waits {
            return Next::Done(reply);
        }
        if self.left > SWALLOWED_LITERAL_BYTES_MAX {
            io.out.extend_from_slice(b"* BYE That is too much to be thrown away\r\n");
            return Next::Close(reply);
        }
        self.swallow(reply, io)
    }

    fn swallow(&mut self, reply: Reply, io: &mut Io) -> Next {
        let here = self.left.min(io.input.len() as u64);
        bytes::Buf::advance(io.input, here as usize);
        self.left -= here;
        if self.left > 0 {
            self.stage = Stage::Swallow(reply);
            return Next::NeedInput;
        }
        self.swallow_line(reply, io)
    }

    fn swallow_line(&mut self, reply: Reply, io: &mut Io) -> Next {
        match io.reader.read_behind_message(io.input) {
            Read::Nothing => {
                self.stage = Stage::SwallowLine(reply);
                Next::NeedInput
            }
            // The next message: of one that the client waits to send we are spared.
            Read::Message(next) => {
                self.left = next.size;
                self.literal = next;
                self.refuse(reply, io)
            }
            Read::Command(_) | Read::TooLarge { .. } => Next::Done(reply),
            Read::Continue | Read::Lost => too_long(io),
        }
    }

    fn flow(&mut self, io: &mut Io) -> Next {
        if self.left == 0 {
            self.stage = Stage::Behind;
            return self.behind(io);
        }
        if io.input.is_empty() {
            return Next::NeedInput;
        }
        let here = self.left.min(io.input.len().min(APPEND_CHUNK_BYTES_MAX) as u64);
        self.left -= here;
        Next::Ask(Question::Push(io.input.split_to(here as usize).freeze()))
    }

    fn behind(&mut self, io: &mut Io) -> Next {
        let next = match io.reader.read_behind_message(io.input) {
            Read::Nothing => return Next::NeedInput,
            Read::Command(rest) if rest.is_empty() => None,
            Read::Message(next) => Some(next),
            Read::Continue | Read::Lost => return too_long(io),
            Read::Command(_) | Read::TooLarge { .. } => {
                self.stage = Stage::Abandon(Reply::bad("There is more than the command takes"));
                return Next::Ask(Question::Abandon);
            }
        };
        self.stage = Stage::Finish(next);
        Next::Ask(Question::Finish)
    }

    fn placed(&mut self, body: PlacedBody, clock: &Clock) -> Option<()> {
        let head = self.head.take()?;
        let now = clock.now();
        let internal_date = match &head.internal_date {
            Some(date) => InternalDate { unix_seconds: date.unix_seconds(), zone_minutes: date.zone_minutes },
            None => InternalDate { unix_seconds: (now.0 / 1000) as i64, zone_minutes: 0 },
        };
        self.messages_bytes = self.messages_bytes.saturating_add(body.size.into());
        self.messages.push(NewMessage { body, flags: head.flags, internal_date });
        self.first_placed.get_or_insert(now);
        Some(())
    }

    /// The message lies safely: on to the next one, or to the commit.
    fn go_on(&mut self, body: PlacedBody, next: Option<MessageLiteral>, core: &Core, io: &mut Io) -> Next {
        match (self.placed(body, &core.clock), next) {
            (None, _) => Next::Done(Reply::unexpected(None)),
            (Some(()), Some(next)) => self.begin_next(next, core, io),
            (Some(()), None) => self.commit(&core.clock),
        }
    }

    /// The message was refused when all of it was there already.
    fn refuse_placed(&mut self, reply: Reply, next: Option<MessageLiteral>, io: &mut Io) -> Next {
        let Some(next) = next else { return Next::Done(reply) };
        self.left = next.size;
        self.literal = next;
        self.refuse(reply, io)
    }

    fn begin_next(&mut self, literal: MessageLiteral, core: &Core, io: &mut Io) -> Next {
        self.left = literal.size;
        self.lines_bytes += literal.head.len();
        self.literal = literal;
        if self.messages.len() == APPEND_MESSAGES_MAX {
            let text = format!("One APPEND has at most {APPEND_MESSAGES_MAX} messages");
            // RFC 9738 3.1.
            let code = format!("MESSAGELIMIT {APPEND_MESSAGES_MAX}");
            return self.refuse(Reply::no("", text).with_code(code), io);
        }
        if self.lines_bytes > APPEND_LINES_BYTES_MAX {
            return self.refuse(Reply::no("LIMIT", "The command's lines are too long together"), io);
        }
        match next_head(Cursor::new(&self.literal.head)) {
            Ok(head) => self.head = Some(head),
            Err(syntax) => return self.refuse(malformed(syntax), io),
        }
        match self.size_refused(core) {
            Some(reply) => self.refuse(reply, io),
            None => self.place(),
        }
    }

    fn commit(&mut self, clock: &Clock) -> Next {
        let (Some(mailbox), Some(since)) = (self.mailbox, self.first_placed) else {
            return Next::Done(Reply::unexpected(None));
        };
        if clock.now().0.saturating_sub(since.0) > APPEND_SECONDS_MAX * 1000 {
            let text = format!("The messages of one APPEND must come within {APPEND_SECONDS_MAX} seconds");
            return Next::Done(Reply::no("LIMIT", text));
        }
        let messages = std::mem::take(&mut self.messages);
        self.stage = Stage::Commit;
        Next::Ask(Question::Propose(Command::Append(command::Append { mailbox, messages })))
    }
}

fn malformed(syntax: Syntax) -> Reply {
    match syntax {
        Syntax::Malformed(what) => Reply::bad(format!("Malformed command: {what}")),
        _ => Reply::bad("Malformed command"),
    }
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
                self.place()
            }
            (Stage::Mailbox, Some(Answer::Mailbox(_))) => self.refuse(Reply::try_create(), io),
            (Stage::Place, Some(Answer::Done)) => {
                self.stage = Stage::Flow;
                if self.literal.waits {
                    io.out.extend_from_slice(b"+ Send the message\r\n");
                }
                self.flow(io)
            }
            // A fault, or no room in the quota.
            (Stage::Mailbox | Stage::Place, answer) => self.refuse(Reply::unexpected(answer), io),
            (Stage::Flow, None | Some(Answer::Done)) => {
                self.stage = Stage::Flow;
                self.flow(io)
            }
            // The rest of the message comes anyway.
            (Stage::Flow, answer) => self.swallow(Reply::unexpected(answer), io),
            (Stage::Behind, None) => {
                self.stage = Stage::Behind;
                self.behind(io)
            }
            (Stage::Finish(next), Some(Answer::Placed(body))) if self.literal.binary => {
                self.stage = Stage::Recode(next);
                Next::Ask(Question::Recode(body))
            }
            (Stage::Finish(next), Some(Answer::Placed(body)))
            | (Stage::Recode(next), Some(Answer::Recoded(Ok(body)))) => self.go_on(body, next, core, io),
            (Stage::Recode(next), Some(Answer::Recoded(Err(Unservable::Nul)))) => {
                let text = "NUL may stand only in a part whose encoding is binary";
                self.refuse_placed(Reply::no("UNKNOWN-CTE", text), next, io)
            }
            (Stage::Finish(next) | Stage::Recode(next), answer) => {
                self.refuse_placed(Reply::unexpected(answer), next, io)
            }
            (Stage::Commit, Some(Answer::Outcome(Outcome::Appended { uid_validity, uids }))) => {
                let uids = uid_list(&UidSet::from_ascending(uids));
                Next::Done(Reply::ok("Appended").with_code(format!("APPENDUID {uid_validity} {uids}")))
            }
            (Stage::Commit, Some(Answer::Outcome(Outcome::Refused(Refusal::NotFound(_))))) => {
                Next::Done(Reply::try_create())
            }
            (Stage::Swallow(reply), None) => self.swallow(reply, io),
            (Stage::SwallowLine(reply), None) => self.swallow_line(reply, io),
            (Stage::Abandon(reply), Some(_)) => Next::Done(reply),
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}
