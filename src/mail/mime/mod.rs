//! The MIME structure of a raw message as byte ranges: total over any bytes, bounded in depth and parts.
//! Never copies a body; never fails: what is no MIME is plain text.

use std::ops::Range;

/// Levels of nesting that are taken apart; what lies deeper is a leaf.
pub const DEPTH_MAX: usize = 1_000;
/// Parts that are taken apart; what follows belongs to the last one.
pub const PARTS_MAX: usize = 10_000;

/// A message taken apart. Part 0 is the message itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    parts: Vec<Part>,
}

/// Index of a part in its [`Structure`].
pub type PartId = usize;

/// One part: its header and body as ranges of the raw message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Up to and including the blank line that ends it.
    pub header: Range<usize>,
    /// Without the line end that belongs to the boundary after it.
    pub body: Range<usize>,
    pub content_type: ContentType,
    pub encoding: Encoding,
    /// Line ends in `body`.
    pub lines: u32,
    pub kind: PartKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartKind {
    Leaf,
    /// Possibly without children.
    Multipart(Vec<PartId>),
    /// `message/rfc822` or `message/global`: the part's body is this whole message.
    Message(PartId),
}

/// Content-Type (RFC 2045 5), with the default of its place where absent or malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    /// As spelt in the message.
    pub main: Vec<u8>,
    pub sub: Vec<u8>,
    pub params: Vec<Param>,
}

/// A parameter `name=value` of a structured field, quoting removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// Content-Transfer-Encoding (RFC 2045 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// 7bit, 8bit, binary, or unknown.
    Identity,
    QuotedPrintable,
    Base64,
}

/// Takes `raw` apart in one pass.
pub fn parse(raw: &[u8]) -> Structure {
    let _ = raw;
    todo!()
}

impl Structure {
    pub fn root(&self) -> &Part {
        &self.parts[0]
    }

    pub fn part(&self, id: PartId) -> &Part {
        &self.parts[id]
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}
