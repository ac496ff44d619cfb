//! Search results that are kept current (RFC 5267 4.3, CONTEXT=SEARCH and CONTEXT=SORT).
//!
//! Each context holds the messages that match, in its order. What changed in the mailbox is judged anew after it was
//! told; where a body or header decides, it is asked for. A message that is expunged leaves before its number goes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use super::arrange::Facts;
use super::arrange::sort::{Criterion, Sortable, compare};
use super::commands::write_runs;
use super::item::FetchItem;
use super::limits::{CONTEXT_BYTES_MAX, CONTEXTS_MAX};
use super::question::{Answer, Previewing, Question};
use super::search::{Body, Candidate, Scope, SearchKey, depends_on_time, matches};
use super::selected::Selected;
use crate::mail::ids::{ModSeq, Timestamp, Uid};
use crate::state::record::MessageRecord;
use crate::state::view::MailboxView;

#[derive(Debug)]
pub struct Context {
    /// The tag of the command that opened it.
    pub tag: String,
    pub uid: bool,
    /// Its sets are settled.
    pub key: SearchKey,
    pub members: Members,
    /// What is wanted of messages that come into it (RFC 5465 7).
    pub attributes: Vec<FetchItem>,
    /// All messages were looked at.
    pub is_whole: bool,
}

/// The messages that match.
#[derive(Debug)]
pub enum Members {
    /// Ascending.
    Plain(Vec<Uid>),
    Sorted {
        criteria: Vec<Criterion>,
        messages: Vec<Sortable<Uid>>,
    },
}

/// What became of one message in one context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// At this position from 1; 0 where the order is that of the messages.
    Add(usize, Uid),
    Remove(usize, Uid),
}

#[derive(Debug, Default)]
pub struct Contexts {
    open: Vec<Context>,
    /// Messages to be judged anew, each by the contexts from the first that has not judged it.
    changed: VecDeque<(Uid, usize)>,
    asked: Option<Asked>,
    /// What is to be told, by place in `open`.
    news: Vec<(usize, Change)>,
    /// Changes up to this were taken note of.
    noted: ModSeq,
    noted_uid: Uid,
}

/// What a context waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Body(Uid, usize),
    Facts(Uid, usize),
}

impl Context {
    fn bytes(&self) -> usize {
        match &self.members {
            Members::Plain(uids) => size_of_val(uids.as_slice()),
            Members::Sorted { messages, .. } => messages.iter().map(Sortable::bytes).sum(),
        }
    }

    fn position(&self, uid: Uid) -> Option<usize> {
        match &self.members {
            Members::Plain(uids) => uids.binary_search(&uid).ok(),
            Members::Sorted { messages, .. } => messages.iter().position(|sortable| sortable.message == uid),
        }
    }

    fn remove(&mut self, uid: Uid) -> Option<Change> {
        let at = self.position(uid)?;
        Some(match &mut self.members {
            Members::Plain(uids) => {
                uids.remove(at);
                Change::Remove(0, uid)
            }
            Members::Sorted { messages, .. } => {
                messages.remove(at);
                Change::Remove(at + 1, uid)
            }
        })
    }

    fn add(&mut self, uid: Uid, record: &MessageRecord, facts: &Facts) -> Option<Change> {
        match &mut self.members {
            Members::Plain(uids) => {
                let at = uids.binary_search(&uid).err()?;
                uids.insert(at, uid);
                Some(Change::Add(0, uid))
            }
            Members::Sorted { criteria, messages } => {
                let sortable = Sortable::new(criteria, uid, record, facts);
                let at = messages.binary_search_by(|one| compare(criteria, one, &sortable)).err()?;
                messages.insert(at, sortable);
                Some(Change::Add(at + 1, uid))
            }
        }
    }

    fn needs_facts(&self) -> bool {
        match &self.members {
            Members::Plain(_) => false,
            Members::Sorted { criteria, .. } => {
                criteria.iter().any(|criterion| criterion.field.needs_facts())
            }
        }
    }
}

