//! THREAD (RFC 5256 3): finds, learns what messages answer, has them put in threads.

use bytes::Bytes;

use super::gather::Gatherer;

use super::find::Finder;
use super::{Limit, begin, ended, halfway};
use crate::session::imap::arrange::Algorithm;
use crate::session::imap::arrange::thread::Threadable;
use crate::session::imap::core::{Core, Io, Next, Progress, Reply, Task};
use crate::session::imap::limits::{OUTPUT_CHUNK_BYTES, SORT_BYTES_MAX};
use crate::session::imap::question::{Answer, Arranged, Arrangement, Question};
use crate::session::imap::search::SearchKey;

enum Stage {
    Begin,
    Finding(Finder),
    Gathering(u32, Gatherer<Threadable>),
    Threading(u32),
    Writing(Bytes, u32),
}

pub struct Thread {
    uid: bool,
    algorithm: Algorithm,
    key: SearchKey,
    stage: Stage,
}

impl Thread {
    pub fn new(uid: bool, algorithm: Algorithm, key: SearchKey) -> Self {
        Self { uid, algorithm, key, stage: Stage::Begin }
    }

    fn gather(
        &mut self,
        core: &Core,
        faults: u32,
        mut gatherer: Gatherer<Threadable>,
        answer: Option<Answer>,
    ) -> Next {
        let uid = self.uid;
        let known = gatherer.step(core, answer, |found, record, facts| {
            let sent = facts.sent.unwrap_or(record.internal_date.unix_seconds);
            let threadable = Threadable { number: found.number(uid), sent, facts: facts.clone() };
            (threadable, size_of::<Threadable>() + facts.bytes())
        });
        match known {
            Ok(Some(question)) => {
                self.stage = Stage::Gathering(faults, gatherer);
                Next::Ask(question)
            }
            Ok(None) => {
                self.stage = Stage::Threading(faults + gatherer.faults);
                let (algorithm, messages) = (self.algorithm, gatherer.known);
                Next::Ask(Question::Arrange(Arrangement::Thread { algorithm, messages }))
            }
            Err(next) => next,
        }
    }

    fn write(&mut self, mut text: Bytes, faults: u32, io: &mut Io) -> Next {
        let room = (OUTPUT_CHUNK_BYTES + 1).saturating_sub(io.out.len()).min(text.len());
        io.out.extend_from_slice(&text.split_to(room));
        if !text.is_empty() {
            self.stage = Stage::Writing(text, faults);
            return Next::Flush;
        }
        io.out.extend_from_slice(b"\r\n");
        ended(faults, "Threaded")
    }
}

impl Task for Thread {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Begin), answer) {
            (Stage::Begin, _) => match begin(core, (&self.key, None), Limit::Refuses, io) {
                Ok(finder) => {
                    self.stage = Stage::Finding(finder);
                    self.step(core, None, io)
                }
                Err(next) => next,
            },
            (Stage::Finding(mut finder), answer) => match finder.step(core, answer) {
                Ok(Some(question)) => {
                    self.stage = Stage::Finding(finder);
                    Next::Ask(question)
                }
                Ok(None) => {
                    let gatherer = Gatherer::new(&finder.found, true, SORT_BYTES_MAX);
                    self.gather(core, finder.faults, gatherer, None)
                }
                Err(answer) => Next::Done(Reply::unexpected(answer)),
            },
            (Stage::Gathering(faults, gatherer), answer) => self.gather(core, faults, gatherer, answer),
            (Stage::Threading(faults), Some(Answer::Arranged(Arranged::Threads(text)))) => {
                io.out.extend_from_slice(if text.is_empty() { b"* THREAD" } else { b"* THREAD " });
                self.write(text, faults, io)
            }
            (Stage::Threading(_), Some(Answer::Arranged(Arranged::TooDeep))) => {
                Next::Done(Reply::no("LIMIT", "The messages answer each other in too long a chain"))
            }
            (Stage::Writing(text, faults), None) => self.write(text, faults, io),
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }

    fn progress(&self) -> Option<Progress> {
        match &self.stage {
            Stage::Finding(finder) => Some(halfway(finder)),
            Stage::Gathering(_, gatherer) => Some(gatherer.progress()),
            Stage::Threading(_) => Some(Progress::percent(100)),
            Stage::Begin | Stage::Writing(..) => None,
        }
    }
}
