//! FETCH (RFC 3501 6.4.5, RFC 7162 3.1.4): its set, items and modifiers.

use super::cursor::{Cursor, Parsed, Syntax};
use super::search::{PartialRange, partial_range};
use crate::mail::ids::ModSeq;
use crate::session::imap::item::{
    BinaryItem, FetchItem, Partial, Section, SectionItem, SectionText, Spelling,
};
use crate::session::imap::limits::{FETCH_ITEMS_MAX, HEADER_FIELDS_MAX, PART_LEVELS_MAX};
use crate::session::imap::sequence_set::SequenceSet;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    pub set: SequenceSet,
    pub items: Vec<FetchItem>,
    pub changed_since: Option<ModSeq>,
    /// RFC 7162 3.2.6: and what was expunged since.
    pub vanished: bool,
    /// RFC 9394 3.4: only this part of the messages, in UID FETCH.
    pub partial: Option<PartialRange>,
}

pub fn fetch(cursor: &mut Cursor) -> Parsed<FetchRequest> {
    let set = cursor.sequence_set()?;
    cursor.space()?;
    let items = match cursor.peek() {
        Some(b'(') => cursor.list(FETCH_ITEMS_MAX, item)?,
        _ => match macro_items(cursor) {
            Some(items) => items,
            None => vec![item(cursor)?],
        },
    };
    if items.is_empty() {
        return Err(Syntax::Malformed("FETCH asks for nothing"));
    }
    let mut request = FetchRequest { set, items, changed_since: None, vanished: false, partial: None };
    if cursor.take(b' ') {
        let modifiers = cursor.list(MODIFIERS_MAX, |cursor| modifier(cursor, &mut request))?;
        if modifiers.is_empty() {
            return Err(Syntax::Malformed("FETCH has no modifier in its list"));
        }
    }
    cursor.end()?;
    Ok(request)
}

/// `(UID FLAGS)`: what is wanted of messages that will come (RFC 5465 8).
pub fn attributes(cursor: &mut Cursor) -> Parsed<Vec<FetchItem>> {
    let items = cursor.list(FETCH_ITEMS_MAX, item)?;
    if items.is_empty() { Err(Syntax::Malformed("no attribute is named")) } else { Ok(items) }
}

/// Modifiers of one FETCH.
const MODIFIERS_MAX: usize = 4;

/// `CHANGEDSINCE n`, `VANISHED` or `PARTIAL n:m`.
fn modifier(cursor: &mut Cursor, request: &mut FetchRequest) -> Parsed<()> {
    let name = cursor.word()?;
    if name == "VANISHED" {
        request.vanished = true;
        return Ok(());
    }
    cursor.space()?;
    match name.as_str() {
        "CHANGEDSINCE" => request.changed_since = Some(ModSeq(cursor.number64()?)),
        "PARTIAL" => request.partial = Some(partial_range(cursor)?),
        _ => return Err(Syntax::Malformed("the FETCH modifier is not known")),
    }
    Ok(())
}

fn macro_items(cursor: &mut Cursor) -> Option<Vec<FetchItem>> {
    let fast = [FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size];
    if cursor.take_word("FAST") {
        return Some(fast.to_vec());
    }
    if cursor.take_word("ALL") {
        return Some([&fast[..], &[FetchItem::Envelope]].concat());
    }
    if cursor.take_word("FULL") {
        return Some([&fast[..], &[FetchItem::Envelope, FetchItem::Body]].concat());
    }
    None
}

fn item(cursor: &mut Cursor) -> Parsed<FetchItem> {
    // `[` is an atom character, so that a section is told from an atom before one is read.
    for (name, peek) in [("BODY.PEEK", true), ("BODY", false)] {
        let mut ahead = *cursor;
        if ahead.take_word(name) && ahead.peek() == Some(b'[') {
            *cursor = ahead;
            return section_item(cursor, peek).map(FetchItem::Section);
        }
    }
    for name in ["BINARY.PEEK", "BINARY.SIZE", "BINARY"] {
        let mut ahead = *cursor;
        if ahead.take_word(name) && ahead.peek() == Some(b'[') {
            *cursor = ahead;
            return binary_item(cursor, name);
        }
    }
    Ok(match cursor.word()?.as_str() {
        "FLAGS" => FetchItem::Flags,
        "INTERNALDATE" => FetchItem::InternalDate,
        "RFC822.SIZE" => FetchItem::Rfc822Size,
        "UID" => FetchItem::Uid,
        "MODSEQ" => FetchItem::ModSeq,
        "SAVEDATE" => FetchItem::SaveDate,
        "EMAILID" => FetchItem::EmailId,
        "THREADID" => FetchItem::ThreadId,
        "PREVIEW" => FetchItem::Preview { lazy: lazy(cursor)? },
        "ENVELOPE" => FetchItem::Envelope,
        "BODY" => FetchItem::Body,
        "BODYSTRUCTURE" => FetchItem::BodyStructure,
        "RFC822" => FetchItem::Section(SectionItem::rfc822()),
        "RFC822.HEADER" => FetchItem::Section(SectionItem::rfc822_header()),
        "RFC822.TEXT" => FetchItem::Section(SectionItem::rfc822_text()),
        _ => return Err(Syntax::Malformed("the FETCH item is not known")),
    })
}

