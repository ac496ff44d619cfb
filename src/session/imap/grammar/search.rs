//! SEARCH (RFC 3501 6.4.4, RFC 5032, RFC 7162 3.1.5), SORT and THREAD (RFC 5256): what they return, their charset and
//! keys, bounded in depth and number.

use std::fmt;

use super::cursor::{Cursor, Parsed, Syntax};
use super::fetch::attributes;
use crate::mail::date::{self, Date};
use crate::mail::flags::SystemFlag;
use crate::mail::ids::ModSeq;
use crate::session::imap::arrange::{Algorithm, Criterion, SortField};
use crate::session::imap::item::FetchItem;
use crate::session::imap::limits::{SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX, SORT_CRITERIA_MAX};
use crate::session::imap::search::{Needle, SearchKey};

/// SEARCH's arguments, and those that SORT has behind its criteria.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRequest {
    /// Named in the command; SORT always names one.
    pub charset: Option<Charset>,
    pub key: SearchKey,
    /// RETURN: the answer is an ESEARCH.
    pub results: Option<Results>,
}

/// Of strings in a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    UsAscii,
    Utf8,
}

/// RETURN options (RFC 4731, RFC 5182, RFC 5267, RFC 9394).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Results {
    pub min: bool,
    pub max: bool,
    pub all: bool,
    pub count: bool,
    pub save: bool,
    pub update: bool,
    /// What is wanted of messages that come into a result that is kept current (RFC 5465 7).
    pub update_attributes: Vec<FetchItem>,
    pub partial: Option<PartialRange>,
}

/// Places in a result, from 1: of its front, or counted from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialRange {
    /// Never above `last`.
    pub first: u32,
    pub last: u32,
    pub from_end: bool,
}

impl fmt::Display for PartialRange {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let sign = if self.from_end { "-" } else { "" };
        write!(f, "{sign}{}:{sign}{}", self.first, self.last)
    }
}

impl Results {
    /// True when something is to be told, and not only saved.
    pub fn tells(&self) -> bool {
        self.min || self.max || self.all || self.count || self.update || self.partial.is_some()
    }
}

pub fn search(cursor: &mut Cursor) -> Parsed<SearchRequest> {
    let results = results(cursor)?;
    let mut named = None;
    if cursor.take_word("CHARSET") {
        cursor.space()?;
        named = Some(charset(cursor, saves(&results))?);
    }
    Ok(SearchRequest { charset: named, key: keys(cursor)?, results })
}

/// RFC 5256 3: criteria, charset and keys; RFC 5267 3: RETURN before them.
pub fn sort(cursor: &mut Cursor) -> Parsed<(Vec<Criterion>, SearchRequest)> {
    let results = results(cursor)?;
    let criteria = cursor.list(SORT_CRITERIA_MAX, |cursor| {
        let reverse = cursor.take_word("REVERSE");
        if reverse {
            cursor.space()?;
        }
        Ok(Criterion { field: sort_field(&cursor.word()?)?, reverse })
    })?;
    if criteria.is_empty() {
        return Err(Syntax::Malformed("SORT has no criterion"));
    }
    cursor.space()?;
    let charset = Some(charset(cursor, saves(&results))?);
    Ok((criteria, SearchRequest { charset, key: keys(cursor)?, results }))
}

fn sort_field(name: &str) -> Parsed<SortField> {
    Ok(match name {
        "ARRIVAL" => SortField::Arrival,
        "CC" => SortField::Cc,
        "DATE" => SortField::Date,
        "DISPLAYFROM" => SortField::DisplayFrom,
        "DISPLAYTO" => SortField::DisplayTo,
        "FROM" => SortField::From,
        "SIZE" => SortField::Size,
        "SUBJECT" => SortField::Subject,
        "TO" => SortField::To,
        _ => return Err(Syntax::Malformed("the SORT criterion is not known")),
    })
}

pub fn thread(cursor: &mut Cursor) -> Parsed<(Algorithm, Charset, SearchKey)> {
    let algorithm = match cursor.word()?.as_str() {
        "ORDEREDSUBJECT" => Algorithm::OrderedSubject,
        "REFERENCES" => Algorithm::References,
        "REFS" => Algorithm::Refs,
        _ => return Err(Syntax::Malformed("the THREAD algorithm is not known")),
    };
    cursor.space()?;
    let charset = charset(cursor, false)?;
    Ok((algorithm, charset, keys(cursor)?))
}

fn saves(results: &Option<Results>) -> bool {
    results.as_ref().is_some_and(|results| results.save)
}

/// A charset and the space behind it.
fn charset(cursor: &mut Cursor, saves: bool) -> Parsed<Charset> {
    let charset = match cursor.astring()?.to_ascii_uppercase().as_slice() {
        b"US-ASCII" | b"ASCII" => Charset::UsAscii,
        b"UTF-8" | b"UTF8" => Charset::Utf8,
        _ => return Err(Syntax::BadCharset { saves }),
    };
    cursor.space()?;
    Ok(charset)
}

