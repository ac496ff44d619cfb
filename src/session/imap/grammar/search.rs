//! SEARCH (RFC 3501 6.4.4, RFC 5032, RFC 7162 3.1.5): its charset and keys, bounded in depth and number.

use super::cursor::{Cursor, Parsed, Syntax};
use crate::mail::date::{self, Date};
use crate::mail::flags::SystemFlag;
use crate::mail::ids::ModSeq;
use crate::session::imap::limits::{SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX};
use crate::session::imap::search::{Needle, SearchKey};

pub fn search(cursor: &mut Cursor) -> Parsed<SearchKey> {
    if cursor.take_word("CHARSET") {
        cursor.space()?;
        let charset = cursor.astring()?.to_ascii_uppercase();
        if !matches!(charset.as_slice(), b"US-ASCII" | b"UTF-8" | b"ASCII" | b"UTF8") {
            return Err(Syntax::BadCharset);
        }
        cursor.space()?;
    }
    let mut keys = Keys { left: SEARCH_KEYS_MAX };
    let mut all = vec![keys.key(cursor, 0)?];
    while cursor.take(b' ') {
        all.push(keys.key(cursor, 0)?);
    }
    cursor.end()?;
    Ok(and(all))
}

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
            Some(b'0'..=b'9' | b'*') => cursor.sequence_set().map(SearchKey::SequenceSet),
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
        "SENTBEFORE" => SearchKey::SentBefore(day(cursor)?),
        "SENTON" => SearchKey::SentOn(day(cursor)?),
        "SENTSINCE" => SearchKey::SentSince(day(cursor)?),
        "KEYWORD" => SearchKey::Keyword(keyword(cursor)?),
        "UNKEYWORD" => not(SearchKey::Keyword(keyword(cursor)?)),
        "LARGER" => SearchKey::Larger(u64::from(cursor.number()?)),
        "SMALLER" => SearchKey::Smaller(u64::from(cursor.number()?)),
        "UID" => SearchKey::Uid(cursor.sequence_set()?),
        "YOUNGER" => SearchKey::Younger(interval(cursor)?),
        "OLDER" => SearchKey::Older(interval(cursor)?),
        "MODSEQ" => modseq(cursor)?,
        _ => return Err(Syntax::Malformed("the search key is not known")),
    })
}

fn keyword(cursor: &mut Cursor) -> Parsed<String> {
    Ok(String::from_utf8_lossy(cursor.atom()?).into_owned())
}

/// RFC 5032 3: `nz-number` of seconds.
fn interval(cursor: &mut Cursor) -> Parsed<u32> {
    match cursor.number()? {
        0 => Err(Syntax::Malformed("an interval is not 0")),
        seconds => Ok(seconds),
    }
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
