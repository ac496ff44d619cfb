//! STORE (RFC 3501 6.4.6, RFC 7162 3.1.3).

use super::copy::uid_list;
use super::portions::Portions;
use super::{no_right, no_such_message, read_only};
use crate::mail::ids::ModSeq;
use crate::session::imap::core::{Core, Io, Next, Progress, Reply, Task};
use crate::session::imap::grammar::StoreRequest;
use crate::session::imap::question::{Answer, Question};
use crate::session::imap::selected::OwnChange;
use crate::state::command::{Command, StoreFlags, UidSet};
use crate::state::outcome::Outcome;

pub struct Store {
    uid: bool,
    request: StoreRequest,
    ranges: Vec<(usize, usize)>,
    portions: Portions,
    modseqs: Vec<ModSeq>,
    modified: Vec<UidSet>,
}

impl Store {
    pub fn new(uid: bool, request: StoreRequest) -> Self {
        let (ranges, portions, modified) = (Vec::new(), Portions::default(), Vec::new());
        Self { uid, request, ranges, portions, modseqs: Vec::new(), modified }
    }

    fn begin(&mut self, core: &mut Core, io: &mut Io) -> Next {
        if self.request.unchanged_since.is_some() {
            core.enable_condstore(io.out);
        }
        let Some(selected) = &core.selected else { return no_such_message() };
        if selected.read_only {
            return read_only();
        }
        if !selected.rights().may_store(&self.request.flags) {
            return no_right();
        }
        let Some(ranges) = selected.resolve(&self.request.set, self.uid) else { return no_such_message() };
        let ranges = core.limited(ranges);
        let Some(selected) = &core.selected else { return no_such_message() };
        let uids = selected.uid_set(&ranges);
        self.ranges = ranges;
        self.portions = Portions::of(selected.view().read(|view| view.portions(&uids)));
        self.next(core, io)
    }

    fn next(&mut self, core: &mut Core, io: &mut Io) -> Next {
        let Some(selected) = &core.selected else { return no_such_message() };
        let Some(uids) = self.portions.next() else { return self.finish(core, io) };
        Next::Ask(Question::Propose(Command::Store(StoreFlags {
            mailbox: selected.mailbox,
            uids,
            change: self.request.change,
            flags: self.request.flags.clone(),
            unchanged_since: self.request.unchanged_since,
        })))
    }

    fn finish(&mut self, core: &mut Core, io: &mut Io) -> Next {
        let telling = core.telling(self.uid);
        let Some(selected) = &mut core.selected else { return no_such_message() };
        // A keyword that is new is named in FLAGS before a FETCH speaks of it.
        let view = selected.view().clone();
        let missing = view.read(|view| {
            selected.tell_keywords(view, io.out);
            let mut missing = false;
            for message in selected.numbered_in(&self.ranges) {
                let Some(record) = view.get(message.uid) else {
                    missing = true;
                    continue;
                };
                if self.modified.iter().any(|set| set.contains(message.uid)) {
                    continue;
                }
                if !self.request.silent {
                    selected.write_fetch(&record, Some(&view.keywords), telling, io.out);
                } else if telling.modseq {
                    // RFC 7162 3.1.3: the mod-sequence is told even then.
                    selected.write_fetch(&record, None, telling, io.out);
                }
            }
            missing
        });
        let uids = selected.uid_set(&self.ranges);
        let modseqs = std::mem::take(&mut self.modseqs);
        selected.own_change = Some(OwnChange { uids, modseqs, silent: self.request.silent });
        if let Some(code) = self.modified_code(selected) {
            return Next::Done(Reply::ok("Some had changed since").with_code(code));
        }
        if missing {
            return Next::Done(Reply::ok("Some are expunged already").with_code("EXPUNGEISSUED"));
        }
        Next::Done(Reply::ok("Stored"))
    }

    /// RFC 7162 3.1.3: numbers of the kind that the command used.
    fn modified_code(&self, selected: &crate::session::imap::selected::Selected) -> Option<String> {
        let uids: Vec<_> = self.modified.iter().flat_map(|set| set.ranges().iter().copied()).collect();
        if uids.is_empty() {
            return None;
        }
        let set = UidSet::from_ranges(uids);
        if self.uid {
            return Some(format!("MODIFIED {}", uid_list(&set)));
        }
        let numbers = selected.numbered_in(&self.ranges).into_iter();
        let failed = numbers.filter(|message| set.contains(message.uid));
        let sequences = failed.map(|message| crate::mail::ids::Uid(message.sequence));
        Some(format!("MODIFIED {}", uid_list(&UidSet::from_ascending(sequences))))
    }
}

impl Task for Store {
    fn step(&mut self, core: &mut Core, answer: Option<Answer>, io: &mut Io) -> Next {
        match answer {
            None => self.begin(core, io),
            Some(Answer::Outcome(Outcome::Stored { modseq, modified })) => {
                self.modseqs.push(modseq);
                self.modified.push(modified);
                self.next(core, io)
            }
            Some(Answer::Outcome(Outcome::StoredNothing { modified, .. })) => {
                self.modified.push(modified);
                self.next(core, io)
            }
            other => Next::Done(Reply::unexpected(other)),
        }
    }

    fn progress(&self) -> Option<Progress> {
        Some(self.portions.progress())
    }
}
