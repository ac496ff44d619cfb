//! What the next server answers (RFC 5321 4.2, RFC 2034), bounded however long it is.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::mail::lines::{Line, LineReader, beginning};

/// Octets of one line of a reply. RFC 5321 4.5.3.1.5 says 512; some say more.
pub const LINE_BYTES_MAX: usize = 4 * 1024;
/// Lines of one reply; a server that says more is given up.
pub const LINES_MAX: usize = 200;
/// Octets of text that are kept of a reply.
const TEXT_BYTES_MAX: usize = 500;

/// A whole reply. EHLO's lines are told one by one; of others the text is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// RFC 3463: class, subject, detail.
    pub enhanced: Option<(u8, u16, u16)>,
    /// On one line, without control characters.
    pub text: String,
}

/// How a recipient fares with a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Done,
    Temporary,
    Permanent,
}

impl Reply {
    /// Something that no server said: what stood in the way, as an enhanced code and words.
    pub fn of_ours(code: u16, enhanced: (u8, u16, u16), text: impl Into<String>) -> Self {
        Self { code, enhanced: Some(enhanced), text: clean(&text.into()) }
    }

    /// For good only where the code and, if there is one, the enhanced code both say so: what is given up too early
    /// is lost, what is tried once more costs little.
    pub fn class(&self) -> Class {
        let enhanced = self.enhanced.map(|(class, _, _)| class);
        match (self.code / 100, enhanced) {
            (2, _) => Class::Done,
            // RFC 5321 4.5.3.1.10: "too many recipients", as older servers said it.
            (5, _) if self.code == 552 && self.enhanced.is_none() => Class::Temporary,
            (5, None | Some(5)) => Class::Permanent,
            _ => Class::Temporary,
        }
    }

    pub fn is(&self, code: u16) -> bool {
        self.code == code
    }

    /// RFC 3463, by the code where the server said none.
    pub fn status(&self) -> String {
        match (self.enhanced, self.class()) {
            (Some((class, subject, detail)), _) => format!("{class}.{subject}.{detail}"),
            (None, Class::Done) => "2.0.0".to_owned(),
            (None, Class::Temporary) => "4.0.0".to_owned(),
            (None, Class::Permanent) => "5.0.0".to_owned(),
        }
    }
}

/// `550 5.1.1 No such user`
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.code)?;
        if let Some((class, subject, detail)) = self.enhanced {
            write!(f, " {class}.{subject}.{detail}")?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", self.text) }
    }
}

/// What stands at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// The reply, and its lines without their codes.
    Whole(Reply, Vec<String>),
    Partial,
    /// No SMTP.
    Nonsense(String),
}

/// Gathers the lines of a reply.
#[derive(Debug, Default)]
pub struct ReplyReader {
    lines: LineReader,
    code: Option<u16>,
    gathered: Vec<String>,
}

impl ReplyReader {
    pub fn take(&mut self, input: &mut BytesMut) -> Heard {
        loop {
            let line = match self.lines.take(input, LINE_BYTES_MAX) {
                Line::Partial => return Heard::Partial,
                Line::TooLong => return Heard::Nonsense("a line of its reply is too long".to_owned()),
                Line::Whole(line) => line,
            };
            let Some((code, more, text)) = parse(&line) else {
                return Heard::Nonsense(format!("it says {:?}", clean(&String::from_utf8_lossy(&line))));
            };
            if self.code.is_some_and(|first| first != code) {
                return Heard::Nonsense("the lines of its reply have different codes".to_owned());
            }
            self.code = Some(code);
            self.gathered.push(text);
            if self.gathered.len() > LINES_MAX {
                return Heard::Nonsense("its reply has too many lines".to_owned());
            }
            if !more {
                self.code = None;
                let lines = std::mem::take(&mut self.gathered);
                return Heard::Whole(whole(code, &lines), lines);
            }
        }
    }
}

