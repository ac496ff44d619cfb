//! Reads what an IMAP server says, strictly: a client that trusts the grammar must never lose its place.

/// One whole response, literals and the last CRLF within.
pub struct Response<'a> {
    pub whole: &'a [u8],
}

/// Cuts `said` into responses; panics where it is none.
pub fn split(said: &[u8]) -> Vec<Response<'_>> {
    let mut responses = Vec::new();
    let mut rest = said;
    while !rest.is_empty() {
        let length = length(rest);
        let (whole, after) = rest.split_at(length);
        let response = Response { whole };
        if !response.is_text() {
            check_balance(whole);
        }
        responses.push(response);
        rest = after;
    }
    responses
}

fn length(rest: &[u8]) -> usize {
    let is_text = Response { whole: rest }.is_text();
    let mut at = 0;
    loop {
        let line = line(&rest[at..]);
        at += line.len() + 2;
        match literal(line) {
            Some(size) if !is_text => at += size,
            _ => return at,
        }
        assert!(at <= rest.len(), "a literal is longer than what was sent");
    }
}

fn line(rest: &[u8]) -> &[u8] {
    let end = rest.windows(2).position(|pair| pair == b"\r\n");
    let end = end.unwrap_or_else(|| panic!("a line without end: {}", show(rest)));
    let line = &rest[..end];
    let clean = line.iter().all(|byte| !matches!(byte, 0 | b'\r' | b'\n'));
    assert!(clean, "a bare line end or NUL in a line: {}", show(line));
    line
}

fn literal(line: &[u8]) -> Option<usize> {
    let open = line.iter().rposition(|byte| *byte == b'{')?;
    let digits = line[open + 1..].strip_suffix(b"}")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Parentheses and quotes, outside literals.
fn check_balance(whole: &[u8]) {
    let (mut depth, mut at) = (0usize, 0);
    while at < whole.len() {
        match whole[at] {
            b'"' => {
                at += 1;
                while whole[at] != b'"' {
                    at += if whole[at] == b'\\' { 2 } else { 1 };
                    assert!(at < whole.len(), "a quoted string without end: {}", show(whole));
                }
            }
            b'(' => depth += 1,
            b')' => {
                depth = depth.checked_sub(1).unwrap_or_else(|| panic!("one ) too many: {}", show(whole)));
            }
            b'\r' => {
                let before = whole[..at].rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
                at += 1 + literal(before).unwrap_or(0);
            }
            _ => {}
        }
        at += 1;
    }
    assert_eq!(depth, 0, "a ( without its ): {}", show(whole));
}

pub fn show(bytes: &[u8]) -> String {
    bytes.iter().take(400).flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect()
}

impl Response<'_> {
    /// `*`, `+` or a tag.
    pub fn lead(&self) -> &[u8] {
        self.word(0)
    }

    pub fn word(&self, number: usize) -> &[u8] {
        let words = self.whole.split(|byte| matches!(byte, b' ' | b'\r'));
        words.into_iter().nth(number).unwrap_or_default()
    }

    /// `* n WORD`.
    pub fn numbered(&self, word: &[u8]) -> Option<u32> {
        let fits = self.lead() == b"*" && self.word(2) == word;
        if fits { std::str::from_utf8(self.word(1)).ok()?.parse().ok() } else { None }
    }

    /// Ends in text for people, or asks for more: no data that a client takes apart.
    pub fn is_text(&self) -> bool {
        let word = if self.lead() == b"+" { return true } else { self.word(1) };
        matches!(word, b"OK" | b"NO" | b"BAD" | b"BYE" | b"PREAUTH")
    }
}
