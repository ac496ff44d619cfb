//! What a client that was away has missed of expunges (RFC 7162 3.2).

use super::Selected;
use crate::mail::ids::{ModSeq, Uid};
use crate::session::imap::sequence_set::SequenceSet;
use crate::state::command::UidSet;

impl Selected {
    /// Of the UIDs `set` from `known_from` on, those that were expunged after `since` (RFC 7162 3.2.5.1, 3.2.6). Where
    /// that is no longer remembered: all that are not there. Those that this session has yet to be told of are left
    /// out: they are told as what goes now.
    pub fn vanished(&self, set: &SequenceSet, since: ModSeq, known_from: Uid) -> UidSet {
        let last = self.next_uid.0.saturating_sub(1);
        // `*` is the highest UID that was ever given: what stood at the end may be what has gone.
        let within = match set {
            SequenceSet::Saved => self.uid_ranges(set, true),
            set => set.resolve(last),
        };
        let within = within.into_iter().filter(|(low, _)| *low <= last);
        let within = UidSet::from_ranges(within.map(|(low, high)| (Uid(low), Uid(high.min(last)))));
        let remembered = self.view.read(|view| view.expunged_since(since));
        match remembered {
            Some(gone) => {
                // RFC 7162 3.2.5.2: what went below is known, even if the client's mod-sequence is older than that.
                let gone = gone.into_iter().filter(|uid| *uid >= known_from && within.contains(*uid));
                UidSet::from_ascending(gone.filter(|uid| self.uids.binary_search(uid).is_err()))
            }
            None => self.gaps(&within, known_from),
        }
    }

    /// The UIDs of `within`, from `from` on, that no message of the session has.
    fn gaps(&self, within: &UidSet, from: Uid) -> UidSet {
        let mut gaps = Vec::new();
        for (first, last) in within.ranges() {
            let mut next = (*first).max(from);
            let start = self.uids.partition_point(|uid| *uid < next);
            for uid in self.uids[start..].iter().take_while(|uid| *uid <= last) {
                if *uid > next {
                    gaps.push((next, Uid(uid.0 - 1)));
                }
                next = Uid(uid.0.saturating_add(1));
            }
            if next <= *last {
                gaps.push((next, *last));
            }
        }
        UidSet::from_ranges(gaps)
    }

    /// RFC 7162 3.2.5.2: the client says which UIDs some message numbers had. Up to the highest of them that still
    /// holds nothing can have gone: there are as many messages as there were. The answer is the UID behind it.
    pub fn known_from(&self, sequences: &SequenceSet, uids: &SequenceSet) -> Uid {
        let numbers = |set: &SequenceSet| set.resolve(0).into_iter().flat_map(|(low, high)| low..=high);
        let pairs = numbers(sequences).zip(numbers(uids));
        let here = pairs.take_while(|(sequence, _)| *sequence as usize <= self.uids.len());
        let holding = here.filter(|(sequence, uid)| self.uids[*sequence as usize - 1].0 == *uid);
        holding.last().map_or(Uid(1), |(_, uid)| Uid(uid.saturating_add(1)))
    }
}
