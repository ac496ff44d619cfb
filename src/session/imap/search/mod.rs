//! SEARCH keys (RFC 9051 6.4.4, RFC 5032, RFC 7162) and whether a message matches them.

mod evaluate;
mod excerpt;
mod needle;
mod text;

#[cfg(test)]
mod tests;

pub use evaluate::{Candidate, Scope, matches};
pub use excerpt::{Excerpt, Part};
pub use needle::Needle;
pub use text::Body;

use super::sequence_set::SequenceSet;
use crate::mail::date::Date;
use crate::mail::flags::SystemFlag;
use crate::mail::ids::ModSeq;

/// A search program. Several keys side by side are [`SearchKey::And`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchKey {
    All,
    And(Vec<SearchKey>),
    Or(Box<SearchKey>, Box<SearchKey>),
    Not(Box<SearchKey>),
    /// ANSWERED, DELETED, DRAFT, FLAGGED, SEEN; their UN- forms are [`SearchKey::Not`].
    Flag(SystemFlag),
    /// RECENT; OLD is `Not(Recent)`, NEW is `And(Recent, Not(Flag(Seen)))`.
    Recent,
    Keyword(String),
    /// INTERNALDATE, its day in its own zone.
    Before(Date),
    On(Date),
    Since(Date),
    /// The Date field, its day as written.
    SentBefore(Date),
    SentOn(Date),
    SentSince(Date),
    /// Octets: strictly more, strictly fewer.
    Larger(u64),
    Smaller(u64),
    /// RFC 5032: seconds before now, by INTERNALDATE.
    Younger(u32),
    Older(u32),
    /// RFC 8514, by the time of saving.
    SavedBefore(Date),
    SavedOn(Date),
    SavedSince(Date),
    /// RFC 8474.
    EmailId(String),
    SequenceSet(SequenceSet),
    Uid(SequenceSet),
    /// What [`bind`] makes of the two above: ascending ranges that do not touch.
    UidRanges(Vec<(u32, u32)>),
    /// RFC 7162 3.1.5: this mod-sequence or above.
    ModSeq(ModSeq),
    /// HEADER, and FROM, TO, CC, BCC, SUBJECT as their fields. An empty needle asks whether the field is there.
    Header(Vec<u8>, Needle),
    Body(Needle),
    Text(Needle),
}

/// Settles once, for a whole search and for all that follows it, which messages the sets name: `uids` gives the
/// UIDs of a set of message numbers, or of UIDs (then it hears true).
pub fn bind(key: SearchKey, uids: &impl Fn(&SequenceSet, bool) -> Vec<(u32, u32)>) -> SearchKey {
    let bound = |key: Box<SearchKey>| Box::new(bind(*key, uids));
    match key {
        SearchKey::SequenceSet(set) => SearchKey::UidRanges(uids(&set, false)),
        SearchKey::Uid(set) => SearchKey::UidRanges(uids(&set, true)),
        SearchKey::And(keys) => SearchKey::And(keys.into_iter().map(|key| bind(key, uids)).collect()),
        SearchKey::Or(one, other) => SearchKey::Or(bound(one), bound(other)),
        SearchKey::Not(key) => SearchKey::Not(bound(key)),
        other => other,
    }
}

/// True when a message may come to match, or cease to, though nothing happens to it.
pub fn depends_on_time(key: &SearchKey) -> bool {
    has(key, &|key| matches!(key, SearchKey::Younger(_) | SearchKey::Older(_)))
}

/// True when a key is MODSEQ: the answer then carries the highest mod-sequence found (RFC 7162 3.1.5).
pub fn asks_modseq(key: &SearchKey) -> bool {
    has(key, &|key| matches!(key, SearchKey::ModSeq(_)))
}

/// True for NEW, OLD and RECENT, which IMAP4rev2 does not have (RFC 9051 E).
pub fn asks_recent(key: &SearchKey) -> bool {
    has(key, &|key| *key == SearchKey::Recent)
}

/// True when a message number decides. `$` is none.
pub fn names_numbers(key: &SearchKey) -> bool {
    has(key, &|key| matches!(key, SearchKey::SequenceSet(set) if *set != SequenceSet::Saved))
}

/// True when some key, at any level, is of a kind.
fn has(key: &SearchKey, kind: &impl Fn(&SearchKey) -> bool) -> bool {
    match key {
        SearchKey::And(keys) => keys.iter().any(|key| has(key, kind)),
        SearchKey::Or(one, other) => has(one, kind) || has(other, kind),
        SearchKey::Not(key) => has(key, kind),
        other => kind(other),
    }
}