/// ` (LAZY)` (RFC 8970 6), if it is there; modifiers of FETCH may stand there, too.
fn lazy(cursor: &mut Cursor) -> Parsed<bool> {
    let mut ahead = *cursor;
    if !(ahead.take(b' ') && ahead.peek() == Some(b'(')) {
        return Ok(false);
    }
    let mut is_lazy = |cursor: &mut Cursor| match cursor.take_word("LAZY") {
        true => Ok(()),
        false => Err(Syntax::Malformed("the PREVIEW modifier is not known")),
    };
    match ahead.list(MODIFIERS_MAX, &mut is_lazy) {
        Ok(modifiers) if !modifiers.is_empty() => {
            *cursor = ahead;
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn section_item(cursor: &mut Cursor, peek: bool) -> Parsed<SectionItem> {
    cursor.expect(b'[', "a section is missing")?;
    let section = section(cursor)?;
    cursor.expect(b']', "a section is not closed")?;
    let partial = if cursor.take(b'<') { Some(partial(cursor)?) } else { None };
    Ok(SectionItem { section, partial, peek, spelling: Spelling::Body })
}

/// RFC 3516 7: `section-binary` has part numbers alone.
fn binary_item(cursor: &mut Cursor, name: &str) -> Parsed<FetchItem> {
    cursor.expect(b'[', "a section is missing")?;
    let Section { part, text: SectionText::All } = section(cursor)? else {
        return Err(Syntax::Malformed("BINARY takes part numbers alone"));
    };
    cursor.expect(b']', "a section is not closed")?;
    if name == "BINARY.SIZE" {
        return Ok(FetchItem::BinarySize(part));
    }
    let partial = if cursor.take(b'<') { Some(partial(cursor)?) } else { None };
    Ok(FetchItem::Binary(BinaryItem { part, partial, peek: name == "BINARY.PEEK" }))
}

fn partial(cursor: &mut Cursor) -> Parsed<Partial> {
    // RFC 9051 9: 63 bits.
    let start = cursor.number64()?;
    cursor.expect(b'.', "a partial is <start.count>")?;
    let count = cursor.number64()?;
    cursor.expect(b'>', "a partial is <start.count>")?;
    if count == 0 {
        return Err(Syntax::Malformed("a partial asks for nothing"));
    }
    Ok(Partial { start, count })
}

pub fn section(cursor: &mut Cursor) -> Parsed<Section> {
    let mut part = Vec::new();
    while cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        let number = cursor.number()?;
        if number == 0 || part.len() == PART_LEVELS_MAX {
            return Err(Syntax::Malformed("a part number is malformed"));
        }
        part.push(number);
        if !cursor.take(b'.') {
            return Ok(Section { part, text: SectionText::All });
        }
    }
    if part.is_empty() && cursor.peek() == Some(b']') {
        return Ok(Section::default());
    }
    let text = section_text(cursor, part.is_empty())?;
    Ok(Section { part, text })
}

fn section_text(cursor: &mut Cursor, of_message: bool) -> Parsed<SectionText> {
    let unknown = Err(Syntax::Malformed("the section is not known"));
    if cursor.take_word("TEXT") {
        return Ok(SectionText::Text);
    }
    if !of_message && cursor.take_word("MIME") {
        return Ok(SectionText::Mime);
    }
    if !cursor.take_word("HEADER") {
        return unknown;
    }
    if !cursor.take(b'.') {
        return Ok(SectionText::Header);
    }
    if !cursor.take_word("FIELDS") {
        return unknown;
    }
    let without = cursor.take(b'.');
    if without && !cursor.take_word("NOT") {
        return unknown;
    }
    cursor.space()?;
    let names = cursor.list(HEADER_FIELDS_MAX, |cursor| Ok(cursor.astring()?.into_owned()))?;
    if names.is_empty() {
        return Err(Syntax::Malformed("HEADER.FIELDS names no field"));
    }
    Ok(if without { SectionText::HeaderFieldsNot(names) } else { SectionText::HeaderFields(names) })
}