/// Code, whether more lines follow, text.
fn parse(line: &Bytes) -> Option<(u16, bool, String)> {
    let digits = line.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let code: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let more = match line.get(3) {
        None | Some(b' ') => false,
        Some(b'-') => true,
        Some(_) => return None,
    };
    let text = clean(&String::from_utf8_lossy(line.get(4..).unwrap_or_default()));
    (200..600).contains(&code).then_some((code, more, text))
}

fn whole(code: u16, lines: &[String]) -> Reply {
    let enhanced = lines.first().and_then(|first| enhanced(first)).map(|(enhanced, _)| enhanced);
    let bare = |line: &String| match (enhanced, self::enhanced(line)) {
        (Some(first), Some((own, rest))) if own == first => rest.to_owned(),
        _ => line.clone(),
    };
    let text = lines.iter().map(bare).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    Reply { code, enhanced, text: clean(&text) }
}

/// `class "." subject "." detail`, and what follows it.
fn enhanced(text: &str) -> Option<((u8, u16, u16), &str)> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut parts = word.split('.');
    let number = |part: Option<&str>| {
        part.filter(|part| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()))?
            .parse::<u16>()
            .ok()
    };
    let (class, subject, detail) = (number(parts.next())?, number(parts.next())?, number(parts.next())?);
    let known = matches!(class, 2 | 4 | 5) && parts.next().is_none();
    known.then_some(((class as u8, subject, detail), rest))
}

fn clean(text: &str) -> String {
    beginning(text, TEXT_BYTES_MAX).replace(char::is_control, " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Heard {
        ReplyReader::default().take(&mut BytesMut::from(text.as_bytes()))
    }

    fn reply(text: &str) -> Reply {
        match heard(&format!("{text}\r\n")) {
            Heard::Whole(reply, _) => reply,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn replies_are_put_together() {
        let said = reply("550-5.1.1 The account\r\n550-5.1.1 does not exist.\r\n550 5.1.1 Bye");
        assert_eq!(said.to_string(), "550 5.1.1 The account does not exist. Bye");
        assert_eq!((said.status().as_str(), said.class()), ("5.1.1", Class::Permanent));
        assert_eq!(reply("250").to_string(), "250");
        assert_eq!(reply("250 ok\u{7}").to_string(), "250 ok");
        assert_eq!(reply("421 10.0.0.1 busy").enhanced, None);
        assert_eq!(heard("250-a\r\n250"), Heard::Partial);
        for nonsense in ["hello\r\n", "99 x\r\n", "600 x\r\n", "250-a\r\n251 b\r\n", "250x\r\n", "\r\n"] {
            assert!(matches!(heard(nonsense), Heard::Nonsense(_)), "{nonsense:?}");
        }
    }

    #[test]
    fn for_good_is_what_both_codes_say() {
        for (text, class) in [
            ("250 2.1.5 ok", Class::Done),
            ("450 4.2.0 greylisted", Class::Temporary),
            ("550 5.1.1 no", Class::Permanent),
            ("550 no", Class::Permanent),
            ("550 4.7.1 later", Class::Temporary),
            ("450 5.1.1 later", Class::Temporary),
            ("552 too many recipients", Class::Temporary),
            ("552 5.2.2 full", Class::Permanent),
            ("354 go", Class::Temporary),
        ] {
            assert_eq!(reply(text).class(), class, "{text}");
        }
    }

    #[test]
    fn a_server_that_never_ends_is_given_up() {
        let lines = |count: usize| "250-x\r\n".repeat(count) + "250 y\r\n";
        assert!(matches!(heard(&lines(LINES_MAX - 1)), Heard::Whole(..)));
        assert!(matches!(heard(&lines(LINES_MAX)), Heard::Nonsense(_)));
        let long = |bytes: usize| format!("250 {}\r\n", "x".repeat(bytes));
        let fits = LINE_BYTES_MAX - "250 \r\n".len();
        assert!(matches!(heard(&long(fits)), Heard::Whole(reply, _) if reply.text.len() == TEXT_BYTES_MAX));
        assert!(matches!(heard(&long(fits + 2)), Heard::Nonsense(_)));
    }
}
