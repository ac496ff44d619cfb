//! A selected mailbox as one session sees it: its own message numbers, and what it has been told.
//!
//! Holds the UIDs behind the message numbers; everything else is read from the shared view.

mod resync;

use std::sync::Arc;

use bytes::BytesMut;

use crate::mail::flags::Flags;
use crate::mail::ids::{AccountId, MailboxId, ModSeq, Timestamp, Uid};
use crate::mail::rights::Rights;
use crate::session::imap::contexts::Contexts;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::sequence_set::SequenceSet;
use crate::session::imap::write;
use crate::state::command::UidSet;
use crate::state::record::{MailboxRecord, MessageRecord};
use crate::state::view::{MailboxView, SharedView};

/// Whether message numbers may change now (RFC 3501 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expunges {
    Tell,
    KeepBack,
    /// They are told right behind the rest.
    Behind,
    /// The command asks for them, wanted otherwise or not.
    Asked,
}

/// Of what the client wants to hear without asking (RFC 5465 6.1): nothing by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    pub new: bool,
    pub expunged: bool,
    pub flags: bool,
}

impl Wanted {
    pub const ALL: Self = Self { new: true, expunged: true, flags: true };
}

/// How changes are told that nobody asked for: what a FETCH has, and what an expunge looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    pub uid: bool,
    pub modseq: bool,
    /// VANISHED (RFC 7162 3.2.10) instead of EXPUNGE.
    pub vanished: bool,
    /// UIDFETCH (RFC 9586) instead of FETCH.
    pub uid_only: bool,
    pub wanted: Wanted,
}

/// One's own change of flags: told by the command itself, not again.
#[derive(Debug, Clone)]
pub struct OwnChange {
    pub uids: UidSet,
    /// One for each command that changed something.
    pub modseqs: Vec<ModSeq>,
    /// True when the client was told no flags (.SILENT): it knows what it asked for, and no more.
    pub silent: bool,
}

impl OwnChange {
    /// How many of the commands after `told` were one's own.
    fn count_after(&self, told: ModSeq) -> u64 {
        self.modseqs.iter().filter(|modseq| **modseq > told).count() as u64
    }
}

#[derive(Debug)]
pub struct Selected {
    view: Arc<SharedView>,
    pub mailbox: MailboxId,
    /// As it was called when it was selected.
    pub name: String,
    /// Whose session this is, if it is not the owner's.
    guest: Option<AccountId>,
    pub read_only: bool,
    /// The rights by which PERMANENTFLAGS were told last.
    rights_told: Rights,
    /// Message number *n* is `uids[n - 1]`; ascending.
    uids: Vec<Uid>,
    /// Messages that are \Recent to this session: `from..to`, ascending, not touching.
    recent: Vec<(Uid, Uid)>,
    /// False: the client knows no \Recent (RFC 9051), and takes none from others.
    knows_recent: bool,
    /// Messages at or above this have not been told.
    next_uid: Uid,
    /// Flag changes up to this have been told.
    flags_told: ModSeq,
    /// Expunges up to this have been told.
    expunges_told: ModSeq,
    /// The client was told that expunges are kept back.
    keeps_back: bool,
    keywords_told: usize,
    recent_told: usize,
    pub own_change: Option<OwnChange>,
    /// `$` (RFC 5182): ascending. What was expunged since is passed over.
    pub saved: Vec<Uid>,
    /// Search results that are kept current.
    pub contexts: Contexts,
    /// The session is woken when the view changes.
    pub watched: bool,
    /// What is wanted of messages below this was told, or need not be.
    pub attributes_told: Uid,
}

/// A message of the mailbox by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    pub sequence: u32,
    pub uid: Uid,
}

