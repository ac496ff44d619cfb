//! SORT (RFC 5256 3, RFC 5957, RFC 5267): finds, learns what messages are compared by, has them sorted.

use super::find::{Finder, Found};
use super::gather::Gatherer;
use super::{Limit, Writing, begin, halfway, told};
use crate::session::imap::arrange::sort::{Criterion, Sortable};
use crate::session::imap::contexts::Members;
use crate::session::imap::core::{Core, Io, Next, Progress, Reply, Task};
use crate::session::imap::grammar::SearchRequest;
use crate::session::imap::limits::SORT_BYTES_MAX;
use crate::session::imap::question::{Answer, Arranged, Arrangement, Question};

enum Stage {
    Begin,
    Finding(Finder),
    Gathering(Finder, Gatherer<Sortable<Found>>),
    Sorting(Finder),
    Writing(Writing),
}

pub struct Sort {
    uid: bool,
    criteria: Vec<Criterion>,
    request: SearchRequest,
    stage: Stage,
}

impl Sort {
    pub fn new(uid: bool, criteria: Vec<Criterion>, request: SearchRequest) -> Self {
        Self { uid, criteria, request, stage: Stage::Begin }
    }

    fn gather(
        &mut self,
        core: &Core,
        finder: Finder,
        mut gatherer: Gatherer<Sortable<Found>>,
        answer: Option<Answer>,
    ) -> Next {
        let criteria = &self.criteria;
        let known = gatherer.step(core, answer, |found, record, facts| {
            let sortable = Sortable::new(criteria, found, record, facts);
            let bytes = sortable.bytes();
            (sortable, bytes)
        });
        match known {
            Ok(Some(question)) => {
                self.stage = Stage::Gathering(finder, gatherer);
                Next::Ask(question)
            }
            Ok(None) => {
                let mut finder = finder;
                finder.faults += gatherer.faults;
                self.stage = Stage::Sorting(finder);
                let criteria = self.criteria.clone();
                Next::Ask(Question::Arrange(Arrangement::Sort { criteria, messages: gatherer.known }))
            }
            Err(next) => next,
        }
    }

    fn sorted(
        &mut self,
        core: &mut Core,
        mut finder: Finder,
        sorted: Vec<Sortable<Found>>,
        io: &mut Io,
    ) -> Next {
        finder.found = sorted.iter().map(|sortable| sortable.message).collect();
        let criteria = &self.criteria;
        let members = || {
            let by_uid =
                |sortable: Sortable<Found>| Sortable { keys: sortable.keys, message: sortable.message.uid };
            let messages = sorted.into_iter().map(by_uid).collect();
            Members::Sorted { criteria: criteria.clone(), messages }
        };
        let pieces = told(core, ("SORT", self.uid), (&self.request, &finder), members, io);
        self.write(Writing { pieces, faults: finder.faults, text: "Sorted" }, io)
    }

    fn write(&mut self, mut writing: Writing, io: &mut Io) -> Next {
        let next = writing.write(io);
        self.stage = Stage::Writing(writing);
        next
    }
}

impl Task for Sort {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Begin), answer) {
            (Stage::Begin, _) => {
                match begin(core, (&self.request.key, self.request.results.as_ref()), Limit::Refuses, io) {
                    Ok(finder) => {
                        self.stage = Stage::Finding(finder);
                        self.step(core, None, io)
                    }
                    Err(next) => next,
                }
            }
            (Stage::Finding(mut finder), answer) => match finder.step(core, answer) {
                Ok(Some(question)) => {
                    self.stage = Stage::Finding(finder);
                    Next::Ask(question)
                }
                Ok(None) => {
                    let needs_facts = self.criteria.iter().any(|criterion| criterion.field.needs_facts());
                    let gatherer = Gatherer::new(&finder.found, needs_facts, SORT_BYTES_MAX);
                    self.gather(core, finder, gatherer, None)
                }
                Err(answer) => Next::Done(Reply::unexpected(answer)),
            },
            (Stage::Gathering(finder, gatherer), answer) => self.gather(core, finder, gatherer, answer),
            (Stage::Sorting(finder), Some(Answer::Arranged(Arranged::Sorted(sorted)))) => {
                self.sorted(core, finder, sorted, io)
            }
            (Stage::Writing(writing), None) => self.write(writing, io),
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }

    fn progress(&self) -> Option<Progress> {
        match &self.stage {
            Stage::Finding(finder) => Some(halfway(finder)),
            Stage::Gathering(_, gatherer) => Some(gatherer.progress()),
            Stage::Sorting(_) => Some(Progress::percent(100)),
            Stage::Begin | Stage::Writing(..) => None,
        }
    }
}
