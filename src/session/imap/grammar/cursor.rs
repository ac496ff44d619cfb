//! Reads tokens off the front of a command: atoms, strings, literals, numbers, lists.

use std::borrow::Cow;

use super::mailbox_name::NameCoding;
use crate::session::imap::limits::{SET_RANGES_MAX, TAG_BYTES_MAX};
use crate::session::imap::sequence_set::SequenceSet;

/// What is wrong with a command; the client hears it with BAD, but for the last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// Not of the form that the grammar wants.
    Malformed(&'static str),
    UnknownCommand,
    /// RFC 3501 6.4.4: `NO [BADCHARSET]`. RFC 5182 2.1: nothing is saved then, if that was asked for.
    BadCharset {
        saves: bool,
    },
    /// RFC 6154 6: `NO [USEATTR]`.
    BadUse,
}

pub type Parsed<T> = Result<T, Syntax>;

/// The rest of a command that is still to be read.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    names: NameCoding,
}

impl<'a> Cursor<'a> {
    pub fn new(command: &'a [u8]) -> Self {
        Self::with_names(command, NameCoding::default())
    }

    /// `names`: how the session's mailbox names go over the wire.
    pub fn with_names(command: &'a [u8], names: NameCoding) -> Self {
        Self { rest: command, names }
    }

    pub fn names(&self) -> NameCoding {
        self.names
    }

    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn end(&self) -> Parsed<()> {
        if self.is_at_end() { Ok(()) } else { Err(Syntax::Malformed("there is more than the command takes")) }
    }

    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes `byte` if it is next.
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    pub fn expect(&mut self, byte: u8, wanted: &'static str) -> Parsed<()> {
        if self.take(byte) { Ok(()) } else { Err(Syntax::Malformed(wanted)) }
    }

    pub fn space(&mut self) -> Parsed<()> {
        self.expect(b' ', "a space is missing")
    }

    pub fn close(&mut self) -> Parsed<()> {
        self.expect(b')', "a closing parenthesis is missing")
    }

    /// Takes `word` if it is next, in any case, and not a part of a longer word.
    pub fn take_word(&mut self, word: &str) -> bool {
        let found = self.rest.len() >= word.len()
            && self.rest[..word.len()].eq_ignore_ascii_case(word.as_bytes())
            && !self.rest.get(word.len()).is_some_and(|next| next.is_ascii_alphanumeric());
        if found {
            self.rest = &self.rest[word.len()..];
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|byte| !wanted(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    pub fn tag(&mut self) -> Parsed<&'a [u8]> {
        let tag = self.take_while(|byte| is_astring_char(byte) && byte != b'+');
        if tag.is_empty() || tag.len() > TAG_BYTES_MAX {
            return Err(Syntax::Malformed("the tag is missing or malformed"));
        }
        Ok(tag)
    }

    pub fn atom(&mut self) -> Parsed<&'a [u8]> {
        let atom = self.take_while(is_atom_char);
        if atom.is_empty() { Err(Syntax::Malformed("an atom is missing")) } else { Ok(atom) }
    }

    /// An atom in capitals, as text.
    pub fn word(&mut self) -> Parsed<String> {
        let atom = self.atom()?;
        Ok(atom.iter().map(|byte| byte.to_ascii_uppercase() as char).collect())
    }

    pub fn astring(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.string_or(is_astring_char)
    }

    /// A LIST pattern: an astring that may hold `%` and `*`.
    pub fn list_mailbox(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.string_or(|byte| is_astring_char(byte) || matches!(byte, b'%' | b'*'))
    }

    fn string_or(&mut self, wanted: impl Fn(u8) -> bool) -> Parsed<Cow<'a, [u8]>> {
        if let Some(b'"' | b'{') = self.peek() {
            return self.string();
        }
        let atom = self.take_while(wanted);
        if atom.is_empty() { Err(Syntax::Malformed("a string is missing")) } else { Ok(atom.into()) }
    }

