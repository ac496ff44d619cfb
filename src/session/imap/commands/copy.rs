//! COPY (RFC 3501 6.4.7) and MOVE (RFC 6851), with COPYUID (RFC 4315).

use super::{no_such_message, read_only};
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::MailboxName;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::sequence_set::SequenceSet;
use crate::state::command::{Command, UidSet};
use crate::state::outcome::{Outcome, Refusal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Copy,
    Move,
}

pub struct Copy {
    uid: bool,
    set: SequenceSet,
    mailbox: MailboxName,
    kind: Kind,
    uids: UidSet,
}

impl Copy {
    pub fn new((uid, set): (bool, SequenceSet), mailbox: MailboxName, kind: Kind) -> Self {
        Self { uid, set, mailbox, kind, uids: UidSet::default() }
    }

    fn begin(&mut self, core: &Core) -> Next {
        let Some(selected) = &core.selected else { return no_such_message() };
        if self.kind == Kind::Move && selected.read_only {
            return read_only();
        }
        let Some(ranges) = selected.resolve(&self.set, self.uid) else { return no_such_message() };
        self.uids = selected.uid_set(&ranges);
        match self.mailbox.0.take() {
            Some(name) => Next::Ask(Question::Mailbox(core.account(), name)),
            None => Next::Done(Reply::try_create()),
        }
    }

    fn finish(&self, outcome: Outcome, io: &mut Io) -> Next {
        let done = if self.kind == Kind::Copy { "Copied" } else { "Moved" };
        let (validity, from, to) = match outcome {
            Outcome::Copied { uid_validity, from, to } => (uid_validity, from, to),
            Outcome::Refused(Refusal::NotFound(_)) => return Next::Done(Reply::try_create()),
            other => return Next::Done(Reply::unexpected(Some(Answer::Outcome(other)))),
        };
        if from.is_empty() {
            return Next::Done(Reply::ok("No message was there any more"));
        }
        let code = format!("COPYUID {validity} {} {}", uid_list(&from), uid_list(&to));
        if self.kind == Kind::Copy {
            return Next::Done(Reply::ok(done).with_code(code));
        }
        // RFC 6851 4.3: COPYUID comes before the EXPUNGEs, which the end of the command tells.
        io.out.extend_from_slice(format!("* OK [{code}] Moved\r\n").as_bytes());
        Next::Done(Reply::ok(done))
    }
}

impl Task for Copy {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        let Some(selected) = &core.selected else { return no_such_message() };
        match answer {
            None => self.begin(core),
            Some(Answer::Mailbox(None)) => Next::Done(Reply::try_create()),
            Some(Answer::Mailbox(Some(record))) if record.no_select => {
                Next::Done(Reply::no("CANNOT", "The mailbox cannot hold messages"))
            }
            Some(Answer::Mailbox(Some(_))) if self.uids.is_empty() => {
                // RFC 3501 6.4.8: a UID that is not there is passed over in silence.
                Next::Done(Reply::ok("No such message"))
            }
            Some(Answer::Mailbox(Some(record))) => {
                let (from, to, uids) = (selected.mailbox, record.id, std::mem::take(&mut self.uids));
                Next::Ask(Question::Propose(match self.kind {
                    Kind::Copy => Command::Copy { from, uids, to },
                    Kind::Move => Command::Move { from, uids, to },
                }))
            }
            Some(Answer::Outcome(outcome)) => self.finish(outcome, io),
            other => Next::Done(Reply::unexpected(other)),
        }
    }
}

/// RFC 4315 4, `uid-set`: `*` is never used.
pub fn uid_list(set: &UidSet) -> String {
    let range = |(first, last): &(crate::mail::ids::Uid, crate::mail::ids::Uid)| {
        if first == last { first.to_string() } else { format!("{first}:{last}") }
    };
    set.ranges().iter().map(range).collect::<Vec<_>>().join(",")
}
