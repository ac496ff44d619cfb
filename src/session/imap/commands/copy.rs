//! COPY (RFC 3501 6.4.7) and MOVE (RFC 6851), with COPYUID (RFC 4315).

use super::portions::Portions;
use super::{no_right, no_such_message, read_only};
use crate::mail::ids::{MailboxId, Uid};
use crate::mail::rights::Rights;
use crate::session::imap::core::{Core, Io, Next, Progress, Reply, Task};
use crate::session::imap::grammar::MailboxName;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::sequence_set::SequenceSet;
use crate::state::command::{Command, Transfer, UidSet};
use crate::state::outcome::{Outcome, Refusal};
use crate::state::view::MESSAGES_PER_COMMAND_MAX;

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
    target: MailboxId,
    /// What is to be proposed.
    portions: Portions,
}

impl Copy {
    pub fn new((uid, set): (bool, SequenceSet), mailbox: MailboxName, kind: Kind) -> Self {
        Self { uid, set, mailbox, kind, target: MailboxId::default(), portions: Portions::default() }
    }

    fn begin(&mut self, core: &mut Core) -> Next {
        let Some(selected) = &core.selected else { return no_such_message() };
        if self.kind == Kind::Move && selected.read_only {
            return read_only();
        }
        // RFC 6851 4.5: what is moved is also deleted and expunged.
        let takes = Rights::DELETE_MESSAGES.union(Rights::EXPUNGE);
        if self.kind == Kind::Move && !selected.may(takes) {
            return no_right();
        }
        let Some(mut ranges) = selected.resolve(&self.set, self.uid) else { return no_such_message() };
        if self.kind == Kind::Move {
            ranges = core.limited(ranges);
        }
        let Some(selected) = &core.selected else { return no_such_message() };
        let uids = selected.uid_set(&ranges);
        // RFC 6851 3.3: each message is moved or is not, so that many may go in portions.
        let portions = selected.view().read(|view| view.portions(&uids));
        // RFC 3501 6.4.7: but copied are all or none.
        let limit = core.terms.message_limit.unwrap_or(MESSAGES_PER_COMMAND_MAX);
        if self.kind == Kind::Copy && portions.iter().map(UidSet::len).sum::<u64>() > limit as u64 {
            return too_many(&portions, limit);
        }
        self.portions = Portions::of(portions);
        match self.mailbox.0.take() {
            Some(name) => Next::Ask(core.reach(name, Rights::INSERT)),
            None => Next::Done(Reply::try_create()),
        }
    }

    fn next(&mut self, core: &Core) -> Next {
        let Some(selected) = &core.selected else { return no_such_message() };
        let (from, to) = (selected.mailbox, self.target);
        match (self.portions.next(), self.kind) {
            (Some(uids), Kind::Copy) => {
                Next::Ask(Question::Propose(Command::Copy(Transfer { from, uids, to })))
            }
            (Some(uids), Kind::Move) => {
                Next::Ask(Question::Propose(Command::Move(Transfer { from, uids, to })))
            }
            // RFC 3501 6.4.8: a UID that is not there is passed over in silence.
            (None, _) => Next::Done(Reply::ok("No message is left to be taken")),
        }
    }

    fn heard(&mut self, core: &Core, outcome: Outcome, io: &mut Io) -> Next {
        let (validity, from, to) = match outcome {
            Outcome::Copied { uid_validity, from, to } => (uid_validity, from, to),
            Outcome::Refused(Refusal::NotFound(_)) => return Next::Done(Reply::try_create()),
            other => return Next::Done(Reply::unexpected(Some(Answer::Outcome(other)))),
        };
        let code = format!("COPYUID {validity} {} {}", uid_list(&from), uid_list(&to));
        match self.kind {
            _ if from.is_empty() => {}
            Kind::Copy => return Next::Done(Reply::ok("Copied").with_code(code)),
            // RFC 6851 4.3: COPYUID comes before the EXPUNGEs, which the end of the command tells.
            Kind::Move => io.out.extend_from_slice(format!("* OK [{code}] Moved\r\n").as_bytes()),
        }
        match (self.portions.is_empty(), from.is_empty()) {
            (false, _) => self.next(core),
            (true, false) => Next::Done(core.after_expunge(Reply::ok("Moved"))),
            (true, true) => Next::Done(Reply::ok("No message was there any more")),
        }
    }
}

impl Task for Copy {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match answer {
            None => self.begin(core),
            Some(Answer::Mailbox(None)) => Next::Done(Reply::try_create()),
            Some(Answer::Mailbox(Some(record))) if record.no_select => {
                Next::Done(Reply::no("CANNOT", "The mailbox cannot hold messages"))
            }
            Some(Answer::Mailbox(Some(record))) => {
                self.target = record.id;
                self.next(core)
            }
            Some(Answer::Outcome(outcome)) => self.heard(core, outcome, io),
            other => Next::Done(Reply::unexpected(other)),
        }
    }

    fn progress(&self) -> Option<Progress> {
        Some(self.portions.progress())
    }
}

/// RFC 9738 3.1: how many messages one COPY takes, and the UID from which on it would take those named.
fn too_many(portions: &[UidSet], limit: usize) -> Next {
    let uids: Vec<Uid> = portions.iter().flat_map(UidSet::iter).collect();
    let from = uids[uids.len().saturating_sub(limit)];
    let text = format!("One COPY takes at most {limit} messages");
    let code = format!("MESSAGELIMIT {limit} {from}");
    Next::Done(Reply::no("", text).with_code(code))
}

/// RFC 4315 4, `uid-set`: `*` is never used.
pub fn uid_list(set: &UidSet) -> String {
    let range = |(first, last): &(crate::mail::ids::Uid, crate::mail::ids::Uid)| {
        if first == last { first.to_string() } else { format!("{first}:{last}") }
    };
    set.ranges().iter().map(range).collect::<Vec<_>>().join(",")
}
