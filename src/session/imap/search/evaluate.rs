//! Whether a message matches: metadata first, so that a body is opened only where it decides.

use super::SearchKey;
use super::text::{self, Body};
use crate::mail::date::{Date, DateTime, parse_rfc5322};
use crate::mail::header;
use crate::mail::ids::Timestamp;
use crate::session::imap::object_id::email_id;
use crate::session::imap::selected::Selected;
use crate::session::imap::sequence_set;
use crate::state::record::MessageRecord;

/// What is the same for all messages of one search.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The mailbox's keyword table.
    pub keywords: &'a [String],
    /// What `*` means in a sequence set; 0 in an empty mailbox.
    pub sequence_last: u32,
    /// What `*` means in a UID set; 0 in an empty mailbox.
    pub uid_last: u32,
    pub now: Timestamp,
}

impl<'a> Scope<'a> {
    pub fn of(selected: &Selected, keywords: &'a [String], now: Timestamp) -> Self {
        Self { keywords, sequence_last: selected.exists() as u32, uid_last: selected.last_uid(), now }
    }
}

/// A message that may match.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub sequence: u32,
    pub record: &'a MessageRecord,
    pub recent: bool,
}

/// True when the message matches. `None` means that the bytes of the message decide: ask again with them.
///
/// Bind the key once per search with [`super::bind`]: sets are then searched in logarithmic time.
pub fn matches(key: &SearchKey, scope: &Scope, candidate: &Candidate, body: Option<&Body>) -> Option<bool> {
    if body.is_some()
        && let Some(decided) = matches(key, scope, candidate, None)
    {
        return Some(decided);
    }
    let one = |key: &SearchKey| matches(key, scope, candidate, body);
    match key {
        SearchKey::And(keys) => all(keys, one),
        SearchKey::Or(left, right) => match (one(left), one(right)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        SearchKey::Not(key) => one(key).map(|matched| !matched),
        SearchKey::SentBefore(date) => body.map(|body| sent(body).is_some_and(|sent| sent < *date)),
        SearchKey::SentOn(date) => body.map(|body| sent(body) == Some(*date)),
        SearchKey::SentSince(date) => body.map(|body| sent(body).is_some_and(|sent| sent >= *date)),
        SearchKey::Header(name, needle) => body.map(|body| text::in_field(body, name, needle)),
        SearchKey::Body(needle) => body.map(|body| text::in_body(body, needle)),
        SearchKey::Text(needle) => body.map(|body| text::in_text(body, needle)),
        metadata => Some(by_metadata(metadata, scope, candidate)),
    }
}

/// A key that does not match decides, wherever it stands.
fn all(keys: &[SearchKey], one: impl Fn(&SearchKey) -> Option<bool>) -> Option<bool> {
    let mut decided = true;
    for key in keys {
        match one(key) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => decided = false,
        }
    }
    decided.then_some(true)
}

fn by_metadata(key: &SearchKey, scope: &Scope, candidate: &Candidate) -> bool {
    let record = candidate.record;
    match key {
        SearchKey::All => true,
        SearchKey::Flag(flag) => record.flags.has(*flag),
        SearchKey::Recent => candidate.recent,
        SearchKey::Keyword(name) => has_keyword(scope, record, name),
        SearchKey::Before(date) => received(record) < *date,
        SearchKey::On(date) => received(record) == *date,
        SearchKey::Since(date) => received(record) >= *date,
        SearchKey::Larger(octets) => u64::from(record.size) > *octets,
        SearchKey::Smaller(octets) => u64::from(record.size) < *octets,
        SearchKey::Younger(seconds) => age_seconds(scope, record) <= i64::from(*seconds),
        SearchKey::Older(seconds) => age_seconds(scope, record) >= i64::from(*seconds),
        SearchKey::SavedBefore(date) => saved(record) < *date,
        SearchKey::SavedOn(date) => saved(record) == *date,
        SearchKey::SavedSince(date) => saved(record) >= *date,
        SearchKey::EmailId(id) => email_id(record.body) == *id,
        SearchKey::SequenceSet(set) => set.contains(candidate.sequence, scope.sequence_last),
        SearchKey::Uid(set) => set.contains(record.uid.0, scope.uid_last),
        SearchKey::UidRanges(ranges) => sequence_set::covers(ranges, record.uid.0),
        SearchKey::ModSeq(modseq) => record.modseq >= *modseq,
        SearchKey::And(_)
        | SearchKey::Or(..)
        | SearchKey::Not(_)
        | SearchKey::SentBefore(_)
        | SearchKey::SentOn(_)
        | SearchKey::SentSince(_)
        | SearchKey::Header(..)
        | SearchKey::Body(_)
        | SearchKey::Text(_) => unreachable!("decided by the caller"),
    }
}

fn has_keyword(scope: &Scope, record: &MessageRecord, name: &str) -> bool {
    let bit = scope.keywords.iter().position(|known| known.eq_ignore_ascii_case(name));
    bit.is_some_and(|bit| bit < 64 && record.flags.keywords & (1 << bit) != 0)
}

/// RFC 9051 6.4.4: the day of INTERNALDATE, disregarding time and zone.
fn received(record: &MessageRecord) -> Date {
    DateTime::from_unix(record.internal_date.unix_seconds, record.internal_date.zone_minutes).date
}

fn saved(record: &MessageRecord) -> Date {
    Date::from_unix((record.saved_at.0 / 1000) as i64)
}

fn age_seconds(scope: &Scope, record: &MessageRecord) -> i64 {
    ((scope.now.0 / 1000) as i64).saturating_sub(record.internal_date.unix_seconds)
}

/// The day of the Date field as written. A message without one was sent on no day.
fn sent(body: &Body) -> Option<Date> {
    parse_rfc5322(header::find(body.raw(), "Date")?.value).map(|when| when.date)
}
