//! SEARCH (RFC 3501 6.4.4, RFC 7162 3.1.5): metadata decides where it can; bodies come one at a time.

use std::collections::VecDeque;

use super::no_such_message;
use crate::mail::ids::{BodyId, ModSeq};
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::limits::{OUTPUT_CHUNK_BYTES, SEARCH_MESSAGES_PER_TURN};
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::search::{Body, Candidate, Scope, SearchKey, asks_modseq, matches};
use crate::session::imap::selected::{Numbered, Selected};
use crate::session::imap::write;
use crate::state::record::MessageRecord;

pub struct Search {
    uid: bool,
    key: SearchKey,
    begun: bool,
    candidates: VecDeque<Numbered>,
    /// The message whose bytes were asked for.
    undecided: Option<Numbered>,
    hits: VecDeque<u32>,
    /// The highest mod-sequence among the hits.
    modseq: ModSeq,
    written: bool,
    faults: u32,
}

enum Verdict {
    Hit(ModSeq),
    Miss,
    NeedsBody(BodyId),
}

impl Search {
    pub fn new(uid: bool, key: SearchKey) -> Self {
        Self {
            uid,
            key,
            begun: false,
            candidates: VecDeque::new(),
            undecided: None,
            hits: VecDeque::new(),
            modseq: ModSeq(0),
            written: false,
            faults: 0,
        }
    }

    fn judge(&self, core: &Core, message: Numbered, raw: Option<&[u8]>) -> Verdict {
        let Some(selected) = &core.selected else { return Verdict::Miss };
        let now = core.clock.now();
        let record = selected.view().read(|view| {
            let record = *view.get(message.uid)?;
            Some((record, view.keywords.clone()))
        });
        let Some((record, keywords)) = record else { return Verdict::Miss };
        let scope = Scope {
            keywords: &keywords,
            sequence_last: selected.exists() as u32,
            uid_last: selected.last_uid(),
            now,
        };
        self.judge_record((&scope, selected), message, &record, raw)
    }

    fn judge_record(
        &self,
        (scope, selected): (&Scope, &Selected),
        message: Numbered,
        record: &MessageRecord,
        raw: Option<&[u8]>,
    ) -> Verdict {
        let recent = selected.is_recent(message.uid);
        let candidate = Candidate { sequence: message.sequence, record, recent };
        let body = raw.map(Body::new);
        match matches(&self.key, scope, &candidate, body.as_ref()) {
            Some(true) => Verdict::Hit(record.modseq),
            Some(false) => Verdict::Miss,
            None => Verdict::NeedsBody(record.body),
        }
    }

    fn hit(&mut self, message: Numbered, modseq: ModSeq) {
        self.hits.push_back(if self.uid { message.uid.0 } else { message.sequence });
        self.modseq = self.modseq.max(modseq);
    }

    /// Looks through candidates until a body decides, or all are done.
    fn look(&mut self, core: &Core) -> Option<Question> {
        let selected = core.selected.as_ref()?;
        let view = selected.view().clone();
        while !self.candidates.is_empty() {
            let now = core.clock.now();
            // The view is locked for a part of a large mailbox at a time.
            let asked = view.read(|view| {
                let scope = Scope {
                    keywords: &view.keywords,
                    sequence_last: selected.exists() as u32,
                    uid_last: selected.last_uid(),
                    now,
                };
                for _ in 0..SEARCH_MESSAGES_PER_TURN {
                    let message = self.candidates.pop_front()?;
                    let Some(record) = view.get(message.uid) else { continue };
                    match self.judge_record((&scope, selected), message, record, None) {
                        Verdict::Hit(modseq) => self.hit(message, modseq),
                        Verdict::Miss => {}
                        Verdict::NeedsBody(body) => {
                            self.undecided = Some(message);
                            return Some(Question::Message { body, raw: true, summary: false });
                        }
                    }
                }
                None
            });
            if asked.is_some() {
                return asked;
            }
        }
        None
    }

    fn write(&mut self, io: &mut Io) -> Next {
        if !std::mem::replace(&mut self.written, true) {
            io.out.extend_from_slice(b"* SEARCH");
        }
        let had_hits = self.modseq != ModSeq(0);
        while let Some(number) = self.hits.pop_front() {
            io.out.extend_from_slice(b" ");
            write::number(number, io.out);
            if io.out.len() > OUTPUT_CHUNK_BYTES {
                return Next::Flush;
            }
        }
        if had_hits && asks_modseq(&self.key) {
            io.out.extend_from_slice(format!(" (MODSEQ {})", self.modseq).as_bytes());
        }
        io.out.extend_from_slice(b"\r\n");
        if self.faults > 0 {
            // What could not be looked at may have matched: the client must not take this for all.
            return Next::Done(Reply::no("UNAVAILABLE", "Some messages could not be searched now"));
        }
        Next::Done(Reply::ok("Searched"))
    }
}

impl Task for Search {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        if !std::mem::replace(&mut self.begun, true) {
            if asks_modseq(&self.key) {
                core.enable_condstore(io.out);
            }
            let Some(selected) = &core.selected else { return no_such_message() };
            self.candidates = selected.numbered().collect();
        }
        match (self.undecided.take(), answer) {
            (Some(message), Some(Answer::Message { raw: Some(raw), .. })) => {
                if let Verdict::Hit(modseq) = self.judge(core, message, Some(&raw)) {
                    self.hit(message, modseq);
                }
            }
            (Some(_), Some(Answer::Fault(_))) => self.faults += 1,
            (_, None) => {}
            (_, answer) => return Next::Done(Reply::unexpected(answer)),
        }
        if self.faults < super::FAULTS_PER_COMMAND_MAX
            && let Some(question) = self.look(core)
        {
            return Next::Ask(question);
        }
        self.write(io)
    }
}
