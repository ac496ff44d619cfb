//! One pass over the lines of a message, with a stack of the parts that are open. No recursion; the work
//! of a line does not depend on how many parts are open around it.

use std::ops::Range;

use super::boundary::{Boundaries, Hit};
use super::{ContentType, DEPTH_MAX, Encoding, PARTS_MAX, Part, PartId, PartKind};
use crate::mail::header::{self, blank_line_length, line_end_length, line_length};

pub(super) fn parse(raw: &[u8]) -> Vec<Part> {
    let mut parser = Parser {
        raw,
        at: 0,
        newlines: 0,
        parts: Vec::new(),
        open: Vec::new(),
        boundaries: Boundaries::default(),
        reading: Reading::Body,
    };
    parser.start_part(Unnamed::Text);
    while parser.at < raw.len() {
        parser.line();
    }
    parser.finish();
    parser.parts
}

struct Parser<'a> {
    raw: &'a [u8],
    at: usize,
    /// Line ends before `at`.
    newlines: usize,
    parts: Vec<Part>,
    /// The part being read and those around it, the message first.
    open: Vec<Open>,
    boundaries: Boundaries,
    reading: Reading,
}

/// A part whose end is not yet known.
struct Open {
    id: PartId,
    /// Line ends before its body.
    newlines: usize,
    /// Of a multipart whose last delimiter has not come.
    boundary: Option<Vec<u8>>,
    /// What its parts are unless they say so (RFC 2046 5.1.5).
    default_type: Unnamed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Header,
    Body,
}

/// The type of a part that names none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unnamed {
    Text,
    Message,
}

impl Parser<'_> {
    fn line(&mut self) {
        let rest = &self.raw[self.at..];
        let length = line_length(rest);
        let line = &rest[..length];
        if let Some(hit) = self.boundaries.find(line)
            && (hit.last || self.parts.len() < PARTS_MAX)
        {
            self.delimiter(hit, length);
            return;
        }
        self.step(length);
        if self.reading == Reading::Header && blank_line_length(line).is_some() {
            self.start_body();
        }
    }

    /// Moves over one line.
    fn step(&mut self, length: usize) {
        self.at += length;
        self.newlines += usize::from(self.raw[..self.at].ends_with(b"\n"));
    }

    fn delimiter(&mut self, hit: Hit, length: usize) {
        let start = self.at;
        self.close_to(hit.level + 1, start);
        self.step(length);
        let multipart = &mut self.open[hit.level];
        let (id, default_type) = (multipart.id, multipart.default_type);
        if hit.last {
            if let Some(key) = multipart.boundary.take() {
                self.boundaries.close(&key);
            }
            self.reading = Reading::Body;
            return;
        }
        let child = self.parts.len();
        if let PartKind::Multipart(children) = &mut self.parts[id].kind {
            children.push(child);
        }
        self.start_part(default_type);
    }

    fn start_part(&mut self, default_type: Unnamed) {
        let content_type = match default_type {
            Unnamed::Text => unnamed("text", "plain"),
            Unnamed::Message => unnamed("message", "rfc822"),
        };
        let id = self.parts.len();
        self.parts.push(Part {
            header: self.at..self.at,
            body: self.at..self.at,
            content_type,
            encoding: Encoding::Identity,
            lines: 0,
            kind: PartKind::Leaf,
        });
        self.open.push(Open { id, newlines: self.newlines, boundary: None, default_type: Unnamed::Text });
        self.reading = Reading::Header;
    }

    /// The header of the innermost open part ends here.
    fn start_body(&mut self) {
        self.reading = Reading::Body;
        let level = self.open.len() - 1;
        let id = self.open[level].id;
        let range = self.parts[id].header.start..self.at;
        self.open[level].newlines = self.newlines;
        self.read_header(id, range);

        let next = self.parts.len();
        if self.open.len() >= DEPTH_MAX || next >= PARTS_MAX {
            return;
        }
        let part = &mut self.parts[id];
        if part.is_message() {
            part.kind = PartKind::Message(next);
            self.start_part(Unnamed::Text);
        } else if part.content_type.is_main("multipart") {
            part.kind = PartKind::Multipart(Vec::new());
            if let Some(key) = part.content_type.param("boundary").and_then(Boundaries::key) {
                self.boundaries.open(key, level);
                self.open[level].boundary = Some(key.to_vec());
            }
            if part.content_type.is("multipart", "digest") {
                self.open[level].default_type = Unnamed::Message;
            }
        }
    }

    fn read_header(&mut self, id: PartId, range: Range<usize>) {
        let part = &mut self.parts[id];
        part.header = range.clone();
        part.body = range.end..range.end;
        let (mut typed, mut encoded) = (false, false);
        for field in header::fields(&self.raw[range]) {
            if !typed && field.is("Content-Type") {
                typed = true;
                if let Some(found) = header::content_type(field.value) {
                    part.content_type = found;
                }
            } else if !encoded && field.is("Content-Transfer-Encoding") {
                encoded = true;
                part.encoding = Encoding::named(field.value);
            }
        }
    }

    /// Closes the open parts from `level` inwards, before the delimiter that starts at `delimiter`.
    fn close_to(&mut self, level: usize, delimiter: usize) {
        self.end_header();
        // RFC 2046 5.1.1: the line end before a delimiter belongs to the delimiter.
        let line_end = line_end_length(&self.raw[..delimiter]);
        self.close(level, delimiter - line_end, delimiter);
    }

    fn close(&mut self, level: usize, mut end: usize, delimiter: usize) {
        while self.open.len() > level {
            let Some(open) = self.open.pop() else { return };
            if let Some(key) = &open.boundary {
                self.boundaries.close(key);
            }
            let part = &mut self.parts[open.id];
            // A header keeps its line end even before a delimiter, and whatever is around it reaches as far.
            end = end.max(part.body.start);
            part.body.end = end;
            let given = usize::from(end < delimiter);
            part.lines = (self.newlines - open.newlines).saturating_sub(given) as u32;
        }
    }

    /// A part may end within its header: there is no blank line, and no body.
    fn end_header(&mut self) {
        // A message/rfc822 without a body holds a message without a header.
        while self.reading == Reading::Header {
            self.start_body();
        }
    }

    fn finish(&mut self) {
        self.end_header();
        self.close(0, self.raw.len(), self.raw.len());
    }
}

fn unnamed(main: &str, sub: &str) -> ContentType {
    ContentType { main: main.into(), sub: sub.into(), params: Vec::new() }
}
