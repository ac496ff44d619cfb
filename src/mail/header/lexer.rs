//! The tokens of structured fields (RFC 5322 3.2, with 4.1): atoms, quoted strings, comments, literals.

/// Reads tokens from the front. Every method moves forward or says `None`.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    data: &'a [u8],
    at: usize,
    /// The text of the last comment skipped: where old mail keeps the display name.
    pub(super) comment: Option<Vec<u8>>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, comment: None }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    /// Steps over `byte` and the blanks after it, if it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        if taken {
            self.at += 1;
            self.skip_blanks();
        }
        taken
    }

    /// Blanks, line ends and comments (CFWS).
    pub(super) fn skip_blanks(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'(' => self.comment = Some(self.comment_text()),
                _ => break,
            }
        }
    }

    /// A comment with those nested in it; one that never ends takes the rest.
    fn comment_text(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut depth = 0usize;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'\\' => {
                    text.extend(self.peek());
                    self.at += 1;
                    continue;
                }
                b'(' => {
                    depth += 1;
                    if depth == 1 {
                        continue;
                    }
                }
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                b'\r' | b'\n' => continue,
                _ => {}
            }
            text.push(byte);
        }
        text
    }

    /// Bytes while `accept` holds; `None` if there is none.
    pub(super) fn run(&mut self, accept: fn(u8) -> bool) -> Option<&'a [u8]> {
        let rest = &self.data[self.at.min(self.data.len())..];
        let length = rest.iter().position(|byte| !accept(*byte)).unwrap_or(rest.len());
        self.at += length;
        (length > 0).then(|| &rest[..length])
    }

    /// The content of a quoted string, backslashes removed and unfolded; one that never ends takes the rest.
    pub(super) fn quoted(&mut self) -> Option<Vec<u8>> {
        if self.peek() != Some(b'"') {
            return None;
        }
        self.at += 1;
        let mut text = Vec::new();
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                b'\r' | b'\n' => {}
                _ => text.push(byte),
            }
        }
        Some(text)
    }

    /// Atoms joined by dots, blanks around the dots let pass (obs-local-part, obs-domain); appended to `text`.
    pub(super) fn dot_atom(&mut self, text: &mut Vec<u8>) -> bool {
        let mut found = false;
        loop {
            match self.peek() {
                Some(b'.') => {
                    self.at += 1;
                    text.push(b'.');
                }
                Some(byte) if is_atext(byte) && (!found || text.last() == Some(&b'.')) => {
                    text.extend(self.run(is_atext).unwrap_or_default());
                }
                _ => return found,
            }
            found = true;
            self.skip_blanks();
        }
    }

    /// `[...]`, brackets kept; appended to `text`.
    pub(super) fn domain_literal(&mut self, text: &mut Vec<u8>) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'\r' | b'\n' => {}
                b']' => {
                    text.push(byte);
                    break;
                }
                _ => text.push(byte),
            }
        }
        self.skip_blanks();
        true
    }
}

/// RFC 5322 3.2.3; RFC 6532 3.2: bytes of UTF-8 are atext.
pub(super) fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// An atom of a display name, where dots are met (obs-phrase).
pub(super) fn is_atext_or_dot(byte: u8) -> bool {
    is_atext(byte) || byte == b'.'
}

/// RFC 2045 5.1.
pub(super) fn is_token(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}
