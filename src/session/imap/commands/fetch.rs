//! FETCH (RFC 3501 6.4.5, RFC 7162 3.1.4): one message after the other, sent as it is made.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::message_limit::too_many;
use super::message_line::{Line, Wants};
use super::no_such_message;
use crate::mail::flags::{Flags, NamedFlags, SystemFlag};
use crate::mail::ids::{ModSeq, Uid};
use crate::mail::rights::Rights;
use crate::session::imap::core::{Core, Io, Next, Reply, Task};
use crate::session::imap::grammar::{FetchRequest, PartialRange};
use crate::session::imap::item::FetchItem;
use crate::session::imap::limits::{MESSAGES_PER_QUESTION_MAX, OUTPUT_CHUNK_BYTES};
use crate::session::imap::question::{Answer, Previewing, Question, Stored};
use crate::session::imap::selected::{Numbered, OwnChange};
use crate::session::imap::sequence_set::SequenceSet;
use crate::session::imap::summary::Summary;
use crate::session::imap::write;
use crate::state::command::{Command, FlagChange, StoreFlags, UidSet};
use crate::state::outcome::Outcome;
use crate::state::record::MessageRecord;

enum Stage {
    Begin,
    /// Implicit \Seen is being set.
    Seen,
    Messages,
    /// The content of this message was asked for.
    Content(Numbered),
    /// What a listing shows of these messages was asked for.
    Summaries(Vec<Numbered>),
}

pub struct Fetch {
    uid: bool,
    set: SequenceSet,
    items: Vec<FetchItem>,
    /// The client asked for UID; otherwise it is in a UID FETCH of itself.
    asks_uid: bool,
    wants: Wants,
    changed_since: Option<ModSeq>,
    /// What was expunged is told, too. Where it is not remembered: from this UID on.
    vanished_from: Option<Uid>,
    partial: Option<PartialRange>,
    /// A client asks: the limit on messages counts, if there is one.
    limited: bool,
    stage: Stage,
    messages: VecDeque<Numbered>,
    /// Messages whose \Seen is to be set, in portions.
    unseen: Vec<UidSet>,
    /// Messages whose \Seen was set by this command: their flags are part of the answer.
    seen: Option<OwnChange>,
    /// What is still to be sent of the present message.
    pieces: VecDeque<Bytes>,
    missing: bool,
    /// RFC 3516 4.3: BINARY was asked of a part whose encoding nobody knows.
    unknown_encoding: bool,
    faults: u32,
}