impl Contexts {
    /// None as yet, in a mailbox that stands at `view`.
    pub fn from(view: &MailboxView) -> Self {
        Self { noted: view.highest_modseq, noted_uid: view.uid_next, ..Self::default() }
    }

    /// Keeps `context` current from now on. RFC 5267 4.3.1: or says that it is not, with NOUPDATE.
    pub fn open(&mut self, context: Context, out: &mut BytesMut) {
        self.close(&context.tag);
        let refused = if depends_on_time(&context.key) {
            Some("What changes with time alone is not updated")
        } else if self.open.len() == CONTEXTS_MAX {
            Some("Too many results are being updated")
        } else if !context.is_whole {
            Some("Not all messages were looked at")
        } else if context.bytes() > CONTEXT_BYTES_MAX {
            Some("The result is too large to be updated")
        } else {
            None
        };
        match refused {
            Some(why) => {
                out.extend_from_slice(format!("* NO [NOUPDATE \"{}\"] {why}\r\n", context.tag).as_bytes());
            }
            None => self.open.push(context),
        }
    }

    pub fn are_none(&self) -> bool {
        self.open.is_empty()
    }

    /// True when something is wanted of messages that come into one of them.
    pub fn want_attributes(&self) -> bool {
        self.open.iter().any(|context| !context.attributes.is_empty())
    }

    /// What is wanted of this message by those that it came into, beside `items`.
    pub fn add_attributes(&self, uid: Uid, items: &mut Vec<FetchItem>) {
        let wanting = self.open.iter().filter(|context| !context.attributes.is_empty());
        for context in wanting.filter(|context| context.position(uid).is_some()) {
            let wanted = context.attributes.iter().filter(|item| !items.contains(item));
            let wanted: Vec<_> = wanted.cloned().collect();
            items.extend(wanted);
        }
    }

    pub fn close(&mut self, tag: &str) {
        self.open.retain(|context| context.tag != tag);
    }

    /// What has changed since the last time is to be judged anew, of the messages below `next_uid`.
    pub fn take_note(&mut self, view: &MailboxView, next_uid: Uid) {
        let (since, known) = (self.noted, self.noted_uid);
        self.noted = view.highest_modseq;
        self.noted_uid = next_uid;
        if self.open.is_empty() || since == view.highest_modseq {
            return;
        }
        let told = view.messages().iter().take_while(|message| message.uid < next_uid);
        let changed = told.filter(|message| message.modseq > since || message.uid >= known);
        self.changed.extend(changed.map(|message| (message.uid, 0)));
    }

    /// Those that are about to lose their numbers leave all contexts, and that is told.
    pub fn expunge(&mut self, gone: &[Uid], sequence: impl Fn(Uid) -> Option<u32>, out: &mut BytesMut) {
        for (at, context) in self.open.iter_mut().enumerate() {
            self.news.extend(gone.iter().filter_map(|uid| Some((at, context.remove(*uid)?))));
        }
        self.tell(sequence, out);
    }

    /// Judges what has changed. `None`: all is judged, and told.
    pub fn step(
        &mut self,
        (selected, now): (&Selected, Timestamp),
        answer: Option<Answer>,
        out: &mut BytesMut,
    ) -> Option<Question> {
        match (self.asked.take(), answer) {
            (Some(Asked::Body(uid, at)), Some(Answer::Message { raw: Some(raw), .. })) => {
                let matched = self.judge((selected, now), uid, at, Some(&Body::new(&raw)));
                if let Some(question) =
                    matched.and_then(|matched| self.settle(selected, (uid, at), matched, None))
                {
                    return Some(question);
                }
            }
            (Some(Asked::Facts(uid, at)), Some(Answer::Facts(facts))) => {
                if let Some(Some(facts)) = facts.into_iter().next() {
                    self.settle(selected, (uid, at), true, Some(facts));
                }
            }
            // What cannot be read now stays as it was.
            _ => {}
        }
        while let Some((uid, at)) = self.changed.front().copied() {
            if at >= self.open.len() {
                self.changed.pop_front();
                continue;
            }
            if let Some(front) = self.changed.front_mut() {
                front.1 += 1;
            }
            match self.judge((selected, now), uid, at, None) {
                Some(matched) => {
                    if let Some(question) = self.settle(selected, (uid, at), matched, None) {
                        return Some(question);
                    }
                }
                None => {
                    let record = selected.view().read(|view| view.get(uid));
                    let Some(record) = record else { continue };
                    self.asked = Some(Asked::Body(uid, at));
                    let (body, size) = (record.body, record.size);
                    return Some(Question::Message {
                        body,
                        size,
                        raw: true,
                        summary: false,
                        preview: Previewing::No,
                    });
                }
            }
        }
        self.tell(|uid| selected.sequence_of(uid), out);
        None
    }

