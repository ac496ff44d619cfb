//! Writes ENVELOPE (RFC 9051 7.5.2) of a message's header.

use bytes::BytesMut;

/// Writes the parenthesised list. `header` is the header block of the message, or the raw message.
pub fn write_envelope(header: &[u8], out: &mut BytesMut) {
    let _ = (header, out);
    todo!()
}