/// `RETURN (…)` and the space behind it, if it is there.
fn results(cursor: &mut Cursor) -> Parsed<Option<Results>> {
    if !cursor.take_word("RETURN") {
        return Ok(None);
    }
    cursor.space()?;
    let mut results = Results::default();
    cursor.list(RETURN_OPTIONS_MAX, |cursor| result(cursor, &mut results))?;
    cursor.space()?;
    if results.all && results.partial.is_some() {
        return Err(Syntax::Malformed("ALL and PARTIAL exclude each other"));
    }
    // RFC 4731 3.1: nothing said is ALL. CONTEXT is a mere hint.
    results.all |= !results.save && !results.tells();
    Ok(Some(results))
}

fn result(cursor: &mut Cursor, results: &mut Results) -> Parsed<()> {
    let flag = match cursor.word()?.as_str() {
        "ALL" => &mut results.all,
        "COUNT" => &mut results.count,
        "MAX" => &mut results.max,
        "MIN" => &mut results.min,
        "SAVE" => &mut results.save,
        "UPDATE" => {
            let mut ahead = *cursor;
            // RFC 5465 7, 8: its example has a space there that its grammar has not.
            ahead.take(b' ');
            if ahead.peek() == Some(b'(') {
                *cursor = ahead;
                results.update_attributes = attributes(cursor)?;
            }
            &mut results.update
        }
        "CONTEXT" => return Ok(()),
        "PARTIAL" if results.partial.is_none() => {
            cursor.space()?;
            results.partial = Some(partial_range(cursor)?);
            return Ok(());
        }
        _ => return Err(Syntax::Malformed("the RETURN option is not known, or given twice")),
    };
    *flag = true;
    Ok(())
}

/// RFC 9394 3.1: `1:100` or `-1:-100`, either end first.
pub fn partial_range(cursor: &mut Cursor) -> Parsed<PartialRange> {
    let malformed = Syntax::Malformed("the PARTIAL range is malformed");
    let from_end = cursor.take(b'-');
    let one = cursor.number()?;
    cursor.expect(b':', "the PARTIAL range has no colon")?;
    if cursor.take(b'-') != from_end {
        return Err(malformed);
    }
    let other = cursor.number()?;
    if one == 0 || other == 0 {
        return Err(malformed);
    }
    Ok(PartialRange { first: one.min(other), last: one.max(other), from_end })
}

fn keys(cursor: &mut Cursor) -> Parsed<SearchKey> {
    let mut keys = Keys { left: SEARCH_KEYS_MAX };
    let mut all = vec![keys.key(cursor, 0)?];
    while cursor.take(b' ') {
        all.push(keys.key(cursor, 0)?);
    }
    cursor.end()?;
    Ok(and(all))
}

/// Options of one RETURN.
const RETURN_OPTIONS_MAX: usize = 16;

