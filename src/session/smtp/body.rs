//! The text of a message on its way in: framing (DATA's dot, BDAT's count) and what is refused in it.
//!
//! Decided here, once, for DATA and BDAT alike: lines end in CRLF. A bare CR, a bare LF or a NUL
//! anywhere gets 554 5.6.0 after the whole message was read, and only CRLF.CRLF ends DATA. What one server
//! takes for the end of data and another does not is how mail is smuggled.

use bytes::{Buf, BytesMut};
use memchr::{memchr, memchr3};

use super::reply::{self, Reply};
use crate::mail::address::{Address, PATH_BYTES_MAX};

/// Octets of one line of text without CRLF. RFC 5321 4.5.3.1.6 asks for 998; mail with longer lines is
/// common, and refusing it would lose it. Beyond this the message is refused.
pub const TEXT_LINE_BYTES_MAX: usize = 64 * 1024;

/// Finds the end of DATA and takes away the dots that the client put before lines with a dot.
#[derive(Debug, Default)]
pub struct DotReader {
    at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    /// Behind CRLF; DATA starts here.
    #[default]
    LineStart,
    /// Behind CRLF and a dot.
    Dot,
    /// Behind CRLF, a dot, CR.
    DotCr,
    Text,
    Cr,
}

impl DotReader {
    /// Moves text from `input` to `text`; true once CRLF.CRLF was read (it is taken, what follows is not).
    pub fn read(&mut self, input: &mut BytesMut, text: &mut BytesMut) -> bool {
        let mut used = 0;
        while used < input.len() {
            if self.at == At::Text {
                let rest = &input[used..];
                let plain = memchr(b'\r', rest).unwrap_or(rest.len());
                text.extend_from_slice(&rest[..plain]);
                used += plain;
                if plain == rest.len() {
                    break;
                }
            }
            let byte = input[used];
            used += 1;
            if self.take(byte, text) {
                input.advance(used);
                return true;
            }
        }
        input.clear();
        false
    }

    fn take(&mut self, byte: u8, text: &mut BytesMut) -> bool {
        let (at, kept): (At, &[u8]) = match (self.at, byte) {
            (At::DotCr, b'\n') => return true,
            (At::LineStart, b'.') => (At::Dot, b""),
            (At::Dot, b'\r') => (At::DotCr, b""),
            // The dot was stuffing, the CR is a bare one.
            (At::DotCr, b'\r') => (At::Cr, b"\r\r"),
            (At::DotCr, _) => {
                text.extend_from_slice(b"\r");
                (At::Text, &[byte])
            }
            (At::Cr, b'\n') => (At::LineStart, b"\n"),
            (_, b'\r') => (At::Cr, b"\r"),
            (_, _) => (At::Text, &[byte]),
        };
        text.extend_from_slice(kept);
        self.at = at;
        false
    }
}

/// Limits of one message, from the settings.
#[derive(Debug, Clone, Copy)]
pub struct TextLimits {
    pub bytes_max: u64,
    pub hops_max: u64,
}

/// Watches the text as it passes, whatever framed it. Remembers the first thing to refuse.
#[derive(Debug)]
pub struct TextCheck {
    limits: TextLimits,
    bytes: u64,
    line_bytes: usize,
    last: u8,
    header: Option<FieldName>,
    hops: u64,
    /// Canonical addresses that pass this message on: where it passed one before, it goes round.
    passed_on: Vec<String>,
    /// How the present header line begins.
    line: Vec<u8>,
    waives_tls: bool,
    refused: Option<Reply>,
}

/// How much of the present header line's start matches `Received:`.
#[derive(Debug, Clone, Copy)]
enum FieldName {
    Matching(usize),
    Other,
}

const RECEIVED: &[u8] = b"received:";
const DELIVERED_TO: &[u8] = b"delivered-to";
const TLS_REQUIRED: &[u8] = b"tls-required";
/// Octets of a header line that are kept to be looked at: enough for that name and a path.
const LINE_KEPT_BYTES_MAX: usize = DELIVERED_TO.len() + 2 + PATH_BYTES_MAX;

impl TextCheck {
    pub fn new(limits: TextLimits, passed_on: Vec<String>) -> Self {
        Self {
            limits,
            bytes: 0,
            line_bytes: 0,
            last: b'\n',
            header: Some(FieldName::Matching(0)),
            hops: 0,
            passed_on,
            line: Vec::new(),
            waives_tls: false,
            refused: None,
        }
    }