    /// `None`: the message's bytes decide. What is gone does not change any more: its expunge tells.
    fn judge(
        &self,
        (selected, now): (&Selected, Timestamp),
        uid: Uid,
        at: usize,
        body: Option<&Body>,
    ) -> Option<bool> {
        let context = &self.open[at];
        let known = context.position(uid).is_some();
        let (Some(sequence), Some((record, keywords))) = (
            selected.sequence_of(uid),
            selected.view().read(|view| Some((view.get(uid)?, view.keywords.clone()))),
        ) else {
            return Some(known);
        };
        let scope = Scope::of(selected, &keywords, now);
        let candidate = Candidate { sequence, record: &record, recent: selected.is_recent(uid) };
        matches(&context.key, &scope, &candidate, body)
    }

    fn settle(
        &mut self,
        selected: &Selected,
        (uid, at): (Uid, usize),
        matched: bool,
        facts: Option<Arc<Facts>>,
    ) -> Option<Question> {
        let context = &mut self.open[at];
        if !matched {
            let change = context.remove(uid);
            self.news.extend(change.map(|change| (at, change)));
            return None;
        }
        if context.position(uid).is_some() {
            return None;
        }
        let record = selected.view().read(|view| view.get(uid))?;
        if facts.is_none() && context.needs_facts() {
            self.asked = Some(Asked::Facts(uid, at));
            return Some(Question::Facts(vec![(record.body, record.size)]));
        }
        let change = context.add(uid, &record, &facts.unwrap_or_default());
        self.news.extend(change.map(|change| (at, change)));
        None
    }

    /// `* ESEARCH (TAG "a") UID ADDTO (0 1:3)`.
    fn tell(&mut self, sequence: impl Fn(Uid) -> Option<u32>, out: &mut BytesMut) {
        let news = std::mem::take(&mut self.news);
        for (at, context) in self.open.iter().enumerate() {
            let mine = news.iter().filter(|(of, _)| *of == at).map(|(_, change)| *change);
            let number = |uid: Uid| if context.uid { Some(uid.0) } else { sequence(uid) };
            let changes: Vec<(bool, usize, u32)> = mine
                .filter_map(|change| match change {
                    Change::Add(position, uid) => Some((true, position, number(uid)?)),
                    Change::Remove(position, uid) => Some((false, position, number(uid)?)),
                })
                .collect();
            // Neighbours of one kind share a response; they are in the order in which they came about.
            for alike in changes.chunk_by(|one, other| one.0 == other.0) {
                let what = if alike[0].0 { "ADDTO" } else { "REMOVEFROM" };
                let uid = if context.uid { " UID" } else { "" };
                out.extend_from_slice(
                    format!("* ESEARCH (TAG \"{}\"){uid} {what} (", context.tag).as_bytes(),
                );
                write_changes(alike, out);
                out.extend_from_slice(b")\r\n");
            }
        }
    }
}

/// `0 1:3,5` where there is no position, and `4 17 2 9` where there is.
fn write_changes(changes: &[(bool, usize, u32)], out: &mut BytesMut) {
    if changes[0].1 != 0 {
        let pairs: Vec<String> =
            changes.iter().map(|(_, position, number)| format!("{position} {number}")).collect();
        out.extend_from_slice(pairs.join(" ").as_bytes());
        return;
    }
    let mut numbers: Vec<u32> = changes.iter().map(|(_, _, number)| *number).collect();
    numbers.sort_unstable();
    out.extend_from_slice(b"0 ");
    write_runs(&numbers, out);
}
