//! Bounded command lines, as SMTP and POP3 send them, and bounded text.

use bytes::{Buf, Bytes, BytesMut};

/// As much of the beginning of `text` as fits, whole characters.
pub fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What stands at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line without its ending. CRLF ends it; a bare LF does too, as old clients type it.
    Whole(Bytes),
    /// The line was longer than the bound; it has been taken away whole.
    TooLong,
    /// No line yet.
    Partial,
}

/// Takes lines off a buffer. A line beyond its bound is swallowed up to its LF, however long it is,
/// and in no more memory than the bound.
#[derive(Debug, Default)]
pub struct LineReader {
    swallowing: bool,
}

impl LineReader {
    /// True while a line beyond its bound is thrown away.
    pub fn is_swallowing(&self) -> bool {
        self.swallowing
    }

    /// `bytes_max` counts the line with its ending.
    pub fn take(&mut self, input: &mut BytesMut, bytes_max: usize) -> Line {
        let end = input.iter().position(|byte| *byte == b'\n');
        match end {
            Some(end) if self.swallowing || end >= bytes_max => {
                input.advance(end + 1);
                self.swallowing = false;
                Line::TooLong
            }
            Some(end) => {
                let mut line = input.split_to(end + 1);
                line.truncate(end);
                if line.last() == Some(&b'\r') {
                    line.truncate(end - 1);
                }
                Line::Whole(line.freeze())
            }
            None => {
                if self.swallowing || input.len() >= bytes_max {
                    self.swallowing = true;
                    input.clear();
                }
                Line::Partial
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(reader: &mut LineReader, input: &mut BytesMut) -> Line {
        reader.take(input, 10)
    }

    #[test]
    fn a_line_at_the_bound_is_whole_and_one_beyond_is_swallowed() {
        let mut reader = LineReader::default();
        let mut input = BytesMut::from(&b"12345678\r\n123456789\r\nNOOP\r\n"[..]);
        assert_eq!(take(&mut reader, &mut input), Line::Whole(Bytes::from_static(b"12345678")));
        assert_eq!(take(&mut reader, &mut input), Line::TooLong);
        assert_eq!(take(&mut reader, &mut input), Line::Whole(Bytes::from_static(b"NOOP")));
        assert_eq!(take(&mut reader, &mut input), Line::Partial);
    }

    #[test]
    fn a_line_that_never_ends_takes_no_memory() {
        let mut reader = LineReader::default();
        let mut input = BytesMut::new();
        for _ in 0..1000 {
            input.extend_from_slice(b"xxxxxxxxxxxxxxxx");
            assert_eq!(take(&mut reader, &mut input), Line::Partial);
            assert!(input.is_empty());
        }
        input.extend_from_slice(b"\nok\n");
        assert_eq!(take(&mut reader, &mut input), Line::TooLong);
        assert_eq!(take(&mut reader, &mut input), Line::Whole(Bytes::from_static(b"ok")));
    }
}
