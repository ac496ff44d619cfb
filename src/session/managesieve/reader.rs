//! Takes commands off the input (RFC 5804 4): lines whose last word may be a literal, after which the command goes on.
//!
//! Whatever is wrong with a command, what belongs to it is taken away: the next one is read from its beginning.

use bytes::{Buf, BytesMut};

use crate::mail::lines::{Line, LineReader};

/// A line with its ending, literals not counted. Two quoted strings of the longest fit.
pub const LINE_BYTES_MAX: usize = 4096;
/// RFC 5804 4: octets between the quotes.
pub const QUOTED_BYTES_MAX: usize = 1024;
/// Words of one command; none has more.
pub const WORDS_MAX: usize = 3;
/// Literals of one command, whatever becomes of it; with one more the session ends.
pub const LITERALS_MAX: usize = 3;
/// Octets of a literal that is too long and yet swallowed; with one more the session ends.
pub const SWALLOWED_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Atom(String),
    /// RFC 5804 4: fits 32 bits.
    Number(u32),
    /// Quoted or as a literal.
    Text(Vec<u8>),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    Partial,
    Command(Vec<Word>),
    Bad(Bad),
    /// What comes next cannot be made out, or is not worth it.
    Hopeless(Bad),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    #[error("Unknown command")]
    Unknown,
    #[error("Syntax error")]
    Syntax,
    #[error("Line too long")]
    LineTooLong,
    #[error("A quoted string has at most {QUOTED_BYTES_MAX} octets")]
    QuotedTooLong,
    #[error("Literals are written {{n+}}")]
    Synchronising,
    #[error("Too many literals")]
    TooManyLiterals,
    #[error("Literal too long")]
    LiteralTooLong,
    #[error("Not UTF-8")]
    NotUtf8,
}

/// Octets of one literal.
#[derive(Debug, Clone, Copy)]
pub struct LiteralBounds {
    pub kept_bytes_max: u64,
    /// One that is longer still ends the session.
    pub swallowed_bytes_max: u64,
}

#[derive(Default)]
pub struct Reader {
    lines: LineReader,
    words: Vec<Word>,
    literals: usize,
    /// The first thing that is wrong with the command.
    wrong: Option<Bad>,
    within: Within,
}

#[derive(Default)]
enum Within {
    #[default]
    Line,
    Literal {
        left: usize,
        octets: Vec<u8>,
    },
    Swallowed {
        left: u64,
    },
}

/// Of a literal that stands at the end of a line.
struct Announced {
    octets: u64,
    synchronising: bool,
}

impl Reader {
    /// True between the first line of a command and its end.
    pub fn is_mid_command(&self) -> bool {
        self.literals > 0 || self.lines.is_swallowing()
    }

    pub fn take(&mut self, input: &mut BytesMut, bounds: LiteralBounds) -> Taken {
        loop {
            match &mut self.within {
                Within::Line => match self.take_line(input, bounds) {
                    Some(taken) => return taken,
                    None => continue,
                },
                Within::Literal { left, octets } => {
                    let now = input.len().min(*left);
                    octets.extend_from_slice(&input.split_to(now));
                    *left -= now;
                    if *left > 0 {
                        return Taken::Partial;
                    }
                    let octets = std::mem::take(octets);
                    self.push(Word::Text(octets));
                }
                Within::Swallowed { left } => {
                    let now = (input.len() as u64).min(*left);
                    input.advance(now as usize);
                    *left -= now;
                    if *left > 0 {
                        return Taken::Partial;
                    }
                }
            }
            self.within = Within::Line;
        }
    }

