//! Strings of a script as they are used: with encoded characters decoded (RFC 5228 2.4.2.4) and references to
//! variables (RFC 5229 3) found, once, when the script is compiled.

/// A string, and what of it is known only in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(pub(super) Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Never empty.
    Text(String),
    /// By its number in the script.
    Variable(usize),
    /// `${0}` to `${9}`: what the last `:matches` that held found.
    Match(usize),
}

/// A reference as it is written.
pub(super) enum Reference<'a> {
    Variable(&'a str),
    Match(&'a str),
    /// With a namespace before it (RFC 5229 3).
    Foreign(&'a str),
}

/// The highest `${n}` that can be asked for (RFC 5229 3.2 asks for 9).
pub(super) const MATCH_MAX: usize = 9;

impl Template {
    pub(super) fn fixed(text: String) -> Self {
        if text.is_empty() { Self(Vec::new()) } else { Self(vec![Piece::Text(text)]) }
    }

    /// The string, where it is the same in every run.
    pub(super) fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// Takes a string apart; what looks like a reference and is none is text.
pub(super) fn references<E>(
    text: &str,
    mut number: impl FnMut(Reference<'_>) -> Result<Piece, E>,
) -> Result<Template, E> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        plain.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end =
            inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(inner.len());
        match inner[end..].starts_with('}').then(|| reference(&inner[..end])).flatten() {
            Some(reference) => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(number(reference)?);
                rest = &inner[end + 1..];
            }
            None => {
                plain.push_str("${");
                rest = inner;
            }
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(Template(pieces))
}

fn reference(name: &str) -> Option<Reference<'_>> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Reference::Match(name));
    }
    if is_name(name) {
        return Some(Reference::Variable(name));
    }
    // `vnd.acme.x` and `vnd.1` are references, `a..b` and `1.a` are none.
    let (first, last) = name.rsplit_once('.')?;
    let last_fits = is_name(last) || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()));
    (first.split('.').all(is_name) && last_fits).then_some(Reference::Foreign(name))
}

/// RFC 5228 8.1, `identifier`.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `${hex:..}` and `${unicode:..}` decoded; what is not exactly of their form is text. An error is a text for the user.
pub(super) fn decoded(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let inner = &rest[at + 2..];
        match encoded(inner)? {
            Some((found, length)) => {
                bytes.extend(found);
                rest = &inner[length..];
            }
            None => {
                bytes.extend_from_slice(b"${");
                rest = inner;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    if bytes.contains(&0) {
        return Err("a string holds no NUL");
    }
    String::from_utf8(bytes).map_err(|_| "the octets of ${hex:...} here are no UTF-8")
}

/// What follows `${`: the octets it stands for, and its length with the brace.
fn encoded(inner: &str) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let colon = inner.bytes().take(NAME_BYTES_MAX + 1).position(|byte| byte == b':');
    let Some((name, codes)) = colon.map(|at| (&inner[..at], &inner[at + 1..])) else { return Ok(None) };
    let end = codes.find(|c: char| !c.is_ascii_hexdigit() && !BLANKS.contains(&c)).unwrap_or(codes.len());
    if !codes[end..].starts_with('}') {
        return Ok(None);
    }
    let found = match name.to_ascii_lowercase().as_str() {
        "hex" => hex(&codes[..end]),
        "unicode" => unicode(&codes[..end])?,
        _ => None,
    };
    Ok(found.map(|octets| (octets, name.len() + 1 + end + 1)))
}

/// Octets of `unicode`, the longer name.
const NAME_BYTES_MAX: usize = 7;
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

fn words(codes: &str) -> impl Iterator<Item = &str> {
    codes.split(BLANKS).filter(|word| !word.is_empty())
}

fn hex(codes: &str) -> Option<Vec<u8>> {
    let octet = |word: &str| match word.len() {
        1 | 2 => u8::from_str_radix(word, 16).ok(),
        _ => None,
    };
    let octets: Option<Vec<u8>> = words(codes).map(octet).collect();
    octets.filter(|octets| !octets.is_empty())
}

/// RFC 5228 2.4.2.4: a number that is no character is an error.
fn unicode(codes: &str) -> Result<Option<Vec<u8>>, &'static str> {
    let mut text = String::new();
    for word in words(codes) {
        let number = match word.trim_start_matches('0') {
            "" => 0,
            digits => u32::from_str_radix(digits, 16).unwrap_or(u32::MAX),
        };
        text.push(char::from_u32(number).ok_or("${unicode:...} names no character")?);
    }
    Ok((!text.is_empty()).then(|| text.into_bytes()))
}
