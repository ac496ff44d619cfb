//! Strings as IMAP writes them (RFC 9051 4.3): quoted where that is allowed, else as a literal.

use bytes::{BufMut, BytesMut};

/// Bytes of a quoted string; longer ones are literals.
const QUOTED_BYTES_MAX: usize = 4_096;

/// Quoted, or a literal where there is a line end, NUL or 8-bit byte.
///
/// A literal cannot hold NUL either (RFC 9051 4.3): it is shown as `?`.
pub fn write_string(text: &[u8], out: &mut BytesMut) {
    let quotable = |byte: &u8| !matches!(byte, 0 | b'\r' | b'\n' | 0x80..);
    if text.len() <= QUOTED_BYTES_MAX && text.iter().all(quotable) {
        write_quoted(text, out);
    } else {
        write_literal(text, out);
    }
}

/// NIL for `None`.
pub fn write_nstring(text: Option<&[u8]>, out: &mut BytesMut) {
    match text {
        Some(text) => write_string(text, out),
        None => out.put_slice(b"NIL"),
    }
}

/// Bare where it is an atom, else a string.
pub fn write_astring(text: &[u8], out: &mut BytesMut) {
    let atom = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"]\\".contains(byte);
    match !text.is_empty() && text.iter().all(atom) {
        true => out.put_slice(text),
        false => write_string(text, out),
    }
}

/// What may hold any bytes, also NUL (RFC 5464 5, `value`); NIL for `None`.
pub fn write_nstring8(bytes: Option<&[u8]>, out: &mut BytesMut) {
    match bytes {
        Some(bytes) if bytes.contains(&0) => {
            out.put_slice(format!("~{{{}}}\r\n", bytes.len()).as_bytes());
            out.put_slice(bytes);
        }
        bytes => write_nstring(bytes, out),
    }
}

fn write_quoted(text: &[u8], out: &mut BytesMut) {
    out.reserve(text.len() + 2);
    out.put_u8(b'"');
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        out.put_slice(&rest[..at]);
        out.put_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.put_slice(rest);
    out.put_u8(b'"');
}

fn write_literal(text: &[u8], out: &mut BytesMut) {
    out.put_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
    let start = out.len();
    out.put_slice(text);
    out[start..].iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b'?');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_or_literal() {
        let long = vec![b'x'; QUOTED_BYTES_MAX + 1];
        for (text, expected) in [
            (&b""[..], "\"\"".to_owned()),
            (b"a \"b\" \\", "\"a \\\"b\\\" \\\\\"".to_owned()),
            ("ü".as_bytes(), "{2}\r\nü".to_owned()),
            (b"a\r\nb", "{4}\r\na\r\nb".to_owned()),
            (b"a\0b", "{3}\r\na?b".to_owned()),
            (&long[1..], format!("\"{}\"", "x".repeat(QUOTED_BYTES_MAX))),
            (&long, format!("{{{}}}\r\n{}", QUOTED_BYTES_MAX + 1, "x".repeat(QUOTED_BYTES_MAX + 1))),
        ] {
            let mut out = BytesMut::new();
            write_nstring(Some(text), &mut out);
            assert_eq!(out, expected.as_bytes());
        }
        let mut out = BytesMut::new();
        write_nstring(None, &mut out);
        write_nstring8(None, &mut out);
        write_nstring8(Some(b"a\0"), &mut out);
        write_nstring8(Some(b"a"), &mut out);
        assert_eq!(out, &b"NILNIL~{2}\r\na\0\"a\""[..]);
    }
}
