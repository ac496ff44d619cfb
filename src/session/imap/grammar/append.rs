//! APPEND up to each of its message literals (RFC 3501 6.3.11, RFC 3502), which flow by without being gathered.

use super::cursor::{Cursor, Parsed, Syntax};
use super::mailbox_name::{MailboxName, NameCoding};
use super::store::flag_list;
use crate::mail::date::{self, DateTime};
use crate::mail::flags::NamedFlags;

/// What stands before the first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendHead {
    pub mailbox: MailboxName,
    pub message: MessageHead,
}

/// What stands before each message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageHead {
    pub flags: NamedFlags,
    pub internal_date: Option<DateTime>,
}

/// Reads a command up to a literal. `None`: it is no APPEND, or the literal is its mailbox name.
pub fn head(command: &[u8], names: NameCoding) -> Option<Parsed<AppendHead>> {
    let mut cursor = Cursor::with_names(command, names);
    cursor.tag().ok()?;
    cursor.space().ok()?;
    if !cursor.take_word("APPEND") {
        return None;
    }
    cursor.space().ok()?;
    if cursor.is_at_end() {
        return None;
    }
    Some(arguments(cursor))
}

fn arguments(mut cursor: Cursor) -> Parsed<AppendHead> {
    let mailbox = MailboxName::read(&mut cursor)?;
    Ok(AppendHead { mailbox, message: next_head(cursor)? })
}

/// Reads what stands between the mailbox, or a message, and the next message (RFC 3502).
pub fn next_head(mut cursor: Cursor) -> Parsed<MessageHead> {
    cursor.space()?;
    let mut flags = NamedFlags::default();
    if cursor.peek() == Some(b'(') {
        flags = flag_list(&mut cursor)?;
        cursor.space()?;
    }
    let mut internal_date = None;
    if cursor.peek() == Some(b'"') {
        let text = cursor.string()?;
        let wrong = Syntax::Malformed("the date-time is malformed");
        internal_date = Some(date::parse_imap_date_time(&text).ok_or(wrong)?);
        cursor.space()?;
    }
    cursor.end()?;
    Ok(MessageHead { flags, internal_date })
}