    /// `None`: a literal follows.
    fn take_line(&mut self, input: &mut BytesMut, bounds: LiteralBounds) -> Option<Taken> {
        let line = match self.lines.take(input, LINE_BYTES_MAX) {
            Line::Partial => return Some(Taken::Partial),
            // Whether a literal follows is not known.
            Line::TooLong => return Some(Taken::Hopeless(Bad::LineTooLong)),
            Line::Whole(line) => line,
        };
        let (line, announced) = announcement(&line);
        if let Err(bad) = self.take_words(line) {
            self.wrong.get_or_insert(bad);
        }
        match announced {
            None => Some(self.finish()),
            // Its octets are held back until it is told to go on, which it is not.
            Some(Announced { synchronising: true, .. }) => {
                self.wrong.get_or_insert(Bad::Synchronising);
                Some(self.finish())
            }
            Some(Announced { octets, .. }) => {
                self.literals += 1;
                if self.literals > LITERALS_MAX {
                    return Some(Taken::Hopeless(Bad::TooManyLiterals));
                }
                if octets <= bounds.kept_bytes_max {
                    self.within = Within::Literal { left: octets as usize, octets: Vec::new() };
                    return None;
                }
                self.wrong.get_or_insert(Bad::LiteralTooLong);
                if octets > bounds.swallowed_bytes_max {
                    return Some(Taken::Hopeless(Bad::LiteralTooLong));
                }
                self.within = Within::Swallowed { left: octets };
                None
            }
        }
    }

    fn take_words(&mut self, line: &[u8]) -> Result<(), Bad> {
        let mut rest = line;
        // Behind a literal, too, words are parted by blanks.
        let mut parted = self.words.is_empty();
        loop {
            let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
            rest = &rest[blanks..];
            if rest.is_empty() {
                return Ok(());
            }
            if blanks == 0 && !parted {
                return Err(Bad::Syntax);
            }
            parted = false;
            let (word, behind) = if rest[0] == b'"' { quoted(&rest[1..])? } else { bare(rest)? };
            self.push(word);
            rest = behind;
        }
    }

    fn push(&mut self, word: Word) {
        match self.words.len() < WORDS_MAX {
            true => self.words.push(word),
            false => {
                self.wrong.get_or_insert(Bad::Syntax);
            }
        }
    }

    fn finish(&mut self) -> Taken {
        let whole = std::mem::take(self);
        match whole.wrong {
            Some(bad) => Taken::Bad(bad),
            None => Taken::Command(whole.words),
        }
    }
}

/// The line without the literal that it ends with.
fn announcement(line: &[u8]) -> (&[u8], Option<Announced>) {
    let announced = || {
        let inner = line.strip_suffix(b"}")?;
        let open = inner.iter().rposition(|byte| *byte == b'{')?;
        let (digits, synchronising) = match inner[open + 1..].strip_suffix(b"+") {
            Some(digits) => (digits, false),
            None => (&inner[open + 1..], true),
        };
        let is_number = (1..=10).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        let octets = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
        Some((&line[..open], Announced { octets, synchronising }))
    };
    match announced() {
        Some((before, announced)) => (before, Some(announced)),
        None => (line, None),
    }
}

/// `rest` begins behind the quote.
fn quoted(rest: &[u8]) -> Result<(Word, &[u8]), Bad> {
    let mut text = Vec::new();
    let mut at = 0;
    loop {
        match rest.get(at) {
            None | Some(0 | b'\r') => return Err(Bad::Syntax),
            Some(b'"') => break,
            Some(b'\\') => {
                at += 1;
                text.push(*rest.get(at).filter(|byte| matches!(byte, b'"' | b'\\')).ok_or(Bad::Syntax)?);
            }
            Some(byte) => text.push(*byte),
        }
        at += 1;
    }
    if at > QUOTED_BYTES_MAX {
        return Err(Bad::QuotedTooLong);
    }
    Ok((Word::Text(text), &rest[at + 1..]))
}

fn bare(rest: &[u8]) -> Result<(Word, &[u8]), Bad> {
    let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
    let (word, behind) = rest.split_at(end);
    let word = std::str::from_utf8(word).map_err(|_| Bad::Syntax)?;
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok((Word::Number(word.parse().map_err(|_| Bad::Syntax)?), behind));
    }
    match word.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok((Word::Atom(word.to_ascii_uppercase()), behind)),
        false => Err(Bad::Syntax),
    }
}
