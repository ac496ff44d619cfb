//! SELECT and EXAMINE with their parameters (RFC 4466 2.4, RFC 7162 3.2.5).

use super::command::Request;
use super::cursor::{Cursor, Parsed, Syntax};
use super::mailbox_name::MailboxName;
use crate::mail::ids::ModSeq;
use crate::session::imap::sequence_set::SequenceSet;

/// What a client knows of a mailbox that it selects again (RFC 7162 3.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resync {
    pub uid_validity: u32,
    pub modseq: ModSeq,
    /// The UIDs that it wants to hear of; all if `None`.
    pub known_uids: Option<SequenceSet>,
    /// Some message numbers and the UIDs that they had.
    pub matching: Option<(SequenceSet, SequenceSet)>,
}

pub fn select(cursor: &mut Cursor, read_only: bool) -> Parsed<Request> {
    let mailbox = MailboxName::read(cursor)?;
    let (mut condstore, mut qresync) = (false, None);
    if cursor.take(b' ') {
        let parameters = cursor.list(2, |cursor| {
            match cursor.word()?.as_str() {
                "CONDSTORE" => condstore = true,
                "QRESYNC" => qresync = Some(resync(cursor)?),
                _ => return Err(Syntax::Malformed("the SELECT parameter is not known")),
            }
            Ok(())
        })?;
        if parameters.is_empty() {
            return Err(Syntax::Malformed("SELECT has no parameter in its list"));
        }
    }
    Ok(Request::Select { mailbox, read_only, condstore, qresync })
}

/// ` (uidvalidity modseq [known-uids] [(known-sequence-set known-uid-set)])`.
fn resync(cursor: &mut Cursor) -> Parsed<Resync> {
    cursor.space()?;
    cursor.expect(b'(', "an opening parenthesis is missing")?;
    let uid_validity = cursor.number()?;
    cursor.space()?;
    let mut resync =
        Resync { uid_validity, modseq: ModSeq(cursor.number64()?), known_uids: None, matching: None };
    let mut more = cursor.take(b' ');
    if more && cursor.peek() != Some(b'(') {
        resync.known_uids = Some(known_set(cursor)?);
        more = cursor.take(b' ');
    }
    if more {
        cursor.expect(b'(', "an opening parenthesis is missing")?;
        let sequences = known_set(cursor)?;
        cursor.space()?;
        resync.matching = Some((sequences, known_set(cursor)?));
        cursor.close()?;
    }
    cursor.close()?;
    Ok(resync)
}

/// RFC 7162 7: numbers alone.
fn known_set(cursor: &mut Cursor) -> Parsed<SequenceSet> {
    let set = cursor.sequence_set()?;
    if set.names_last_or_saved() {
        return Err(Syntax::Malformed("a set of known numbers has only numbers"));
    }
    Ok(set)
}
