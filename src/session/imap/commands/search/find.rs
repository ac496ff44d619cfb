//! Which messages match: metadata decides where it can; bodies come one at a time.

use std::collections::VecDeque;

use crate::mail::ids::{BodyId, ModSeq, Uid};
use crate::session::imap::commands::FAULTS_PER_COMMAND_MAX;
use crate::session::imap::core::Core;
use crate::session::imap::limits::SEARCH_MESSAGES_PER_TURN;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::search::{Body, Candidate, Scope, SearchKey, bind, matches};
use crate::session::imap::selected::{Numbered, Selected};
use crate::state::record::MessageRecord;

/// A message that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub sequence: u32,
    pub uid: Uid,
    pub modseq: ModSeq,
}

impl Found {
    /// As the client asked for it.
    pub fn number(&self, uid: bool) -> u32 {
        if uid { self.uid.0 } else { self.sequence }
    }
}

pub struct Finder {
    key: SearchKey,
    candidates: VecDeque<Numbered>,
    /// The message whose bytes were asked for.
    undecided: Option<Numbered>,
    /// Ascending.
    pub found: Vec<Found>,
    /// Messages that could not be read.
    pub faults: u32,
}

enum Verdict {
    Hit(ModSeq),
    Miss,
    NeedsBody(BodyId),
}

impl Finder {
    /// `key` as parsed. What its sets name is settled here.
    pub fn new(key: SearchKey, selected: &Selected) -> Self {
        let key = bind(key, &|set, uid| selected.uid_ranges(set, uid));
        let candidates = selected.numbered().collect();
        Self { key, candidates, undecided: None, found: Vec::new(), faults: 0 }
    }

    /// The key with its sets settled, for those who go on watching.
    pub fn key(&self) -> &SearchKey {
        &self.key
    }

    /// Goes on with what the last question brought. `Ok(None)`: all is found. `Err`: an answer to no question of ours.
    pub fn step(&mut self, core: &Core, answer: Option<Answer>) -> Result<Option<Question>, Option<Answer>> {
        match (self.undecided.take(), answer) {
            (Some(message), Some(Answer::Message { raw: Some(raw), .. })) => {
                if let Verdict::Hit(modseq) = self.judge(core, message, &raw) {
                    self.hit(message, modseq);
                }
            }
            (Some(_), Some(Answer::Fault(_))) => self.faults += 1,
            // A pause is over.
            (None, None | Some(Answer::Done)) => {}
            (_, answer) => return Err(answer),
        }
        Ok(if self.faults < FAULTS_PER_COMMAND_MAX { self.look(core) } else { None })
    }

    fn judge(&self, core: &Core, message: Numbered, raw: &[u8]) -> Verdict {
        let Some(selected) = &core.selected else { return Verdict::Miss };
        let record = selected.view().read(|view| {
            let record = view.get(message.uid)?;
            Some((record, view.keywords.clone()))
        });
        let Some((record, keywords)) = record else { return Verdict::Miss };
        let scope = Scope::of(selected, &keywords, core.clock.now());
        self.judge_record((&scope, selected), message, &record, Some(&Body::new(raw)))
    }

    fn judge_record(
        &self,
        (scope, selected): (&Scope, &Selected),
        message: Numbered,
        record: &MessageRecord,
        body: Option<&Body>,
    ) -> Verdict {
        let recent = selected.is_recent(message.uid);
        let candidate = Candidate { sequence: message.sequence, record, recent };
        match matches(&self.key, scope, &candidate, body) {
            Some(true) => Verdict::Hit(record.modseq),
            Some(false) => Verdict::Miss,
            None => Verdict::NeedsBody(record.body),
        }
    }

    fn hit(&mut self, message: Numbered, modseq: ModSeq) {
        self.found.push(Found { sequence: message.sequence, uid: message.uid, modseq });
    }

    /// Looks through a part of the candidates, or until a body decides.
    fn look(&mut self, core: &Core) -> Option<Question> {
        let selected = core.selected.as_ref()?;
        let view = selected.view().clone();
        // The view is locked, and the runtime kept, for a part of a large mailbox at a time.
        let asked = view.read(|view| {
            let scope = Scope::of(selected, &view.keywords, core.clock.now());
            for _ in 0..SEARCH_MESSAGES_PER_TURN {
                let message = self.candidates.pop_front()?;
                let Some(record) = view.get(message.uid) else { continue };
                match self.judge_record((&scope, selected), message, &record, None) {
                    Verdict::Hit(modseq) => self.hit(message, modseq),
                    Verdict::Miss => {}
                    Verdict::NeedsBody(body) => {
                        self.undecided = Some(message);
                        let size = record.size;
                        return Some(Question::Message { body, size, raw: true, summary: false });
                    }
                }
            }
            None
        });
        asked.or_else(|| (!self.candidates.is_empty()).then_some(Question::Pause))
    }
}
