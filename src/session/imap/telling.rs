//! Tells what the client did not ask for: of the selected mailbox, and of others that it listens to (RFC 5465).
//!
//! Done at the end of each command, while IDLE waits, and between commands where NOTIFY says so. It may have to ask
//! questions on the way: what it is at is kept in the core, and taken up with the answer.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};

use super::commands::Fetch;
use super::core::{Core, Io, Next, Task};
use super::grammar::FetchRequest;
use super::item::FetchItem;
use super::limits::OUTPUT_CHUNK_BYTES;
use super::notify::{Hearer, Listening, Lists, Notify, Own};
use super::question::{Answer, Question};
use super::selected::{Expunges, Numbered};
use super::sequence_set::SequenceSet;
use crate::mail::ids::Uid;
use crate::state::news::News;
use crate::state::record::MailboxRecord;

/// What is told, and how.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub expunges: Expunges,
    /// The command under way is a UID command.
    pub uid: bool,
    /// Other mailboxes, too.
    pub others: bool,
}

#[derive(Default)]
pub enum Stage {
    #[default]
    Begin,
    /// Results that are kept current are brought up to date. Messages from this UID on are new.
    Contexts(Uid),
    /// What the client wants to know of new messages.
    Arrivals(VecDeque<Fetch>),
    /// The account's lists are awaited.
    Mailboxes(News),
    Subscriptions(News, Vec<MailboxRecord>),
    Lines(BytesMut),
}

/// Goes on with `answer`, if one was awaited. `None`: all is told.
pub fn tell(core: &mut Core, manner: Manner, answer: Option<Answer>, io: &mut Io) -> Option<Next> {
    match (std::mem::take(&mut core.telling_stage), answer) {
        (Stage::Begin, _) => begin(core, manner, io),
        (Stage::Contexts(from), answer) => contexts(core, (manner, from), answer, io),
        (Stage::Arrivals(fetches), answer) => arrivals(core, (manner, fetches), answer, io),
        (Stage::Mailboxes(news), Some(Answer::Mailboxes(mailboxes))) => {
            core.telling_stage = Stage::Subscriptions(news, mailboxes);
            Some(Next::Ask(Question::Subscriptions(core.account())))
        }
        (Stage::Subscriptions(news, mailboxes), Some(Answer::Names(names))) => {
            let lists = Lists { mailboxes, subscriptions: names.into_iter().collect() };
            compared(core, &news, &lists, io)
        }
        // They cannot be read now: not heard, and so told next time.
        (Stage::Mailboxes(_) | Stage::Subscriptions(..), _) => None,
        (Stage::Lines(lines), _) => write_lines(core, lines, io),
    }
}

fn begin(core: &mut Core, manner: Manner, io: &mut Io) -> Option<Next> {
    let telling = core.telling(manner.uid);
    if let Some(notify) = &mut core.notify {
        notify.settling = false;
    }
    let Some(selected) = &mut core.selected else { return others(core, manner, io) };
    selected.tell_changes(manner.expunges, telling, io.out);
    let to = selected.next_uid();
    let from = std::mem::replace(&mut selected.attributes_told, to);
    contexts(core, (manner, from), None, io)
}

fn contexts(
    core: &mut Core,
    (manner, from): (Manner, Uid),
    answer: Option<Answer>,
    io: &mut Io,
) -> Option<Next> {
    let now = core.clock.now();
    if let Some(selected) = &mut core.selected
        && let Some(question) = selected.update_contexts(answer, now, io.out)
    {
        core.telling_stage = Stage::Contexts(from);
        return Some(Next::Ask(question));
    }
    let fetches = fetches(core, from);
    arrivals(core, (manner, fetches), None, io)
}

/// RFC 5465 5.2: what is wanted of new messages, by NOTIFY and by results that they came into, comes in one FETCH for
/// each. Of those that the session itself brought none is told.
fn fetches(core: &Core, from: Uid) -> VecDeque<Fetch> {
    let mut fetches: Vec<(Vec<FetchItem>, Vec<Numbered>)> = Vec::new();
    let Some(selected) = &core.selected else { return VecDeque::new() };
    let attributes = core.notify.as_ref().map_or(&[][..], |notify| &notify.selected.attributes);
    if attributes.is_empty() && !selected.contexts.want_attributes() {
        return VecDeque::new();
    }
    for message in selected.numbered_from(from) {
        if core.own.brought(selected.mailbox, message.uid) {
            continue;
        }
        let mut items = attributes.to_vec();
        selected.contexts.add_attributes(message.uid, &mut items);
        if items.is_empty() {
            continue;
        }
        match fetches.last_mut() {
            Some((alike, messages)) if *alike == items => messages.push(message),
            _ => fetches.push((items, vec![message])),
        }
    }
    fetches.into_iter().map(|(items, messages)| fetch(core, items, &messages)).collect()
}

