//! Fields with parameters (RFC 2045 5.1, RFC 2183, RFC 2231) and lists of tokens (RFC 3282).

use std::collections::BTreeMap;

use super::lexer::{Lexer, is_token};

/// Parameters taken from one field; the rest is left out.
pub const PARAMS_MAX: usize = 1_000;
/// Pieces that one parameter may be continued in (RFC 2231 3).
const PIECES_MAX: usize = PARAMS_MAX;

/// A parameter `name=value`, quoting removed, continuations (RFC 2231 3) joined; nothing is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// As spelt in the message; ends in `*` where the value is encoded (RFC 2231 4).
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// Content-Type (RFC 2045 5), as spelt in the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    pub main: Vec<u8>,
    pub sub: Vec<u8>,
    pub params: Vec<Param>,
}

impl ContentType {
    pub fn is(&self, main: &str, sub: &str) -> bool {
        self.is_main(main) && self.sub.eq_ignore_ascii_case(sub.as_bytes())
    }

    pub fn is_main(&self, main: &str) -> bool {
        self.main.eq_ignore_ascii_case(main.as_bytes())
    }

    /// The first parameter of that name, compared without case.
    pub fn param(&self, name: &str) -> Option<&[u8]> {
        let named = |param: &&Param| param.name.eq_ignore_ascii_case(name.as_bytes());
        self.params.iter().find(named).map(|param| param.value.as_slice())
    }
}

/// `None` where type or subtype is missing.
pub fn content_type(value: &[u8]) -> Option<ContentType> {
    let mut lexer = Lexer::new(value);
    lexer.skip_blanks();
    let main = lexer.run(is_token)?.to_vec();
    lexer.skip_blanks();
    if !lexer.take(b'/') {
        return None;
    }
    let sub = lexer.run(is_token)?.to_vec();
    Some(ContentType { main, sub, params: params(&mut lexer) })
}

/// The first token and its parameters, as of Content-Disposition (RFC 2183 2).
pub fn disposition(value: &[u8]) -> Option<(Vec<u8>, Vec<Param>)> {
    let mut lexer = Lexer::new(value);
    lexer.skip_blanks();
    let token = lexer.run(is_token)?.to_vec();
    Some((token, params(&mut lexer)))
}

/// Tokens between commas, as of Content-Language.
pub fn token_list(value: &[u8]) -> Vec<Vec<u8>> {
    let mut lexer = Lexer::new(value);
    let mut tokens = Vec::new();
    lexer.skip_blanks();
    while lexer.peek().is_some() && tokens.len() < PARAMS_MAX {
        match lexer.run(is_token) {
            Some(token) => tokens.push(token.to_vec()),
            None => lexer.advance(),
        }
        lexer.skip_blanks();
    }
    tokens
}

fn params(lexer: &mut Lexer) -> Vec<Param> {
    let mut found = Vec::new();
    while found.len() < PARAMS_MAX {
        lexer.run(|byte| byte != b';' && byte != b'(');
        lexer.skip_blanks();
        match lexer.peek() {
            None => break,
            Some(b';') => _ = lexer.take(b';'),
            Some(_) => continue,
        }
        let Some(name) = lexer.run(is_token) else { continue };
        let name = name.to_vec();
        lexer.skip_blanks();
        if !lexer.take(b'=') {
            continue;
        }
        let value = match lexer.peek() {
            Some(b'"') => lexer.quoted().unwrap_or_default(),
            // Slashes, equal signs and the like belong in quotes, but are met without.
            _ => lexer.run(|byte| byte != b';' && !byte.is_ascii_whitespace()).unwrap_or_default().to_vec(),
        };
        found.push(Param { name, value });
    }
    join_continuations(found)
}

/// One piece of a continued parameter: `name*index` or `name*index*`.
struct Piece {
    base: Vec<u8>,
    index: usize,
    encoded: bool,
}

