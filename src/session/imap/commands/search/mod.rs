//! SEARCH (RFC 3501 6.4.4, RFC 4731, RFC 5182, RFC 5267, RFC 7162 3.1.5), SORT and THREAD (RFC 5256, RFC 5267).

pub mod answer;
mod cancel;
mod find;
mod gather;
mod sort;
mod thread;

pub use cancel::CancelUpdate;
pub use find::Found;
pub use sort::Sort;
pub use thread::Thread;

use super::message_limit::{Cut, too_many};
use super::no_such_message;
use answer::{Pieces, extended, plain, saved};
use find::Finder;

use crate::session::imap::contexts::{Context, Members};
use crate::session::imap::core::{Core, Io, Next, Progress, Reply, Task};
use crate::session::imap::grammar::{Results, SearchRequest};
use crate::session::imap::item::FetchItem;
use crate::session::imap::question::Answer;
use crate::session::imap::search::{SearchKey, asks_modseq};

enum Stage {
    Begin,
    Finding(Finder),
    Writing(Writing),
}

pub struct Search {
    uid: bool,
    request: SearchRequest,
    stage: Stage,
}

impl Search {
    pub fn new(uid: bool, request: SearchRequest) -> Self {
        Self { uid, request, stage: Stage::Begin }
    }

    fn found(&mut self, core: &mut Core, finder: Finder, io: &mut Io) -> Next {
        let members = || Members::Plain(finder.found.iter().map(|found| found.uid).collect());
        let pieces = told(core, ("SEARCH", self.uid), (&self.request, &finder), members, io);
        self.write(Writing { pieces, faults: finder.faults, text: "Searched" }, io)
    }

    fn write(&mut self, mut writing: Writing, io: &mut Io) -> Next {
        let next = writing.write(io);
        self.stage = Stage::Writing(writing);
        next
    }
}

impl Task for Search {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match std::mem::replace(&mut self.stage, Stage::Begin) {
            Stage::Begin => {
                match begin(core, (&self.request.key, self.request.results.as_ref()), Limit::Cuts, io) {
                    Ok(finder) => {
                        self.stage = Stage::Finding(finder);
                        self.step(core, None, io)
                    }
                    Err(next) => next,
                }
            }
            Stage::Finding(mut finder) => match finder.step(core, answer) {
                Ok(Some(question)) => {
                    self.stage = Stage::Finding(finder);
                    Next::Ask(question)
                }
                Ok(None) => self.found(core, finder, io),
                Err(answer) => Next::Done(Reply::unexpected(answer)),
            },
            Stage::Writing(writing) => self.write(writing, io),
        }
    }

    fn progress(&self) -> Option<Progress> {
        match &self.stage {
            Stage::Finding(finder) => Some(finder.progress()),
            Stage::Begin | Stage::Writing(_) => None,
        }
    }
}

/// RFC 9585 4: per cent, where messages are first found, and then looked at once more.
fn halfway(finder: &Finder) -> Progress {
    let Progress { done, goal } = finder.progress();
    Progress::percent(done * 50 / goal.max(1))
}

/// What becomes of a command that would look at more messages than one may (RFC 9738 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Cuts,
    Refuses,
}

fn begin(
    core: &mut Core,
    (key, results): (&SearchKey, Option<&Results>),
    limit: Limit,
    io: &mut Io,
) -> Result<Finder, Next> {
    if asks_modseq(key) {
        core.enable_condstore(io.out);
    }
    let Some(selected) = &mut core.selected else { return Err(no_such_message()) };
    let mut finder = Finder::new(key.clone(), selected);
    // RFC 5182 2.1: when this search fails, nothing is saved.
    if results.is_some_and(|results| results.save) {
        selected.saved.clear();
    }
    if let Some(messages_max) = core.terms.message_limit
        && let Some(lowest) = finder.limit(messages_max)
    {
        match limit {
            Limit::Cuts => core.cut = Some(Cut { limit: messages_max, lowest }),
            Limit::Refuses => return Err(Next::Done(too_many(messages_max))),
        }
    }
    Ok(finder)
}

/// What has been found, on its way to the client.
struct Writing {
    pieces: Pieces,
    faults: u32,
    /// Of the OK at the end.
    text: &'static str,
}

impl Writing {
    fn write(&mut self, io: &mut Io) -> Next {
        if self.pieces.write(io.out) {
            return Next::Flush;
        }
        ended(self.faults, self.text)
    }
}

/// The answer to a SEARCH or SORT that has found all, in the order of `finder.found`; and what RETURN asks for beside it.
fn told(
    core: &mut Core,
    (verb, uid): (&'static str, bool),
    (request, finder): (&SearchRequest, &Finder),
    members: impl FnOnce() -> Members,
    io: &mut Io,
) -> Pieces {
    let modseq = asks_modseq(&request.key);
    let all = Results { all: true, ..Results::default() };
    let results = match &request.results {
        Some(results) => results,
        // RFC 9051 6.4.4: there is no other answer to a SEARCH.
        None if core.rev2 && verb == "SEARCH" => &all,
        None => return plain(verb, uid, &finder.found, modseq),
    };
    if results.update {
        watch(core, uid, (finder.key(), results), members(), io);
    }
    keep(core, results, finder);
    answered(core, uid, results, &finder.found, modseq)
}

/// RETURN (UPDATE): the result is kept current from now on, or the client hears at once that it is not.
fn watch(core: &mut Core, uid: bool, (key, results): (&SearchKey, &Results), members: Members, io: &mut Io) {
    let tag = core.tag.clone();
    let attributes = results.update_attributes.iter().cloned().map(FetchItem::peeking).collect();
    let is_whole = core.cut.is_none();
    let context = Context { tag, uid, key: key.clone(), members, attributes, is_whole };
    if let Some(selected) = &mut core.selected {
        selected.contexts.open(context, io.out);
    }
}

/// RETURN (SAVE): `$` is what was found; nothing, when not all could be looked at (RFC 5182 2.1).
fn keep(core: &mut Core, results: &Results, finder: &Finder) {
    if let (true, Some(selected)) = (results.save, &mut core.selected) {
        selected.saved = if finder.faults == 0 { saved(results, &finder.found) } else { Vec::new() };
    }
}

/// RFC 5182 2.1: where nothing but SAVE is wanted, nothing is told.
fn answered(core: &Core, uid: bool, results: &Results, found: &[Found], modseq: bool) -> Pieces {
    if results.save && !results.tells() {
        return Pieces::default();
    }
    extended(&core.tag, uid, results, found, modseq)
}

fn ended(faults: u32, text: &'static str) -> Next {
    if faults > 0 {
        // What could not be looked at may have matched: the client must not take this for all.
        return Next::Done(Reply::no("UNAVAILABLE", "Some messages could not be searched now"));
    }
    Next::Done(Reply::ok(text))
}
