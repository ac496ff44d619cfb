//! Gathers the bytes of one command: its line, and the literals within. Always empties its input, never
//! holds more than its bounds allow, and swallows what it has refused, so that it stays in step.

use bytes::{Buf, BytesMut};

use super::grammar::{Place, literal_at_end, literal_flows, name_of, tag_of};
use super::limits::{
    COMMAND_LINE_BYTES_MAX, COMMAND_LITERAL_BYTES_MAX, SASL_LINE_BYTES_MAX, SWALLOWED_LITERAL_BYTES_MAX,
    TAG_BYTES_MAX,
};

/// Bytes of a command's name, with the blanks around it.
const COMMAND_NAME_BYTES_MAX: usize = 16;

/// What the input came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// More is needed.
    Nothing,
    /// The client waits for our word to send its literal.
    Continue,
    /// A whole command; literals stand in it as `{n}` CRLF bytes.
    Command(Vec<u8>),
    /// A stretch of an APPEND up to a literal: its octets are the caller's.
    Append(AppendText),
    /// A command whose literals are too large, or too many; it is over.
    TooLarge { tag: Option<String>, name: Option<String> },
    /// A line beyond the bound, or a literal too large to be swallowed: the session cannot go on.
    Lost,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct AppendText {
    /// The command before the literal; behind an earlier literal that flowed, what stands between the two.
    pub text: Vec<u8>,
    /// `None`: the command ends here.
    pub literal: Option<Literal>,
}

/// A literal whose octets follow.
#[derive(Debug, PartialEq, Eq)]
pub struct Literal {
    pub size: u64,
    /// True when the client waits for our word.
    pub waits: bool,
    /// A literal8 (RFC 3516): there may be NULs in it.
    pub binary: bool,
}

#[derive(Debug, Default)]
pub struct Reader {
    gathered: Vec<u8>,
    /// Where the current line starts in `gathered`.
    line_start: usize,
    /// Bytes of the command's lines so far.
    line_bytes: usize,
    literal_bytes: usize,
    /// Bytes of a literal still to come.
    literal_left: u64,
    /// Literals are thrown away: the command is refused already.
    refused: bool,
    /// Where in an APPEND this is, when a literal flowed before.
    place: Option<Place>,
}

impl Reader {
    pub fn read(&mut self, input: &mut BytesMut) -> Read {
        loop {
            self.take_literal(input);
            if self.literal_left > 0 || !self.take_line(input) {
                return if self.line_bytes > COMMAND_LINE_BYTES_MAX { Read::Lost } else { Read::Nothing };
            }
            if self.line_bytes > COMMAND_LINE_BYTES_MAX {
                return Read::Lost;
            }
            let line = &self.gathered[self.line_start..];
            let Some((brace, size, waits)) = literal_at_end(line) else {
                return self.end_of_command();
            };
            let brace = self.line_start + brace;
            if let Some(read) = self.begin_literal(brace, size, waits) {
                return read;
            }
        }
    }

    /// What follows a literal of an APPEND: the end of the command, or a stretch up to the next such literal.
    pub fn read_append(&mut self, input: &mut BytesMut, place: Place) -> Read {
        self.place = Some(place);
        self.read(input)
    }

    /// A part of a command is gathered, or of its literal awaited.
    pub fn is_mid_command(&self) -> bool {
        !self.gathered.is_empty() || self.literal_left > 0
    }

    /// One line of at most [`SASL_LINE_BYTES_MAX`] bytes, without its end: for SASL and IDLE.
    pub fn read_line(&mut self, input: &mut BytesMut) -> Read {
        let whole = self.take_line(input);
        if self.line_bytes > SASL_LINE_BYTES_MAX {
            return Read::Lost;
        }
        if whole { Read::Command(self.take_gathered()) } else { Read::Nothing }
    }

    fn take_literal(&mut self, input: &mut BytesMut) {
        if self.literal_left == 0 {
            return;
        }
        let here = self.literal_left.min(input.len() as u64) as usize;
        if !self.refused {
            self.gathered.extend_from_slice(&input[..here]);
            self.line_start = self.gathered.len();
        }
        input.advance(here);
        self.literal_left -= here as u64;
    }

    /// True when the line is whole; its end is left out.
    fn take_line(&mut self, input: &mut BytesMut) -> bool {
        let end = input.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(input.len());
        // Never keep more than the bound and a byte, however much comes at a time.
        let room = (COMMAND_LINE_BYTES_MAX + 1).saturating_sub(self.line_bytes);
        self.gathered.extend_from_slice(&input[..taken.min(room)]);
        self.line_bytes += taken;
        input.advance(taken + usize::from(end.is_some()));
        if end.is_some() && self.gathered[self.line_start..].last() == Some(&b'\r') {
            self.gathered.pop();
        }
        end.is_some()
    }

    fn begin_literal(&mut self, brace: usize, size: u64, waits: bool) -> Option<Read> {
        if !self.refused {
            let text = &self.gathered[..brace];
            let plain = text.strip_suffix(b"~").unwrap_or(text);
            if literal_flows(plain, self.place) {
                let binary = plain.len() < text.len();
                self.gathered.truncate(brace - usize::from(binary));
                let literal = Some(Literal { size, waits, binary });
                return Some(Read::Append(AppendText { text: self.take_gathered(), literal }));
            }
        }
        let fits = size <= (COMMAND_LITERAL_BYTES_MAX - self.literal_bytes) as u64;
        if self.refused || !fits {
            self.refused = true;
            if waits {
                return Some(self.end_of_command());
            }
            if size > SWALLOWED_LITERAL_BYTES_MAX {
                return Some(Read::Lost);
            }
            // Only the tag and the name at the front are still of use.
            self.gathered.truncate(TAG_BYTES_MAX + COMMAND_NAME_BYTES_MAX);
            self.line_start = self.gathered.len();
            self.literal_left = size;
            return None;
        }
        self.gathered.extend_from_slice(b"\r\n");
        self.line_start = self.gathered.len();
        self.literal_bytes += size as usize;
        self.literal_left = size;
        waits.then_some(Read::Continue)
    }

    fn end_of_command(&mut self) -> Read {
        let refused = self.refused;
        let gathered = self.take_gathered();
        match refused {
            true => Read::TooLarge { tag: tag_of(&gathered), name: name_of(&gathered) },
            false => Read::Command(gathered),
        }
    }

    fn take_gathered(&mut self) -> Vec<u8> {
        std::mem::take(self).gathered
    }
}
