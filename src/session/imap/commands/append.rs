//! APPEND (RFC 3501 6.3.11, RFC 4315): the message flows from the client into its placing, never gathered.

use crate::clock::Clock;
use crate::mail::ids::MailboxId;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{AppendHead, Syntax, append_head};
use crate::session::imap::limits::{APPEND_CHUNK_BYTES_MAX, SWALLOWED_LITERAL_BYTES_MAX};
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::reader::{MessageLiteral, Read};
use crate::state::command::{self, Command, InternalDate, NewMessage, PlacedBody};
use crate::state::outcome::{Outcome, Refusal};

enum Stage {
    Begin,
    Mailbox,
    Place,
    /// The message is on its way.
    Flow,
    /// The rest of the command's line: it must be empty.
    LineEnd,
    Finish,
    Commit,
    /// Refused: what still comes of the command is thrown away, then the client hears it.
    Swallow(Reply),
    SwallowLine(Reply),
    /// The placing is dropped before that.
    Abandon(Reply),
}

pub struct Append {
    literal: MessageLiteral,
    left: u64,
    head: Option<AppendHead>,
    mailbox: Option<MailboxId>,
    stage: Stage,
}

impl Append {
    pub fn new(literal: MessageLiteral) -> Self {
        let left = literal.size;
        Self { literal, left, head: None, mailbox: None, stage: Stage::Begin }
    }

    fn begin(&mut self, core: &Core, io: &mut Io) -> Next {
        if core.login.is_none() {
            return self.refuse(Reply::bad("Log in first"), io);
        }
        let head = match append_head(&self.literal.head) {
            Some(Ok(head)) => head,
            Some(Err(Syntax::Malformed(what))) => {
                return self.refuse(Reply::bad(format!("Malformed command: {what}")), io);
            }
            _ => return self.refuse(Reply::bad("Malformed command"), io),
        };
        if self.literal.size == 0 {
            return self.refuse(Reply::no("CANNOT", "A message is not empty"), io);
        }
        let size_max = core.terms.message_bytes_max.min(u64::from(u32::MAX));
        if self.literal.size > size_max {
            let text = format!("A message has at most {size_max} octets");
            return self.refuse(Reply::no("TOOBIG", text), io);
        }
        let Some(name) = head.mailbox.0.clone() else { return self.refuse(Reply::try_create(), io) };
        self.head = Some(head);
        self.stage = Stage::Mailbox;
        Next::Ask(Question::Mailbox(core.account(), name))
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
        self.stage = Stage::Swallow(reply);
        self.swallow(io)
    }

    fn swallow(&mut self, io: &mut Io) -> Next {
        let here = self.left.min(io.input.len() as u64);
        bytes::Buf::advance(io.input, here as usize);
        self.left -= here;
        if self.left > 0 {
            return Next::NeedInput;
        }
        if let Stage::Swallow(reply) = std::mem::replace(&mut self.stage, Stage::Begin) {
            self.stage = Stage::SwallowLine(reply);
        }
        self.swallow_line(io)
    }

    fn swallow_line(&mut self, io: &mut Io) -> Next {
        loop {
            match io.reader.read(io.input) {
                Read::Nothing => return Next::NeedInput,
                Read::Continue => io.out.extend_from_slice(b"+ OK\r\n"),
                Read::Command(_) | Read::TooLarge { .. } => break,
                Read::Message(_) | Read::Lost => {
                    io.out.extend_from_slice(b"* BYE The command is too long\r\n");
                    return Next::Close(Reply::bad("The command is too long"));
                }
            }
        }
        match std::mem::replace(&mut self.stage, Stage::Begin) {
            Stage::SwallowLine(reply) => Next::Done(reply),
            _ => Next::Done(Reply::unexpected(None)),
        }
    }

    fn flow(&mut self, io: &mut Io) -> Next {
        if self.left == 0 {
            self.stage = Stage::LineEnd;
            return self.line_end(io);
        }
        if io.input.is_empty() {
            return Next::NeedInput;
        }
        let here = self.left.min(io.input.len().min(APPEND_CHUNK_BYTES_MAX) as u64);
        self.left -= here;
        Next::Ask(Question::Push(io.input.split_to(here as usize).freeze()))
    }

