//! EXPUNGE, CLOSE (RFC 3501 6.4.2, 6.4.3), UID EXPUNGE (RFC 4315), UNSELECT (RFC 3691).

use super::portions::Portions;
use super::{no_right, no_such_message, read_only};
use crate::mail::flags::SystemFlag;
use crate::mail::ids::Uid;
use crate::mail::rights::Rights;
use crate::session::imap::core::{Core, Io, Next, Progress, Reply, Task};
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::selected::Selected;
use crate::session::imap::sequence_set::SequenceSet;
use crate::state::command::{Command, UidSet};
use crate::state::outcome::Outcome;

/// What carries \Deleted among `within`.
fn deleted(selected: &Selected, within: Option<&UidSet>) -> Vec<Uid> {
    selected.view().read(|view| {
        let deleted = view.messages().iter().filter(|message| message.flags.has(SystemFlag::Deleted));
        let uids = deleted.map(|message| message.uid);
        uids.filter(|uid| within.is_none_or(|set| set.contains(*uid))).collect()
    })
}

/// In portions that one command of the state may take.
fn portions(selected: &Selected, uids: Vec<Uid>) -> Portions {
    Portions::of(selected.view().read(|view| view.portions(&UidSet::from_ascending(uids))))
}

pub struct Expunge {
    within: Option<SequenceSet>,
    portions: Portions,
    some_went: bool,
}

impl Expunge {
    pub fn new(within: Option<SequenceSet>) -> Self {
        Self { within, portions: Portions::default(), some_went: false }
    }
}

impl Task for Expunge {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, _io: &mut Io) -> Next {
        let Some(selected) = &core.selected else { return no_such_message() };
        match answer {
            None if selected.read_only => return read_only(),
            None if !selected.may(Rights::EXPUNGE) => return no_right(),
            None => {
                let within = self.within.as_ref().map(|set| {
                    let ranges = selected.uid_ranges(set, true);
                    UidSet::from_ranges(ranges.into_iter().map(|(low, high)| (Uid(low), Uid(high))))
                });
                let mut uids = deleted(selected, within.as_ref());
                // RFC 9738 3.1: EXPUNGE has no limit.
                if within.is_some() {
                    uids = core.limited_uids(uids);
                }
                let Some(selected) = &core.selected else { return no_such_message() };
                self.portions = portions(selected, uids);
            }
            Some(Answer::Outcome(Outcome::Expunged { uids, .. })) => self.some_went |= !uids.is_empty(),
            Some(other) => return Next::Done(Reply::unexpected(Some(other))),
        }
        let Some(selected) = &core.selected else { return no_such_message() };
        match self.portions.next() {
            // The EXPUNGE lines are told with the end of the command, as all that changed is.
            None if self.some_went => Next::Done(core.after_expunge(Reply::ok("Expunged"))),
            None => Next::Done(Reply::ok("Expunged")),
            Some(uids) => {
                let mailbox = selected.mailbox;
                Next::Ask(Question::Propose(Command::Expunge { mailbox, uids, only_deleted: true }))
            }
        }
    }

    fn progress(&self) -> Option<Progress> {
        Some(self.portions.progress())
    }
}

#[derive(Default)]
pub struct Close {
    portions: Portions,
    claiming: bool,
}

impl Task for Close {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, _io: &mut Io) -> Next {
        let Some(selected) = &core.selected else { return Next::Done(Reply::ok("Closed")) };
        match answer {
            Some(_) if self.claiming => {}
            // RFC 4314 4: without the right nothing goes, and the mailbox is closed.
            None if selected.read_only || !selected.may(Rights::EXPUNGE) => {
                self.portions = Portions::default()
            }
            None => self.portions = portions(selected, deleted(selected, None)),
            Some(Answer::Outcome(Outcome::Expunged { .. })) => {}
            // Still selected: the client may try again, or UNSELECT.
            Some(other) => return Next::Done(Reply::unexpected(Some(other))),
        }
        match self.portions.next() {
            None => {
                if let (false, Some(claim)) = (self.claiming, core.claim_recent()) {
                    self.claiming = true;
                    return Next::Ask(claim);
                }
                // RFC 3501 6.4.2: no EXPUNGE is told.
                core.selected = None;
                Next::Done(Reply::ok("Closed"))
            }
            Some(uids) => {
                let mailbox = selected.mailbox;
                Next::Ask(Question::Propose(Command::Expunge { mailbox, uids, only_deleted: true }))
            }
        }
    }

    fn progress(&self) -> Option<Progress> {
        Some(self.portions.progress())
    }
}

pub struct Unselect;

impl Task for Unselect {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, _io: &mut Io) -> Next {
        if let (None, Some(claim)) = (answer, core.claim_recent()) {
            return Next::Ask(claim);
        }
        core.selected = None;
        Next::Done(Reply::ok("Unselected"))
    }
}