/// RFC 2231 3: `name*0=a; name*1=b` is `name=ab`. Pieces that do not count up from 0 stay as they are.
fn join_continuations(params: Vec<Param>) -> Vec<Param> {
    let mut groups: BTreeMap<Vec<u8>, Vec<(usize, usize, bool)>> = BTreeMap::new();
    for (at, param) in params.iter().enumerate() {
        if let Some(piece) = piece_of(&param.name) {
            groups.entry(piece.base.to_ascii_lowercase()).or_default().push((piece.index, at, piece.encoded));
        }
    }
    if groups.is_empty() {
        return params;
    }
    let mut places: Vec<Option<Param>> = params.iter().cloned().map(Some).collect();
    for group in groups.values_mut() {
        group.sort_unstable();
        if !group.iter().enumerate().all(|(expected, (index, ..))| expected == *index) {
            continue;
        }
        let joined = join(group, &params);
        group.iter().for_each(|(_, at, _)| places[*at] = None);
        // It stands where the first of its pieces stood.
        if let Some(first) = group.iter().map(|(_, at, _)| *at).min() {
            places[first] = joined;
        }
    }
    places.into_iter().flatten().collect()
}

fn join(group: &[(usize, usize, bool)], params: &[Param]) -> Option<Param> {
    let (_, first, _) = group.first()?;
    let mut name = piece_of(&params[*first].name)?.base;
    let encoded = group.iter().any(|(.., encoded)| *encoded);
    let mut value = Vec::new();
    for (_, at, piece_encoded) in group {
        if encoded && !piece_encoded {
            params[*at].value.iter().for_each(|byte| percent_encode(*byte, &mut value));
        } else {
            value.extend(&params[*at].value);
        }
    }
    if encoded {
        name.push(b'*');
    }
    Some(Param { name, value })
}

fn percent_encode(byte: u8, out: &mut Vec<u8>) {
    if is_token(byte) && byte < 0x80 && !b"*'%".contains(&byte) {
        out.push(byte);
    } else {
        out.extend(format!("%{byte:02X}").bytes());
    }
}

fn piece_of(name: &[u8]) -> Option<Piece> {
    let (name, encoded) = match name.strip_suffix(b"*") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let star = name.iter().rposition(|byte| *byte == b'*')?;
    let digits = &name[star + 1..];
    let counted = star > 0 && (1..=4).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let index = counted.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')))?;
    (index < PIECES_MAX).then(|| Piece { base: name[..star].to_vec(), index, encoded })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(value: &str) -> String {
        let Some(found) = content_type(value.as_bytes()) else { return "-".into() };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let params =
            found.params.iter().map(|param| format!(" {}={}", text(&param.name), text(&param.value)));
        format!("{}/{}{}", text(&found.main), text(&found.sub), params.collect::<String>())
    }

    #[test]
    fn content_types_of_every_form() {
        for (value, expected) in [
            ("text/x-myown; charset=us-ascii", "text/x-myown charset=us-ascii"),
            ("multipart/mixed; boundary=\"foo\r\n bar\"", "multipart/mixed boundary=foo bar"),
            ("Text / (c) Plain ; Charset = \"a\\\"b\" (d)", "Text/Plain Charset=a\"b"),
            ("multipart/mixed; boundary=a/b=c; x", "multipart/mixed boundary=a/b=c"),
            ("text/plain charset=a; format=flowed", "text/plain format=flowed"),
            ("text/plain;; ;a=1;b=", "text/plain a=1 b="),
            ("text", "-"),
            ("", "-"),
            ("text/", "-"),
        ] {
            assert_eq!(shown(value), expected, "{value}");
        }
    }

    #[test]
    fn continued_parameters_are_joined() {
        let long = "a/b; name*1=b; size=3; NAME*0=a; x*0*=utf-8''%41; x*1=\"b c\"; y*1=lost";
        assert_eq!(shown(long), "a/b NAME=ab size=3 x*=utf-8''%41b%20c y*1=lost");
    }

    #[test]
    fn parameters_are_bounded() {
        let many = format!("a/b{}", ";n=v".repeat(PARAMS_MAX + 1));
        assert_eq!(content_type(many.as_bytes()).unwrap().params.len(), PARAMS_MAX);
    }

    #[test]
    fn dispositions_and_languages() {
        let (token, params) = disposition(b" attachment (x); filename=\"a b.txt\"").unwrap();
        assert_eq!((token.as_slice(), params.len()), (&b"attachment"[..], 1));
        assert_eq!(disposition(b""), None);
        assert_eq!(token_list(b" en, (c) fr-CA,,de"), [b"en".to_vec(), b"fr-CA".to_vec(), b"de".to_vec()]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(value in "[a-b/;=*0-2\"( )\\\\]{0,60}", bytes: Vec<u8>) {
            let _ = (content_type(value.as_bytes()), content_type(&bytes), disposition(&bytes), token_list(&bytes));
        }
    }
}