    fn line_end(&mut self, io: &mut Io) -> Next {
        match io.reader.read(io.input) {
            Read::Nothing => Next::NeedInput,
            Read::Command(rest) if rest.is_empty() => {
                self.stage = Stage::Finish;
                Next::Ask(Question::Finish)
            }
            Read::Continue => {
                self.stage = Stage::SwallowLine(Reply::bad("One message at a time"));
                io.out.extend_from_slice(b"+ OK\r\n");
                self.swallow_line(io)
            }
            Read::Lost | Read::Message(_) => {
                io.out.extend_from_slice(b"* BYE The command is too long\r\n");
                Next::Close(Reply::bad("The command is too long"))
            }
            Read::Command(_) | Read::TooLarge { .. } => {
                self.stage = Stage::Abandon(Reply::bad("There is more than the command takes"));
                Next::Ask(Question::Abandon)
            }
        }
    }

    fn commit(&mut self, body: PlacedBody, clock: &Clock) -> Next {
        let (Some(head), Some(mailbox)) = (self.head.take(), self.mailbox) else {
            return Next::Done(Reply::unexpected(None));
        };
        let internal_date = match &head.internal_date {
            Some(date) => InternalDate { unix_seconds: date.unix_seconds(), zone_minutes: date.zone_minutes },
            None => InternalDate { unix_seconds: (clock.now().0 / 1000) as i64, zone_minutes: 0 },
        };
        let messages = vec![NewMessage { body, flags: head.flags, internal_date }];
        self.stage = Stage::Commit;
        Next::Ask(Question::Propose(Command::Append(command::Append { mailbox, messages })))
    }
}

impl Task for Append {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (&mut self.stage, answer) {
            (Stage::Begin, None) => self.begin(core, io),
            (Stage::Mailbox, Some(Answer::Mailbox(Some(record)))) if !record.no_select => {
                self.mailbox = Some(record.id);
                self.stage = Stage::Place;
                Next::Ask(Question::Place(self.literal.size))
            }
            (Stage::Mailbox, Some(Answer::Mailbox(_))) => self.refuse(Reply::try_create(), io),
            (Stage::Mailbox | Stage::Place, Some(Answer::Fault(fault))) => {
                self.refuse(Reply::fault(&fault), io)
            }
            (Stage::Place, Some(Answer::Outcome(Outcome::Refused(refusal)))) => {
                self.refuse(Reply::refusal(&refusal), io)
            }
            (Stage::Place, Some(Answer::Done)) => {
                self.stage = Stage::Flow;
                if self.literal.waits {
                    io.out.extend_from_slice(b"+ Send the message\r\n");
                }
                self.flow(io)
            }
            (Stage::Flow, None | Some(Answer::Done)) => self.flow(io),
            // The rest of the message comes anyway.
            (Stage::Flow, Some(Answer::Fault(fault))) => {
                self.stage = Stage::Swallow(Reply::fault(&fault));
                self.swallow(io)
            }
            (Stage::LineEnd, None) => self.line_end(io),
            (Stage::Finish, Some(Answer::Placed(body))) => self.commit(body, &core.clock),
            (Stage::Commit, Some(Answer::Outcome(Outcome::Appended { uid_validity, uids }))) => {
                let uid = uids.first().copied().unwrap_or_default();
                Next::Done(Reply::ok("Appended").with_code(format!("APPENDUID {uid_validity} {uid}")))
            }
            (Stage::Commit, Some(Answer::Outcome(Outcome::Refused(Refusal::NotFound(_))))) => {
                Next::Done(Reply::try_create())
            }
            (Stage::Swallow(_), None) => self.swallow(io),
            (Stage::SwallowLine(_), None) => self.swallow_line(io),
            (Stage::Abandon(reply), Some(_)) => Next::Done(reply.clone()),
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}
