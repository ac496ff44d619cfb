//! Which messages match: metadata decides where it can; headers and bodies come a portion at a time.

use std::collections::VecDeque;

use crate::mail::ids::{ModSeq, Uid};
use crate::session::imap::commands::FAULTS_PER_COMMAND_MAX;
use crate::session::imap::core::{Core, Progress};
use crate::session::imap::limits::{MESSAGES_PER_QUESTION_MAX, SEARCH_MESSAGES_PER_TURN};
use crate::session::imap::question::{Answer, Question, Stored, Together};
use crate::session::imap::search::{Body, Candidate, Part, Scope, SearchKey, bind, matches};
use crate::session::imap::selected::{Numbered, Selected};
use crate::session::imap::sequence_set::covers;
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
    /// How many there were.
    all: usize,
    /// What decides where metadata do not.
    part: Part,
    /// Messages of which that was asked for.
    asked: Vec<Numbered>,
    /// Ascending once all is found.
    pub found: Vec<Found>,
    /// Messages that could not be read.
    pub faults: u32,
}

/// False where a set of messages at the top of the key leaves it out.
fn may_be_within(key: &SearchKey, uid: Uid) -> bool {
    match key {
        SearchKey::And(keys) => keys.iter().all(|key| may_be_within(key, uid)),
        SearchKey::UidRanges(ranges) => covers(ranges, uid.0),
        _ => true,
    }
}

enum Verdict {
    Hit(ModSeq),
    Miss,
    Undecided,
}

impl Finder {
    /// `key` as parsed. What its sets name is settled here.
    pub fn new(key: SearchKey, selected: &Selected) -> Self {
        let key = bind(key, &|set, uid| selected.uid_ranges(set, uid));
        let candidates: VecDeque<Numbered> = selected.numbered().collect();
        let (all, part) = (candidates.len(), Part::needed_by(&key));
        Self { key, candidates, all, part, asked: Vec::new(), found: Vec::new(), faults: 0 }
    }

    /// The key with its sets settled, for those who go on watching.
    pub fn key(&self) -> &SearchKey {
        &self.key
    }

    /// Leaves the highest `messages_max` of those that the sets at the top of the key name: the lowest UID of them, if
    /// there were more.
    pub fn limit(&mut self, messages_max: usize) -> Option<Uid> {
        let key = &self.key;
        self.candidates.retain(|message| may_be_within(key, message.uid));
        let beyond = self.candidates.len().checked_sub(messages_max).filter(|beyond| *beyond > 0);
        self.candidates.drain(..beyond.unwrap_or(0));
        self.all = self.candidates.len();
        beyond.and_then(|_| self.candidates.front().map(|message| message.uid))
    }

    pub fn progress(&self) -> Progress {
        Progress { done: self.all - self.candidates.len() - self.asked.len(), goal: self.all }
    }

    /// Goes on with what the last question brought. `Ok(None)`: all is found. `Err`: an answer to no question of ours.
    pub fn step(&mut self, core: &Core, answer: Option<Answer>) -> Result<Option<Question>, Option<Answer>> {
        let asked = std::mem::take(&mut self.asked);
        match answer {
            Some(Answer::Texts(texts)) if texts.len() == asked.len() => {
                for (message, text) in asked.into_iter().zip(texts) {
                    match text.map(|text| self.judge(core, message, &text)) {
                        Some(Verdict::Hit(modseq)) => self.hit(message, modseq),
                        Some(Verdict::Miss | Verdict::Undecided) => {}
                        None => self.faults += 1,
                    }
                }
            }
            // A pause is over.
            None | Some(Answer::Done) if asked.is_empty() => {}
            answer => return Err(answer),
        }
        let question = if self.faults < FAULTS_PER_COMMAND_MAX { self.look(core) } else { None };
        if question.is_none() {
            // What was decided at once went before what was asked for.
            self.found.sort_unstable();
        }
        Ok(question)
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
            None => Verdict::Undecided,
        }
    }

    fn hit(&mut self, message: Numbered, modseq: ModSeq) {
        self.found.push(Found { sequence: message.sequence, uid: message.uid, modseq });
    }

    /// Looks through a part of the candidates, or until enough is to be asked for.
    fn look(&mut self, core: &Core) -> Option<Question> {
        let selected = core.selected.as_ref()?;
        let view = selected.view().clone();
        let (mut wanted, mut together): (Vec<Stored>, _) = (Vec::new(), Together::default());
        // The view is locked, and the runtime kept, for a part of a large mailbox at a time.
        view.read(|view| {
            let scope = Scope::of(selected, &view.keywords, core.clock.now());
            for _ in 0..SEARCH_MESSAGES_PER_TURN {
                let Some(message) = self.candidates.pop_front() else { break };
                let Some(record) = view.get(message.uid) else { continue };
                match self.judge_record((&scope, selected), message, &record, None) {
                    Verdict::Hit(modseq) => self.hit(message, modseq),
                    Verdict::Miss => {}
                    Verdict::Undecided if self.part == Part::Whole && !together.takes(record.size) => {
                        self.candidates.push_front(message);
                        break;
                    }
                    Verdict::Undecided => {
                        self.asked.push(message);
                        wanted.push((record.body, record.size));
                    }
                }
                if wanted.len() == MESSAGES_PER_QUESTION_MAX {
                    break;
                }
            }
        });
        match self.part {
            Part::Excerpt if !wanted.is_empty() => Some(Question::Excerpts(wanted)),
            _ if !wanted.is_empty() => Some(Question::Bodies(wanted)),
            _ => (!self.candidates.is_empty()).then_some(Question::Pause),
        }
    }
}
