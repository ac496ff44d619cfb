//! Writes what FETCH cuts from a message's bytes: BODY[…] and BINARY[…].

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::message_line::UnknownEncoding;
use crate::mail::mime::{self, Structure};
use crate::session::imap::item::{BinaryItem, SectionItem};
use crate::session::imap::section::{Binary, binary_part, cut, is_top_level, section_bytes, top_level_bytes};

/// Bytes of a literal from which on it is a piece of its own, shared with the message.
const PIECE_BYTES_MIN: usize = 4096;

/// A message's bytes, taken apart at most once, and only where a part is named.
pub struct Raw<'a> {
    bytes: &'a Bytes,
    structure: OnceCell<Structure>,
    /// Parts whose encoding was undone, each once. They do not overlap, so that all of them are no more than the message.
    decoded: Vec<(Range<usize>, Bytes)>,
}

impl<'a> Raw<'a> {
    pub fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, structure: OnceCell::new(), decoded: Vec::new() }
    }

    pub fn write_section(&self, item: &SectionItem, out: &mut BytesMut, pieces: &mut VecDeque<Bytes>) {
        item.write_label(out);
        let bytes = if is_top_level(&item.section) {
            Some(top_level_bytes(self.bytes, &item.section.text))
        } else {
            let structure = self.structure.get_or_init(|| mime::parse(self.bytes));
            section_bytes(self.bytes, structure, &item.section)
        };
        match bytes {
            Some(Cow::Borrowed(bytes)) => {
                write_literal("", self.bytes.slice_ref(cut(bytes, item.partial)), out, pieces);
            }
            Some(Cow::Owned(bytes)) => {
                write_literal("", Bytes::copy_from_slice(cut(&bytes, item.partial)), out, pieces);
            }
            None => out.extend_from_slice(b" NIL"),
        }
    }

    /// The part with its encoding undone; `None` where there is no such part.
    pub fn binary(&mut self, part: &[u32]) -> Result<Option<Bytes>, UnknownEncoding> {
        let structure = self.structure.get_or_init(|| mime::parse(self.bytes));
        let part = match binary_part(self.bytes, structure, part) {
            None => return Ok(None),
            Some(Binary::UnknownEncoding) => return Err(UnknownEncoding),
            Some(Binary::Stored(range)) => return Ok(Some(self.bytes.slice(range))),
            Some(Binary::Encoded(part)) => part,
        };
        if let Some((_, known)) = self.decoded.iter().find(|(range, _)| *range == part.body) {
            return Ok(Some(known.clone()));
        }
        let decoded = Bytes::from(part.decoded(self.bytes).into_owned());
        self.decoded.push((part.body.clone(), decoded.clone()));
        Ok(Some(decoded))
    }
}

/// RFC 3516 4.3: a literal8 only where there is a NUL.
pub fn write_binary(
    item: &BinaryItem,
    bytes: Option<Bytes>,
    out: &mut BytesMut,
    pieces: &mut VecDeque<Bytes>,
) {
    item.write_label(out);
    let Some(bytes) = bytes else { return out.extend_from_slice(b" NIL") };
    let bytes = bytes.slice_ref(cut(&bytes, item.partial));
    let tilde = if memchr::memchr(0, &bytes).is_some() { "~" } else { "" };
    write_literal(tilde, bytes, out, pieces);
}

fn write_literal(tilde: &str, bytes: Bytes, out: &mut BytesMut, pieces: &mut VecDeque<Bytes>) {
    if bytes.is_empty() {
        return out.extend_from_slice(b" \"\"");
    }
    out.extend_from_slice(format!(" {tilde}{{{}}}\r\n", bytes.len()).as_bytes());
    if bytes.len() < PIECE_BYTES_MIN {
        return out.extend_from_slice(&bytes);
    }
    pieces.push_back(out.split().freeze());
    pieces.push_back(bytes);
}
