//! What a listing shows of a message: its ENVELOPE and structure, as they go over the wire. Derived from
//! the body alone, which never changes, so a summary is remembered by body id (and could be stored).

use bytes::Bytes;

/// Rendered once per body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub envelope: Bytes,
    /// BODY: without extension data.
    pub body: Bytes,
    pub bodystructure: Bytes,
}