    /// Octets seen so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// RFC 8689 3: a field in its header says so.
    pub fn waives_tls(&self) -> bool {
        self.waives_tls
    }

    pub fn refused(&self) -> Option<&Reply> {
        self.refused.as_ref()
    }

    /// True when the last line lacks its CRLF (only BDAT can do that).
    pub fn is_open_line(&self) -> bool {
        self.bytes > 0 && self.last != b'\n'
    }

    /// Of several faults the first is told, however the text is cut.
    pub fn take(&mut self, text: &[u8]) {
        let room = usize::try_from(self.limits.bytes_max.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        self.bytes += text.len() as u64;
        let (mut within, beyond) = text.split_at(text.len().min(room));
        while self.refused.is_none()
            && let Some((byte, rest)) = within.split_first()
        {
            within = match self.plain_run(within) {
                0 => {
                    self.take_byte(*byte);
                    rest
                }
                run => {
                    self.line_bytes += run;
                    self.last = within[run - 1];
                    &within[run..]
                }
            };
        }
        if !beyond.is_empty() {
            self.refuse(reply::TOO_BIG);
        }
    }

    /// How many octets at the front have nothing to be looked at: within a line of the body.
    fn plain_run(&self, text: &[u8]) -> usize {
        if self.header.is_some() || self.last == b'\r' {
            return 0;
        }
        let run = memchr3(b'\r', b'\n', 0, text).unwrap_or(text.len());
        if self.line_bytes + run > TEXT_LINE_BYTES_MAX { 0 } else { run }
    }

    /// The end of the message was read.
    pub fn finish(&mut self) {
        if self.last == b'\r' {
            self.refuse(reply::BARE_LINE_END);
        }
    }

    fn take_byte(&mut self, byte: u8) {
        if (byte == b'\n') != (self.last == b'\r') {
            self.refuse(reply::BARE_LINE_END);
        }
        match byte {
            b'\n' => {
                let empty = self.line_bytes == 0;
                self.header = self.header.filter(|_| !empty).map(|_| FieldName::Matching(0));
                self.line_bytes = 0;
                self.waives_tls |= self.says_no_to_tls();
                if self.was_here() {
                    self.refuse(reply::LOOP);
                }
                self.line.clear();
            }
            b'\r' => {}
            _ => {
                if byte == 0 {
                    self.refuse(reply::NUL_IN_TEXT);
                }
                self.line_bytes += 1;
                if self.line_bytes > TEXT_LINE_BYTES_MAX {
                    self.refuse(reply::TEXT_LINE_TOO_LONG);
                }
                if self.header.is_some() && self.line.len() < LINE_KEPT_BYTES_MAX {
                    self.line.push(byte);
                }
                if let Some(FieldName::Matching(matched)) = self.header {
                    self.match_field(matched, byte);
                }
            }
        }
        self.last = byte;
    }

    /// The value of the line that has ended, if it is this field's. RFC 5322 2.2: none stands before the colon but the name;
    /// older mail has blanks there.
    fn value_of(&self, field: &[u8]) -> Option<&str> {
        let colon = self.line.iter().position(|byte| *byte == b':')?;
        let (name, value) = self.line.split_at(colon);
        let is_named = name.trim_ascii_end().eq_ignore_ascii_case(field);
        std::str::from_utf8(&value[1..]).ok().filter(|_| is_named).map(str::trim)
    }

    /// The line is one that we write when we pass a mail on.
    fn was_here(&self) -> bool {
        let address = self.value_of(DELIVERED_TO).and_then(|value| Address::parse(value).ok());
        address.is_some_and(|address| self.passed_on.contains(&address.canonical()))
    }

    fn says_no_to_tls(&self) -> bool {
        self.value_of(TLS_REQUIRED).is_some_and(|value| value.eq_ignore_ascii_case("No"))
    }

    fn match_field(&mut self, matched: usize, byte: u8) {
        self.header = Some(if RECEIVED[matched] != byte.to_ascii_lowercase() {
            FieldName::Other
        } else if matched + 1 < RECEIVED.len() {
            FieldName::Matching(matched + 1)
        } else {
            self.hops += 1;
            if self.hops > self.limits.hops_max {
                self.refuse(reply::TOO_MANY_HOPS);
            }
            FieldName::Other
        });
    }

    fn refuse(&mut self, reply: Reply) {
        self.refused.get_or_insert(reply);
    }
}
