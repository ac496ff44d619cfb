//! GETMETADATA and SETMETADATA (RFC 5464): annotations of mailboxes and of the server.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::mail::ids::MailboxId;
use crate::mail::rights::Rights;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{self, NameCoding};
use crate::session::imap::limits::OUTPUT_CHUNK_BYTES;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::string::{write_astring, write_nstring8};
use crate::session::imap::write;
use crate::state::apply::METADATA_VALUE_BYTES_MAX;
use crate::state::command::{self, Command};
use crate::state::metadata::{ANNOTATING, Annotation, Depth, Place, Wanted, is_shared};
use crate::state::outcome::{Outcome, Refusal};

/// An entry and its value, if it has one.
pub type Entry = (String, Option<Vec<u8>>);

enum Stage {
    Begin,
    Mailbox,
    Entries,
    Telling,
}

pub struct GetMetadata {
    request: grammar::GetMetadata,
    /// As the responses name it; empty for the server.
    mailbox: String,
    stage: Stage,
    entries: VecDeque<Entry>,
    /// Octets of the largest value that was not asked for, as it is so large.
    longest: Option<usize>,
}

impl GetMetadata {
    pub fn new(request: grammar::GetMetadata) -> Self {
        Self { request, mailbox: String::new(), stage: Stage::Begin, entries: VecDeque::new(), longest: None }
    }

    fn ask(&mut self, core: &Core, mailbox: Option<MailboxId>) -> Next {
        self.stage = Stage::Entries;
        Next::Ask(Question::Metadata(Place { account: core.account(), mailbox }, self.wanted()))
    }

    fn wanted(&self) -> Vec<Wanted> {
        let depth = self.request.options.depth;
        self.request.entries.iter().map(|name| Wanted { name: name.clone(), depth }).collect()
    }

    /// RFC 5464 4.2.1: what is larger than the client wants is not told.
    fn gather(&mut self, found: Vec<Annotation>) {
        let size_max = self.request.options.size_max.map_or(usize::MAX, |size_max| size_max as usize);
        let too_long = |(_, value): &Entry| value.as_ref().map(Vec::len).filter(|size| *size > size_max);
        let entries = match self.request.options.depth {
            Depth::Zero => with_nil(&self.request.entries, found),
            Depth::One | Depth::Infinity => {
                found.into_iter().map(|annotation| (annotation.name, Some(annotation.value))).collect()
            }
        };
        self.longest = entries.iter().filter_map(too_long).max();
        self.entries = entries.into_iter().filter(|entry| too_long(entry).is_none()).collect();
    }

    fn tell(&mut self, names: NameCoding, out: &mut BytesMut) -> Next {
        self.stage = Stage::Telling;
        while !self.entries.is_empty() {
            write_entries((&self.mailbox, names), &mut self.entries, out);
            if out.len() > OUTPUT_CHUNK_BYTES {
                return Next::Flush;
            }
        }
        let reply = Reply::ok("That is what is noted");
        Next::Done(match self.longest {
            Some(size) => reply.with_code(format!("METADATA LONGENTRIES {size}")),
            None => reply,
        })
    }
}

impl Task for GetMetadata {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Begin), answer) {
            (Stage::Begin, None) => match self.request.mailbox.take().map(|mailbox| mailbox.0) {
                None => self.ask(core, None),
                Some(Some(name)) => {
                    self.stage = Stage::Mailbox;
                    Next::Ask(core.reach(name, Rights::LOOKUP))
                }
                Some(None) => Next::Done(Reply::no_such_mailbox()),
            },
            (Stage::Mailbox, Some(Answer::Mailbox(None))) => Next::Done(Reply::no_such_mailbox()),
            // RFC 5464 3.3.
            (Stage::Mailbox, Some(Answer::Mailbox(Some(record)))) if !record.rights.has_any(ANNOTATING) => {
                Next::Done(Reply::refusal(&Refusal::NotPermitted))
            }
            (Stage::Mailbox, Some(Answer::Mailbox(Some(record)))) => {
                self.mailbox = record.name;
                self.ask(core, Some(record.id))
            }
            (Stage::Entries, Some(Answer::Metadata(found))) => {
                self.gather(found);
                self.tell(core.names, io.out)
            }
            (Stage::Telling, None) => self.tell(core.names, io.out),
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}