fn fetch(core: &Core, mut items: Vec<FetchItem>, messages: &[Numbered]) -> Fetch {
    // RFC 7162 3.2.4, RFC 9051 7.5.2: each has the UID then; RFC 9586 3: a UIDFETCH has it before all items.
    if (core.qresync || core.rev2) && !core.uid_only && !items.contains(&FetchItem::Uid) {
        items.insert(0, FetchItem::Uid);
    }
    // RFC 7162 3.1: and the mod-sequence with CONDSTORE.
    if core.condstore && !items.contains(&FetchItem::ModSeq) {
        items.push(FetchItem::ModSeq);
    }
    let set = SequenceSet::of_ascending(messages.iter().map(|message| message.sequence));
    Fetch::new(false, FetchRequest { set, items, changed_since: None, vanished: false, partial: None })
}

fn arrivals(
    core: &mut Core,
    (manner, mut fetches): (Manner, VecDeque<Fetch>),
    mut answer: Option<Answer>,
    io: &mut Io,
) -> Option<Next> {
    while let Some(fetch) = fetches.front_mut() {
        match fetch.step(core, answer.take(), io) {
            // What cannot be read now is left out.
            Next::Done(_) => drop(fetches.pop_front()),
            next => {
                core.telling_stage = Stage::Arrivals(fetches);
                return Some(next);
            }
        }
    }
    core.own.arrivals.clear();
    others(core, manner, io)
}

fn others(core: &mut Core, manner: Manner, io: &mut Io) -> Option<Next> {
    let account = core.account();
    let Some(listening) = core.listening() else {
        core.own = Own::default();
        return None;
    };
    if !manner.others {
        return None;
    }
    let news = listening.unheard();
    if news.annotations.is_none() && listening.wants_annotations() {
        return overflow(core, "There were too many annotations to tell of", io);
    }
    if news.list_changed || news.mailboxes.is_none() {
        core.telling_stage = Stage::Mailboxes(news);
        return Some(Next::Ask(Question::Listen(account)));
    }
    let own = std::mem::take(&mut core.own);
    let lines = told(core, &news, &own, BytesMut::new());
    write_lines(core, lines, io)
}

/// What was not heard yet, behind what is in `lines`. It is heard then.
fn told(core: &mut Core, news: &News, own: &Own, mut lines: BytesMut) -> BytesMut {
    let hearer = core.hearer();
    let Some(listening) = core.listening() else { return lines };
    for news in news.mailboxes.iter().flatten() {
        listening.tell_messages(news, hearer, own, &mut lines);
    }
    listening.tell_annotations(news.annotations.as_deref().unwrap_or_default(), hearer, own, &mut lines);
    listening.has_heard(news.version);
    lines
}

/// The lists are there.
fn compared(core: &mut Core, news: &News, lists: &Lists, io: &mut Io) -> Option<Next> {
    let (hearer, own) = (core.hearer(), std::mem::take(&mut core.own));
    let listening = core.listening()?;
    let mut lines = BytesMut::new();
    if listening.tell_lists(lists, hearer, &own, &mut lines).is_err() {
        return overflow(core, "There are too many mailboxes to listen to", io);
    }
    if news.mailboxes.is_none() {
        listening.tell_whole(lists, hearer, &own, &mut lines);
    }
    let lines = told(core, news, &own, lines);
    write_lines(core, lines, io)
}

/// RFC 5465 5.8: from now on it is as after NOTIFY NONE.
fn overflow(core: &mut Core, why: &str, io: &mut Io) -> Option<Next> {
    core.notify = Some(Notify::none());
    io.out.extend_from_slice(format!("* OK [NOTIFICATIONOVERFLOW] {why}\r\n").as_bytes());
    None
}

/// Long answers are sent in parts.
fn write_lines(core: &mut Core, mut lines: BytesMut, io: &mut Io) -> Option<Next> {
    if write_part(&mut lines, io.out) {
        return None;
    }
    core.telling_stage = Stage::Lines(lines);
    Some(Next::Flush)
}

/// True when all is written; else that is to be sent first.
pub fn write_part(lines: &mut BytesMut, out: &mut BytesMut) -> bool {
    let room = (OUTPUT_CHUNK_BYTES + 1).saturating_sub(out.len()).min(lines.len());
    out.extend_from_slice(&lines[..room]);
    lines.advance(room);
    lines.is_empty()
}

impl Core {
    fn listening(&mut self) -> Option<&mut Listening> {
        self.notify.as_mut().and_then(|notify| notify.account.as_mut())
    }

    pub fn hearer(&self) -> Hearer {
        let selected = self.selected.as_ref().map(|selected| selected.mailbox);
        Hearer { selected, condstore: self.condstore, names: self.names }
    }

    /// What is to be asked before news of the selected mailbox can be waited for.
    pub fn watch(&mut self) -> Option<Question> {
        let selected = self.selected.as_mut()?;
        let watched = std::mem::replace(&mut selected.watched, true);
        (!watched).then_some(Question::Watch(selected.mailbox))
    }
}