impl Selected {
    /// Opens `view` as it is now, for `account`. `record` says from where on messages are \Recent, to a client that knows
    /// of it.
    pub fn open(
        view: Arc<SharedView>,
        record: &MailboxRecord,
        account: AccountId,
        (read_only, knows_recent): (bool, bool),
    ) -> Self {
        let mut selected = view.read(|now| Self {
            view: view.clone(),
            mailbox: now.id,
            name: record.name.clone(),
            guest: (now.account != account).then_some(account),
            rights_told: now.rights_of(account),
            // RFC 4314 5.2: where nothing may be changed.
            read_only: read_only || !now.rights_of(account).has_any(Rights::CHANGING),
            uids: all_uids(now),
            recent: Vec::new(),
            knows_recent,
            next_uid: now.uid_next,
            flags_told: now.highest_modseq,
            expunges_told: now.highest_modseq,
            keeps_back: false,
            keywords_told: now.keywords.len(),
            recent_told: 0,
            own_change: None,
            saved: Vec::new(),
            contexts: Contexts::from(now),
            watched: false,
            attributes_told: now.uid_next,
        });
        selected.take_recent(record.recent_from, selected.next_uid);
        selected.recent_told = selected.recent();
        selected
    }

    /// Of the messages `from..to`, those that no session was told of are \Recent to this one, and to no other
    /// unless this one only looks, or is a guest's: a mail is recent to its owner until he has seen it.
    fn take_recent(&mut self, from: Uid, to: Uid) {
        if !self.knows_recent {
            return;
        }
        let unclaimed = if self.claims() { self.view.claim_recent(to) } else { self.view.recent_from() };
        let from = from.max(unclaimed);
        match self.recent.last_mut() {
            _ if from >= to => {}
            Some((_, end)) if *end == from => *end = to,
            _ => self.recent.push((from, to)),
        }
    }

    /// From now on the client knows no \Recent. What it was told as such stays claimed.
    pub fn forget_recent(&mut self) {
        self.knows_recent = false;
    }

    /// True when what is \Recent to this session is so to no other.
    pub fn claims(&self) -> bool {
        !self.read_only && !self.is_guest()
    }

    pub fn is_guest(&self) -> bool {
        self.guest.is_some()
    }

    /// True when all that is needed is allowed now.
    pub fn may(&self, needs: Rights) -> bool {
        self.rights().has(needs)
    }

    /// As of now: another session may have changed the list.
    pub fn rights(&self) -> Rights {
        match self.guest {
            Some(guest) => self.view.read(|view| view.rights_of(guest)),
            None => Rights::ALL,
        }
    }

    fn rights_in(&self, view: &MailboxView) -> Rights {
        self.guest.map_or(Rights::ALL, |guest| view.rights_of(guest))
    }

    /// Up to where this session's \Recent messages are still to be claimed for all nodes.
    pub fn unclaimed(&self) -> Option<Uid> {
        let (_, to) = self.recent.last().filter(|_| self.claims())?;
        (self.view.read(|view| view.recent_from) < *to).then_some(*to)
    }

    pub fn view(&self) -> &Arc<SharedView> {
        &self.view
    }

    pub fn exists(&self) -> usize {
        self.uids.len()
    }

    pub fn next_uid(&self) -> Uid {
        self.next_uid
    }

    pub fn last_uid(&self) -> u32 {
        self.uids.last().map_or(0, |uid| uid.0)
    }

    pub fn is_recent(&self, uid: Uid) -> bool {
        let at = self.recent.partition_point(|(_, to)| *to <= uid);
        self.knows_recent && self.recent.get(at).is_some_and(|(from, _)| *from <= uid)
    }

    /// How many messages are \Recent.
    pub fn recent(&self) -> usize {
        let below = |bound: &Uid| self.uids.partition_point(|uid| uid < bound);
        self.recent.iter().map(|(from, to)| below(to) - below(from)).sum()
    }

    pub fn highest_modseq(&self) -> ModSeq {
        self.view.read(|view| view.highest_modseq)
    }

