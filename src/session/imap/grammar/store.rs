//! STORE (RFC 3501 6.4.6, RFC 7162 3.1.3) and lists of flags.

use super::cursor::{Cursor, Parsed, Syntax};
use crate::mail::flags::{NamedFlags, SystemFlag};
use crate::mail::ids::ModSeq;
use crate::session::imap::limits::FLAGS_PER_COMMAND_MAX;
use crate::session::imap::sequence_set::SequenceSet;
use crate::state::command::FlagChange;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRequest {
    pub set: SequenceSet,
    pub change: FlagChange,
    pub flags: NamedFlags,
    pub silent: bool,
    pub unchanged_since: Option<ModSeq>,
}

pub fn store(cursor: &mut Cursor) -> Parsed<StoreRequest> {
    let set = cursor.sequence_set()?;
    cursor.space()?;
    let unchanged_since = modifier(cursor)?;
    let change = if cursor.take(b'+') {
        FlagChange::Add
    } else if cursor.take(b'-') {
        FlagChange::Remove
    } else {
        FlagChange::Replace
    };
    let silent = match cursor.word()?.as_str() {
        "FLAGS" => false,
        "FLAGS.SILENT" => true,
        _ => return Err(Syntax::Malformed("STORE changes FLAGS, +FLAGS or -FLAGS")),
    };
    cursor.space()?;
    let flags = if cursor.peek() == Some(b'(') { flag_list(cursor)? } else { bare_flags(cursor)? };
    cursor.end()?;
    Ok(StoreRequest { set, change, flags, silent, unchanged_since })
}

/// `(UNCHANGEDSINCE n) `, if it is there.
fn modifier(cursor: &mut Cursor) -> Parsed<Option<ModSeq>> {
    if !cursor.take(b'(') {
        return Ok(None);
    }
    if !cursor.take_word("UNCHANGEDSINCE") {
        return Err(Syntax::Malformed("the STORE modifier is not known"));
    }
    cursor.space()?;
    let modseq = ModSeq(cursor.number64()?);
    cursor.close()?;
    cursor.space()?;
    Ok(Some(modseq))
}

/// `(\Seen keyword)`.
pub fn flag_list(cursor: &mut Cursor) -> Parsed<NamedFlags> {
    let mut flags = NamedFlags::default();
    cursor.list(FLAGS_PER_COMMAND_MAX, |cursor| add_flag(cursor, &mut flags))?;
    Ok(flags)
}

/// Flags without parentheses.
fn bare_flags(cursor: &mut Cursor) -> Parsed<NamedFlags> {
    let mut flags = NamedFlags::default();
    for _ in 0..FLAGS_PER_COMMAND_MAX {
        add_flag(cursor, &mut flags)?;
        if !cursor.take(b' ') {
            return Ok(flags);
        }
    }
    Err(Syntax::Malformed("a list is too long"))
}

fn add_flag(cursor: &mut Cursor, flags: &mut NamedFlags) -> Parsed<()> {
    let name = String::from_utf8_lossy(cursor.flag()?).into_owned();
    let system = SystemFlag::ALL.into_iter().find(|flag| flag.name().eq_ignore_ascii_case(&name));
    if let Some(flag) = system {
        flags.system |= flag as u8;
    } else if name.eq_ignore_ascii_case("\\Recent") {
        // RFC 3501 2.3.2: no client can change it. Clients that copy mail about name it: ignored.
    } else if name.starts_with('\\') {
        return Err(Syntax::Malformed("the system flag is not known"));
    } else if !flags.keywords.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
        flags.keywords.push(name);
    }
    Ok(())
}
