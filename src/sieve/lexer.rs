//! The tokens of a script (RFC 5228 8.1), each with its place. Lines end with CRLF or LF.

use super::error::{Place, ScriptError, quoted};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// In lower case: names are compared without case (RFC 5228 2.4).
    Identifier(String),
    /// In lower case, without its colon.
    Tag(String),
    Number(u64),
    /// Quotes, backslashes and dots undone; line ends as they stand.
    Text(String),
    /// One of `( ) , ; [ ] { }`.
    Mark(char),
    End,
}

pub(super) struct Lexer<'a> {
    rest: &'a str,
    place: Place,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, place: Place { line: 1, column: 1 } }
    }

    pub(super) fn next(&mut self) -> Result<(Token, Place), ScriptError> {
        self.skip_blanks()?;
        let place = self.place;
        let Some(first) = self.rest.chars().next() else { return Ok((Token::End, place)) };
        let token = match first {
            '(' | ')' | ',' | ';' | '[' | ']' | '{' | '}' => {
                self.step();
                Token::Mark(first)
            }
            '"' => Token::Text(self.quoted_string()?),
            ':' => {
                self.step();
                match self.word() {
                    "" => return Err(place.error("a name must follow the colon")),
                    tag => Token::Tag(tag.to_ascii_lowercase()),
                }
            }
            '0'..='9' => Token::Number(self.number()?),
            'a'..='z' | 'A'..='Z' | '_' => {
                let word = self.word();
                match word.eq_ignore_ascii_case("text") && self.rest.starts_with(':') {
                    true => Token::Text(self.multi_line(place)?),
                    false => Token::Identifier(word.to_ascii_lowercase()),
                }
            }
            other => return Err(place.error(format!("{} cannot stand here", quoted(&other.to_string())))),
        };
        Ok((token, place))
    }

    /// Steps over one character, which is handed back.
    fn step(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        if c == '\n' {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
        Some(c)
    }

    fn step_over(&mut self, octets: usize) -> &'a str {
        let (over, end) = (&self.rest[..octets], self.rest.len() - octets);
        while self.rest.len() > end {
            self.step();
        }
        over
    }

    /// Blanks, line ends and comments.
    fn skip_blanks(&mut self) -> Result<(), ScriptError> {
        loop {
            match self.rest.as_bytes().first() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => _ = self.step(),
                Some(b'#') => _ = self.step_over(self.rest.find('\n').unwrap_or(self.rest.len())),
                Some(b'/') if self.rest.starts_with("/*") => {
                    let end = self.rest[2..].find("*/");
                    let end = end.ok_or_else(|| self.place.error("this comment never ends"))?;
                    self.step_over(end + 4);
                }
                _ => return Ok(()),
            }
        }
    }

    /// Letters, digits and underscores; possibly none.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        self.step_over(end.unwrap_or(self.rest.len()))
    }

    /// Digits, then perhaps K, M or G (RFC 5228 2.4.1).
    fn number(&mut self) -> Result<u64, ScriptError> {
        let place = self.place;
        let word = self.word();
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
        let factor = match word[digits.len()..].to_ascii_lowercase().as_str() {
            "" => 1,
            "k" => 1 << 10,
            "m" => 1 << 20,
            "g" => 1 << 30,
            _ => return Err(place.error(format!("{} is no number", quoted(word)))),
        };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(place.error(format!("{} is no number", quoted(word))));
        }
        let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        number.ok_or_else(|| place.error("this number is too large"))
    }

    fn quoted_string(&mut self) -> Result<String, ScriptError> {
        let place = self.place;
        let mut text = String::new();
        self.step();
        loop {
            let next = match self.step() {
                Some('"') => return Ok(text),
                // RFC 5228 2.4.2: a backslash before any other character is ignored.
                Some('\\') => self.step(),
                next => next,
            };
            match next {
                None => return Err(place.error("this string never ends")),
                Some('\0') => return Err(place.error("a string holds no NUL")),
                Some(c) => text.push(c),
            }
        }
    }

    /// What follows `text`: a colon, perhaps a comment, and lines up to one that is a dot (RFC 5228 2.4.2).
    fn multi_line(&mut self, place: Place) -> Result<String, ScriptError> {
        self.step();
        let opening = self.line();
        let opening = opening.ok_or_else(|| place.error("this text never ends"))?.trim();
        if !opening.is_empty() && !opening.starts_with('#') {
            return Err(place.error("the line must end after `text:`"));
        }
        let mut text = String::new();
        loop {
            let line =
                self.line().ok_or_else(|| place.error("this text never ends: a line with a dot ends it"))?;
            if line.trim_end_matches(['\r', '\n']) == "." {
                return Ok(text);
            }
            if line.contains('\0') {
                return Err(place.error("a string holds no NUL"));
            }
            text.push_str(line.strip_prefix('.').unwrap_or(line));
        }
    }

    /// The next line with its end; the last one of a script needs none.
    fn line(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
        Some(self.step_over(end))
    }
}
