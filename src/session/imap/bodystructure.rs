//! Writes BODY and BODYSTRUCTURE (RFC 9051 7.5.2) of a message taken apart.

use bytes::BytesMut;

use crate::mail::mime::Structure;

/// BODY has no extension data; BODYSTRUCTURE has all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Body,
    BodyStructure,
}

/// Writes the parenthesised list for the whole message.
pub fn write_bodystructure(raw: &[u8], structure: &Structure, form: Form, out: &mut BytesMut) {
    let _ = (raw, structure, form, out);
    todo!()
}