    pub fn string(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => Err(Syntax::Malformed("a quoted string or literal is missing")),
        }
    }

    /// `None` for NIL.
    pub fn nstring(&mut self) -> Parsed<Option<Cow<'a, [u8]>>> {
        if self.take_word("NIL") { Ok(None) } else { self.string().map(Some) }
    }

    /// RFC 5464 5, `value`: or a literal8, which may hold NUL.
    pub fn nstring8(&mut self) -> Parsed<Option<Cow<'a, [u8]>>> {
        if self.take(b'~') { self.literal8().map(|bytes| Some(bytes.into())) } else { self.nstring() }
    }

    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        let unclosed = Syntax::Malformed("a quoted string is not closed");
        let inner = &self.rest[1..];
        let mut at = 0;
        let mut escapes = false;
        loop {
            match inner.get(at).ok_or(unclosed)? {
                b'"' => break,
                b'\\' => {
                    if !matches!(inner.get(at + 1), Some(b'"' | b'\\')) {
                        return Err(Syntax::Malformed("a backslash quotes only a quote or a backslash"));
                    }
                    escapes = true;
                    at += 2;
                }
                0 | b'\r' | b'\n' => return Err(unclosed),
                _ => at += 1,
            }
        }
        let text = &inner[..at];
        // RFC 9051 4.3, RFC 9755 3: once 8-bit text is agreed upon it is UTF-8.
        if self.names == NameCoding::Utf8 && std::str::from_utf8(text).is_err() {
            return Err(Syntax::Malformed("a quoted string is not UTF-8"));
        }
        self.rest = &inner[at + 1..];
        if !escapes {
            return Ok(Cow::Borrowed(text));
        }
        let mut plain = Vec::with_capacity(text.len());
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            plain.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
        }
        Ok(Cow::Owned(plain))
    }

    fn literal(&mut self) -> Parsed<&'a [u8]> {
        let text = self.literal8()?;
        // RFC 3501 9, CHAR8: a literal has no NUL.
        if text.contains(&0) { Err(Syntax::Malformed("a literal is malformed")) } else { Ok(text) }
    }

    /// Behind the `~`.
    fn literal8(&mut self) -> Parsed<&'a [u8]> {
        let malformed = Syntax::Malformed("a literal is malformed");
        self.expect(b'{', "a literal is missing")?;
        let length = usize::try_from(self.number64()?).map_err(|_| malformed)?;
        self.take(b'+');
        let rest = self.rest.strip_prefix(b"}\r\n").ok_or(malformed)?;
        if rest.len() < length {
            return Err(malformed);
        }
        let (text, rest) = rest.split_at(length);
        self.rest = rest;
        Ok(text)
    }

    /// RFC 3501 9, `number`: 32 bits.
    pub fn number(&mut self) -> Parsed<u32> {
        u32::try_from(self.number64()?).map_err(|_| Syntax::Malformed("a number is too large"))
    }

    /// RFC 3501 9, `nz-number`.
    pub fn number_above_0(&mut self) -> Parsed<u32> {
        match self.number()? {
            0 => Err(Syntax::Malformed("a number is 0")),
            number => Ok(number),
        }
    }

    /// RFC 7162 7: a mod-sequence has 63 bits.
    pub fn number64(&mut self) -> Parsed<u64> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let text = std::str::from_utf8(digits).unwrap_or_default();
        match text.parse::<u64>() {
            Ok(number) if number <= i64::MAX as u64 => Ok(number),
            _ => Err(Syntax::Malformed("a number is missing or too large")),
        }
    }

    /// RFC 5182 2.3: or `$`, alone.
    pub fn sequence_set(&mut self) -> Parsed<SequenceSet> {
        if self.take(b'$') {
            return Ok(SequenceSet::Saved);
        }
        let text = self.take_while(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b',' | b'*'));
        let malformed = Syntax::Malformed("the message set is malformed");
        if text.is_empty() || text.iter().filter(|byte| **byte == b',').count() >= SET_RANGES_MAX {
            return Err(malformed);
        }
        SequenceSet::parse(text).ok_or(malformed)
    }

    /// `(a b c)`; `item` reads one. At most `items_max`; `()` is allowed.
    pub fn list<T>(
        &mut self,
        items_max: usize,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.expect(b'(', "an opening parenthesis is missing")?;
        let mut items = Vec::new();
        while !self.take(b')') {
            if !items.is_empty() {
                self.space()?;
            }
            if items.len() == items_max {
                return Err(Syntax::Malformed("a list is too long"));
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// `\Name` or an atom.
    pub fn flag(&mut self) -> Parsed<&'a [u8]> {
        let start = self.rest;
        let slash = usize::from(self.take(b'\\'));
        let name = self.atom()?;
        Ok(&start[..slash + name.len()])
    }
}

/// RFC 3501 9, `ATOM-CHAR`.
fn is_atom_char(byte: u8) -> bool {
    (0x21..0x7f).contains(&byte) && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

fn is_astring_char(byte: u8) -> bool {
    is_atom_char(byte) || byte == b']'
}

/// A literal announced at the end of a line: where its `{` stands, its length, and whether the client
/// waits for our word (RFC 7888).
pub fn literal_at_end(line: &[u8]) -> Option<(usize, u64, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let (inner, waits) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, false),
        None => (inner, true),
    };
    let digits = inner.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let start = inner.len() - digits;
    if digits == 0 || digits > 19 || start == 0 || inner[start - 1] != b'{' {
        return None;
    }
    let length = std::str::from_utf8(&inner[start..]).ok()?.parse().ok()?;
    Some((start - 1, length, waits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_every_form() {
        let mut cursor = Cursor::new(b"atom \"a \\\"b\\\\\" {3}\r\nx\"y NIL]");
        assert_eq!(cursor.astring().unwrap().as_ref(), b"atom");
        cursor.space().unwrap();
        assert_eq!(cursor.astring().unwrap().as_ref(), b"a \"b\\");
        cursor.space().unwrap();
        assert_eq!(cursor.astring().unwrap().as_ref(), b"x\"y");
        cursor.space().unwrap();
        assert_eq!(cursor.astring().unwrap().as_ref(), b"NIL]");
        cursor.end().unwrap();
    }

    #[test]
    fn binary_literals_stand_where_they_may() {
        let value = |text: &'static str| Cursor::new(text.as_bytes()).nstring8();
        assert_eq!(value("~{2}\r\na\0").unwrap().unwrap().as_ref(), b"a\0");
        assert_eq!(value("nil"), Ok(None));
        assert_eq!(value("\"\"").unwrap().unwrap().as_ref(), b"");
        for malformed in ["{2}\r\na\0", "~\"a\"", "~NIL", "~{3}\r\na\0", "atom"] {
            assert!(value(malformed).is_err(), "{malformed:?}");
        }
    }

    #[test]
    fn malformed_strings_are_refused() {
        let malformed = [
            "\"open",
            "\"a\\x\"",
            "{5}\r\nabc",
            "{2}abc",
            "{99999999999999999999}\r\n",
            "",
            "(",
            "{1}\r\n\0",
        ];
        for text in malformed {
            assert!(Cursor::new(text.as_bytes()).astring().is_err(), "{text:?}");
        }
    }

    #[test]
    fn quoted_strings_are_utf8_where_names_are() {
        let wire = b"\"\xe9\"";
        assert!(Cursor::new(wire).astring().is_ok());
        assert!(Cursor::with_names(wire, NameCoding::Utf8).astring().is_err());
        let wire = "\"\u{e9}\"".as_bytes();
        assert_eq!(
            Cursor::with_names(wire, NameCoding::Utf8).astring().unwrap().as_ref(),
            "\u{e9}".as_bytes()
        );
    }

    #[test]
    fn a_literal_at_the_end_of_a_line() {
        assert_eq!(literal_at_end(b"a LOGIN {5}"), Some((8, 5, true)));
        assert_eq!(literal_at_end(b"a LOGIN {5+}"), Some((8, 5, false)));
        assert_eq!(literal_at_end(b"{0}"), Some((0, 0, true)));
        for line in ["a {}", "a {x}", "a 5}", "a {5}}", "a {5", "{99999999999999999999}", "}"] {
            assert_eq!(literal_at_end(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn numbers_are_bounded() {
        assert_eq!(Cursor::new(b"4294967295").number(), Ok(u32::MAX));
        assert!(Cursor::new(b"4294967296").number().is_err());
        assert_eq!(Cursor::new(b"9223372036854775807").number64(), Ok(i64::MAX as u64));
        assert!(Cursor::new(b"9223372036854775808").number64().is_err());
    }
}