/// Each entry that was asked for, once, with NIL where it has no value.
pub fn with_nil(asked: &[String], found: Vec<Annotation>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::with_capacity(asked.len());
    for name in asked {
        if !entries.iter().any(|(known, _)| known == name) {
            entries.push((name.clone(), None));
        }
    }
    for annotation in found {
        if let Some((_, value)) = entries.iter_mut().find(|(name, _)| *name == annotation.name) {
            *value = Some(annotation.value);
        }
    }
    entries
}

/// One METADATA response, of as many of the entries as are good to send at a time.
pub fn write_entries(
    (mailbox, names): (&str, NameCoding),
    entries: &mut VecDeque<Entry>,
    out: &mut BytesMut,
) {
    out.extend_from_slice(b"* METADATA ");
    write::mailbox_name(mailbox, names, out);
    let mut blank: &[u8] = b" (";
    let end = out.len() + OUTPUT_CHUNK_BYTES;
    while out.len() < end
        && let Some((name, value)) = entries.pop_front()
    {
        out.extend_from_slice(blank);
        write_astring(name.as_bytes(), out);
        out.extend_from_slice(b" ");
        write_nstring8(value.as_deref(), out);
        blank = b" ";
    }
    out.extend_from_slice(b")\r\n");
}

pub struct SetMetadata(pub grammar::SetMetadata);

impl SetMetadata {
    fn begin(&mut self, core: &Core) -> Next {
        let too_large = |value: &Vec<u8>| value.len() > METADATA_VALUE_BYTES_MAX;
        if self.0.entries.iter().any(|entry| entry.value.as_ref().is_some_and(too_large)) {
            return Next::Done(too_large_reply());
        }
        match self.0.mailbox.take().map(|mailbox| mailbox.0) {
            // RFC 5464 3.3: they are the administrator's.
            None if self.0.entries.iter().any(|entry| is_shared(&entry.name)) => {
                Next::Done(Reply::no("NOPERM", "What all share of the server is set by the administrator"))
            }
            None => self.propose(core, None),
            Some(Some(name)) => Next::Ask(core.reach(name, Rights::LOOKUP)),
            Some(None) => Next::Done(Reply::no_such_mailbox()),
        }
    }

    fn propose(&mut self, core: &Core, mailbox: Option<MailboxId>) -> Next {
        let (account, entries) = (core.account(), std::mem::take(&mut self.0.entries));
        Next::Ask(Question::Propose(Command::SetMetadata(command::SetMetadata { account, mailbox, entries })))
    }
}

/// RFC 5464 4.3.
pub fn too_large_reply() -> Reply {
    let text =
        format!("A value has at most {METADATA_VALUE_BYTES_MAX} octets, and so have all in one command");
    Reply::no("", text).with_code(format!("METADATA MAXSIZE {METADATA_VALUE_BYTES_MAX}"))
}

impl Task for SetMetadata {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, _io: &mut Io) -> Next {
        match answer {
            None => self.begin(core),
            Some(Answer::Mailbox(None)) => Next::Done(Reply::no_such_mailbox()),
            Some(Answer::Mailbox(Some(record))) => self.propose(core, Some(record.id)),
            Some(Answer::Outcome(Outcome::Done)) => Next::Done(Reply::ok("Noted")),
            // Sizes are within their bound: it is the number of them, or what they are together.
            Some(Answer::Outcome(Outcome::Refused(Refusal::Limit(_)))) => {
                Next::Done(Reply::no("METADATA TOOMANY", "No more annotations are kept"))
            }
            answer => Next::Done(Reply::unexpected(answer)),
        }
    }
}
