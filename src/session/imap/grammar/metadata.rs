//! GETMETADATA and SETMETADATA (RFC 5464 5), and the entries that LIST returns (RFC 9590).

use super::command::Request;
use super::cursor::{Cursor, Parsed, Syntax};
use super::mailbox_name::MailboxName;
use crate::session::imap::limits::METADATA_ENTRIES_MAX;
use crate::state::command::MetadataEntry;
use crate::state::metadata::{Depth, entry_name, specifier};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetMetadata {
    /// `None` is the server.
    pub mailbox: Option<MailboxName>,
    pub options: Options,
    /// Names of the hierarchy; at least one.
    pub entries: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Octets of a value; larger ones are not told.
    pub size_max: Option<u32>,
    pub depth: Depth,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetMetadata {
    /// `None` is the server.
    pub mailbox: Option<MailboxName>,
    pub entries: Vec<MetadataEntry>,
}

pub fn get_metadata(cursor: &mut Cursor) -> Parsed<Request> {
    let mut options = Options { size_max: None, depth: Depth::Zero };
    if cursor.peek() == Some(b'(') {
        options = read_options(cursor)?;
        cursor.space()?;
    }
    let mailbox = mailbox(cursor)?;
    cursor.space()?;
    // RFC 5464 4.2: by its grammar options come first, by its examples they come here.
    let mut ahead = *cursor;
    if let Ok(read) = read_options(&mut ahead)
        && ahead.take(b' ')
    {
        options = read;
        *cursor = ahead;
    }
    let mut entries = entries(cursor)?;
    // And so do several entries, without parentheses.
    while cursor.take(b' ') {
        if entries.len() == METADATA_ENTRIES_MAX {
            return Err(Syntax::Malformed("there are too many entries"));
        }
        entries.push(entry(cursor)?);
    }
    Ok(Request::GetMetadata(GetMetadata { mailbox, options, entries }))
}

pub fn set_metadata(cursor: &mut Cursor) -> Parsed<Request> {
    let mailbox = mailbox(cursor)?;
    cursor.space()?;
    let entries = cursor.list(METADATA_ENTRIES_MAX, |cursor| {
        let name = entry_name(&cursor.astring()?).ok_or(NO_ENTRY)?;
        cursor.space()?;
        Ok(MetadataEntry { name, value: cursor.nstring8()?.map(|value| value.into_owned()) })
    })?;
    if entries.is_empty() {
        return Err(Syntax::Malformed("SETMETADATA sets nothing"));
    }
    Ok(Request::SetMetadata(SetMetadata { mailbox, entries }))
}

/// One, or a list of them.
pub fn entries(cursor: &mut Cursor) -> Parsed<Vec<String>> {
    if cursor.peek() != Some(b'(') {
        return Ok(vec![entry(cursor)?]);
    }
    let entries = cursor.list(METADATA_ENTRIES_MAX, entry)?;
    if entries.is_empty() { Err(Syntax::Malformed("no entry is asked for")) } else { Ok(entries) }
}

fn entry(cursor: &mut Cursor) -> Parsed<String> {
    specifier(&cursor.astring()?).ok_or(NO_ENTRY)
}

/// RFC 5464 3.2: BAD in any command.
const NO_ENTRY: Syntax = Syntax::Malformed("that is not the name of an entry");

fn mailbox(cursor: &mut Cursor) -> Parsed<Option<MailboxName>> {
    let wire = cursor.astring()?;
    Ok((!wire.is_empty()).then(|| MailboxName::from_wire(&wire, cursor.names())))
}

/// `(MAXSIZE n DEPTH infinity)`, in any order.
fn read_options(cursor: &mut Cursor) -> Parsed<Options> {
    let mut options = Options { size_max: None, depth: Depth::Zero };
    let read = cursor.list(OPTIONS_MAX, |cursor| {
        let name = cursor.word()?;
        cursor.space()?;
        match name.as_str() {
            "MAXSIZE" => options.size_max = Some(cursor.number()?),
            "DEPTH" => {
                options.depth = match cursor.word()?.as_str() {
                    "0" => Depth::Zero,
                    "1" => Depth::One,
                    "INFINITY" => Depth::Infinity,
                    _ => return Err(Syntax::Malformed("DEPTH is 0, 1 or infinity")),
                }
            }
            _ => return Err(Syntax::Malformed("the GETMETADATA option is not known")),
        }
        Ok(())
    })?;
    if read.is_empty() { Err(Syntax::Malformed("there is no option in the list")) } else { Ok(options) }
}

const OPTIONS_MAX: usize = 4;