fn and(mut keys: Vec<SearchKey>) -> SearchKey {
    match keys.pop() {
        Some(key) if keys.is_empty() => key,
        Some(key) => {
            keys.push(key);
            SearchKey::And(keys)
        }
        None => SearchKey::All,
    }
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

/// Reads keys, and counts them.
struct Keys {
    left: usize,
}

impl Keys {
    fn key(&mut self, cursor: &mut Cursor, depth: usize) -> Parsed<SearchKey> {
        if self.left == 0 || depth == SEARCH_DEPTH_MAX {
            return Err(Syntax::Malformed("the search has too many keys or levels"));
        }
        self.left -= 1;
        match cursor.peek() {
            Some(b'(') => self.group(cursor, depth),
            Some(b'0'..=b'9' | b'*' | b'$') => cursor.sequence_set().map(SearchKey::SequenceSet),
            _ => self.named(cursor, depth),
        }
    }

    fn group(&mut self, cursor: &mut Cursor, depth: usize) -> Parsed<SearchKey> {
        cursor.expect(b'(', "an opening parenthesis is missing")?;
        let mut keys = vec![self.key(cursor, depth + 1)?];
        while cursor.take(b' ') {
            keys.push(self.key(cursor, depth + 1)?);
        }
        cursor.close()?;
        Ok(and(keys))
    }

    fn named(&mut self, cursor: &mut Cursor, depth: usize) -> Parsed<SearchKey> {
        let name = cursor.word()?;
        if let Some(key) = without_argument(&name) {
            return Ok(key);
        }
        cursor.space()?;
        match name.as_str() {
            "NOT" => Ok(not(self.key(cursor, depth + 1)?)),
            "OR" => {
                let one = self.key(cursor, depth + 1)?;
                cursor.space()?;
                Ok(SearchKey::Or(Box::new(one), Box::new(self.key(cursor, depth + 1)?)))
            }
            _ => with_argument(&name, cursor),
        }
    }
}

fn without_argument(name: &str) -> Option<SearchKey> {
    let flag = SearchKey::Flag;
    Some(match name {
        "ALL" => SearchKey::All,
        "ANSWERED" => flag(SystemFlag::Answered),
        "DELETED" => flag(SystemFlag::Deleted),
        "DRAFT" => flag(SystemFlag::Draft),
        "FLAGGED" => flag(SystemFlag::Flagged),
        "SEEN" => flag(SystemFlag::Seen),
        "UNANSWERED" => not(flag(SystemFlag::Answered)),
        "UNDELETED" => not(flag(SystemFlag::Deleted)),
        "UNDRAFT" => not(flag(SystemFlag::Draft)),
        "UNFLAGGED" => not(flag(SystemFlag::Flagged)),
        "UNSEEN" => not(flag(SystemFlag::Seen)),
        "RECENT" => SearchKey::Recent,
        "OLD" => not(SearchKey::Recent),
        // RFC 8514 4.3: each mailbox keeps the time of saving.
        "SAVEDATESUPPORTED" => SearchKey::All,
        "NEW" => SearchKey::And(vec![SearchKey::Recent, not(flag(SystemFlag::Seen))]),
        _ => return None,
    })
}

fn with_argument(name: &str, cursor: &mut Cursor) -> Parsed<SearchKey> {
    Ok(match name {
        "BCC" | "CC" | "FROM" | "SUBJECT" | "TO" => {
            SearchKey::Header(name.as_bytes().to_vec(), needle(cursor)?)
        }
        "HEADER" => {
            let name = cursor.astring()?.into_owned();
            cursor.space()?;
            SearchKey::Header(name, needle(cursor)?)
        }
        "BODY" => SearchKey::Body(needle(cursor)?),
        "TEXT" => SearchKey::Text(needle(cursor)?),
        "BEFORE" => SearchKey::Before(day(cursor)?),
        "ON" => SearchKey::On(day(cursor)?),
        "SINCE" => SearchKey::Since(day(cursor)?),
        "SAVEDBEFORE" => SearchKey::SavedBefore(day(cursor)?),
        "SAVEDON" => SearchKey::SavedOn(day(cursor)?),
        "SAVEDSINCE" => SearchKey::SavedSince(day(cursor)?),
        "SENTBEFORE" => SearchKey::SentBefore(day(cursor)?),
        "SENTON" => SearchKey::SentOn(day(cursor)?),
        "SENTSINCE" => SearchKey::SentSince(day(cursor)?),
        "KEYWORD" => SearchKey::Keyword(keyword(cursor)?),
        "UNKEYWORD" => not(SearchKey::Keyword(keyword(cursor)?)),
        // RFC 9051 9: 63 bits.
        "LARGER" => SearchKey::Larger(cursor.number64()?),
        "SMALLER" => SearchKey::Smaller(cursor.number64()?),
        "UID" => SearchKey::Uid(cursor.sequence_set()?),
        "UIDAFTER" => SearchKey::UidRanges(range(cursor.number_above_0()?.checked_add(1), u32::MAX)),
        "UIDBEFORE" => SearchKey::UidRanges(range(Some(1), cursor.number_above_0()? - 1)),
        "YOUNGER" => SearchKey::Younger(cursor.number_above_0()?),
        "OLDER" => SearchKey::Older(cursor.number_above_0()?),
        "MODSEQ" => modseq(cursor)?,
        "EMAILID" => SearchKey::EmailId(keyword(cursor)?),
        // RFC 8474 6: no message has one.
        "THREADID" => {
            cursor.atom()?;
            not(SearchKey::All)
        }
        _ => return Err(Syntax::Malformed("the search key is not known")),
    })
}

/// RFC 9738 3.2: nothing where the first is beyond the last.
fn range(first: Option<u32>, last: u32) -> Vec<(u32, u32)> {
    first.filter(|first| *first <= last).map(|first| (first, last)).into_iter().collect()
}

fn keyword(cursor: &mut Cursor) -> Parsed<String> {
    Ok(String::from_utf8_lossy(cursor.atom()?).into_owned())
}

/// Whatever the charset named, it is read as UTF-8, of which US-ASCII is a part.
fn needle(cursor: &mut Cursor) -> Parsed<Needle> {
    Ok(Needle::new(&String::from_utf8_lossy(&cursor.astring()?)))
}

fn day(cursor: &mut Cursor) -> Parsed<Date> {
    date::parse_imap_date(&cursor.astring()?).ok_or(Syntax::Malformed("the date is malformed"))
}

/// `MODSEQ ["/flags/\\name" all|priv|shared] n`: all flags of a message share one mod-sequence here, so
/// the entry is read and narrows nothing (RFC 7162 3.1.5 allows that).
fn modseq(cursor: &mut Cursor) -> Parsed<SearchKey> {
    if cursor.peek() == Some(b'"') {
        cursor.string()?;
        cursor.space()?;
        if !["ALL", "PRIV", "SHARED"].iter().any(|kind| cursor.take_word(kind)) {
            return Err(Syntax::Malformed("the entry type is all, priv or shared"));
        }
        cursor.space()?;
    }
    Ok(SearchKey::ModSeq(ModSeq(cursor.number64()?)))
}
