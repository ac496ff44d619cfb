//! The bytes of `BODY[section]<partial>` (RFC 9051 6.4.5).

use std::borrow::Cow;

use super::item::{Partial, Section};
use crate::mail::mime::Structure;

/// The bytes of the section, or `None` where there is no such part: the answer is NIL.
pub fn section_bytes<'a>(raw: &'a [u8], structure: &Structure, section: &Section) -> Option<Cow<'a, [u8]>> {
    let _ = (raw, structure, section);
    todo!()
}

/// True when the section is a whole range of the raw message without a part number, so that no structure is needed.
pub fn is_top_level(section: &Section) -> bool {
    section.part.is_empty()
}

/// Cuts `<start.count>` out; beyond the end it is empty.
pub fn cut(bytes: &[u8], partial: Option<Partial>) -> &[u8] {
    let Some(Partial { start, count }) = partial else { return bytes };
    let start = (start as usize).min(bytes.len());
    let end = start.saturating_add(count as usize).min(bytes.len());
    &bytes[start..end]
}
