//! What the `body` test holds against its keys (RFC 5173 5): of a large mail, what is seen of it.

use super::message::Message;
use crate::mail::header::{blank_line_length, line_length};
use crate::mail::mime::{Part, PartKind, Structure};
use crate::sieve::work::{Fault, Work};

/// The body as it stands.
pub(super) fn raw(message: &Message, work: &mut Work) -> Result<Vec<String>, Fault> {
    let body = message.body();
    work.spend(body.len())?;
    Ok(vec![String::from_utf8_lossy(body).into_owned()])
}

/// The parts of these types, decoded: `main/sub`, `main`, or all where it is empty.
pub(super) fn content(
    message: &mut Message,
    types: &[String],
    work: &mut Work,
) -> Result<Vec<String>, Fault> {
    let raw = message.raw;
    let structure = message.structure(work)?;
    let mut values = Vec::new();
    for part in structure.parts() {
        work.spend(types.len() + 1)?;
        if types.iter().any(|wanted| is_of_type(part, wanted)) {
            work.spend(part.body.len() * 2)?;
            decode(raw, structure, part, &mut values);
        }
    }
    Ok(values)
}

/// RFC 5173 5.2: a type with a slash at either end, or with two, is none.
fn is_of_type(part: &Part, wanted: &str) -> bool {
    match wanted.split_once('/') {
        None => wanted.is_empty() || part.content_type.is_main(wanted),
        Some((main, sub)) => part.content_type.is(main, sub),
    }
}

fn decode(raw: &[u8], structure: &Structure, part: &Part, values: &mut Vec<String>) {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match &part.kind {
        PartKind::Leaf if part.content_type.is_main("text") => values.push(part.text(raw).into_owned()),
        PartKind::Leaf => values.push(lossy(&part.decoded(raw))),
        // What stands before the first part and after the last one.
        PartKind::Multipart(children) => {
            let start = children.first().map_or(part.body.end, |id| structure.part(*id).header.start);
            let end = children.last().map_or(part.body.end, |id| structure.part(*id).body.end);
            values.push(lossy(without_last_line(&raw[part.body.start..start.max(part.body.start)])));
            values.push(lossy(without_delimiter(&raw[end.min(part.body.end)..part.body.end])));
        }
        PartKind::Message(child) => values.push(lossy(&raw[structure.part(*child).header.clone()])),
    }
}

/// Without the delimiter that ends the preamble.
fn without_last_line(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    &bytes[..memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1)]
}

/// Without the line end and the delimiter before the epilogue.
fn without_delimiter(bytes: &[u8]) -> &[u8] {
    let bytes = &bytes[blank_line_length(bytes).unwrap_or(0)..];
    &bytes[line_length(bytes)..]
}