impl Fetch {
    pub fn new(uid: bool, request: FetchRequest) -> Self {
        let mut items = request.items;
        let asks_uid = items.contains(&FetchItem::Uid);
        // RFC 3501 6.4.8: a UID FETCH always answers with the UID.
        if uid && !asks_uid {
            items.insert(0, FetchItem::Uid);
        }
        // RFC 7162 3.1.4.1: CHANGEDSINCE implies MODSEQ.
        if request.changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
            items.push(FetchItem::ModSeq);
        }
        Self {
            uid,
            set: request.set,
            wants: Wants::of(&items),
            items,
            asks_uid,
            changed_since: request.changed_since,
            vanished_from: request.vanished.then_some(Uid(1)),
            partial: request.partial,
            limited: false,
            stage: Stage::Begin,
            messages: VecDeque::new(),
            unseen: Vec::new(),
            seen: None,
            pieces: VecDeque::new(),
            missing: false,
            unknown_encoding: false,
            faults: 0,
        }
    }

    pub fn limited(self) -> Self {
        Self { limited: true, ..self }
    }

    /// What changed since the client was here last (RFC 7162 3.2.5): as UID FETCH (FLAGS) with CHANGEDSINCE and
    /// VANISHED, where messages below `known_from` cannot have gone.
    pub fn since(set: SequenceSet, modseq: ModSeq, known_from: Uid) -> Self {
        let items = vec![FetchItem::Flags];
        let request = FetchRequest { set, items, changed_since: Some(modseq), vanished: true, partial: None };
        Self { vanished_from: Some(known_from), ..Self::new(true, request) }
    }

    fn begin(&mut self, core: &mut Core, io: &mut Io) -> Next {
        if self.items.contains(&FetchItem::ModSeq) {
            core.enable_condstore(io.out);
        }
        if self.partial.is_some() && !self.uid {
            return Next::Done(Reply::bad("PARTIAL is a modifier of UID FETCH"));
        }
        // RFC 7162 3.2.6.
        let vanished = self.vanished_from.is_some();
        if vanished && !(self.uid && core.qresync && self.changed_since.is_some()) {
            return Next::Done(Reply::bad(
                "VANISHED is for UID FETCH with CHANGEDSINCE, after ENABLE QRESYNC",
            ));
        }
        // RFC 7162 3.2.4: a FETCH that tells of flags which it set has the UID.
        if core.condstore && self.wants.marks_seen && !self.items.contains(&FetchItem::Uid) {
            self.items.insert(0, FetchItem::Uid);
        }
        // RFC 9586 3: a UIDFETCH says which message it is of.
        if core.uid_only && !self.asks_uid {
            self.items.retain(|item| *item != FetchItem::Uid);
        }
        let Some(selected) = &core.selected else { return no_such_message() };
        let Some(mut ranges) = selected.resolve(&self.set, self.uid) else { return no_such_message() };
        match (core.terms.message_limit.filter(|_| self.limited), &self.partial) {
            (Some(limit), Some(partial)) if partial.count() > limit => return Next::Done(too_many(limit)),
            // What PARTIAL takes is within the limit.
            (None, _) | (_, Some(_)) => {}
            (Some(_), None) => ranges = core.limited(ranges),
        }
        let Some(selected) = &core.selected else { return no_such_message() };
        if let (Some(from), Some(since)) = (self.vanished_from, self.changed_since) {
            write::vanished("VANISHED (EARLIER)", &selected.vanished(&self.set, since, from), io.out);
        }
        self.messages = selected.numbered_in(&ranges).into();
        if let Some(since) = self.changed_since {
            let view = selected.view().clone();
            // One that is gone has not changed: it is not missed.
            view.read(|view| {
                self.messages.retain(|message| view.get(message.uid).is_some_and(|now| now.modseq > since));
            });
        }
        if let Some(partial) = &self.partial {
            self.messages = partial.of(self.messages.make_contiguous()).to_vec().into();
        }
        // RFC 4314 4: \Seen is not set without the right.
        if self.wants.marks_seen && !selected.read_only && selected.may(Rights::SEEN) {
            self.unseen = selected.view().read(|view| {
                let unseen = |message: &&Numbered| {
                    view.get(message.uid).is_some_and(|record| !record.flags.has(SystemFlag::Seen))
                };
                let uids = self.messages.iter().filter(unseen).map(|message| message.uid);
                view.portions(&UidSet::from_ascending(uids))
            });
        }
        self.mark_seen(core, io)
    }

    /// Sets \Seen for all messages in one command, not one for each. That it cannot be set now hinders no reading.
    fn mark_seen(&mut self, core: &mut Core, io: &mut Io) -> Next {
        let Some(selected) = &core.selected else { return no_such_message() };
        let Some(uids) = self.unseen.pop() else {
            self.stage = Stage::Messages;
            return self.next_message(core, io);
        };
        let ranges = uids.ranges().iter().copied();
        let known = self.seen.iter().flat_map(|seen| seen.uids.ranges().iter().copied());
        let all = UidSet::from_ranges(ranges.chain(known));
        let seen = self.seen.get_or_insert_with(|| OwnChange {
            uids: UidSet::default(),
            modseqs: Vec::new(),
            silent: false,
        });
        seen.uids = all;
        self.stage = Stage::Seen;
        Next::Ask(Question::Try(Command::Store(StoreFlags {
            mailbox: selected.mailbox,
            uids,
            change: FlagChange::Add,
            flags: NamedFlags { system: Flags::SEEN.system, keywords: Vec::new() },
            unchanged_since: None,
        })))
    }

    fn next_message(&mut self, core: &mut Core, io: &mut Io) -> Next {
        loop {
            if let Some(flush) = self.send_pieces(io) {
                return flush;
            }
            if io.out.len() > OUTPUT_CHUNK_BYTES {
                return Next::Flush;
            }
            let Some(selected) = &core.selected else { return no_such_message() };
            let Some(message) = self.messages.pop_front() else { return self.finish(core) };
            let Some(record) = selected.view().read(|view| view.get(message.uid)) else {
                self.missing = true;
                continue;
            };
            match self.wants {
                Wants { raw, summary, preview, .. } if raw || preview != Previewing::No => {
                    self.stage = Stage::Content(message);
                    let (body, size) = (record.body, record.size);
                    return Next::Ask(Question::Message { body, size, raw, summary, preview });
                }
                Wants { summary: true, .. } => return self.ask_summaries(core, message),
                _ => self.write(core, message, &record, &Answer::Done),
            }
        }
    }

    /// Of `first` and the messages behind it, a portion.
    fn ask_summaries(&mut self, core: &Core, first: Numbered) -> Next {
        let Some(selected) = &core.selected else { return no_such_message() };
        let more = self.messages.len().min(MESSAGES_PER_QUESTION_MAX - 1);
        let portion = std::iter::once(first).chain(self.messages.drain(..more));
        let (asked, wanted): (Vec<Numbered>, Vec<Stored>) = selected.view().read(|view| {
            portion
                .filter_map(|message| match view.get(message.uid) {
                    Some(record) => Some((message, (record.body, record.size))),
                    None => {
                        self.missing = true;
                        None
                    }
                })
                .unzip()
        });
        self.stage = Stage::Summaries(asked);
        Next::Ask(Question::Summaries(wanted))
    }

    fn summaries(
        &mut self,
        core: &mut Core,
        (asked, summaries): (Vec<Numbered>, Vec<Option<Arc<Summary>>>),
        io: &mut Io,
    ) -> Next {
        for (message, summary) in asked.into_iter().zip(summaries) {
            match summary {
                Some(summary) => {
                    let content = Answer::Message { raw: None, summary: Some(summary), preview: None };
                    self.write_now(core, message, &content);
                }
                None => self.faulty(),
            }
        }
        self.next_message(core, io)
    }

    /// As the message is by now.
    fn write_now(&mut self, core: &Core, message: Numbered, content: &Answer) {
        let selected = core.selected.as_ref();
        match selected.and_then(|selected| selected.view().read(|view| view.get(message.uid))) {
            Some(record) => self.write(core, message, &record, content),
            None => self.missing = true,
        }
    }

    /// A message cannot be read. After some of them no more are tried.
    fn faulty(&mut self) {
        self.faults += 1;
        if self.faults >= super::FAULTS_PER_COMMAND_MAX {
            self.messages.clear();
        }
    }

    fn write(&mut self, core: &Core, message: Numbered, record: &MessageRecord, content: &Answer) {
        let Some(selected) = &core.selected else { return };
        let keywords = selected.view().read(|view| view.keywords.clone());
        let line = Line {
            message,
            uid_only: core.uid_only,
            record,
            keywords: &keywords,
            recent: selected.is_recent(message.uid),
            // RFC 3501 6.4.5: flags that this FETCH changed are part of its answer.
            with_flags: self.seen.as_ref().is_some_and(|seen| seen.uids.contains(message.uid)),
            with_modseq: core.condstore,
        };
        self.unknown_encoding |= line.write(&self.items, content, &mut self.pieces).is_err();
    }

    /// Large pieces go out in parts.
    fn send_pieces(&mut self, io: &mut Io) -> Option<Next> {
        while let Some(piece) = self.pieces.front_mut() {
            let room = (OUTPUT_CHUNK_BYTES + 1).saturating_sub(io.out.len());
            let part = piece.split_to(room.min(piece.len()));
            io.out.extend_from_slice(&part);
            if !piece.is_empty() {
                return Some(Next::Flush);
            }
            self.pieces.pop_front();
        }
        None
    }

    fn finish(&mut self, core: &mut Core) -> Next {
        if let Some(selected) = &mut core.selected {
            selected.own_change = self.seen.take();
        }
        if self.faults > 0 {
            return Next::Done(Reply::no("UNAVAILABLE", "Some messages cannot be read now, try again later"));
        }
        if self.unknown_encoding {
            return Next::Done(Reply::no("UNKNOWN-CTE", "The encoding of a part is not known"));
        }
        if self.missing && !self.uid {
            return Next::Done(Reply::no("EXPUNGEISSUED", "Some messages are expunged already"));
        }
        Next::Done(Reply::ok("Fetched"))
    }
}

impl Task for Fetch {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Messages), answer) {
            (Stage::Begin, None) => self.begin(core, io),
            (Stage::Seen, Some(answer)) => {
                if let (Answer::Outcome(Outcome::Stored { modseq, .. }), Some(seen)) =
                    (answer, &mut self.seen)
                {
                    seen.modseqs.push(modseq);
                }
                self.mark_seen(core, io)
            }
            (Stage::Messages, None) => self.next_message(core, io),
            (Stage::Content(message), Some(content @ Answer::Message { .. })) => {
                self.write_now(core, message, &content);
                self.next_message(core, io)
            }
            (Stage::Content(_), Some(Answer::Fault(_))) => {
                self.faulty();
                self.next_message(core, io)
            }
            (Stage::Summaries(asked), Some(Answer::Summaries(summaries)))
                if summaries.len() == asked.len() =>
            {
                self.summaries(core, (asked, summaries), io)
            }
            (_, answer) => Next::Done(Reply::unexpected(answer)),
        }
    }
}
