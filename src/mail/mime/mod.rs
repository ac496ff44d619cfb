//! The MIME structure of a raw message as byte ranges: total over any bytes, bounded in depth and parts.
//! Never copies a body; never fails: what is no MIME is plain text.

mod boundary;
mod parser;
pub mod recode;
pub mod transfer;

use std::borrow::Cow;
use std::ops::Range;

use super::header;
pub use super::header::{ContentType, Param};

/// Levels of nesting that are taken apart; what lies deeper is a leaf.
pub const DEPTH_MAX: usize = 1_000;
/// Parts that are taken apart; what follows belongs to the last one.
pub const PARTS_MAX: usize = 10_000;

/// Takes `raw` apart in one pass.
pub fn parse(raw: &[u8]) -> Structure {
    Structure { parts: parser::parse(raw) }
}

/// A message taken apart. Part 0 is the message itself; a part comes before its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    parts: Vec<Part>,
}

/// Index of a part in its [`Structure`].
pub type PartId = usize;

/// One part: its header and body as ranges of the raw message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Up to and including the blank line that ends it; `body` starts where it ends.
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
    /// Without children where it names no boundary, or the boundary never comes.
    Multipart(Vec<PartId>),
    /// `message/rfc822`, or `message/global` in no encoding: the part's body is this whole message.
    Message(PartId),
}

/// Content-Transfer-Encoding (RFC 2045 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// 7bit or 8bit, which is what nothing says.
    Identity,
    /// Anything, lines or none.
    Binary,
    QuotedPrintable,
    Base64,
    /// One of which we do not know how to undo it.
    Unknown,
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

impl Part {
    /// True for what has no encoding of its own (RFC 2045 6.4), as it holds parts that have theirs.
    pub fn holds_parts(&self) -> bool {
        match &self.kind {
            PartKind::Leaf => false,
            PartKind::Multipart(children) => !children.is_empty(),
            PartKind::Message(_) => true,
        }
    }

    /// True where the type says that a message is within, and it stands there as it is (RFC 6532 3.7 lets
    /// `message/global` be encoded).
    pub fn is_message(&self) -> bool {
        self.content_type.is("message", "rfc822")
            || (self.content_type.is("message", "global")
                && matches!(self.encoding, Encoding::Identity | Encoding::Binary))
    }

    /// The body with its transfer encoding undone; what is malformed in it is left out.
    pub fn decoded<'a>(&self, raw: &'a [u8]) -> Cow<'a, [u8]> {
        let body = &raw[self.body.clone()];
        match self.encoding {
            Encoding::Identity | Encoding::Binary | Encoding::Unknown => Cow::Borrowed(body),
            Encoding::QuotedPrintable => Cow::Owned(transfer::quoted_printable(body)),
            Encoding::Base64 => Cow::Owned(transfer::base64(body)),
        }
    }

    /// The decoded body as UTF-8, by the charset it names.
    pub fn text<'a>(&self, raw: &'a [u8]) -> Cow<'a, str> {
        let charset = self.content_type.param("charset").unwrap_or_default();
        match self.decoded(raw) {
            Cow::Borrowed(bytes) => header::decoded_charset(charset, bytes),
            Cow::Owned(bytes) => Cow::Owned(header::decoded_charset(charset, &bytes).into_owned()),
        }
    }
}

impl Encoding {
    pub fn named(value: &[u8]) -> Self {
        let token = header::disposition(value).map(|(token, _)| token.to_ascii_lowercase());
        match token.as_deref() {
            Some(b"base64") => Self::Base64,
            Some(b"quoted-printable") => Self::QuotedPrintable,
            Some(b"binary") => Self::Binary,
            None | Some(b"7bit" | b"8bit" | b"") => Self::Identity,
            Some(_) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