    /// Why the mailbox must be let go, if it must.
    pub fn farewell(&self) -> Option<&'static str> {
        self.view.read(|view| match self.rights_in(view).has(Rights::READ) {
            _ if view.deleted => Some("The selected mailbox was deleted"),
            // RFC 4314 5.1.1.
            false => Some("The selected mailbox is not open to you any more"),
            true => None,
        })
    }

    pub fn sequence_of(&self, uid: Uid) -> Option<u32> {
        self.uids.binary_search(&uid).ok().map(|at| at as u32 + 1)
    }

    pub fn uid_of(&self, sequence: u32) -> Option<Uid> {
        self.uids.get((sequence as usize).checked_sub(1)?).copied()
    }

    pub fn numbered(&self) -> impl Iterator<Item = Numbered> + '_ {
        (1..).zip(&self.uids).map(|(sequence, uid)| Numbered { sequence, uid: *uid })
    }

    /// Those from this UID on.
    pub fn numbered_from(&self, uid: Uid) -> impl Iterator<Item = Numbered> + '_ {
        self.numbered().skip(self.uids.partition_point(|known| *known < uid))
    }

    /// The messages that `set` names, as ranges of indices into the message numbers: ascending, not touching.
    /// `None`: a message number is beyond the last (RFC 9051 9: answered with BAD).
    pub fn resolve(&self, set: &SequenceSet, uid: bool) -> Option<Vec<(usize, usize)>> {
        if *set == SequenceSet::Saved {
            // RFC 5182 2.1: that nothing was saved is no error.
            let places = self.saved.iter().filter_map(|uid| self.uids.binary_search(uid).ok());
            return Some(places.map(|at| (at, at + 1)).collect());
        }
        if uid {
            let ranges = set.resolve(self.last_uid()).into_iter().map(|(low, high)| {
                let from = self.uids.partition_point(|uid| uid.0 < low);
                let to = self.uids.partition_point(|uid| uid.0 <= high);
                (from, to)
            });
            return Some(ranges.filter(|(from, to)| from < to).collect());
        }
        let ranges = set.resolve(self.uids.len() as u32);
        let beyond = ranges.is_empty() || ranges.iter().any(|(_, high)| *high as usize > self.uids.len());
        (!beyond).then(|| ranges.into_iter().map(|(low, high)| (low as usize - 1, high as usize)).collect())
    }

    /// The UIDs that `set` names, as ascending ranges; what is beyond the last message is passed over.
    pub fn uid_ranges(&self, set: &SequenceSet, uid: bool) -> Vec<(u32, u32)> {
        match set {
            SequenceSet::Saved => self.saved.iter().map(|uid| (uid.0, uid.0)).collect(),
            set if uid => set.resolve(self.last_uid()),
            set => {
                let ranges = set.resolve(self.uids.len() as u32).into_iter();
                let uid = |sequence: u32| self.uids[(sequence as usize).min(self.uids.len()) - 1].0;
                ranges
                    .filter(|(low, _)| *low as usize <= self.uids.len())
                    .map(|(low, high)| (uid(low), uid(high)))
                    .collect()
            }
        }
    }

    pub fn numbered_in(&self, ranges: &[(usize, usize)]) -> Vec<Numbered> {
        let number = |at: usize| Numbered { sequence: at as u32 + 1, uid: self.uids[at] };
        ranges.iter().flat_map(|(from, to)| (*from..*to).map(number)).collect()
    }

    /// The UIDs of index ranges. All messages between two neighbours of a session are gone for good, so a range of
    /// message numbers is a range of UIDs.
    pub fn uid_set(&self, ranges: &[(usize, usize)]) -> UidSet {
        UidSet::from_ranges(ranges.iter().map(|(from, to)| (self.uids[*from], self.uids[*to - 1])))
    }

    /// Tells what has changed since the last time. The order is: expunges, new messages, flags.
    pub fn tell_changes(&mut self, expunges: Expunges, telling: Telling, out: &mut BytesMut) {
        let own = self.own_change.take();
        let view = self.view.clone();
        view.read(|view| {
            self.tell_rights(view, out);
            if !self.rights_told.has(Rights::READ) {
                return;
            }
            if view.highest_modseq == self.flags_told
                && view.highest_modseq == self.expunges_told
                && view.uid_next == self.next_uid
            {
                return;
            }
            let wanted = telling.wanted;
            if expunges == Expunges::Asked || (wanted.expunged && expunges == Expunges::Tell) {
                self.tell_expunges(view, telling, out);
            }
            let known_before = self.next_uid;
            if wanted.new {
                self.tell_new(view, out);
            }
            if wanted.new || wanted.flags {
                self.tell_keywords(view, out);
            }
            if wanted.flags {
                self.tell_flags(view, (own, known_before), telling, out);
            }
            if expunges == Expunges::KeepBack {
                self.tell_kept_back(view, telling, out);
            }
            self.contexts.take_note(view, self.next_uid);
        });
    }

    /// Brings the results that are kept current up to what was told, and tells them. `None`: that is done; else the
    /// question's answer is wanted.
    pub fn update_contexts(
        &mut self,
        answer: Option<Answer>,
        now: Timestamp,
        out: &mut BytesMut,
    ) -> Option<Question> {
        if self.contexts.are_none() || !self.may(Rights::READ) {
            return None;
        }
        let mut contexts = std::mem::take(&mut self.contexts);
        let question = contexts.step((self, now), answer, out);
        self.contexts = contexts;
        question
    }

    fn tell_expunges(&mut self, view: &MailboxView, telling: Telling, out: &mut BytesMut) {
        if view.highest_modseq == self.expunges_told {
            return;
        }
        let gone: Vec<Uid> = match view.expunged_since(self.expunges_told) {
            Some(gone) => gone.into_iter().filter(|uid| self.uids.binary_search(uid).is_ok()).collect(),
            None => self.uids.iter().copied().filter(|uid| view.get(*uid).is_none()).collect(),
        };
        self.expunges_told = view.highest_modseq;
        if gone.is_empty() {
            return;
        }
        // RFC 5267 4.3.3: while the numbers still hold.
        let mut contexts = std::mem::take(&mut self.contexts);
        contexts.expunge(&gone, |uid| self.sequence_of(uid), out);
        self.contexts = contexts;
        if telling.vanished {
            write::vanished("VANISHED", &UidSet::from_ascending(gone.iter().copied()), out);
        } else {
            self.write_expunges(&gone, out);
        }
        self.uids.retain(|uid| gone.binary_search(uid).is_err());
        self.recent_told = self.recent();
        if std::mem::take(&mut self.keeps_back) {
            write::highest_modseq(view.highest_modseq, "All is told", out);
        }
    }

    /// RFC 7162 3.2: a client that takes a flag's mod-sequence for the mailbox's would never hear of what went before
    /// and is yet untold, should the connection break: it hears up to where it knows all.
    fn tell_kept_back(&mut self, view: &MailboxView, telling: Telling, out: &mut BytesMut) {
        if !(telling.vanished && telling.modseq) || view.highest_modseq == self.expunges_told {
            return;
        }
        let gone = view.expunged_since(self.expunges_told);
        if gone.is_some_and(|gone| gone.iter().all(|uid| self.uids.binary_search(uid).is_err())) {
            self.expunges_told = view.highest_modseq;
            return;
        }
        self.keeps_back = true;
        write::highest_modseq(self.expunges_told, "What went since is told later", out);
    }

    fn write_expunges(&self, gone: &[Uid], out: &mut BytesMut) {
        // From the end, so that no number told moves another.
        for sequence in gone.iter().rev().filter_map(|uid| self.sequence_of(*uid)) {
            out.extend_from_slice(b"* ");
            write::number(sequence, out);
            out.extend_from_slice(b" EXPUNGE\r\n");
        }
    }

    fn tell_new(&mut self, view: &MailboxView, out: &mut BytesMut) {
        if view.uid_next == self.next_uid {
            return;
        }
        let first = std::mem::replace(&mut self.next_uid, view.uid_next);
        self.take_recent(first, self.next_uid);
        let known = self.uids.len();
        self.uids.extend(view.messages().uids_from(first));
        if self.uids.len() == known {
            return;
        }
        out.extend_from_slice(b"* ");
        write::number(self.uids.len() as u64, out);
        out.extend_from_slice(b" EXISTS\r\n");
        let recent = self.recent();
        if self.knows_recent && recent != self.recent_told {
            self.recent_told = recent;
            out.extend_from_slice(b"* ");
            write::number(recent as u64, out);
            out.extend_from_slice(b" RECENT\r\n");
        }
    }

    fn tell_flags(
        &mut self,
        view: &MailboxView,
        (own, known_before): (Option<OwnChange>, Uid),
        telling: Telling,
        out: &mut BytesMut,
    ) {
        if view.highest_modseq == self.flags_told {
            return;
        }
        let told = std::mem::replace(&mut self.flags_told, view.highest_modseq);
        // After a .SILENT change on top of another's, the client cannot know what the flags have come to.
        let is_own = |message: &MessageRecord| {
            own.as_ref().is_some_and(|own| {
                !own.silent && own.modseqs.contains(&message.modseq) && own.uids.contains(message.uid)
            })
        };
        // Each command has a mod-sequence of its own. When it was but one, and it brought messages, or when all were
        // one's own, no other flag can have changed: the usual case, which must not cost a look at the whole mailbox.
        let changes = view.highest_modseq.0 - told.0;
        let came = view.messages().uids_from(known_before).next();
        let brought = came.is_some_and(|uid| uid < self.next_uid);
        if changes == 1 && brought || own.as_ref().is_some_and(|own| own.count_after(told) == changes) {
            return;
        }
        // What has come since the last telling is told by EXISTS alone.
        let changed = view.messages().changed_since(told).take_while(|message| message.uid < known_before);
        for message in changed.filter(|message| !is_own(message)) {
            self.write_fetch(&message, Some(&view.keywords), telling, out);
        }
    }

    /// FLAGS again when a keyword has joined them, before a FETCH speaks of it.
    pub fn tell_keywords(&mut self, view: &MailboxView, out: &mut BytesMut) {
        if view.keywords.len() == self.keywords_told {
            return;
        }
        self.keywords_told = view.keywords.len();
        self.write_flags(view, out);
    }

    /// RFC 4314 5.1.1: FLAGS and PERMANENTFLAGS again when other flags may be changed than before.
    fn tell_rights(&mut self, view: &MailboxView, out: &mut BytesMut) {
        let rights = self.rights_in(view);
        let told = std::mem::replace(&mut self.rights_told, rights);
        if rights.over_flags() != told.over_flags() && rights.has(Rights::READ) {
            self.write_flags(view, out);
        }
    }

    /// FLAGS and PERMANENTFLAGS.
    pub fn write_flags(&self, view: &MailboxView, out: &mut BytesMut) {
        out.extend_from_slice(b"* FLAGS ");
        write::known_flags(Flags::ALL, &view.keywords, out);
        out.extend_from_slice(b")\r\n");
        let may = self.rights_in(view).over_flags();
        if self.read_only || may == Flags::default() {
            out.extend_from_slice(b"* OK [PERMANENTFLAGS ()] Nothing is kept\r\n");
            return;
        }
        out.extend_from_slice(b"* OK [PERMANENTFLAGS ");
        write::known_flags(may, &view.keywords, out);
        let full = view.keywords.len() >= crate::mail::flags::KEYWORDS_PER_MAILBOX_MAX;
        let room = may.keywords != 0 && !full;
        out.extend_from_slice(if room { b" \\*)] Kept\r\n" } else { b")] Kept\r\n" });
    }

    /// `* 3 FETCH (FLAGS (\Seen))`, or `* 17 UIDFETCH …`, with UID and MODSEQ where they are wanted; without
    /// `keywords` it tells of no flags.
    pub fn write_fetch(
        &self,
        record: &MessageRecord,
        keywords: Option<&[String]>,
        telling: Telling,
        out: &mut BytesMut,
    ) {
        let Some(sequence) = self.sequence_of(record.uid) else { return };
        write::fetch(Numbered { sequence, uid: record.uid }, telling.uid_only, out);
        let mut blank: &[u8] = b"";
        if telling.uid && !telling.uid_only {
            out.extend_from_slice(b"UID ");
            write::number(record.uid.0, out);
            blank = b" ";
        }
        if telling.modseq {
            out.extend_from_slice(blank);
            out.extend_from_slice(b"MODSEQ (");
            write::number(record.modseq.0, out);
            out.extend_from_slice(b")");
            blank = b" ";
        }
        if let Some(keywords) = keywords {
            out.extend_from_slice(blank);
            out.extend_from_slice(b"FLAGS ");
            write::flags(record.flags, keywords, self.is_recent(record.uid), out);
        }
        out.extend_from_slice(b")\r\n");
    }
}

/// In one allocation: there may be a million.
fn all_uids(view: &MailboxView) -> Vec<Uid> {
    let mut uids = Vec::with_capacity(view.messages().len());
    uids.extend(view.messages().uids());
    uids
}
