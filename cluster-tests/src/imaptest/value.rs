//! What stands in a reply, or in a pattern for one: atoms, strings and lists.

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Atom(Vec<u8>),
    /// A quoted string or a literal; which of them does not count.
    Text(Vec<u8>),
    List(Vec<Value>),
}

impl Value {
    /// The bytes of an atom or string.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Atom(bytes) | Value::Text(bytes) => Some(bytes),
            Value::List(_) => None,
        }
    }

    pub fn is(&self, word: &str) -> bool {
        self.bytes().is_some_and(|bytes| bytes.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Alike, but for case.
    pub fn is_like(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::List(one), Value::List(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is_like(other))
            }
            (one, other) => match (one.bytes(), other.bytes()) {
                (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
                _ => false,
            },
        }
    }

    /// As it can be sent.
    pub fn to_wire(&self) -> Vec<u8> {
        match self {
            Value::Atom(atom) => atom.clone(),
            Value::Text(text) => {
                let mut quoted = vec![b'"'];
                for byte in text {
                    if matches!(byte, b'"' | b'\\') {
                        quoted.push(b'\\');
                    }
                    quoted.push(*byte);
                }
                quoted.push(b'"');
                quoted
            }
            Value::List(values) => {
                let values: Vec<Vec<u8>> = values.iter().map(Value::to_wire).collect();
                [b"(".as_slice(), &values.join(&b' '), b")"].concat()
            }
        }
    }
}

/// Reads a whole line, literals included: `{5}` and its octets, and the scripts' own `{{{` to `}}}`.
pub fn parse(line: &[u8]) -> Result<Vec<Value>, String> {
    let mut rest = line;
    let values = list(&mut rest, false)?;
    Ok(values)
}

fn list(rest: &mut &[u8], nested: bool) -> Result<Vec<Value>, String> {
    let mut values = Vec::new();
    loop {
        while let [b' ', after @ ..] = *rest {
            *rest = after;
        }
        match *rest {
            [] if nested => return Err("a list is not closed".to_string()),
            [] => return Ok(values),
            [b')', after @ ..] => {
                *rest = after;
                if nested {
                    return Ok(values);
                }
            }
            [b'(', after @ ..] => {
                *rest = after;
                values.push(Value::List(list(rest, true)?));
            }
            [b'"', ..] => values.push(quoted(rest)?),
            _ => match literal(rest)? {
                Some(text) => values.push(text),
                None => values.push(atom(rest)),
            },
        }
    }
}

fn quoted(rest: &mut &[u8]) -> Result<Value, String> {
    let mut text = Vec::new();
    let mut bytes = rest[1..].iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                *rest = &rest[at + 2..];
                return Ok(Value::Text(text));
            }
            b'\\' => text.extend(bytes.next().map(|(_, byte)| *byte)),
            byte => text.push(*byte),
        }
    }
    Err("a quoted string is not closed".to_string())
}

fn literal(rest: &mut &[u8]) -> Result<Option<Value>, String> {
    let (binary, body) = match rest.strip_prefix(b"~") {
        Some(body) => (true, body),
        None => (false, *rest),
    };
    if let Some(body) = body.strip_prefix(b"{{{\n") {
        let (text, after) = split_inline(body)?;
        *rest = after;
        return Ok(Some(Value::Text(if binary { text.to_vec() } else { with_crlf(text) })));
    }
    let Some(body) = body.strip_prefix(b"{") else { return Ok(None) };
    let digits = body.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let Some(body) = body[digits..].strip_prefix(b"}\r\n").filter(|_| digits > 0) else { return Ok(None) };
    let digits = &rest[rest.len() - body.len() - digits - 3..][..digits];
    let octets: usize =
        String::from_utf8_lossy(digits).parse().map_err(|_| "a literal is too long".to_string())?;
    let (text, after) = body.split_at_checked(octets).ok_or("a literal is cut short")?;
    *rest = after;
    Ok(Some(Value::Text(text.to_vec())))
}

/// The text up to the line `}}}`, and what follows that.
pub fn split_inline(body: &[u8]) -> Result<(&[u8], &[u8]), String> {
    if let Some(after) = body.strip_prefix(b"}}}") {
        return Ok((&[], after));
    }
    let end = body.windows(4).position(|four| four == b"\n}}}").ok_or("`}}}` is missing")?;
    Ok((&body[..end], &body[end + 4..]))
}

/// Line ends as they travel.
pub fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32);
    for (at, byte) in text.iter().enumerate() {
        if *byte == b'\n' && (at == 0 || text[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

/// Up to a blank or parenthesis; one within brackets (`BODY[HEADER.FIELDS (To)]`) or within `${…}` is part of it.
fn atom(rest: &mut &[u8]) -> Value {
    let mut depth = 0_i32;
    let mut braced = false;
    let mut length = rest.len();
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            b'{' if at > 0 && rest[at - 1] == b'$' => braced = true,
            b'}' => braced = false,
            b'[' => depth += 1,
            b']' => depth -= 1,
            b' ' | b'(' | b')' if depth <= 0 && !braced => {
                length = at;
                break;
            }
            _ => {}
        }
    }
    let (atom, after) = rest.split_at(length.max(1));
    *rest = after;
    Value::Atom(atom.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(text: &str) -> Value {
        Value::Atom(text.into())
    }

    #[test]
    fn replies_are_taken_apart() {
        let line = b"1 FETCH (BODY[1.HEADER.FIELDS (To)]<0> {3}\r\na)\" X \"q\\\"(\" NIL ())";
        let wanted = Value::List(vec![
            atom("BODY[1.HEADER.FIELDS (To)]<0>"),
            Value::Text(b"a)\"".into()),
            atom("X"),
            Value::Text(b"q\"(".into()),
            atom("NIL"),
            Value::List(vec![]),
        ]);
        assert_eq!(parse(line).unwrap(), [atom("1"), atom("FETCH"), wanted]);
    }

    #[test]
    fn inline_literals_have_line_ends_of_their_own() {
        assert_eq!(parse(b"x {{{\na\nb\n}}} y").unwrap()[1], Value::Text(b"a\r\nb".into()));
        assert_eq!(parse(b"x ~{{{\na\nb\n}}}").unwrap()[1], Value::Text(b"a\nb".into()));
        assert_eq!(parse(b"{{{\n}}}").unwrap(), [Value::Text(vec![])]);
        assert!(parse(b"{{{\nopen").is_err());
    }

    #[test]
    fn what_is_broken_is_said() {
        for line in [&b"(open"[..], b"\"open", b"{9}\r\nshort"] {
            assert!(parse(line).is_err());
        }
    }

    #[test]
    fn values_go_back_on_the_wire() {
        let values = parse(b"(a \"b \\\\ c\" (d))").unwrap();
        assert_eq!(values[0].to_wire(), b"(a \"b \\\\ c\" (d))");
    }
}
