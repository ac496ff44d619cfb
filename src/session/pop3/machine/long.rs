//! Answers too long to be written at once: listings and messages, in parts.

use bytes::{Bytes, BytesMut};

use super::line;
use super::transaction::Session;

/// A long answer is written in parts of about this many bytes.
const PART_BYTES: usize = 32 * 1024;

/// An answer too long to be written at once.
pub(super) enum Long {
    List { next: usize },
    Uidl { next: usize },
    Text(Text),
}

/// A message on its way out: dot-stuffed, ended by CRLF and a dot.
pub(super) struct Text {
    raw: Bytes,
    at: usize,
    line_start: bool,
    bound: TextBound,
    in_header: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextBound {
    Whole,
    /// The header, the blank line and this many lines of the body.
    BodyLines(u64),
}

impl Session {
    /// True once the answer is whole.
    pub fn write_part(&self, long: &mut Long, out: &mut BytesMut) -> bool {
        let next = match long {
            Long::Text(text) => return text.write_part(out),
            Long::List { next } | Long::Uidl { next } => *next,
        };
        let mut at = next;
        while at < self.drop.messages.len() && out.len() < PART_BYTES {
            let (uid, size) = self.drop.messages[at];
            if !self.deleted.contains(&at) {
                match long {
                    Long::Uidl { .. } => {
                        line(out, format_args!("{} {}.{uid}", at + 1, self.drop.uid_validity));
                    }
                    Long::List { .. } | Long::Text(_) => line(out, format_args!("{} {size}", at + 1)),
                }
            }
            at += 1;
        }
        if at == self.drop.messages.len() {
            out.extend_from_slice(b".\r\n");
            return true;
        }
        match long {
            Long::List { next } | Long::Uidl { next } => *next = at,
            Long::Text(_) => {}
        }
        false
    }
}

impl Text {
    pub fn new(raw: Bytes, bound: TextBound) -> Self {
        Self { raw, at: 0, line_start: true, bound, in_header: true }
    }

    /// True once the end is written.
    fn write_part(&mut self, out: &mut BytesMut) -> bool {
        while self.at < self.raw.len() && !self.is_enough() {
            if out.len() >= PART_BYTES {
                return false;
            }
            self.write_line_part(out);
        }
        if !self.line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        true
    }

    fn is_enough(&self) -> bool {
        self.line_start && !self.in_header && self.bound == TextBound::BodyLines(0)
    }

    /// The next line, or as much of it as fits a part.
    fn write_line_part(&mut self, out: &mut BytesMut) {
        let rest = &self.raw[self.at..self.raw.len().min(self.at + PART_BYTES)];
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let part = &rest[..end];
        if self.line_start && part.first() == Some(&b'.') {
            out.extend_from_slice(b".");
        }
        let whole = part.last() == Some(&b'\n');
        match part.strip_suffix(b"\n") {
            // APPEND takes bare LFs, and clients differ in whether they end a line: the dot that ends the
            // message must stand on a line of its own for each of them.
            Some(line) if !self.raw[..self.at + end].ends_with(b"\r\n") => {
                out.extend_from_slice(line);
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(part),
        }
        if whole && self.in_header {
            self.in_header = !(self.line_start && matches!(part, b"\r\n" | b"\n"));
        } else if whole && let TextBound::BodyLines(left) = &mut self.bound {
            *left -= 1;
        }
        self.line_start = whole;
        self.at += end;
    }
}
