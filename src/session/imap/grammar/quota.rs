//! GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208 7; RFC 2087 6).

use super::command::Request;
use super::cursor::{Cursor, Parsed};
use super::mailbox_name::MailboxName;
use crate::session::imap::limits::QUOTA_RESOURCES_MAX;

pub fn get_quota(cursor: &mut Cursor) -> Parsed<Request> {
    Ok(Request::GetQuota(cursor.astring()?.into_owned()))
}

/// The mailbox need not be there (RFC 9208 4.1.2).
pub fn get_quota_root(cursor: &mut Cursor) -> Parsed<Request> {
    Ok(Request::GetQuotaRoot(MailboxName::read(cursor)?))
}

/// What it asks is not kept: it is never done.
pub fn set_quota(cursor: &mut Cursor) -> Parsed<Request> {
    cursor.astring()?;
    cursor.space()?;
    cursor.list(QUOTA_RESOURCES_MAX, |cursor| {
        cursor.atom()?;
        cursor.space()?;
        cursor.number64()
    })?;
    Ok(Request::SetQuota)
}
