//! SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314 3, 7).

use super::cursor::{Cursor, Parsed, Syntax};
use super::mailbox_name::MailboxName;
use crate::mail::rights::Rights;
use crate::session::imap::limits::ACL_IDENTIFIER_BYTES_MAX;
use crate::state::acl::RightsChange;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AclRequest {
    /// DELETEACL leaves the identifier without rights.
    Set {
        mailbox: MailboxName,
        identifier: String,
        change: RightsChange,
        rights: Rights,
    },
    Get(MailboxName),
    ListRights {
        mailbox: MailboxName,
        identifier: String,
    },
    MyRights(MailboxName),
}

/// Reads what stands behind the command's name.
pub fn acl(name: &str, cursor: &mut Cursor) -> Parsed<AclRequest> {
    let mailbox = MailboxName::read(cursor)?;
    Ok(match name {
        "GETACL" => AclRequest::Get(mailbox),
        "MYRIGHTS" => AclRequest::MyRights(mailbox),
        "LISTRIGHTS" => AclRequest::ListRights { mailbox, identifier: identifier(cursor)? },
        "DELETEACL" => {
            let (change, rights) = (RightsChange::Replace, Rights::NONE);
            AclRequest::Set { mailbox, identifier: identifier(cursor)?, change, rights }
        }
        _ => {
            let identifier = identifier(cursor)?;
            cursor.space()?;
            let (change, rights) = modified_rights(&cursor.astring()?)?;
            AclRequest::Set { mailbox, identifier, change, rights }
        }
    })
}

/// RFC 4314 3: one that is empty, or that no preparation makes an identifier, is the client's error.
fn identifier(cursor: &mut Cursor) -> Parsed<String> {
    cursor.space()?;
    let wrong = Syntax::Malformed("the identifier cannot be one");
    let text = String::from_utf8(cursor.astring()?.into_owned()).map_err(|_| wrong)?;
    let name = text.strip_prefix('-').unwrap_or(&text);
    if name.is_empty() || text.len() > ACL_IDENTIFIER_BYTES_MAX || text.contains(char::is_control) {
        return Err(Syntax::Malformed("the identifier cannot be one"));
    }
    Ok(text)
}

/// `+` adds, `-` takes away, neither replaces (RFC 4314 3.1).
fn modified_rights(text: &[u8]) -> Parsed<(RightsChange, Rights)> {
    let (change, letters) = match text.split_first() {
        Some((b'+', letters)) => (RightsChange::Add, letters),
        Some((b'-', letters)) => (RightsChange::Remove, letters),
        _ => (RightsChange::Replace, text),
    };
    let rights = Rights::parse(letters).ok_or(Syntax::Malformed("there is no such right"))?;
    Ok((change, rights))
}
